//! Validates the configuration and builds the verifier.

use std::{future::Future, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::timeout,
};

use super::{
    IntrospectionBuilder, IntrospectionVerifier,
    alarm::Alarm,
    builder::Location,
    cache::AnswerCache,
    endpoint::{Discovery, Endpoint},
    introspector::Introspector,
    provider::Provider,
    response::MAX_LEN,
    signed::{SIGNED_TYPE, SignedAnswers},
    turns::Turns,
    verifier::Rules,
};
use crate::{
    error::ConfigError,
    http_client::{DynHttpClient, Pooling, ReqwestClient, UrlPolicy, without_credentials},
    verify::{
        jwks::{IssuerKeys, KeysError, KeysErrorKind, MAX_DURATION, StartError},
        jwt::JwtVerifier,
    },
};

impl<C: DeserializeOwned + Send + Sync + 'static> IntrospectionBuilder<C> {
    /// Builds the verifier without waiting for discovery, which then happens in the first handshake. To discover the
    /// endpoint at startup, `.await` the builder instead.
    ///
    /// # Errors
    ///
    /// - If a URL is not `https`.
    /// - If an issuer, an audience, the client's id or its secret is empty, or answers are to be signed and there is no
    ///   client id.
    /// - If a duration or limit is out of range.
    /// - If both an audience and [`insecure_any_audience`](Self::insecure_any_audience) are set.
    /// - If `C` can never be deserialized from a JSON object, such as a number or a list.
    /// - If the keys for signed answers are misconfigured, as for
    ///   [`JwtVerifierBuilder::build`](crate::jwt::JwtVerifierBuilder::build), or there is no HTTP client.
    pub fn build(self) -> Result<IntrospectionVerifier<C>, ConfigError> {
        self.validate()?;
        let (endpoint, name) = match self.location {
            Location::Url(text) => {
                let (url, _) = UrlPolicy::parse(&text, self.insecure_http)?;
                (Endpoint::Known(url), without_credentials(&text))
            }
            Location::Discover { issuer, document } => {
                let (document, url_policy) = UrlPolicy::parse(&document, self.insecure_http)?;
                let name = issuer.clone();
                (Endpoint::Discovered(Discovery { issuer, document, url_policy, found: OnceCell::new() }), name)
            }
        };
        let client: Arc<dyn DynHttpClient> = match self.client {
            Some(client) => client,
            None => Arc::new(ReqwestClient::new(Pooling::Kept)?.limited_to(MAX_LEN)),
        };
        let client_id = self.client_id.as_deref().or(self.auth.client_id());
        let signed = self.signed.map(|keys| signed_answers(keys, client_id)).transpose()?;
        let claims = match &self.issuer {
            Some(issuer) => self.claims.issuer(issuer),
            None => self.claims,
        };
        let introspector = Introspector {
            provider: Provider { endpoint, client, auth: self.auth, signed },
            name,
            cache: AnswerCache::new(self.lifetimes),
            handshakes: Turns::default(),
            rechecks: Turns::default(),
            permits: Semaphore::new(self.concurrent_requests.min(Semaphore::MAX_PERMITS)),
            timeout: self.timeout,
            alarm: Alarm::default(),
        };
        let rules = Rules {
            issuer: self.issuer.map(Arc::from),
            ignore_binding: self.ignore_binding,
            opaque_only: self.opaque_only,
            recheck_every: self.recheck_every,
        };
        Ok(IntrospectionVerifier {
            introspector: Arc::new(introspector),
            claims: claims.build_without_keys()?,
            rules: Arc::new(rules),
        })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.auth.validate()?;
        if self.concurrent_requests == 0 {
            return Err(ConfigError::ZeroLimit("concurrent introspection requests"));
        }
        for (what, duration) in
            [("introspection timeout", self.timeout), ("time between introspections", self.recheck_every)]
        {
            if duration.is_zero() {
                return Err(ConfigError::ZeroDuration(what));
            }
        }
        for (what, duration) in [
            ("introspection timeout", self.timeout),
            ("lifetime of cached answers", self.lifetimes.active.max(self.lifetimes.inactive)),
        ] {
            if duration > MAX_DURATION {
                return Err(ConfigError::LongDuration(what));
            }
        }
        Ok(())
    }
}

fn signed_answers(keys: IssuerKeys, client_id: Option<&str>) -> Result<SignedAnswers, ConfigError> {
    let verifier = JwtVerifier::builder()
        .issuer_keys(keys)
        .audience(client_id.ok_or(ConfigError::Empty("client id"))?)
        .token_type(SIGNED_TYPE)
        // RFC 9701 §5: without `exp` it cannot be taken for an access token. `iat` is checked instead.
        .insecure_allow_missing_exp()
        .build()?;
    Ok(SignedAnswers { verifier })
}

/// `.await` builds the verifier, discovers the endpoint, and waits for the first fetch of the keys for signed answers.
///
/// Configuration errors then show at startup. To start while the provider is down, use
/// [`build`](IntrospectionBuilder::build).
///
/// # Errors
///
/// As for [`build`](IntrospectionBuilder::build), or if the endpoint cannot be discovered, or the first fetch of the
/// keys fails.
///
/// # Cancel safety
///
/// If the future is dropped, the verifier is dropped too.
impl<C: DeserializeOwned + Send + Sync + 'static> IntoFuture for IntrospectionBuilder<C> {
    type Output = Result<IntrospectionVerifier<C>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let verifier = self.build()?;
            verifier.introspector.start().await?;
            Ok(verifier)
        })
    }
}

impl Introspector {
    /// Discovers the endpoint and fetches the keys.
    async fn start(&self) -> Result<(), StartError> {
        let Provider { endpoint, client, signed, .. } = &self.provider;
        if let Endpoint::Discovered(discovery) = endpoint {
            let found = timeout(self.timeout, discovery.found(client)).await;
            found
                .unwrap_or_else(|_| Err(KeysError::new(KeysErrorKind::TimedOut)))
                .map_err(|source| StartError::Discovery { issuer: discovery.issuer.clone(), source })?;
        }
        match signed {
            Some(signed) => signed.verifier.first_fetch().await,
            None => Ok(()),
        }
    }
}
