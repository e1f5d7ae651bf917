use std::{fmt, marker::PhantomData, time::Duration};

use serde::de::DeserializeOwned;

use super::{AlbVerifier, arn, token::Expected};
use crate::{
    error::ConfigError,
    verify::{
        jwks::{FetchJwks, IssuerKeys, PemKeys},
        keys,
    },
};

/// Builds an [`AlbVerifier`].
#[must_use]
pub struct AlbVerifierBuilder<C> {
    expected: Expected,
    keys_url: Option<String>,
    keys: IssuerKeys,
    claims: PhantomData<fn() -> C>,
}

/// No clock is off by more.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

impl<C: DeserializeOwned + Send + Sync + 'static> AlbVerifierBuilder<C> {
    pub(super) fn new(arn: String) -> Self {
        let expected = Expected { signers: vec![arn], clients: Vec::new(), leeway: Duration::from_secs(30) };
        Self { expected, keys_url: None, keys: IssuerKeys::pem(), claims: PhantomData }
    }

    /// Adds another load balancer, of the same region.
    pub fn signer(mut self, arn: impl Into<String>) -> Self {
        self.expected.signers.push(arn.into());
        self
    }

    /// Adds an allowed OAuth client: the `client` of a token must be one of those added.
    ///
    /// Defaults to any, because the load balancer uses only the clients that are configured there. Set it if its other
    /// listener rules sign in users who may not use this service.
    pub fn client(mut self, client_id: impl Into<String>) -> Self {
        self.expected.clients.push(client_id.into());
        self
    }

    /// Sets the tolerance for clock differences; at most an hour. Defaults to 30 seconds, because the clocks of servers
    /// differ.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Sets the URL of the keys, without the key id. Needed in the partitions of China and of the government of the
    /// United States, whose URLs the documentation of AWS lists.
    ///
    /// Defaults to `https://public-keys.auth.elb.REGION.amazonaws.com`, with the region of the load balancer.
    pub fn keys_url(mut self, url: impl Into<String>) -> Self {
        self.keys_url = Some(url.into());
        self
    }

    /// Sets the HTTP client; see [`IssuerKeys::fetch`](crate::jwks::IssuerKeys::fetch).
    pub fn fetch(mut self, fetch: impl FetchJwks) -> Self {
        self.keys = self.keys.fetch(fetch);
        self
    }

    /// Builds the verifier. Keys are fetched when tokens need them.
    ///
    /// # Errors
    ///
    /// - If an Amazon Resource Name is not that of an Application Load Balancer, or two are of different regions.
    /// - If [`keys_url`](Self::keys_url) is needed and not set, or is not `https`.
    /// - If a client id is empty, or the leeway is longer than an hour.
    /// - If there is no tokio runtime, HTTP client or crypto backend.
    pub fn build(self) -> Result<AlbVerifier<C>, ConfigError> {
        if keys::provider().is_none() {
            return Err(ConfigError::NoCryptoBackend);
        }
        if self.expected.clients.iter().any(String::is_empty) {
            return Err(ConfigError::Empty("client id"));
        }
        if self.expected.leeway > MAX_LEEWAY {
            return Err(ConfigError::LongLeeway(self.expected.leeway));
        }
        let mut url = None;
        for arn in &self.expected.signers {
            let of_signer = arn::keys_url(arn)?;
            let of_signer = self.keys_url.clone().or(of_signer);
            let invalid = |problem| ConfigError::InvalidArn { arn: arn.clone(), problem };
            let of_signer = of_signer.ok_or_else(|| invalid("the url of its keys must be set"))?;
            if *url.get_or_insert_with(|| of_signer.clone()) != of_signer {
                return Err(invalid("it is of another region than the first"));
            }
        }
        let keys = PemKeys::new(&url.unwrap_or_default(), self.keys)?;
        Ok(AlbVerifier::new(self.expected, keys))
    }
}

// By hand: a derive would require `C: Debug`.
impl<C> fmt::Debug for AlbVerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlbVerifierBuilder").field("expected", &self.expected).finish_non_exhaustive()
    }
}
