use std::{future::Future, sync::Arc};

use http::request::Parts;

use super::{Authorize, AuthorizeAsync, Map, Or, Verified, VerifyError, VerifyInput, combine::AuthorizeFn};

/// Turns a token into claims, or says why it is not valid.
///
/// [`JwtVerifier`](crate::jwt::JwtVerifier) verifies JSON Web Tokens. For other tokens there are three ways to write a
/// verifier:
///
/// | what you have | what you write |
/// | --- | --- |
/// | an `async` closure or function that owns its input, with a database handle for example | [`verifier_fn`](crate::verifier_fn)`(async move \|token: Token\| …)` |
/// | an `async` function that borrows its input | `async fn verify(input: VerifyInput<'_>) -> …`: the function is the verifier |
/// | a type | `impl Verifier for MyVerifier` |
///
/// A closure that borrows its input must name the type: `async |input: VerifyInput<'_>| …`. Otherwise the compiler says
/// that an implementation is not general enough. If it captures anything, the compiler says that it does not implement
/// `Fn`: take an [`OwnedVerifyInput`](crate::OwnedVerifyInput) and `verifier_fn`.
///
/// Verifiers combine: [`authorize`](Self::authorize) and [`authorize_async`](Self::authorize_async) add a rule for a
/// route, [`or`](Self::or) accepts a second kind of token, [`map`](Self::map) converts the claims. To verify a token
/// outside a request, see [`VerifyInput::without_request`].
///
/// A verifier must fail closed. If it cannot decide, because a database or a key server does not answer, it returns
/// [`VerifyError::unavailable`]: the client is told to retry (503) and keeps its token, which a 401 would tell it to
/// throw away.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{PathParams, Token, Verified, VerifyError, Verifier, WsAuthLayer, verifier_fn};
/// use axum_ws_auth::test_util::{self, handshake};
/// use axum::{Router, http::StatusCode, routing::any};
/// use tower::ServiceExt;
///
/// struct User { name: &'static str }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Looks up opaque tokens. (A real verifier looks up their hashes, in a database.)
/// let users = verifier_fn(async |token: Token| match token.expose() {
///     "token-of-alice" => Ok(Verified::new(User { name: "alice" }).with_subject("alice")),
///     "token-of-bob" => Ok(Verified::new(User { name: "bob" }).with_subject("bob")),
///     _ => Err(VerifyError::invalid()),
/// });
/// let own_room_only = users.authorize(|user, parts| {
///     if PathParams::of(parts).get("name") == Some(user.name) { Ok(()) } else { Err(VerifyError::forbidden()) }
/// });
///
/// let app = Router::new().route("/rooms/{name}", any(test_util::echo)).layer(WsAuthLayer::new(own_room_only));
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a verifier",
    label = "this does not implement `Verifier`",
    note = "claims must be `Send + Sync + 'static`, in `JwtVerifier` and `TicketVerifier` also `serde::de::DeserializeOwned`, in `CachedVerifier` also `Clone`",
    note = "a builder or a `Result` is not a verifier yet: `JwtVerifier::builder()…build()?`",
    note = "an `async` function over a `Token` or an `OwnedVerifyInput` becomes a verifier with `verifier_fn(..)`",
    note = "an `async` function over `VerifyInput<'_>` is a verifier if it returns `Result<Verified<_>, VerifyError>`"
)]
pub trait Verifier: Send + Sync + 'static {
    /// What is known about the holder of the token. Handlers get it from
    /// [`Authenticated`](crate::Authenticated).
    type Claims: Send + Sync + 'static;

    /// Verifies one token.
    ///
    /// The handshake waits for this future. A verifier that calls another service needs a timeout of its own, and
    /// returns [`VerifyError::unavailable`] when it elapses.
    ///
    /// It must neither log the token nor put it into an error.
    ///
    /// # Errors
    ///
    /// Why the token is not accepted.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped if the client disconnects. State that it shares must stay valid then.
    fn verify(
        &self,
        input: VerifyInput<'_>,
    ) -> impl Future<Output = Result<Verified<Self::Claims>, VerifyError>> + Send;

    /// Verifies one token without waiting. Returns `None` if that is not possible: then [`verify`](Self::verify) is
    /// called.
    ///
    /// The layer calls this method first. It saves a handshake the allocation of a future. Defaults to `None`, which is
    /// always correct. A call that returns `None` must not have changed anything.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify).
    fn verify_now(&self, _input: VerifyInput<'_>) -> Option<Result<Verified<Self::Claims>, VerifyError>> {
        None
    }

    /// The value of the label `verifier` in the [metrics](crate#metrics). Defaults to `custom`.
    ///
    /// It must be a constant, because each name is a time series of its own.
    fn name(&self) -> &'static str {
        "custom"
    }

    /// Adds a check of the claims and the request: a scope, or the room in the path.
    ///
    /// The check runs only for valid tokens. It returns [`VerifyError::insufficient_scope`] or
    /// [`VerifyError::forbidden`] to refuse the request with 403. It runs again for each new token when a session is
    /// refreshed.
    ///
    /// [`PathParams`](crate::PathParams) reads the path parameters of axum's router, decoded. `parts.uri` is the URI
    /// that the layer sees: not percent-decoded, and without the prefix that the router is nested at. axum's
    /// `OriginalUri` in `parts.extensions` has that prefix.
    fn authorize<F>(self, check: F) -> Authorize<Self, F>
    where
        Self: Sized,
        F: Fn(&Self::Claims, &Parts) -> Result<(), VerifyError> + Send + Sync + 'static,
    {
        Authorize::new(self, check)
    }

    /// Adds a check as [`authorize`](Self::authorize) does, one that waits: for a database, for example.
    ///
    /// The check is an `async` closure or function. It is cloned for each request, so what it captures must be `Clone`:
    /// a handle, or an `Arc`. The handshake waits for the check, so it needs a timeout of its own. If it cannot decide,
    /// it returns [`VerifyError::unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::sync::Arc;
    ///
    /// use axum::{Router, http::StatusCode, routing::any};
    /// use axum_ws_auth::{PathParams, VerifyError, Verifier, WsAuthLayer};
    /// use axum_ws_auth::test_util::{self, TestToken, handshake};
    /// use tower::ServiceExt;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Claims { sub: String }
    ///
    /// # #[derive(Clone)] struct Members(Arc<HashSet<(u64, &'static str)>>);
    /// # impl Members {
    /// #     async fn contains(&self, room: u64, user: &str) -> Result<bool, std::io::Error> {
    /// #         tokio::task::yield_now().await;
    /// #         Ok(self.0.iter().any(|member| *member == (room, user)))
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let members = Members(Arc::new(HashSet::from([(7, "alice")])));
    /// // `members` is a handle to a database.
    /// let verifier = test_util::verifier::<Claims>().authorize_async(async move |claims, parts| {
    ///     let room: u64 = PathParams::of(parts).parse("room")?;
    ///     match members.contains(room, &claims.sub).await {
    ///         Ok(true) => Ok(()),
    ///         Ok(false) => Err(VerifyError::forbidden()),
    ///         Err(error) => Err(VerifyError::unavailable(std::time::Duration::from_secs(5)).with_source(error)),
    ///     }
    /// });
    ///
    /// let app = Router::new().route("/rooms/{room}", any(test_util::echo)).layer(WsAuthLayer::new(verifier));
    /// for (path, user, status) in [
    ///     ("/rooms/7", "alice", StatusCode::SWITCHING_PROTOCOLS),
    ///     ("/rooms/7", "bob", StatusCode::FORBIDDEN),
    ///     ("/rooms/lobby", "alice", StatusCode::FORBIDDEN),
    /// ] {
    ///     let request = handshake().path(path).bearer_subprotocol(&TestToken::new(user).sign()).build();
    ///     assert_eq!(app.clone().oneshot(request).await?.status(), status);
    /// }
    /// # Ok(()) }
    /// ```
    fn authorize_async<F>(self, check: F) -> AuthorizeAsync<Self, F>
    where
        Self: Sized,
        // The first bound gives the closure's parameters their types. The second one adds `Send`, which `AsyncFnOnce`
        // cannot express.
        F: AsyncFnOnce(&Self::Claims, &Parts) -> Result<(), VerifyError>
            + for<'a> AuthorizeFn<'a, Self::Claims>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        AuthorizeAsync::new(self, check)
    }

    /// Converts the claims. The deadline, the subject and the other facts about the token stay as they are.
    ///
    /// For two verifiers with different claims behind one [`or`](Self::or).
    ///
    /// # Example
    ///
    /// ```
    /// use axum_ws_auth::{Token, Verified, VerifyError, Verifier, VerifyInput, test_util, verifier_fn};
    /// use std::time::SystemTime;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Claims { sub: String }
    /// struct ApiKey(u32);
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Caller { User(String), Machine(u32) }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let users = test_util::verifier::<Claims>();
    /// let machines = verifier_fn(async |token: Token| match token.expose() {
    ///     "key-of-machine-7" => Ok(Verified::new(ApiKey(7))),
    ///     _ => Err(VerifyError::invalid()),
    /// });
    /// let verifier = users.map(|claims| Caller::User(claims.sub)).or(machines.map(|key| Caller::Machine(key.0)));
    ///
    /// let token = Token::new("key-of-machine-7");
    /// let verified = verifier.verify(VerifyInput::without_request(&token, SystemTime::now())).await?;
    /// assert_eq!(verified.claims, Caller::Machine(7));
    /// # Ok(()) }
    /// ```
    fn map<F, C>(self, convert: F) -> Map<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Claims) -> C + Send + Sync + 'static,
        C: Send + Sync + 'static,
    {
        Map::new(self, convert)
    }

    /// Accepts the tokens that this verifier or the other one accepts. This one is asked first.
    ///
    /// If both refuse, the error that tells the client more is returned:
    ///
    /// 1. The verifier is unavailable. So a token is never called invalid while the verifier that may know it is
    ///    unavailable.
    /// 2. The token is valid, but not sufficient: forbidden, insufficient authentication.
    /// 3. The token was valid once or will be, or the ticket is for elsewhere, or the proof is wrong.
    /// 4. The ticket is unknown, if the other verifier finds the text malformed.
    /// 5. The token is not valid.
    /// 6. The ticket is unknown, if the text may be a token of the other verifier.
    ///
    /// If both are of the same class, it is the error of this verifier.
    ///
    /// Both have the same claims type; [`map`](Self::map) converts one.
    fn or<V>(self, other: V) -> Or<Self, V>
    where
        Self: Sized,
        V: Verifier<Claims = Self::Claims>,
    {
        Or::new(self, other)
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

    fn name(&self) -> &'static str {
        (**self).name()
    }
}
