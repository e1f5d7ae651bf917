use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    FetchJwks, Issuer, JwkSet,
    demand::Demand,
    fetch::{AnyFetch, BuiltIn},
    issuer::Remote,
    refresh::{Refresh, Timing},
    set::Origin,
    source::{Source, Target},
    url::{UrlRule, metadata_url, without_credentials},
};
use crate::{error::ConfigError, verify::jwt::Algorithm};

/// The keys of one issuer, and how they are fetched; see the [module docs](super).
///
/// ```
/// use axum_ws_auth::{jwks::IssuerKeys, jwt::Algorithm};
/// use std::time::Duration;
///
/// let keys = IssuerKeys::discover("https://id.example.com")
///     .algorithms([Algorithm::RS256, Algorithm::ES256])
///     .max_stale(Duration::from_secs(6 * 3600));
/// ```
#[derive(Clone)]
#[must_use]
pub struct IssuerKeys {
    issuer: String,
    place: Place,
    algorithms: Option<Vec<Algorithm>>,
    fetch: Option<Arc<dyn AnyFetch>>,
    insecure_http: bool,
    fresh_for: RangeInclusive<Duration>,
    timing: Timing,
}

#[derive(Clone)]
enum Place {
    Metadata(String),
    Url(String),
    Hand(JwkSet),
}

/// A year. Moments that are much further away cannot be told on every clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl IssuerKeys {
    /// Keys that are found by OpenID Connect Discovery 1.0: the document at
    /// `{issuer}/.well-known/openid-configuration` says where they are. It must name the same issuer, to the letter: a
    /// slash at the end counts.
    pub fn discover(issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        let metadata = metadata_url(&issuer);
        Self::new(issuer, Place::Metadata(metadata))
    }

    /// Keys that are found by a discovery document elsewhere: that of RFC 8414, or one behind another host name within
    /// one's own network. It must name the same issuer all the same.
    pub fn discover_at(issuer: impl Into<String>, metadata_url: impl Into<String>) -> Self {
        Self::new(issuer.into(), Place::Metadata(metadata_url.into()))
    }

    /// Keys that are at this URL, without discovery.
    pub fn jwks_url(issuer: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(issuer.into(), Place::Url(url.into()))
    }

    /// Keys in hand. Nothing is ever fetched: what is set below about that has no meaning for them.
    ///
    /// Symmetric keys count too, unlike in a set from the network.
    pub fn jwks(issuer: impl Into<String>, set: JwkSet) -> Self {
        Self::new(issuer.into(), Place::Hand(set))
    }

    fn new(issuer: String, place: Place) -> Self {
        Self {
            issuer,
            place,
            algorithms: None,
            fetch: None,
            insecure_http: false,
            fresh_for: Duration::from_secs(300)..=Duration::from_secs(3600),
            timing: Timing {
                timeout: Duration::from_secs(10),
                cool_down: Duration::from_secs(10),
                max_stale: Duration::from_secs(24 * 3600),
            },
        }
    }

    /// Sets which algorithms are allowed. A key that says `alg` is used with that one only, a key that does not with
    /// each of these that it can be used with.
    ///
    /// Defaults to what the keys say by their `alg`, or by type and curve: `ES256`, `ES384`, `EdDSA`, and for RSA `RS256`.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets the HTTP client. Defaults to reqwest with rustls and the certificates that the operating system trusts.
    pub fn fetch(mut self, fetch: impl FetchJwks) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Allows `http` URLs.
    ///
    /// Insecure because whoever is on the way can put keys of their own into the answer, and sign tokens with them. On
    /// this machine (`localhost` and loopback addresses) `http` is always allowed, but not where a URL from elsewhere
    /// leads there.
    pub fn insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    /// Sets how long one attempt may take in all, and with it how long a handshake may wait for a key: for the attempt that
    /// is under way and for another one. Any number of handshakes wait together.
    ///
    /// Defaults to 10 seconds, because clients give up not much later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timing.timeout = timeout;
        self
    }

    /// Sets for how long keys are fresh at least and at most, whatever `Cache-Control` or `Expires` says (RFC 9111
    /// §4.2); they are fetched again somewhat before that is over.
    ///
    /// Defaults to 5 minutes to an hour: the one because some issuers forbid caching, the other because a key that was
    /// stolen and is withdrawn counts here until then.
    pub fn refresh_interval(mut self, interval: RangeInclusive<Duration>) -> Self {
        self.fresh_for = interval;
        self
    }

    /// Sets how long after an attempt that was made for an unknown key the next one may be made for another. Tokens
    /// whose key cannot be looked for in the meantime get a 503. Defaults to 10 seconds, because clients can invent keys.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.timing.cool_down = cool_down;
        self
    }

    /// Sets how long the last good keys are used while no others can be had; after that tokens get a 503. Defaults to
    /// 24 hours, because an outage of the issuer should not be one here, and a withdrawn key must be noticed some day.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.timing.max_stale = max_stale;
        self
    }

    /// The issuer, and what it takes to fetch its keys unless they are in hand. The client that is built in is shared.
    pub(super) fn begin(self, built_in: &BuiltIn) -> Result<(Arc<Issuer>, Option<Refresh>), ConfigError> {
        self.check()?;
        let url = |text: &str| UrlRule::configured(text, self.insecure_http);
        let (target, rule) = match self.place {
            Place::Metadata(text) => url(&text).map(|(url, rule)| (Target::Metadata(url), rule))?,
            Place::Url(text) => url(&text).map(|(url, rule)| (Target::Set(url), rule))?,
            Place::Hand(set) => {
                let list = set.keys(self.algorithms.as_deref(), Origin::Hand);
                if list.usable.is_empty() {
                    return Err(ConfigError::NoUsableKey { problems: list.problems(), issuer: self.issuer });
                }
                return Ok((Arc::new(Issuer::fixed(self.issuer, list)), None));
            }
        };
        let fetch = self.fetch.map_or_else(|| built_in.get(), Ok)?;
        let (attempts, over) = watch::channel(0);
        let remote = Arc::new(Remote {
            allowed: self.algorithms.clone(),
            demand: Mutex::new(Demand::new(Instant::now())),
            wake: Notify::new(),
            attempts: over,
            patience: self.timing.timeout + Duration::from_secs(1),
        });
        let issuer = Arc::new(Issuer::remote(self.issuer.clone(), Arc::clone(&remote)));
        let source = Source {
            issuer: self.issuer,
            target,
            rule,
            fetch,
            algorithms: self.algorithms,
            fresh_for: self.fresh_for.into_inner(),
            timeout: self.timing.timeout,
        };
        let (source, timing) = (Arc::new(source), self.timing);
        let refresh = Refresh { issuer: Arc::clone(&issuer), remote, source, attempts, timing };
        Ok((issuer, Some(refresh)))
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.issuer.is_empty() {
            return Err(ConfigError::Empty("issuer"));
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::Empty("list of algorithms"));
        }
        let Timing { timeout, cool_down, max_stale } = self.timing;
        for (what, duration) in [
            ("timeout of fetching keys", timeout),
            ("shortest refresh interval", *self.fresh_for.start()),
            ("cool-down of fetching keys", cool_down),
            ("time that stale keys are used", max_stale),
        ] {
            if duration.is_zero() {
                return Err(ConfigError::ZeroDuration(what));
            }
            if duration > LONGEST {
                return Err(ConfigError::LongDuration(what));
            }
        }
        if self.fresh_for.is_empty() || *self.fresh_for.end() > max_stale {
            return Err(ConfigError::InvalidRefreshInterval);
        }
        Ok(())
    }
}

// By hand: a fetcher need not be `Debug`.
impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys")
            .field("issuer", &without_credentials(&self.issuer))
            .field("place", &self.place)
            .field("algorithms", &self.algorithms)
            .field("insecure_http", &self.insecure_http)
            .field("fresh_for", &self.fresh_for)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

// By hand: nobody has looked yet whether there is a password in a URL.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(url) => f.debug_tuple("Metadata").field(&without_credentials(url)).finish(),
            Self::Url(url) => f.debug_tuple("Url").field(&without_credentials(url)).finish(),
            Self::Hand(set) => f.debug_tuple("Hand").field(set).finish(),
        }
    }
}
