use std::{fmt, sync::Arc, time::SystemTime};

/// What a verifier knows about a token that it accepts.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<C> {
    /// The claims.
    pub claims: C,
    /// When the token expires: from this time on it is not accepted, leeway included. `None` if it does not expire.
    pub expires_at: Option<SystemTime>,
    /// Whom the token is about (`sub`), if it says so. A session is only refreshed for the same subject.
    pub subject: Option<Arc<str>>,
    /// Who issued the token (`iss`), if it says so. A session is only refreshed by the same issuer.
    pub issuer: Option<Arc<str>>,
    /// The id of the token (`jti`), if it has one. The token can be revoked by it.
    pub token_id: Option<Arc<str>>,
    /// When the token was issued (`iat`), if it says so. A token without it counts as older than every revocation of
    /// tokens that were issued before a given time.
    pub issued_at: Option<SystemTime>,
}

impl<C> Verified<C> {
    /// Claims that do not expire and name no subject.
    pub const fn new(claims: C) -> Self {
        Self { claims, expires_at: None, subject: None, issuer: None, token_id: None, issued_at: None }
    }

    /// Sets when the token expires.
    #[must_use]
    pub const fn with_expires_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets whom the token is about.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets who issued the token.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<Arc<str>>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the id of the token.
    #[must_use]
    pub fn with_token_id(mut self, token_id: impl Into<Arc<str>>) -> Self {
        self.token_id = Some(token_id.into());
        self
    }

    /// Sets when the token was issued.
    #[must_use]
    pub const fn with_issued_at(mut self, issued_at: SystemTime) -> Self {
        self.issued_at = Some(issued_at);
        self
    }

    /// Converts the claims. The other fields stay as they are.
    ///
    /// [`Verifier::map`](crate::Verifier::map) does the same to all tokens of a verifier.
    ///
    /// ```
    /// use axum_ws_auth::Verified;
    ///
    /// let verified = Verified::new(7).with_subject("alice").map(|id| format!("user {id}"));
    /// assert_eq!(verified.claims, "user 7");
    /// assert_eq!(verified.subject.as_deref(), Some("alice"));
    /// ```
    pub fn map<D>(self, convert: impl FnOnce(C) -> D) -> Verified<D> {
        let Self { claims, expires_at, subject, issuer, token_id, issued_at } = self;
        Verified { claims: convert(claims), expires_at, subject, issuer, token_id, issued_at }
    }
}

// By hand: claims may be personal data, and need not be `Debug`.
impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("expires_at", &self.expires_at)
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("token_id", &self.token_id)
            .field("issued_at", &self.issued_at)
            .finish_non_exhaustive()
    }
}
