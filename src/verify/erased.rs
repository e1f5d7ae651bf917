//! The one place where the type of a verifier is forgotten, so that the layer needs no type parameters.

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

use http::request::Parts;

use super::{Verified, Verifier, VerifyError, VerifyInput};
use crate::Token;

/// A verification under way. It owns the request's head, and gives it back with the outcome.
pub(crate) type Verification = Pin<Box<dyn Future<Output = (Parts, Result<(), VerifyError>)> + Send>>;

/// [`Verifier`] without its types.
pub(crate) trait AnyVerifier: Send + Sync {
    /// Verifies, and puts what was verified into the request.
    fn verify(self: Arc<Self>, token: Token, parts: Parts, now: SystemTime) -> Verification;

    /// Takes out of the request what another layer may have put there.
    fn forget(&self, parts: &mut Parts);
}

pub(crate) struct Erased<V: Verifier> {
    verifier: V,
    /// Puts what was verified into the request, or takes it out again, where its type is still known.
    keep: fn(&mut Parts, Option<Verified<V::Claims>>),
}

impl<V: Verifier> Erased<V> {
    pub(crate) fn new(verifier: V, keep: fn(&mut Parts, Option<Verified<V::Claims>>)) -> Self {
        Self { verifier, keep }
    }
}

impl<V: Verifier> AnyVerifier for Erased<V> {
    fn verify(self: Arc<Self>, token: Token, mut parts: Parts, now: SystemTime) -> Verification {
        Box::pin(async move {
            let result = self.verifier.verify(VerifyInput::new(&token, &parts, now)).await;
            let outcome = result.map(|verified| (self.keep)(&mut parts, Some(verified)));
            (parts, outcome)
        })
    }

    fn forget(&self, parts: &mut Parts) {
        (self.keep)(parts, None);
    }
}
