//! Verifiers made from other verifiers.

use std::{fmt, future::Future};

use http::request::Parts;

use super::{Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput};

/// A verifier with a check for a route; see [`Verifier::authorize`].
#[derive(Clone)]
pub struct Authorize<V, F> {
    verifier: V,
    check: F,
}

/// A verifier with a check that waits; see [`Verifier::authorize_async`].
#[derive(Clone)]
pub struct AuthorizeAsync<V, F> {
    verifier: V,
    check: F,
}

/// A verifier with other claims; see [`Verifier::map`].
#[derive(Clone)]
pub struct Map<V, F> {
    verifier: V,
    convert: F,
}

/// One verifier or another; see [`Verifier::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

impl<V, F> Authorize<V, F> {
    pub(super) const fn new(verifier: V, check: F) -> Self {
        Self { verifier, check }
    }
}

impl<V, F> AuthorizeAsync<V, F> {
    pub(super) const fn new(verifier: V, check: F) -> Self {
        Self { verifier, check }
    }
}

impl<V, F> Map<V, F> {
    pub(super) const fn new(verifier: V, convert: F) -> Self {
        Self { verifier, convert }
    }
}

impl<A, B> Or<A, B> {
    pub(super) const fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<V, F> Verifier for Authorize<V, F>
where
    V: Verifier,
    F: Fn(&V::Claims, &Parts) -> Result<(), VerifyError> + Send + Sync + 'static,
{
    type Claims = V::Claims;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<V::Claims>, VerifyError> {
        self.checked(self.verifier.verify(input).await, input.parts)
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<V::Claims>, VerifyError>> {
        Some(self.checked(self.verifier.verify_now(input)?, input.parts))
    }

    fn name(&self) -> &'static str {
        self.verifier.name()
    }
}

impl<V, F> Authorize<V, F> {
    fn checked<C>(&self, outcome: Result<Verified<C>, VerifyError>, parts: &Parts) -> Result<Verified<C>, VerifyError>
    where
        F: Fn(&C, &Parts) -> Result<(), VerifyError>,
    {
        let verified = outcome?;
        (self.check)(&verified.claims, parts)?;
        Ok(verified)
    }
}

/// An asynchronous check of borrowed claims and a borrowed request.
///
/// `AsyncFnOnce(&C, &Parts)` is the same, but cannot say that the future is `Send`.
#[expect(unnameable_types, reason = "it is a bound, and implemented for functions alone")]
pub trait AuthorizeFn<'a, C> {
    type Future: Future<Output = Result<(), VerifyError>> + Send;

    fn call(self, claims: &'a C, parts: &'a Parts) -> Self::Future;
}

impl<'a, C: 'a, F, Fut> AuthorizeFn<'a, C> for F
where
    F: FnOnce(&'a C, &'a Parts) -> Fut,
    Fut: Future<Output = Result<(), VerifyError>> + Send,
{
    type Future = Fut;

    fn call(self, claims: &'a C, parts: &'a Parts) -> Fut {
        self(claims, parts)
    }
}

impl<V, F> Verifier for AuthorizeAsync<V, F>
where
    V: Verifier,
    F: for<'a> AuthorizeFn<'a, V::Claims> + Clone + Send + Sync + 'static,
{
    type Claims = V::Claims;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<V::Claims>, VerifyError> {
        let verified = self.verifier.verify(input).await?;
        self.check.clone().call(&verified.claims, input.parts).await?;
        Ok(verified)
    }

    fn name(&self) -> &'static str {
        self.verifier.name()
    }
}

impl<V, F, C> Verifier for Map<V, F>
where
    V: Verifier,
    F: Fn(V::Claims) -> C + Send + Sync + 'static,
    C: Send + Sync + 'static,
{
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        Ok(self.verifier.verify(input).await?.map(&self.convert))
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        Some(self.verifier.verify_now(input)?.map(|verified| verified.map(&self.convert)))
    }

    fn name(&self) -> &'static str {
        self.verifier.name()
    }
}

/// Always waits. Whether the second verifier would wait is known only after the first one was called, and that call may
/// have changed state: [`CachedVerifier`](crate::CachedVerifier) counts attempts.
impl<A, B> Verifier for Or<A, B>
where
    A: Verifier,
    B: Verifier<Claims = A::Claims>,
{
    type Claims = A::Claims;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<A::Claims>, VerifyError> {
        let first = match self.first.verify(input).await {
            Ok(verified) => return Ok(verified),
            Err(first) => first,
        };
        match self.second.verify(input).await {
            Err(second) if rank(&second, &first) <= rank(&first, &second) => Err(first),
            outcome => outcome,
        }
    }

    /// One name for both: the time is that of the first one, or of both.
    fn name(&self) -> &'static str {
        "or"
    }
}

/// Orders errors by how much they tell the client.
///
/// An unknown ticket is most likely an old one, unless the other verifier finds the text invalid rather than malformed.
/// Then it may be a guess at a token of that verifier, which must count as a failed attempt of its address.
const fn rank(error: &VerifyError, other: &VerifyError) -> u8 {
    match error.kind() {
        Kind::UnknownTicket if matches!(other.kind(), Kind::Malformed) => 2,
        Kind::UnknownTicket => 0,
        _ if error.is_unavailable() => 5,
        _ if error.is_of_valid_token() => 4,
        kind if kind.is_of_genuine_credential() || kind.proof_error().is_some() => 3,
        _ => 1,
    }
}

// By hand, like those below: a closure has no `Debug`.
impl<V: fmt::Debug, F> fmt::Debug for Authorize<V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").field("verifier", &self.verifier).field("check", &format_args!("<fn>")).finish()
    }
}

impl<V: fmt::Debug, F> fmt::Debug for AuthorizeAsync<V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeAsync")
            .field("verifier", &self.verifier)
            .field("check", &format_args!("<fn>"))
            .finish()
    }
}

impl<V: fmt::Debug, F> fmt::Debug for Map<V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("verifier", &self.verifier).field("convert", &format_args!("<fn>")).finish()
    }
}
