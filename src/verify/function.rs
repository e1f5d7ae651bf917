//! Functions and closures as verifiers.

use std::{fmt, future::Future, marker::PhantomData};

use super::{FromVerifyInput, Verified, Verifier, VerifyError, VerifyInput};

/// A verifier from an `async` closure or function that owns its input.
///
/// The input is a [`Token`](crate::Token), an [`OwnedVerifyInput`](crate::OwnedVerifyInput) with the request and the
/// time beside it, or a type of your own that is [`FromVerifyInput`]. The closure must name that type.
///
/// The closure is cloned for each token, so what it captures must be `Clone`: a handle to a database, or an `Arc`.
///
/// A function over a borrowed [`VerifyInput`] is a verifier by itself and needs no adapter.
///
/// # Example
///
/// ```
/// use std::{sync::Arc, time::SystemTime};
///
/// use axum_ws_auth::{OwnedVerifyInput, Token, Verified, VerifyError, Verifier, VerifyInput, WsAuthLayer, verifier_fn};
/// use axum_ws_auth::test_util::{self, TestToken};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A function.
/// async fn verify(token: Token) -> Result<Verified<&'static str>, VerifyError> {
///     if token.equals("secret") { Ok(Verified::new("alice")) } else { Err(VerifyError::invalid()) }
/// }
/// let layer = WsAuthLayer::new(verifier_fn(verify));
///
/// // A closure that captures a handle, here an HTTP client or a pool of connections.
/// #[derive(Clone)]
/// struct Users;
///
/// impl Users {
///     async fn find(&self, token: &Token) -> Result<Option<String>, std::io::Error> {
///         Ok((token.equals("secret")).then(|| "alice".to_owned()))
///     }
/// }
/// let users = Users;
/// let by_key = verifier_fn(async move |token: Token| match users.find(&token).await {
///     Ok(Some(user)) => Ok(Verified::new(user)),
///     Ok(None) => Err(VerifyError::invalid()),
///     Err(error) => Err(VerifyError::unavailable(std::time::Duration::from_secs(5)).with_source(error)),
/// });
///
/// // A closure that calls another verifier.
/// let jwt = test_util::verifier::<serde_json::Value>();
/// let by_jwt = verifier_fn(async move |input: OwnedVerifyInput| {
///     let verified = jwt.verify(input.as_input()).await?;
///     let subject: Arc<str> = verified.subject.clone().ok_or(VerifyError::invalid())?;
///     Ok(verified.map(|_| subject.to_string()))
/// });
///
/// let either = by_key.or(by_jwt);
/// for text in ["secret", &TestToken::new("alice").sign()] {
///     let token = Token::new(text);
///     let verified = either.verify(VerifyInput::without_request(&token, SystemTime::now())).await?;
///     assert_eq!(verified.claims, "alice");
/// }
/// # Ok(()) }
/// ```
pub const fn verifier_fn<F, I, Fut, C>(function: F) -> VerifierFn<F, I>
where
    F: FnOnce(I) -> Fut + Clone + Send + Sync + 'static,
    I: FromVerifyInput + 'static,
    Fut: Future<Output = Result<Verified<C>, VerifyError>> + Send,
    C: Send + Sync + 'static,
{
    VerifierFn { function, input: PhantomData }
}

/// The verifier that [`verifier_fn`] returns.
pub struct VerifierFn<F, I> {
    function: F,
    input: PhantomData<fn(I)>,
}

impl<F, I, Fut, C> Verifier for VerifierFn<F, I>
where
    F: FnOnce(I) -> Fut + Clone + Send + Sync + 'static,
    I: FromVerifyInput + 'static,
    Fut: Future<Output = Result<Verified<C>, VerifyError>> + Send,
    C: Send + Sync + 'static,
{
    type Claims = C;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<C>, VerifyError>> + Send {
        (self.function.clone())(I::from_verify_input(input))
    }
}

/// A function from a borrowed input to a future that may borrow it too.
///
/// `AsyncFn(VerifyInput<'_>)` is the same, but cannot say that the future is `Send`.
#[expect(unnameable_types, reason = "it is a bound, and implemented for functions alone")]
pub trait VerifyFn<'a>: Send + Sync + 'static {
    type Claims;
    type Future: Future<Output = Result<Verified<Self::Claims>, VerifyError>> + Send;

    fn call(&self, input: VerifyInput<'a>) -> Self::Future;
}

impl<'a, F, Fut, C> VerifyFn<'a> for F
where
    F: Fn(VerifyInput<'a>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Verified<C>, VerifyError>> + Send,
{
    type Claims = C;
    type Future = Fut;

    fn call(&self, input: VerifyInput<'a>) -> Fut {
        self(input)
    }
}

/// A function over a borrowed input: `async fn verify(input: VerifyInput<'_>)`, or a closure over `VerifyInput<'_>`
/// that returns a future.
impl<F, C> Verifier for F
where
    F: for<'a> VerifyFn<'a, Claims = C>,
    C: Send + Sync + 'static,
{
    type Claims = C;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<C>, VerifyError>> + Send {
        self.call(input)
    }
}

// By hand: a derive would ask the same of `I`.
impl<F: Clone, I> Clone for VerifierFn<F, I> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), input: PhantomData }
    }
}

// By hand: a closure has no `Debug`.
impl<F, I> fmt::Debug for VerifierFn<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierFn(<fn>)")
    }
}
