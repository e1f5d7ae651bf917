use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{ClientAuth, cache::Lifetimes};
use crate::{
    http_client::{DynHttpClient, HttpClient, metadata_url, without_credentials},
    verify::{
        jwks::IssuerKeys,
        jwt::{JwtVerifier, JwtVerifierBuilder},
    },
};

/// Builds an [`IntrospectionVerifier`](super::IntrospectionVerifier); see the [module docs](super).
#[must_use]
pub struct IntrospectionBuilder<C> {
    pub(super) location: Location,
    pub(super) auth: ClientAuth,
    pub(super) claims: JwtVerifierBuilder<C>,
    pub(super) issuer: Option<String>,
    pub(super) ignore_binding: bool,
    pub(super) signed: Option<IssuerKeys>,
    pub(super) client_id: Option<String>,
    pub(super) client: Option<Arc<dyn DynHttpClient>>,
    pub(super) insecure_http: bool,
    pub(super) opaque_only: bool,
    pub(super) timeout: Duration,
    pub(super) concurrent_requests: usize,
    pub(super) lifetimes: Lifetimes,
    pub(super) recheck_every: Duration,
}

/// Where the endpoint is.
pub(super) enum Location {
    Url(String),
    /// In the issuer's discovery document, which has this URL.
    Discover {
        issuer: String,
        document: String,
    },
}

impl<C: DeserializeOwned + Send + Sync + 'static> IntrospectionBuilder<C> {
    pub(super) fn discover(issuer: String, document: Option<String>, auth: ClientAuth) -> Self {
        let document = document.unwrap_or_else(|| metadata_url(&issuer));
        Self { issuer: Some(issuer.clone()), ..Self::new(Location::Discover { issuer, document }, auth) }
    }

    pub(super) fn endpoint(url: String, auth: ClientAuth) -> Self {
        Self::new(Location::Url(url), auth)
    }

    fn new(location: Location, auth: ClientAuth) -> Self {
        Self {
            location,
            auth,
            // Without `exp`, the provider says when the token ends: it is asked again and again.
            claims: JwtVerifier::builder().insecure_allow_missing_exp(),
            issuer: None,
            ignore_binding: false,
            signed: None,
            client_id: None,
            client: None,
            insecure_http: false,
            opaque_only: false,
            timeout: Duration::from_secs(5),
            concurrent_requests: 32,
            lifetimes: Lifetimes { active: Duration::from_secs(10), inactive: Duration::from_secs(5) },
            recheck_every: Duration::from_secs(60),
        }
    }

    /// Sets the issuer of all tokens: an `iss` in an answer must equal it. An answer without `iss` is about a token of
    /// this issuer.
    ///
    /// Defaults to the issuer that is discovered. With [`endpoint`](super::IntrospectionVerifier::endpoint) it defaults
    /// to none, which ignores `iss`, because the endpoint already identifies the issuer.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Adds an audience: the `aud` of an answer must name one of those added.
    ///
    /// Defaults to none, which refuses every token with an `aud`, because it was issued for another service (RFC 7662
    /// §4).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.claims = self.claims.audience(audience);
        self
    }

    /// Ignores `aud`.
    ///
    /// Insecure because tokens that the same issuer made for other services are then accepted here too.
    pub fn insecure_any_audience(mut self) -> Self {
        self.claims = self.claims.insecure_any_audience();
        self
    }

    /// Accepts tokens that are bound to a key (`cnf`, or a `token_type` of `DPoP`) as if they were bearer tokens.
    ///
    /// Insecure unless something else checks that the client holds that key; see
    /// [`JwtVerifierBuilder::insecure_ignore_cnf`].
    ///
    /// Defaults to refusing such a token, as [`SenderConstrained`](crate::VerifyErrorKind::SenderConstrained).
    pub fn insecure_ignore_cnf(mut self) -> Self {
        self.claims = self.claims.insecure_ignore_cnf();
        self.ignore_binding = true;
        self
    }

    /// Sets the claim with the session at the provider; see [`JwtVerifierBuilder::provider_session_claim`].
    pub fn provider_session_claim(mut self, name: impl Into<String>) -> Self {
        self.claims = self.claims.provider_session_claim(name);
        self
    }

    /// Sets the tolerance for clock differences in `exp` and `nbf`; at most an hour. Defaults to 30 seconds, because
    /// the clocks of servers differ.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.claims = self.claims.leeway(leeway);
        self
    }

    /// Requires signed answers (RFC 9701), and verifies them with these keys. A plain answer is then refused.
    ///
    /// The `iss` of an answer must be the issuer of the keys, its `aud` the [`client_id`](Self::client_id), its `typ`
    /// `token-introspection+jwt`, and its `iat` within a minute of the request.
    ///
    /// Defaults to plain answers, because HTTPS already protects them. A signature also protects them from a proxy that
    /// ends TLS.
    pub fn signed_answers(mut self, keys: IssuerKeys) -> Self {
        self.signed = Some(keys);
        self
    }

    /// Sets the id of this server as a client, which signed answers have as `aud`.
    ///
    /// Defaults to the id in [`ClientAuth::basic`] or [`ClientAuth::post`]. Bearer tokens have none, so it must be set
    /// for signed answers.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets the HTTP client for discovery and introspection. The keys for signed answers have
    /// [one of their own](IssuerKeys::fetch).
    ///
    /// Defaults to reqwest with rustls and the certificates that the operating system trusts.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// Allows `http` URLs.
    ///
    /// Insecure because anyone on the network path can read the tokens and the credentials of this server, and forge
    /// answers. `http` to `localhost` and loopback addresses is always allowed, unless a document from another host
    /// leads there.
    pub fn insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    /// Refuses tokens that look like JSON Web Tokens with 401, without asking the provider.
    ///
    /// For use behind [`or`](crate::Verifier::or), if a [`JwtVerifier`] has refused them already.
    ///
    /// Defaults to asking about every token, because some providers issue JSON Web Tokens and answer for them too.
    pub fn opaque_only(mut self) -> Self {
        self.opaque_only = true;
        self
    }

    /// Sets how long a handshake or a recheck waits for an answer, in all.
    ///
    /// Defaults to 5 seconds, because clients give up not much later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many handshakes may ask the provider at the same time. More wait for their turn, within the
    /// [`timeout`](Self::timeout). Rechecks have [a limit of their own](crate::WsAuthLayer::max_concurrent_rechecks),
    /// so that a flood of handshakes does not delay them.
    ///
    /// Defaults to 32, which suffices for a thousand handshakes a second if an answer takes 30 milliseconds.
    pub fn concurrent_requests(mut self, requests: usize) -> Self {
        self.concurrent_requests = requests;
        self
    }

    /// Sets how long later handshakes with the same token are admitted without asking again; never longer than `exp`.
    /// Zero asks each time.
    ///
    /// Defaults to 10 seconds: enough for a page that opens several connections at once, or reconnects. For as long, a
    /// revoked token can still open connections. Rechecks then end these.
    pub fn cache_active(mut self, lifetime: Duration) -> Self {
        self.lifetimes.active = lifetime;
        self
    }

    /// Sets how long later handshakes with the same token are refused without asking again. Zero asks each time.
    ///
    /// Defaults to 5 seconds, because clients retry with a bad token, and a token does not become valid again.
    pub fn cache_inactive(mut self, lifetime: Duration) -> Self {
        self.lifetimes.inactive = lifetime;
        self
    }

    /// Sets how often the provider is asked again about the token of a live session; see
    /// [`Verified::recheck_in`](crate::Verified::recheck_in()).
    ///
    /// A token that is revoked at the provider closes its connections within this time. Defaults to 60 seconds: 10 000
    /// sessions then cause about 190 requests a second. With `Duration::MAX` sessions are rechecked on demand alone, by
    /// [`Sessions::recheck_subject`](crate::Sessions::recheck_subject); do so only if all tokens have an `exp`.
    pub fn recheck_every(mut self, period: Duration) -> Self {
        self.recheck_every = period;
        self
    }
}

// By hand: a client need not be `Debug`, and a URL may hold a password, because it is not validated yet.
impl<C> fmt::Debug for IntrospectionBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("IntrospectionBuilder");
        match &self.location {
            Location::Url(url) => debug.field("endpoint", &without_credentials(url)),
            Location::Discover { issuer, document } => {
                debug.field("discover", &without_credentials(issuer)).field("document", &without_credentials(document))
            }
        };
        debug
            .field("auth", &self.auth)
            .field("claims", &self.claims)
            .field("signed", &self.signed)
            .field("timeout", &self.timeout)
            .field("concurrent_requests", &self.concurrent_requests)
            .field("lifetimes", &self.lifetimes)
            .field("recheck_every", &self.recheck_every)
            .finish_non_exhaustive()
    }
}
