use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Recheck, VerifyError, recheck::Check};

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
    /// The id of the user's session at the identity provider (`sid`, OpenID Connect Back-Channel Logout 1.0 §2.1), if
    /// the token names one. All tokens of that session can be revoked by it.
    pub provider_session: Option<Arc<str>>,
    /// When the token was issued (`iat`), if it says so. A token without it counts as older than every revocation of
    /// tokens that were issued before a given time.
    pub issued_at: Option<SystemTime>,
    /// When to verify the token again during the session; see [`recheck_in`](Self::recheck_in()). `None` for never.
    pub recheck_in: Option<Duration>,
    /// Asked instead of the verifier, which then need not see the token again.
    pub(crate) check: Option<Check>,
    /// The thumbprint of the key that the token is bound to, if the client proved that it holds it (RFC 9449). A
    /// session is only refreshed with the same key.
    pub(crate) confirmation: Option<Arc<str>>,
}

impl<C> Verified<C> {
    /// Claims that do not expire and name no subject.
    pub const fn new(claims: C) -> Self {
        Self {
            claims,
            expires_at: None,
            subject: None,
            issuer: None,
            token_id: None,
            provider_session: None,
            issued_at: None,
            recheck_in: None,
            check: None,
            confirmation: None,
        }
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

    /// Sets the id of the user's session at the identity provider.
    #[must_use]
    pub fn with_provider_session(mut self, provider_session: impl Into<Arc<str>>) -> Self {
        self.provider_session = Some(provider_session.into());
        self
    }

    /// Sets when the token was issued.
    #[must_use]
    pub const fn with_issued_at(mut self, issued_at: SystemTime) -> Self {
        self.issued_at = Some(issued_at);
        self
    }

    /// Has the layer verify the token again after this time, for as long as the connection lasts.
    ///
    /// For tokens whose validity may change before they expire: a session cookie that was deleted or extended, an API
    /// key that was withdrawn, a membership that ended. The layer asks its verifier, with all that was combined with it
    /// ([`authorize`](crate::Verifier::authorize), [`or`](crate::Verifier::or) …), with the same token and the
    /// [head of the handshake](crate::VerifyInput::parts).
    ///
    /// | the verifier returns | the session |
    /// | --- | --- |
    /// | claims of the same subject and issuer | goes on with these claims, this [`expires_at`](Self::expires_at) and this `recheck_in`: without one, it is not rechecked again |
    /// | claims of another subject or issuer | ends with [`EndReason::Revoked`](crate::EndReason::Revoked) |
    /// | [expired](crate::VerifyError::expired) | ends with [`EndReason::TokenExpired`](crate::EndReason::TokenExpired) |
    /// | [unavailable](crate::VerifyError::unavailable), nothing within the [`refresh_timeout`](crate::WsAuthLayer::refresh_timeout), or it panics | goes on, and the verifier is asked again with growing pauses, until [`max_unconfirmed`](crate::WsAuthLayer::max_unconfirmed) |
    /// | [insufficient authentication](crate::VerifyError::insufficient_user_authentication) | ends with [`EndReason::InsufficientUserAuthentication`](crate::EndReason::InsufficientUserAuthentication) |
    /// | another error | ends with [`EndReason::Revoked`](crate::EndReason::Revoked) |
    ///
    /// The time varies at random between three quarters of `after` and `after`, so that sessions that began together
    /// are not rechecked together. Less than a second counts as a second. With `Duration::MAX` the session is rechecked
    /// on demand alone, by [`Sessions::recheck_subject`](crate::Sessions::recheck_subject).
    ///
    /// The session keeps the token in memory until it ends. A verifier that can do without uses
    /// [`recheck_with`](Self::recheck_with). After a [refresh](crate::Session::refresh), the new token is kept instead,
    /// and its `Verified` decides.
    ///
    /// Only connections are rechecked, not plain requests. A [ticket](crate::Tickets) does not carry `recheck_in` over:
    /// it can be redeemed once, so its session cannot be rechecked with it.
    ///
    /// Defaults to never, because a JSON Web Token says itself how long it is valid. If what was combined with its
    /// verifier may change its mind, wrap the outermost one:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use axum_ws_auth::{OwnedVerifyInput, Verifier, test_util, verifier_fn};
    /// # let is_member = async |_: &serde_json::Value, _: &http::request::Parts| Ok(());
    /// # let verifier = std::sync::Arc::new(test_util::verifier::<serde_json::Value>().authorize_async(is_member));
    /// // `verifier` is an `Arc` of a `JwtVerifier` with an `authorize_async`.
    /// let rechecked = verifier_fn(async move |input: OwnedVerifyInput| {
    ///     Ok(verifier.verify(input.as_input()).await?.recheck_in(Duration::from_secs(60)))
    /// });
    /// # let _ = axum_ws_auth::WsAuthLayer::new(rechecked);
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use std::{collections::HashMap, sync::{Arc, Mutex}, time::Duration};
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Token, Verified, VerifyError, WsAuthLayer, verifier_fn};
    /// use axum_ws_auth::test_util::{self, handshake};
    /// use futures_util::{FutureExt, StreamExt};
    /// use tokio_tungstenite::tungstenite::Message;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<&'static str>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::time::pause();
    /// // In place of a database: keys and their users.
    /// let keys = Arc::new(Mutex::new(HashMap::from([("key-of-alice", "alice")])));
    /// let verifier = verifier_fn({
    ///     let keys = Arc::clone(&keys);
    ///     async move |token: Token| {
    ///         let user = keys.lock().unwrap().get(token.expose()).copied().ok_or(VerifyError::invalid())?;
    ///         Ok(Verified::new(user).with_subject(user).recheck_in(Duration::from_secs(60)))
    ///     }
    /// });
    /// let app = Router::new().route("/", any(chat)).layer(WsAuthLayer::new(verifier));
    ///
    /// // Yes: after an hour, and sixty rechecks, the socket is open.
    /// let (mut socket, _) = test_util::connect(app, handshake().bearer_subprotocol("key-of-alice").build()).await?;
    /// tokio::time::sleep(Duration::from_secs(3600)).await;
    /// assert!(socket.next().now_or_never().is_none());
    ///
    /// // No: within a minute after the key was withdrawn, it is closed.
    /// keys.lock().unwrap().clear();
    /// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    /// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn recheck_in(mut self, after: Duration) -> Self {
        self.recheck_in = Some(after);
        self
    }

    /// Has this check run after this time, in place of the verifier. The session does not keep the token.
    ///
    /// The check is an `async` closure over what the verifier kept: the id of a stored session or the hash of a key,
    /// and a handle to the store. It is cloned for each run. Its errors mean the same as a verifier's; see
    /// [`recheck_in`](Self::recheck_in()).
    ///
    /// It can move the deadline, but not replace the claims. So what was combined with the verifier, such as
    /// [`authorize_async`](crate::Verifier::authorize_async), is not asked again.
    ///
    /// ```
    /// use std::{future::ready, time::Duration};
    ///
    /// use axum_ws_auth::{Recheck, Token, Verified, VerifyError, verifier_fn};
    ///
    /// #[derive(Clone)]
    /// struct Keys;
    ///
    /// impl Keys {
    ///     /// The id of a key, and its user.
    ///     async fn find(&self, key: &str) -> Option<(u64, String)> {
    ///         (key == "secret").then(|| (7, "alice".to_owned()))
    ///     }
    ///
    ///     async fn is_withdrawn(&self, id: u64) -> bool {
    ///         id != 7
    ///     }
    /// }
    ///
    /// let keys = Keys;
    /// let verifier = verifier_fn(async move |token: Token| {
    ///     let (id, user) = keys.find(token.expose()).await.ok_or(VerifyError::invalid())?;
    ///     let check = async move || {
    ///         if keys.is_withdrawn(id).await { Err(VerifyError::invalid()) } else { Ok(Recheck::unchanged()) }
    ///     };
    ///     Ok(Verified::new(user).recheck_with(Duration::from_secs(60), check))
    /// });
    /// # let _ = axum_ws_auth::WsAuthLayer::new(verifier);
    /// ```
    #[must_use]
    pub fn recheck_with<F, Fut>(mut self, after: Duration, check: F) -> Self
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Recheck, VerifyError>> + Send + 'static,
    {
        self.recheck_in = Some(after);
        self.check = Some(Check::new(check));
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
        Verified {
            claims: convert(self.claims),
            expires_at: self.expires_at,
            subject: self.subject,
            issuer: self.issuer,
            token_id: self.token_id,
            provider_session: self.provider_session,
            issued_at: self.issued_at,
            recheck_in: self.recheck_in,
            check: self.check,
            confirmation: self.confirmation,
        }
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
            .field("recheck_in", &self.recheck_in)
            .finish_non_exhaustive()
    }
}
