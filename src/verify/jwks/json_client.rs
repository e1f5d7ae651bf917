//! `GET` requests: redirects, validation, freshness.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{ACCEPT, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER},
};
use http_cache_semantics::{CacheOptions, CachePolicy};
use serde::de::DeserializeOwned;
use url::Url;

use super::{KeysError, KeysErrorKind};
use crate::{
    http_client::{DynHttpClient, MAX_LEN, TooLarge, UrlPolicy},
    json,
};

const MAX_REDIRECTS: usize = 3;

pub(super) struct JsonClient {
    pub(super) client: Arc<dyn DynHttpClient>,
    pub(super) url_policy: UrlPolicy,
    /// The bounds for how long a response is fresh.
    pub(super) fresh_for: (Duration, Duration),
}

/// An entity tag with its URL, because a tag is valid for one URL only, and redirects may change.
#[derive(Clone)]
pub(super) struct ETag {
    url: Url,
    value: HeaderValue,
}

pub(super) struct JsonResponse<T> {
    /// `None` for `304 Not Modified`.
    pub(super) content: Option<T>,
    pub(super) etag: Option<ETag>,
    pub(super) fresh_for: Duration,
}

impl JsonClient {
    pub(super) async fn get<T>(
        &self,
        url: &Url,
        accept: &'static str,
        etag: Option<&ETag>,
    ) -> Result<JsonResponse<T>, KeysError>
    where
        T: DeserializeOwned,
    {
        self.get_as(url, accept, etag, parse).await
    }

    /// Gets a document that `parse` reads.
    pub(super) async fn get_as<T>(
        &self,
        url: &Url,
        accept: &'static str,
        etag: Option<&ETag>,
        parse: impl Fn(&[u8]) -> Result<T, KeysError>,
    ) -> Result<JsonResponse<T>, KeysError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let etag = etag.filter(|etag| etag.url == url);
            let mut request = Request::get(url.as_str()).header(ACCEPT, accept);
            if let Some(etag) = etag {
                request = request.header(IF_NONE_MATCH, &etag.value);
            }
            let request = request.body(Bytes::new()).map_err(malformed)?;
            let response = self.client.send_boxed(request).await.map_err(unreachable)?;
            let headers = response.headers();
            match response.status() {
                StatusCode::OK => {
                    if response.body().len() > MAX_LEN {
                        return Err(KeysError::new(KeysErrorKind::TooLarge));
                    }
                    let content = parse(response.body())?;
                    let etag = headers.get(ETAG).map(|value| ETag { url, value: value.clone() });
                    return Ok(JsonResponse { content: Some(content), etag, fresh_for: self.fresh_for(headers) });
                }
                StatusCode::NOT_MODIFIED if etag.is_some() => {
                    return Ok(JsonResponse { content: None, etag: etag.cloned(), fresh_for: self.fresh_for(headers) });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = self.check_url(redirect(&url, headers)?)?,
                status => {
                    let error = KeysError::new(KeysErrorKind::Status(status));
                    return Err(error.with_retry_after(retry_after(headers)));
                }
            }
        }
        Err(KeysError::new(KeysErrorKind::Redirects))
    }

    pub(super) fn check_url(&self, url: Url) -> Result<Url, KeysError> {
        if self.url_policy.allows(&url) { Ok(url) } else { Err(KeysError::new(KeysErrorKind::InsecureUrl)) }
    }

    fn fresh_for(&self, headers: &HeaderMap) -> Duration {
        let (min, max) = self.fresh_for;
        freshness(headers).clamp(min, max)
    }
}

/// Parses UTF-8 JSON. Skips a byte order mark, as RFC 8259 §8.1 allows, because some servers send one.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, KeysError> {
    json::from_object(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).map_err(malformed)
}

/// How long a response with these headers is fresh (RFC 9111 §4.2).
fn freshness(headers: &HeaderMap) -> Duration {
    // The headers of a `304` describe the response that it confirms, so they are evaluated as those of a `200`.
    let mut response = http::Response::new(());
    *response.headers_mut() = headers.clone();
    // The result depends only on the times in the headers, not on the local clock.
    let now = SystemTime::now();
    let options = CacheOptions { shared: false, ..CacheOptions::default() };
    CachePolicy::new_options(&Request::new(()), &response, now, options).time_to_live(now)
}

/// `Retry-After` in seconds. Dates are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, KeysError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    location.and_then(|location| from.join(location).ok()).ok_or_else(|| KeysError::new(KeysErrorKind::Redirects))
}

pub(super) fn malformed(error: impl Error + Send + Sync + 'static) -> KeysError {
    KeysError::new(KeysErrorKind::Malformed).with_source(error)
}

/// The error of the client.
fn unreachable(error: Box<dyn Error + Send + Sync>) -> KeysError {
    if error.is::<TooLarge>() {
        return KeysError::new(KeysErrorKind::TooLarge);
    }
    KeysError::new(KeysErrorKind::Unreachable).with_source(error)
}
