use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

/// Why a token was not accepted.
///
/// The client is told the class only ([`is_unavailable`](Self::is_unavailable), [`is_forbidden`](Self::is_forbidden),
/// or else invalid); the rest is for logs. It never holds the token.
#[derive(Clone, Debug)]
pub struct VerifyError {
    kind: VerifyErrorKind,
    claim: Option<&'static str>,
    scope: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What was wrong with a token; see [`VerifyError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// Not valid, for a reason of the verifier's own.
    Invalid,
    /// Not a JWT in compact form with a well-formed header (RFC 7515 §7.1).
    Malformed,
    /// The header names a critical extension (RFC 7515 §4.1.11); none is known here.
    CriticalHeader,
    /// The header's `typ` is none that is accepted (RFC 8725 §3.11): the token is of another kind.
    WrongType,
    /// The header's `alg` is none that a configured key is for.
    WrongAlgorithm,
    /// The header's `kid` names no configured key.
    UnknownKey,
    /// The signature does not verify.
    BadSignature,
    /// A claim that is required is not there.
    MissingClaim,
    /// A registered claim is of the wrong JSON type or out of range.
    MalformedClaim,
    /// The claims are well-formed, but not what the claims type expects.
    UnexpectedClaims,
    /// The token has expired.
    Expired,
    /// The token is not valid yet (`nbf`).
    NotYetValid,
    /// The token was issued by somebody else.
    WrongIssuer,
    /// The token was issued for somebody else.
    WrongAudience,
    /// The token is bound to a key (`cnf`, RFC 7800), as DPoP and mutual TLS do it, and nothing here checks that the client
    /// holds that key.
    SenderConstrained,
    /// There is no such ticket: it was used, its time is over, or there never was one.
    UnknownTicket,
    /// The ticket is for another path, or for the pages of another origin.
    TicketForElsewhere,
    /// The token is valid, and its scope does not reach as far as the request.
    InsufficientScope,
    /// The token is valid, and its holder may not do this.
    Forbidden,
    /// Whether the token is valid cannot be told now.
    Unavailable,
}

impl VerifyError {
    /// A token that is not valid, for a reason of the verifier's own. Answered with 401.
    #[must_use]
    pub const fn invalid() -> Self {
        Self::new(VerifyErrorKind::Invalid)
    }

    /// A token that has expired. Answered with 401.
    #[must_use]
    pub const fn expired() -> Self {
        Self::new(VerifyErrorKind::Expired)
    }

    /// A valid token whose scope is too narrow. Answered with 403 and `scope="…"`, which tells the client what to ask
    /// for (RFC 6750 §3).
    ///
    /// `scope` is a list of scope names with spaces between them. One that holds other characters than RFC 6749 §3.3
    /// allows is left out of the answer.
    pub fn insufficient_scope(scope: impl Into<Cow<'static, str>>) -> Self {
        Self { scope: Some(scope.into()), ..Self::new(VerifyErrorKind::InsufficientScope) }
    }

    /// A valid token whose holder may not do this. Answered with 403.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self::new(VerifyErrorKind::Forbidden)
    }

    /// The token cannot be verified now. Answered with 503, and `Retry-After` in whole seconds, rounded up.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(VerifyErrorKind::Unavailable) }
    }

    /// Adds what lies beneath, for logs. It must not hold the token.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// Tells the client when to try again: by a `Retry-After` in whole seconds, rounded up.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    pub(crate) const fn new(kind: VerifyErrorKind) -> Self {
        Self { kind, claim: None, scope: None, retry_after: None, source: None }
    }

    #[cfg(feature = "jwt")]
    pub(super) fn of_claim(kind: VerifyErrorKind, claim: &'static str) -> Self {
        Self { claim: Some(claim), ..Self::new(kind) }
    }

    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// Which claim it is about, if it is about one.
    #[must_use]
    pub const fn claim(&self) -> Option<&'static str> {
        self.claim
    }

    /// The scope that would have been enough, if it is about that.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// When to try again, if it is about that.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the token is valid and its holder may not do this.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self.kind, VerifyErrorKind::InsufficientScope | VerifyErrorKind::Forbidden)
    }

    /// Whether it cannot be told now if the token is valid.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self.kind, VerifyErrorKind::Unavailable)
    }
}

impl VerifyErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "token_invalid",
            Self::Malformed => "token_malformed",
            Self::CriticalHeader => "critical_header",
            Self::WrongType => "wrong_type",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim => "missing_claim",
            Self::MalformedClaim => "malformed_claim",
            Self::UnexpectedClaims => "unexpected_claims",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::SenderConstrained => "sender_constrained",
            Self::UnknownTicket => "unknown_ticket",
            Self::TicketForElsewhere => "ticket_for_elsewhere",
            Self::InsufficientScope => "insufficient_scope",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "verifier_unavailable",
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            VerifyErrorKind::Invalid => "the token is not valid",
            VerifyErrorKind::Malformed => "the token is not a well-formed jwt",
            VerifyErrorKind::CriticalHeader => "the token's header has a critical extension",
            VerifyErrorKind::WrongType => "the token is of a type that is not accepted",
            VerifyErrorKind::WrongAlgorithm => "no key is for the token's algorithm",
            VerifyErrorKind::UnknownKey => "the token's key id is unknown",
            VerifyErrorKind::BadSignature => "the token's signature does not verify",
            VerifyErrorKind::MissingClaim => "a required claim is missing",
            VerifyErrorKind::MalformedClaim => "a claim has the wrong type or is out of range",
            VerifyErrorKind::UnexpectedClaims => "the claims are not what the claims type expects",
            VerifyErrorKind::Expired => "the token has expired",
            VerifyErrorKind::NotYetValid => "the token is not valid yet",
            VerifyErrorKind::WrongIssuer => "the token was issued by another issuer",
            VerifyErrorKind::WrongAudience => "the token was issued for another audience",
            VerifyErrorKind::SenderConstrained => "the token is bound to a key, and nothing checks that",
            VerifyErrorKind::UnknownTicket => "there is no such ticket, or no longer",
            VerifyErrorKind::TicketForElsewhere => "the ticket is for another path or origin",
            VerifyErrorKind::InsufficientScope => "the token's scope is insufficient",
            VerifyErrorKind::Forbidden => "the token's holder may not do this",
            VerifyErrorKind::Unavailable => "the token cannot be verified now",
        })?;
        self.claim.map_or(Ok(()), |claim| write!(f, " (`{claim}`)"))
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
