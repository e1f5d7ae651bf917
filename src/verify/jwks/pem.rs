//! Keys in PEM that are fetched one by one, by their ids.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    IssuerKeys, IssuerRule,
    client::DefaultClient,
    entra::is_uuid,
    issuer_keys::Location,
    names::Names,
    on_demand::{Added, OnDemand},
};
use crate::{
    error::ConfigError,
    http_client::UrlPolicy,
    verify::{VerifyError, VerifyErrorKind, keys::JwtKey},
};

/// How many keys are kept. A load balancer changes its key rarely.
const MAX_KEYS: usize = 16;

/// The keys below one URL. Each is handled as an issuer whose name is its id, so the bounds of a rule apply.
#[derive(Debug)]
pub(crate) struct PemKeys(Arc<OnDemand>);

/// A key that may not have been fetched yet.
pub(crate) struct PemKey(Arc<Added>);

impl PemKeys {
    /// `settings` is what [`IssuerKeys::pem`] returns.
    pub(crate) fn new(url: &str, settings: IssuerKeys) -> Result<Self, ConfigError> {
        UrlPolicy::parse(url, false)?;
        let default_client = Arc::<DefaultClient>::default();
        if settings.client.is_none() {
            default_client.get()?;
        }
        let url = url.strip_suffix('/').unwrap_or(url).to_owned();
        let keys = move |key_id: &str| {
            let location = Location::Pem(format!("{url}/{key_id}"));
            IssuerKeys { names: Names::new(key_id.to_owned()), location, ..settings.clone() }
        };
        let rule = IssuerRule::new(is_uuid).keys(keys).max_issuers(MAX_KEYS);
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        Ok(Self(OnDemand::new(rule, runtime, default_client)))
    }

    /// The key with this id, which is fetched if it is new. The id becomes part of a URL, so it must be a UUID.
    pub(crate) fn get(&self, key_id: &str) -> Result<PemKey, VerifyError> {
        match self.0.get(key_id) {
            Some(known) => Ok(PemKey(known)),
            None if self.0.allows(key_id) => self.0.add(key_id).map(PemKey),
            None => Err(VerifyError::new(VerifyErrorKind::UnknownKey)),
        }
    }
}

impl PemKey {
    /// Calls `f` with the key. `None` if it is not there.
    pub(crate) fn with_key<T>(&self, f: impl FnOnce(&JwtKey) -> T) -> Option<T> {
        self.0.issuer().with_keys(|keys| keys?.usable().first().map(f))
    }

    /// Notes that a token with this key is valid.
    pub(crate) fn mark_used(&self) {
        self.0.mark_used();
    }

    /// Waits until the key is there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the fetch continues without the caller.
    pub(crate) async fn wait(&self) -> Result<(), VerifyError> {
        self.0.issuer().wait_for_keys(None).await.map(drop)
    }
}

impl IssuerKeys {
    /// Settings for keys in PEM.
    pub(crate) fn pem() -> Self {
        Self::new(String::new(), Location::Pem(String::new()))
    }
}
