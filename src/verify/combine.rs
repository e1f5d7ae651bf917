use std::fmt;

use http::request::Parts;

use super::{Verified, Verifier, VerifyError, VerifyInput};

/// A verifier with a rule of a route; see [`Verifier::authorize`].
#[derive(Clone)]
pub struct Authorize<V, F> {
    verifier: V,
    check: F,
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

/// Always waits: it cannot be told whether the second one would before the first has been asked, and perhaps counted that.
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
            Err(second) if weight(&second) <= weight(&first) => Err(first),
            outcome => outcome,
        }
    }
}

/// How much more an error tells the client than another.
const fn weight(error: &VerifyError) -> u8 {
    if error.is_unavailable() {
        2
    } else if error.is_forbidden() {
        1
    } else {
        0
    }
}

// By hand: a closure has no `Debug`.
impl<V: fmt::Debug, F> fmt::Debug for Authorize<V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").field("verifier", &self.verifier).field("check", &format_args!("<fn>")).finish()
    }
}
