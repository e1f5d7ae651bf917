use std::{fmt, sync::LazyLock, time::SystemTime};

use http::{Request, request::Parts};

use crate::token::Token;

/// The input of a [`Verifier`](crate::Verifier).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct VerifyInput<'a> {
    /// The token.
    pub token: &'a Token,
    /// The request without the token.
    ///
    /// During a handshake, it is the request as the layer sees it. When a session is
    /// [refreshed](crate::Session::refresh), or begins with a [first message](crate::FirstMessage), it is the head of
    /// the handshake without the headers that are about the upgrade alone. Its extensions then hold axum's
    /// `OriginalUri` and the [`PathParams`](crate::PathParams), and nothing else. A verifier that needs another
    /// extension must refuse if it is missing.
    pub parts: &'a Parts,
    /// The time of the handshake. Compare deadlines with this time and not with the system's clock.
    pub now: SystemTime,
}

/// A [`VerifyInput`] that owns its fields, for [`verifier_fn`](crate::verifier_fn).
///
/// It clones the head of the request. A closure that needs the token alone takes a [`Token`] instead.
#[derive(Clone)]
#[non_exhaustive]
pub struct OwnedVerifyInput {
    /// The token.
    pub token: Token,
    /// The request without the token; see [`VerifyInput::parts`].
    pub parts: Parts,
    /// The time of the handshake. Compare deadlines with this time and not with the system's clock.
    pub now: SystemTime,
}

/// What a function in [`verifier_fn`](crate::verifier_fn) can take: a [`Token`], an [`OwnedVerifyInput`], or a type of
/// your own.
///
/// ```
/// use axum_ws_auth::{FromVerifyInput, Token, Verified, VerifyError, VerifyInput, verifier_fn};
///
/// struct ApiKey { token: Token, tenant: Option<String> }
///
/// impl FromVerifyInput for ApiKey {
///     fn from_verify_input(input: VerifyInput<'_>) -> Self {
///         let tenant = input.parts.headers.get("x-tenant").and_then(|tenant| tenant.to_str().ok());
///         Self { token: input.token.clone(), tenant: tenant.map(str::to_owned) }
///     }
/// }
///
/// async fn verify(key: ApiKey) -> Result<Verified<String>, VerifyError> {
///     let tenant = key.tenant.ok_or(VerifyError::forbidden())?;
///     if key.token.equals("secret") { Ok(Verified::new(tenant)) } else { Err(VerifyError::invalid()) }
/// }
///
/// let verifier = verifier_fn(verify);
/// ```
#[diagnostic::on_unimplemented(
    message = "a function in `verifier_fn` cannot take `{Self}`",
    label = "takes `{Self}`",
    note = "take a `Token`, or an `OwnedVerifyInput` for the request and the time too",
    note = "a function over a borrowed `VerifyInput<'_>` is a verifier without `verifier_fn`"
)]
pub trait FromVerifyInput {
    /// Copies what the function needs out of the input.
    fn from_verify_input(input: VerifyInput<'_>) -> Self;
}

impl<'a> VerifyInput<'a> {
    /// An input for calling a verifier in code.
    #[must_use]
    pub const fn new(token: &'a Token, parts: &'a Parts, now: SystemTime) -> Self {
        Self { token, parts, now }
    }

    /// An input for a token that did not come with an HTTP request: in a background job, a command-line tool, or the
    /// metadata of a gRPC call.
    ///
    /// The verifier sees the request `GET /` without headers and extensions. A check that needs more must refuse it:
    /// [`PathParams`](crate::PathParams) are absent, and a ticket that is bound to a path is for elsewhere.
    ///
    /// Only the verifier is asked. Origins, [`Revocations`](crate::Revocations) and [`Limits`](crate::Limits) are
    /// checks of the layer.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use axum_ws_auth::{Token, Verifier, VerifyErrorKind, VerifyInput, test_util::{self, TestToken}};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let verifier = test_util::verifier::<serde_json::Value>();
    /// let token = Token::new(TestToken::new("alice").expires_in(Duration::from_secs(60)).sign());
    /// let now = SystemTime::now();
    ///
    /// let verified = verifier.verify(VerifyInput::without_request(&token, now)).await?;
    /// assert_eq!(verified.subject.as_deref(), Some("alice"));
    ///
    /// let tomorrow = now + Duration::from_secs(24 * 3600);
    /// let error = verifier.verify(VerifyInput::without_request(&token, tomorrow)).await.unwrap_err();
    /// assert_eq!(error.kind(), VerifyErrorKind::Expired);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn without_request(token: &'a Token, now: SystemTime) -> Self {
        static NO_REQUEST: LazyLock<Parts> = LazyLock::new(|| Request::new(()).into_parts().0);
        Self { token, parts: &NO_REQUEST, now }
    }
}

/// In the extensions of a request: a live session asks again.
#[derive(Clone, Copy)]
pub(crate) struct IsRecheck;

impl VerifyInput<'_> {
    /// Whether a live session asks again. Then an answer from a cache is too old.
    #[cfg(feature = "introspection")]
    pub(super) fn is_recheck(&self) -> bool {
        self.parts.extensions.get::<IsRecheck>().is_some()
    }
}

impl OwnedVerifyInput {
    /// The same input, borrowed, for calling another verifier.
    #[must_use]
    pub const fn as_input(&self) -> VerifyInput<'_> {
        VerifyInput { token: &self.token, parts: &self.parts, now: self.now }
    }
}

impl FromVerifyInput for OwnedVerifyInput {
    fn from_verify_input(input: VerifyInput<'_>) -> Self {
        Self { token: input.token.clone(), parts: input.parts.clone(), now: input.now }
    }
}

impl FromVerifyInput for Token {
    fn from_verify_input(input: VerifyInput<'_>) -> Self {
        input.token.clone()
    }
}

// By hand: the headers of the request may hold secrets that this crate does not know.
impl fmt::Debug for VerifyInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyInput").field("token", &self.token).field("now", &self.now).finish_non_exhaustive()
    }
}

// By hand, as above.
impl fmt::Debug for OwnedVerifyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedVerifyInput").field("token", &self.token).field("now", &self.now).finish_non_exhaustive()
    }
}
