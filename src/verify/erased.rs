//! Erases the type of a verifier, so that a session depends only on the type of its claims.

use std::{future::Future, pin::Pin};

use super::{Verified, Verifier, VerifyError, VerifyInput};

type Verification<'a, C> = Pin<Box<dyn Future<Output = Result<Verified<C>, VerifyError>> + Send + 'a>>;

/// Any [`Verifier`] with these claims.
pub(crate) trait VerifierOf<C>: Send + Sync {
    fn verify_boxed<'a>(&'a self, input: VerifyInput<'a>) -> Verification<'a, C>;

    /// See [`Verifier::name`].
    fn verifier_name(&self) -> &'static str;
}

impl<V: Verifier> VerifierOf<V::Claims> for V {
    fn verify_boxed<'a>(&'a self, input: VerifyInput<'a>) -> Verification<'a, V::Claims> {
        Box::pin(self.verify(input))
    }

    fn verifier_name(&self) -> &'static str {
        self.name()
    }
}
