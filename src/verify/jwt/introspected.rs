//! The claims of a token that its issuer vouches for in another way than by a signature.

use std::{sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;

use super::{
    JwtVerifier,
    claims::{Payload, Text},
};
use crate::verify::{Verified, VerifyError};

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifier<C> {
    /// Checks claims that come from `issuer` itself, and not in a token. Without `iss` they are about a token of this
    /// issuer too.
    pub(crate) fn accept_claims(
        &self,
        json: &str,
        issuer: Option<&Arc<str>>,
        now: SystemTime,
    ) -> Result<Verified<C>, VerifyError> {
        let payload = Payload::from_json(json)?;
        let mut registered = self.registered(&payload)?;
        if registered.iss.is_none() {
            registered.iss = issuer.map(|issuer| Text((&**issuer).into()));
        }
        self.accept(&payload, registered, None, now).map(|token| token.verified)
    }
}
