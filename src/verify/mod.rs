//! What turns a token into claims.

#[cfg(feature = "jwt")]
mod cached;
mod combine;
mod erased;
mod error;
#[cfg(feature = "jwks")]
pub mod jwks;
#[cfg(feature = "jwt")]
pub mod jwt;

use std::{fmt, future::Future, sync::Arc, time::SystemTime};

use http::request::Parts;

#[cfg(feature = "jwt")]
pub use cached::CachedVerifier;
pub use combine::{Authorize, Or};
pub use error::{VerifyError, VerifyErrorKind};

pub(crate) use erased::VerifierOf;

use crate::token::Token;

/// Turns a token into claims, or says why not.
///
/// It says yes, with [`Verified`] claims, or no, with a [`VerifyError`] that names the reason.
/// [`JwtVerifier`](crate::jwt::JwtVerifier) is the one for JSON Web Tokens; anything else is a type of one's own, or a
/// closure `Fn(VerifyInput<'_>) -> impl Future`. Verifiers combine: [`authorize`](Verifier::authorize) adds a rule of a
/// route, [`or`](Verifier::or) a second kind of token.
///
/// A verifier must fail closed. What it cannot decide, because a database or a key server does not answer, is
/// [`VerifyError::unavailable`]: the client is told to come back (503) and not to throw its token away (401).
///
/// # Example
///
/// ```
/// use axum_ws_auth::{Verified, VerifyError, VerifyInput, Verifier, WsAuthLayer, test_util::{self, handshake}};
/// use axum::{Router, http::StatusCode, routing::any};
/// use tower::ServiceExt;
///
/// struct User { name: &'static str }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A look-up of opaque tokens (a real one would look up their hashes). The closure takes what it needs out of the input; the future then stands alone.
/// let sessions = |input: VerifyInput<'_>| {
///     let token = input.token.clone();
///     async move {
///         match token.expose() {
///             "token-of-alice" => Ok(Verified::new(User { name: "alice" }).with_subject("alice")),
///             "token-of-bob" => Ok(Verified::new(User { name: "bob" }).with_subject("bob")),
///             _ => Err(VerifyError::invalid()),
///         }
///     }
/// };
/// let only_own_room = sessions.authorize(|user, parts| {
///     if parts.uri.path() == format!("/rooms/{}", user.name) { Ok(()) } else { Err(VerifyError::forbidden()) }
/// });
///
/// let app = Router::new().route("/rooms/{name}", any(test_util::echo)).layer(WsAuthLayer::new(only_own_room));
/// for (token, status) in [
///     ("token-of-alice", StatusCode::SWITCHING_PROTOCOLS),
///     ("token-of-bob", StatusCode::FORBIDDEN),
///     ("token-of-eve", StatusCode::UNAUTHORIZED),
/// ] {
///     let request = handshake().path("/rooms/alice").bearer_subprotocol(token).build();
///     assert_eq!(app.clone().oneshot(request).await?.status(), status);
/// }
/// # Ok(()) }
/// ```
pub trait Verifier: Send + Sync + 'static {
    /// What is known about the holder of a token. Handlers get it from
    /// [`Authenticated`](crate::Authenticated).
    type Claims: Send + Sync + 'static;

    /// Verifies one token.
    ///
    /// The handshake waits for as long as this takes: whatever asks somebody else sets a limit of its own, and answers
    /// [`VerifyError::unavailable`] when it is over.
    ///
    /// It must neither log the token nor put it into an error.
    ///
    /// # Errors
    ///
    /// Why the token is not accepted.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped where it stands if the client goes away. Whatever it shares must bear that.
    fn verify(
        &self,
        input: VerifyInput<'_>,
    ) -> impl Future<Output = Result<Verified<Self::Claims>, VerifyError>> + Send;

    /// Verifies one token as [`verify`](Self::verify) does, if nothing has to be waited for. `None` if something has:
    /// then `verify` is asked.
    ///
    /// The layer asks this first. Defaults to `None`, which is always right; a verifier that has all it needs at hand saves
    /// a handshake its future by it. One that says `None` must have changed nothing.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify).
    fn verify_now(&self, _input: VerifyInput<'_>) -> Option<Result<Verified<Self::Claims>, VerifyError>> {
        None
    }

    /// Adds a check over the claims and the request: a scope, the room in the path.
    ///
    /// `parts.uri` is what the layer sees: not percent-decoded, and without the prefix of a router that it is nested
    /// in, which axum's `OriginalUri` in `parts.extensions` still has.
    ///
    /// The check runs only for valid tokens. Let it return [`VerifyError::insufficient_scope`] or
    /// [`VerifyError::forbidden`], which are answered with a 403.
    fn authorize<F>(self, check: F) -> Authorize<Self, F>
    where
        Self: Sized,
        F: Fn(&Self::Claims, &Parts) -> Result<(), VerifyError> + Send + Sync + 'static,
    {
        Authorize::new(self, check)
    }

    /// Accepts what this verifier or the other one accepts. This one is asked first.
    ///
    /// If neither accepts, the answer is the one that tells the client most: "come back later" before "not allowed"
    /// before "not valid"; of two alike, that of this verifier. So a token is never called invalid by one verifier
    /// while the one that may know it is out of order.
    fn or<V>(self, other: V) -> Or<Self, V>
    where
        Self: Sized,
        V: Verifier<Claims = Self::Claims>,
    {
        Or::new(self, other)
    }
}

/// What a verifier is given.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct VerifyInput<'a> {
    /// The token that was found.
    pub token: &'a Token,
    /// The request without the token.
    pub parts: &'a Parts,
    /// The time of the handshake. Compare deadlines with this and not with the system's clock.
    pub now: SystemTime,
}

/// What a verifier found out about a token that it accepts.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<C> {
    /// The claims.
    pub claims: C,
    /// The moment from which on the token is no longer accepted, all leeway included; `None` if there is none.
    pub expires_at: Option<SystemTime>,
    /// Whom the token speaks of (`sub`), if it says so. A session is only refreshed for the same one.
    pub subject: Option<Arc<str>>,
    /// Who issued the token (`iss`), if it says so. A session is only refreshed by the same one.
    pub issuer: Option<Arc<str>>,
    /// The id of the token (`jti`), if it has one. By it the token can be revoked.
    pub token_id: Option<Arc<str>>,
    /// When the token was issued (`iat`), if it says so. A token that does not is taken for older than every order to
    /// revoke what was issued before a moment.
    pub issued_at: Option<SystemTime>,
}

impl<'a> VerifyInput<'a> {
    /// An input, for calling a verifier by hand.
    #[must_use]
    pub const fn new(token: &'a Token, parts: &'a Parts, now: SystemTime) -> Self {
        Self { token, parts, now }
    }
}

impl<C> Verified<C> {
    /// Claims without a deadline, and of nobody.
    pub const fn new(claims: C) -> Self {
        Self { claims, expires_at: None, subject: None, issuer: None, token_id: None, issued_at: None }
    }

    /// Sets the moment from which on the token is no longer accepted.
    #[must_use]
    pub const fn with_expires_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets whom the token speaks of.
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
}

impl<F, Fut, C> Verifier for F
where
    F: Fn(VerifyInput<'_>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Verified<C>, VerifyError>> + Send + 'static,
    C: Send + Sync + 'static,
{
    type Claims = C;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<C>, VerifyError>> + Send {
        self(input)
    }
}

/// One verifier for several layers.
impl<V: Verifier> Verifier for Arc<V> {
    type Claims = V::Claims;

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<Self::Claims>, VerifyError>> {
        V::verify_now(self, input)
    }

    fn verify(
        &self,
        input: VerifyInput<'_>,
    ) -> impl Future<Output = Result<Verified<Self::Claims>, VerifyError>> + Send {
        V::verify(self, input)
    }
}

// By hand: the headers of the request may hold secrets that are none of this crate's.
impl fmt::Debug for VerifyInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyInput").field("token", &self.token).field("now", &self.now).finish_non_exhaustive()
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
