use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{FetchJwks, JwkSet, client::Fetch, names::Names, refresh::Timing};
use crate::{
    http_client::{DynHttpClient, metadata_url, without_credentials},
    verify::keys::Algorithm,
};

/// The keys of one issuer: where they come from and how they are fetched; see the [module docs](super).
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
    pub(super) names: Names,
    pub(super) location: Location,
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) client: Option<Arc<dyn DynHttpClient>>,
    pub(super) insecure_http: bool,
    pub(super) fresh_for: RangeInclusive<Duration>,
    pub(super) timing: Timing,
}

#[derive(Clone)]
pub(super) enum Location {
    Metadata(String),
    Jwks(String),
    /// One key in PEM.
    Pem(String),
    Local(JwkSet),
}

impl IssuerKeys {
    /// Fetches the keys from the `jwks_uri` in the issuer's OpenID Connect Discovery 1.0 document, at
    /// `{issuer}/.well-known/openid-configuration`.
    ///
    /// The document must name exactly this issuer; a trailing slash makes a difference.
    pub fn discover(issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        let metadata = metadata_url(&issuer);
        Self::new(issuer, Location::Metadata(metadata))
    }

    /// Fetches the keys from the `jwks_uri` in a discovery document at another URL, such as that of RFC 8414, or one on
    /// an internal host name.
    ///
    /// The document must name exactly this issuer.
    pub fn discover_at(issuer: impl Into<String>, metadata_url: impl Into<String>) -> Self {
        Self::new(issuer.into(), Location::Metadata(metadata_url.into()))
    }

    /// Fetches the keys from this URL, without discovery.
    pub fn jwks_url(issuer: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(issuer.into(), Location::Jwks(url.into()))
    }

    /// Uses a local key set. Nothing is fetched, so only [`algorithms`](Self::algorithms) has an effect.
    ///
    /// Unlike in a fetched set, symmetric keys are accepted.
    pub fn jwks(issuer: impl Into<String>, set: JwkSet) -> Self {
        Self::new(issuer.into(), Location::Local(set))
    }

    #[cfg(feature = "signals")]
    pub(crate) fn issuer(&self) -> &str {
        &self.names.canonical
    }

    pub(super) fn new(issuer: String, location: Location) -> Self {
        Self {
            names: Names::new(issuer),
            location,
            algorithms: None,
            client: None,
            insecure_http: false,
            fresh_for: Duration::from_secs(300)..=Duration::from_secs(3600),
            timing: Timing {
                timeout: Duration::from_secs(10),
                cool_down: Duration::from_secs(10),
                max_stale: Duration::from_secs(24 * 3600),
            },
        }
    }

    /// Sets the allowed algorithms. A key with an `alg` is used with that algorithm only, and a key without one with
    /// every allowed algorithm that fits it.
    ///
    /// Defaults to the `alg` of each key, or else the algorithm of its type and curve: `ES256`, `ES384`, `EdDSA`, and
    /// `RS256` for RSA.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Adds another name of this issuer: a token whose `iss` is the alias is verified with the same keys. Several can
    /// be added.
    ///
    /// [`Verified::issuer`](crate::Verified::issuer) is always the issuer's own name, so a user is the same one under
    /// all names: a session can be refreshed with a token of another name, and a revocation by issuer and subject ends
    /// them all. The claims keep the `iss` of the token.
    ///
    /// Defaults to none. Add only names of the same provider with the same subjects:
    ///
    /// ```
    /// use axum_ws_auth::jwks::IssuerKeys;
    ///
    /// let google = IssuerKeys::discover("https://accounts.google.com").alias("accounts.google.com");
    /// let adfs = IssuerKeys::discover("https://fs.example.com/adfs").alias("http://fs.example.com/adfs/services/trust");
    /// ```
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.names.aliases.push(name.into());
        self
    }

    /// Also verifies tokens without `iss` with these keys. Such a token counts as one of this issuer, so
    /// [`Verified::issuer`](crate::Verified::issuer) is its name. Only one issuer of a verifier can have this setting.
    ///
    /// A token that names another issuer is still refused (RFC 8725 §3.8).
    ///
    /// Defaults to refusing tokens without `iss`, because providers whose issuers share keys, such as tenants, tell
    /// them apart by `iss` alone. Use it only if the provider signs with these keys for nobody else.
    pub fn allow_missing_iss(mut self) -> Self {
        self.names.missing = true;
        self
    }

    /// Sets the HTTP client. Defaults to reqwest with rustls and the certificates that the operating system trusts.
    pub fn fetch(mut self, fetch: impl FetchJwks) -> Self {
        self.client = Some(Arc::new(Fetch(fetch)));
        self
    }

    /// Allows `http` URLs.
    ///
    /// Insecure because anyone on the network path can insert keys into the response and sign tokens with them. `http`
    /// to `localhost` and loopback addresses is always allowed, unless a redirect or document from another host leads
    /// there.
    pub fn insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    /// Sets the timeout of one fetch, discovery included. A handshake with an unknown key waits for at most two
    /// fetches: the one in progress and the next. All such handshakes share these fetches.
    ///
    /// Defaults to 10 seconds, because clients give up not much later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timing.timeout = timeout;
        self
    }

    /// Sets the bounds for how long keys are fresh according to `Cache-Control` or `Expires` (RFC 9111 §4.2). They are
    /// refreshed at 75 to 95 percent of that time.
    ///
    /// Defaults to between 5 minutes and an hour. The minimum is needed because some issuers forbid caching. The
    /// maximum limits how long a withdrawn key, which may be stolen, stays in use.
    pub fn refresh_interval(mut self, interval: RangeInclusive<Duration>) -> Self {
        self.fresh_for = interval;
        self
    }

    /// Sets the minimum time between two fetches that tokens with unknown keys cause. In the meantime, tokens with
    /// unknown keys are refused with 503.
    ///
    /// Defaults to 10 seconds, because clients can send arbitrary key ids.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.timing.cool_down = cool_down;
        self
    }

    /// Sets how long the last keys stay in use while the issuer is unavailable. After that, tokens are refused with
    /// 503.
    ///
    /// Defaults to 24 hours, so that an outage of the issuer does not become one of this server, while a withdrawn key
    /// does not stay in use forever.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.timing.max_stale = max_stale;
        self
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys")
            .field("issuer", &without_credentials(&self.names.canonical))
            .field("aliases", &self.names.aliases)
            .field("location", &self.location)
            .field("algorithms", &self.algorithms)
            .field("insecure_http", &self.insecure_http)
            .field("fresh_for", &self.fresh_for)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

// By hand: a URL may hold a password, because it is not validated yet.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(url) => f.debug_tuple("Metadata").field(&without_credentials(url)).finish(),
            Self::Jwks(url) => f.debug_tuple("Jwks").field(&without_credentials(url)).finish(),
            Self::Pem(url) => f.debug_tuple("Pem").field(&without_credentials(url)).finish(),
            Self::Local(set) => f.debug_tuple("Local").field(set).finish(),
        }
    }
}
