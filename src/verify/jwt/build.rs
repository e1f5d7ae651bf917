//! Validates the configuration and builds the verifier.

use std::{any::type_name, sync::Arc, time::Duration};
#[cfg(feature = "jwks")]
use std::{future::Future, pin::Pin};

use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use super::rules::Signers;
use super::{JwtVerifier, JwtVerifierBuilder, claims::REGISTERED, claims_type::ClaimsType, rules::Rules};
#[cfg(feature = "jwks")]
use crate::verify::jwks::{Issuers, StartError};
use crate::{error::ConfigError, verify::keys};

/// No clock is off by more, and a token outlives its `exp` by the leeway.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifierBuilder<C> {
    /// Builds the verifier without waiting for keys to be fetched. Until they arrive, handshakes that need them wait,
    /// or are refused with 503. To wait for the keys, `.await` the builder instead (feature `jwks`).
    ///
    /// # Errors
    ///
    /// - If there is no key, or no crypto backend is compiled in.
    /// - If an issuer, audience or token type is empty.
    /// - If the leeway is longer than an hour.
    /// - If the claim of the provider's session is empty or one that has another meaning, such as `sub`.
    /// - If both an audience and [`insecure_any_audience`](Self::insecure_any_audience) are set.
    /// - If `C` can never be deserialized from a JSON object, such as a number or a list.
    ///
    /// With `issuer_keys`:
    ///
    /// - If a name of an issuer is repeated, or its list of algorithms is empty.
    /// - If none of its local keys is usable.
    /// - If keys are to be fetched, but their URL is not `https`, a duration is out of range, or there is no tokio
    ///   runtime or HTTP client.
    ///
    /// With `issuers_where`, if the template of a rule is not one, its limit is zero, or there is no tokio runtime.
    pub fn build(self) -> Result<JwtVerifier<C>, ConfigError> {
        if keys::provider().is_none() {
            return Err(ConfigError::NoCryptoBackend);
        }
        #[cfg(feature = "jwks")]
        let has_issuer_keys = !self.issuer_keys.is_empty() || !self.issuer_rules.is_empty();
        #[cfg(not(feature = "jwks"))]
        let has_issuer_keys = false;
        if self.signers.keys.is_empty() && !has_issuer_keys {
            return Err(ConfigError::NoKey);
        }
        self.build_without_keys()
    }

    /// Builds a verifier of [claims](JwtVerifier::accept_claims), or one with keys that were checked before.
    pub(crate) fn build_without_keys(self) -> Result<JwtVerifier<C>, ConfigError> {
        if self.signers.allowed_issuers.iter().any(|issuer| issuer.is_empty()) {
            return Err(ConfigError::Empty("issuer"));
        }
        if self.rules.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::Empty("audience"));
        }
        if self.rules.any_audience && !self.rules.audiences.is_empty() {
            return Err(ConfigError::AudienceAndAny);
        }
        if self.rules.leeway > MAX_LEEWAY {
            return Err(ConfigError::LongLeeway(self.rules.leeway));
        }
        if self.rules.token_types.iter().any(String::is_empty) {
            return Err(ConfigError::Empty("token type"));
        }
        let provider_session_claim = &self.rules.provider_session_claim;
        if provider_session_claim.is_empty() {
            return Err(ConfigError::Empty("claim of the provider's session"));
        }
        if REGISTERED.contains(&provider_session_claim.as_str()) {
            return Err(ConfigError::ReservedClaim(provider_session_claim.clone()));
        }
        if ClaimsType::of::<C>() == ClaimsType::NotAnObject {
            return Err(ConfigError::ClaimsNotAnObject(type_name::<C>()));
        }
        #[cfg(feature = "jwks")]
        let signers = Signers { issuers: Issuers::new(self.issuer_keys, self.issuer_rules)?, ..self.signers };
        #[cfg(not(feature = "jwks"))]
        let signers = self.signers;
        Ok(JwtVerifier::new(Rules { signers: Arc::new(signers), ..self.rules }))
    }
}

/// `.await` builds the verifier and waits for the first fetch of each issuer's keys.
///
/// The server then has its keys before the first connection, and configuration errors show at startup. To start without
/// keys, use [`build`](JwtVerifierBuilder::build); to wait through failed fetches, also use [`JwtVerifier::ready`].
///
/// # Errors
///
/// As for [`build`](JwtVerifierBuilder::build), or if the first fetch from an issuer fails.
///
/// # Cancel safety
///
/// If the future is dropped, the verifier and its background task are dropped too.
#[cfg(feature = "jwks")]
impl<C: DeserializeOwned + Send + Sync + 'static> IntoFuture for JwtVerifierBuilder<C> {
    type Output = Result<JwtVerifier<C>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let verifier = self.build()?;
            verifier.first_fetch().await?;
            Ok(verifier)
        })
    }
}
