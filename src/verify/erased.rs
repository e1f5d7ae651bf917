//! The one place where the type of a verifier is forgotten, so that the layer needs no type parameters.

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

use http::request::Parts;

use super::{Verified, Verifier, VerifyError, VerifyInput};
use crate::Token;

/// A verification under way. It owns the request's head, and gives it back with the outcome.
pub(crate) type Verification = Pin<Box<dyn Future<Output = (Parts, Result<(), VerifyError>)> + Send>>;

/// [`Verifier`] without its types.
pub(crate) trait AnyVerifier: Send + Sync {
    fn verify(self: Arc<Self>, token: Token, parts: Parts, now: SystemTime) -> Verification;
}

pub(crate) struct Erased<V: Verifier> {
    verifier: V,
    /// Puts what was verified into the request, where its type is still known.
    keep: fn(&mut Parts, Verified<V::Claims>),
}

impl<V: Verifier> Erased<V> {
    pub(crate) fn new(verifier: V, keep: fn(&mut Parts, Verified<V::Claims>)) -> Self {
        Self { verifier, keep }
    }
}

impl<V: Verifier> AnyVerifier for Erased<V> {
    fn verify(self: Arc<Self>, token: Token, mut parts: Parts, now: SystemTime) -> Verification {
        Box::pin(async move {
            let result = self.verifier.verify(VerifyInput::new(&token, &parts, now)).await;
            let outcome = result.map(|verified| (self.keep)(&mut parts, verified));
            (parts, outcome)
        })
    }
}
