//! Where the keys of an issuer come from, and one attempt to fetch them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{ACCEPT, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER},
};
use http_cache_semantics::{CacheOptions, CachePolicy};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};
use url::Url;

use super::{
    JwkSet, KeysError, KeysErrorKind,
    fetch::AnyFetch,
    set::{KeyList, Origin, short},
    url::UrlRule,
};
use crate::verify::jwt::Algorithm;

/// The longest answer that is read.
pub(super) const MAX_LEN: usize = 1024 * 1024;
/// A token without a `kid` is tried with all of them.
const MAX_KEYS: usize = 100;
const MAX_REDIRECTS: usize = 3;
/// What an answer may be: both media types that sets have (RFC 7517 §8.5.2), for a Kubernetes API server answers 406 to whoever
/// does not name the second one. Others, such as `text/plain`, are read too: what counts is the content.
const SETS: &str = "application/json, application/jwk-set+json, */*;q=0.1";
const DOCUMENTS: &str = "application/json, */*;q=0.1";

/// How the keys of one issuer are fetched.
pub(super) struct Source {
    pub(super) issuer: String,
    pub(super) target: Target,
    pub(super) rule: UrlRule,
    pub(super) fetch: Arc<dyn AnyFetch>,
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// How long an answer is fresh at least and at most, whatever it says.
    pub(super) fresh_for: (Duration, Duration),
    /// How long an attempt may take.
    pub(super) timeout: Duration,
}

pub(super) enum Target {
    /// The URL of the discovery document.
    Metadata(Url),
    /// The URL of the set.
    Set(Url),
}

/// What is remembered from one attempt to the next.
#[derive(Clone, Default)]
pub(super) struct Memory {
    document: Option<Document>,
    /// Which answer the keys in use come from.
    etag: Option<ETag>,
}

/// A discovery document.
#[derive(Clone)]
struct Document {
    jwks_uri: Url,
    etag: Option<ETag>,
    fresh_until: Instant,
}

/// Of which URL, because discovery documents and redirects may lead to another one each time.
#[derive(Clone)]
struct ETag {
    url: Url,
    value: HeaderValue,
}

/// The outcome of an attempt.
pub(super) struct Fetched {
    /// `None` if the keys are still those of the attempt before. None of them may be usable.
    pub(super) keys: Option<KeyList>,
    /// How long they are fresh.
    pub(super) fresh_for: Duration,
    /// What went wrong all the same.
    pub(super) flaw: Option<KeysError>,
    pub(super) memory: Memory,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

struct Answer<T> {
    /// `None` if it has not changed.
    content: Option<T>,
    etag: Option<ETag>,
    fresh_for: Duration,
}

impl Source {
    /// One attempt. It does not need to be undone where it stops.
    pub(super) async fn attempt(self: Arc<Self>, mut memory: Memory) -> Result<Fetched, KeysError> {
        let (url, flaw) = match &self.target {
            Target::Set(url) => (url.clone(), None),
            Target::Metadata(url) => self.discover(url, &mut memory).await?,
        };
        let etag = memory.etag.take();
        let answer: Answer<JwkSet> = self.get(&url, SETS, etag.as_ref()).await?;
        if answer.content.as_ref().is_some_and(|set| set.len() > MAX_KEYS) {
            return Err(KeysError::new(KeysErrorKind::TooLarge));
        }
        let keys = answer.content.map(|set| set.keys(self.algorithms.as_deref(), Origin::Network));
        if let Some(keys) = &keys
            && keys.usable.is_empty()
            && !keys.is_well_formed
        {
            return Err(KeysError::new(KeysErrorKind::Malformed).with_source(keys.problems()));
        }
        memory.etag = answer.etag;
        Ok(Fetched { keys, fresh_for: answer.fresh_for, flaw, memory })
    }

    /// Where the set is. A document that was read is believed for as long as it is fresh, and longer where no other can
    /// be had: the set may still be there. What another one says counts, whatever that is.
    async fn discover(&self, url: &Url, memory: &mut Memory) -> Result<(Url, Option<KeysError>), KeysError> {
        let Some(before) = &memory.document else {
            let document = self.read_document(url, None).await?;
            return Ok((memory.document.insert(document).jwks_uri.clone(), None));
        };
        if Instant::now() < before.fresh_until {
            return Ok((before.jwks_uri.clone(), None));
        }
        // Half of the time is left for the set, which is what matters.
        let read = timeout(self.timeout / 2, self.read_document(url, Some(before))).await;
        match read.unwrap_or_else(|_| Err(KeysError::new(KeysErrorKind::TimedOut))) {
            Ok(document) => Ok((memory.document.insert(document).jwks_uri.clone(), None)),
            Err(error) if error.is_outage() => Ok((before.jwks_uri.clone(), Some(error))),
            Err(error) => Err(error),
        }
    }

    async fn read_document(&self, url: &Url, before: Option<&Document>) -> Result<Document, KeysError> {
        let etag = before.and_then(|document| document.etag.as_ref());
        let answer: Answer<Metadata> = self.get(url, DOCUMENTS, etag).await?;
        let jwks_uri = match (answer.content, before) {
            (Some(metadata), _) => {
                if metadata.issuer != self.issuer {
                    let says =
                        format!("it says it is of `{}`, and `{}` is configured", short(&metadata.issuer), self.issuer);
                    return Err(KeysError::new(KeysErrorKind::WrongIssuer).with_source(says));
                }
                self.allowed(Url::parse(&metadata.jwks_uri).map_err(malformed)?)?
            }
            (None, Some(document)) => document.jwks_uri.clone(),
            (None, None) => return Err(KeysError::new(KeysErrorKind::Status(StatusCode::NOT_MODIFIED))),
        };
        Ok(Document { jwks_uri, etag: answer.etag, fresh_until: Instant::now() + answer.fresh_for })
    }

    async fn get<T>(&self, url: &Url, accept: &'static str, etag: Option<&ETag>) -> Result<Answer<T>, KeysError>
    where
        T: DeserializeOwned,
    {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let etag = etag.filter(|etag| etag.url == url);
            let mut request = Request::get(url.as_str()).header(ACCEPT, accept);
            if let Some(etag) = etag {
                request = request.header(IF_NONE_MATCH, &etag.value);
            }
            let request = request.body(()).map_err(malformed)?;
            let response = self.fetch.fetch_boxed(request).await.map_err(no_answer)?;
            let headers = response.headers();
            match response.status() {
                StatusCode::OK => {
                    if response.body().len() > MAX_LEN {
                        return Err(KeysError::new(KeysErrorKind::TooLarge));
                    }
                    let content = parse(response.body())?;
                    let etag = headers.get(ETAG).map(|value| ETag { url, value: value.clone() });
                    return Ok(Answer { content: Some(content), etag, fresh_for: self.fresh_for(headers) });
                }
                StatusCode::NOT_MODIFIED if etag.is_some() => {
                    return Ok(Answer { content: None, etag: etag.cloned(), fresh_for: self.fresh_for(headers) });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = self.allowed(redirect(&url, headers)?)?,
                status => {
                    let error = KeysError::new(KeysErrorKind::Status(status));
                    return Err(error.with_retry_after(retry_after(headers)));
                }
            }
        }
        Err(KeysError::new(KeysErrorKind::Redirects))
    }

    fn allowed(&self, url: Url) -> Result<Url, KeysError> {
        if self.rule.allows(&url) { Ok(url) } else { Err(KeysError::new(KeysErrorKind::InsecureUrl)) }
    }

    fn fresh_for(&self, headers: &HeaderMap) -> Duration {
        let (least, most) = self.fresh_for;
        freshness(headers).clamp(least, most)
    }
}

/// JSON, which is UTF-8 throughout. A byte order mark is ignored, as RFC 8259 §8.1 allows: files on some servers have one.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, KeysError> {
    let json = str::from_utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).map_err(malformed)?;
    serde_json::from_str(json).map_err(malformed)
}

/// How long an answer with these headers is fresh (RFC 9111 §4.2).
fn freshness(headers: &HeaderMap) -> Duration {
    // What a `304` says about it goes for what it confirms.
    let mut response = http::Response::new(());
    *response.headers_mut() = headers.clone();
    // Only what lies between the times in the headers counts, so that it does not matter how late it is here.
    let now = SystemTime::now();
    let options = CacheOptions { shared: false, ..CacheOptions::default() };
    CachePolicy::new_options(&Request::new(()), &response, now, options).time_to_live(now)
}

/// In seconds; dates are not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, KeysError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    location.and_then(|location| from.join(location).ok()).ok_or_else(|| KeysError::new(KeysErrorKind::Redirects))
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> KeysError {
    KeysError::new(KeysErrorKind::Malformed).with_source(error)
}

fn no_answer(error: Box<dyn std::error::Error + Send + Sync>) -> KeysError {
    match error.downcast::<KeysError>() {
        Ok(error) => *error,
        Err(error) => KeysError::new(KeysErrorKind::Unreachable).with_source(error),
    }
}

impl Memory {
    /// There are no keys that an answer could confirm.
    pub(super) fn forget_keys(&mut self) {
        self.etag = None;
    }

    /// After a failure the discovery document may be what was wrong.
    pub(super) fn doubt(&mut self) {
        if let Some(document) = &mut self.document {
            document.fresh_until = Instant::now();
        }
    }
}

// By hand: a fetcher need not be `Debug`.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
