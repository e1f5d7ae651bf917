//! One fetch of an issuer's keys: discovery, then the key set.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use url::Url;

use super::{
    JwkSet, KeysError, KeysErrorKind,
    json_client::{ETag, JsonClient, JsonResponse, malformed},
    set::{KeyList, SetSource, truncate},
};
use crate::verify::keys::Algorithm;

/// A token without a `kid` is tried with every key, so the number of keys is limited.
const MAX_KEYS: usize = 100;
/// The media types of key sets (RFC 7517 §8.5.2). A Kubernetes API server responds with 406 unless the second one is
/// named. Other types, such as `text/plain`, are accepted too, because only the content matters.
const ACCEPT_JWKS: &str = "application/json, application/jwk-set+json, */*;q=0.1";
const ACCEPT_PEM: &str = "application/x-pem-file, */*;q=0.1";
pub(super) const ACCEPT_METADATA: &str = "application/json, */*;q=0.1";

/// Fetches the keys of one issuer.
pub(super) struct Fetcher {
    pub(super) issuer: Arc<str>,
    pub(super) source: SetSource,
    pub(super) target: Target,
    pub(super) client: JsonClient,
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// The timeout for the whole fetch.
    pub(super) timeout: Duration,
}

pub(super) enum Target {
    /// The URL of the discovery document.
    Metadata(Url),
    /// The URL of the key set.
    Jwks(Url),
    /// The URL of one key in PEM.
    Pem(Url),
}

/// State kept from one fetch to the next.
#[derive(Clone, Default)]
pub(super) struct FetchState {
    metadata: Option<CachedMetadata>,
    /// The tag of the response that the current keys come from.
    etag: Option<ETag>,
}

#[derive(Clone)]
struct CachedMetadata {
    jwks_uri: Url,
    etag: Option<ETag>,
    fresh_until: Instant,
}

/// A successful fetch.
pub(super) struct Fetched {
    /// `None` if the keys have not changed. The list may hold no usable key.
    pub(super) keys: Option<KeyList>,
    pub(super) fresh_for: Duration,
    /// Why the discovery document could not be refreshed, if the previous one was used instead.
    pub(super) discovery_error: Option<KeysError>,
    pub(super) state: FetchState,
}

/// A discovery document.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// Fetches the keys once.
    pub(super) async fn fetch(self: Arc<Self>, mut state: FetchState) -> Result<Fetched, KeysError> {
        let (url, discovery_error) = match &self.target {
            Target::Jwks(url) => (url.clone(), None),
            Target::Metadata(url) => self.discover(url, &mut state).await?,
            Target::Pem(url) => return self.fetch_pem(url, state).await,
        };
        let etag = state.etag.take();
        let response: JsonResponse<JwkSet> = self.client.get(&url, ACCEPT_JWKS, etag.as_ref()).await?;
        if response.content.as_ref().is_some_and(|set| set.len() > MAX_KEYS) {
            return Err(KeysError::new(KeysErrorKind::TooLarge));
        }
        let keys = response.content.map(|set| set.keys(self.algorithms.as_deref(), self.source));
        if let Some(keys) = &keys
            && keys.usable.is_empty()
            && !keys.is_well_formed
        {
            return Err(KeysError::new(KeysErrorKind::Malformed).with_source(keys.problems()));
        }
        state.etag = response.etag;
        Ok(Fetched { keys, fresh_for: response.fresh_for, discovery_error, state })
    }

    async fn fetch_pem(&self, url: &Url, mut state: FetchState) -> Result<Fetched, KeysError> {
        let etag = state.etag.take();
        let parse = |pem: &[u8]| KeyList::of_pem(pem, &self.issuer).map_err(malformed);
        let response = self.client.get_as(url, ACCEPT_PEM, etag.as_ref(), parse).await?;
        state.etag = response.etag;
        Ok(Fetched { keys: response.content, fresh_for: response.fresh_for, discovery_error: None, state })
    }

    /// The URL of the key set. A cached document is used while it is fresh, and longer if the issuer is unavailable,
    /// because the set may still be there. A new document always replaces it, even one that is invalid.
    async fn discover(&self, url: &Url, state: &mut FetchState) -> Result<(Url, Option<KeysError>), KeysError> {
        let Some(cached) = &state.metadata else {
            let metadata = self.read_metadata(url, None).await?;
            return Ok((state.metadata.insert(metadata).jwks_uri.clone(), None));
        };
        if Instant::now() < cached.fresh_until {
            return Ok((cached.jwks_uri.clone(), None));
        }
        // Leave half of the time for the key set, which matters more.
        let read = timeout(self.timeout / 2, self.read_metadata(url, Some(cached))).await;
        match read.unwrap_or_else(|_| Err(KeysError::new(KeysErrorKind::TimedOut))) {
            Ok(metadata) => Ok((state.metadata.insert(metadata).jwks_uri.clone(), None)),
            Err(error) if error.is_outage() => Ok((cached.jwks_uri.clone(), Some(error))),
            Err(error) => Err(error),
        }
    }

    async fn read_metadata(&self, url: &Url, cached: Option<&CachedMetadata>) -> Result<CachedMetadata, KeysError> {
        let etag = cached.and_then(|cached| cached.etag.as_ref());
        let response: JsonResponse<Metadata> = self.client.get(url, ACCEPT_METADATA, etag).await?;
        let jwks_uri = match (response.content, cached) {
            (Some(metadata), _) => {
                if *metadata.issuer != *self.issuer {
                    let mismatch =
                        format!("it names `{}`, but `{}` is configured", truncate(&metadata.issuer), self.issuer);
                    return Err(KeysError::new(KeysErrorKind::WrongIssuer).with_source(mismatch));
                }
                self.client.check_url(Url::parse(&metadata.jwks_uri).map_err(malformed)?)?
            }
            (None, Some(cached)) => cached.jwks_uri.clone(),
            (None, None) => return Err(KeysError::new(KeysErrorKind::Status(StatusCode::NOT_MODIFIED))),
        };
        Ok(CachedMetadata { jwks_uri, etag: response.etag, fresh_until: Instant::now() + response.fresh_for })
    }
}

impl FetchState {
    /// Prevents a conditional request, because there are no keys that a `304` could confirm.
    pub(super) fn forget_keys(&mut self) {
        self.etag = None;
    }

    /// Makes the next fetch read the discovery document again, because the document may have caused the failure.
    pub(super) fn expire_metadata(&mut self) {
        if let Some(cached) = &mut self.metadata {
            cached.fresh_until = Instant::now();
        }
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
