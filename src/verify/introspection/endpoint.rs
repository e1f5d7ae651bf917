//! The URL of the introspection endpoint.

use std::sync::Arc;

use tokio::sync::OnceCell;
use url::Url;

use super::failure::{Failure, Reason};
use crate::{
    http_client::{DynHttpClient, UrlPolicy},
    verify::jwks::{KeysError, discover_url},
};

pub(super) enum Endpoint {
    Known(Url),
    Discovered(Discovery),
}

/// The discovery of an endpoint, which is done once.
pub(super) struct Discovery {
    pub(super) issuer: String,
    /// The URL of the discovery document.
    pub(super) document: Url,
    pub(super) url_policy: UrlPolicy,
    pub(super) found: OnceCell<Url>,
}

impl Endpoint {
    /// The URL. Discovers it first, if that has not succeeded yet.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next caller begins again.
    pub(super) async fn url(&self, client: &Arc<dyn DynHttpClient>) -> Result<&Url, Failure> {
        match self {
            Self::Known(url) => Ok(url),
            Self::Discovered(discovery) => discovery.found(client).await.map_err(|error| {
                Failure::new(Reason::Discovery).with_retry_after(error.retry_after()).with_source(error)
            }),
        }
    }
}

impl Discovery {
    pub(super) async fn found(&self, client: &Arc<dyn DynHttpClient>) -> Result<&Url, KeysError> {
        let discover = || discover_url(client, self.url_policy, &self.document, &self.issuer, "introspection_endpoint");
        self.found.get_or_try_init(discover).await
    }
}
