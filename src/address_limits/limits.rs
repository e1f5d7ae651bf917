use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use super::{AddressLimitError, Attempts, Connections, Key, Visit};
use crate::error::ConfigError;

/// Limits on what one address may do; see [`WsAuthLayer::address_limits`](crate::WsAuthLayer::address_limits).
///
/// They are checked **before a token is read**, so that a client beyond a limit can neither guess tokens nor keep the
/// server busy with signatures and look-ups. It gets 429 and `Retry-After`, even with a valid token, and even
/// under [`accept_then_close`](crate::WsAuthLayer::accept_then_close), because that would hold a connection for each.
///
/// The address is the [`ClientAddr`](crate::ClientAddr). The server has to tell it, and behind proxies it needs
/// [`trusted_proxies`](crate::WsAuthLayer::trusted_proxies): all clients would share the limits of the proxy otherwise.
/// A client whose address is unknown is refused with 503, and an event says what is missing.
///
/// **Choose generously.** A school, a company, or all customers of a mobile provider may have one IPv4 address. For
/// limits per user see [`Limits`](crate::Limits). There are no limits by default.
///
/// A clone shares the counts, so several layers can limit an address together. Each process counts for itself.
///
/// # Memory
///
/// Failed attempts take 64 bytes for each address, for at most [`capacity`](Self::capacity) addresses. When there are
/// more, a new address replaces one with few failures. So nobody is limited for what others did, and an address that is
/// limited stays limited, unless about as many addresses are limited as the capacity holds. An attacker who has more
/// addresses than that is not slowed down by limits on addresses. Connections are counted exactly, in an entry for each
/// address that is connected.
///
/// # Example
///
/// ```
/// use std::{net::SocketAddr, time::Duration};
///
/// use axum::{Router, extract::connect_info::MockConnectInfo, http::StatusCode, routing::any};
/// use axum_ws_auth::{AddressLimits, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = AddressLimits::new().connections(100)?.failed_attempts(2, Duration::from_secs(60))?;
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).address_limits(&limits);
/// let app = Router::new().route("/", any(test_util::echo)).layer(layer);
/// let from = |peer: [u8; 4]| app.clone().layer(MockConnectInfo(SocketAddr::from((peer, 50_000))));
///
/// let guess = || handshake().bearer_subprotocol("guess").build();
/// for _ in 0..2 {
///     assert_eq!(from([192, 0, 2, 1]).oneshot(guess()).await?.status(), StatusCode::UNAUTHORIZED);
/// }
///
/// // No: this address has failed too often, whatever it sends now.
/// let request = || handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
/// let response = from([192, 0, 2, 1]).oneshot(request()).await?;
/// assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
/// assert!(response.headers().contains_key("retry-after"));
///
/// // Yes: others have not.
/// assert_eq!(from([192, 0, 2, 2]).oneshot(request()).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct AddressLimits {
    settings: Settings,
    counts: Arc<Counts>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    connections: Option<usize>,
    failed_attempts: Option<(u32, Duration)>,
    ipv6_prefix: u8,
    capacity: usize,
}

pub(super) struct Counts {
    pub(super) connections: Option<Connections>,
    pub(super) attempts: Option<Attempts>,
}

impl AddressLimits {
    /// No limits.
    pub fn new() -> Self {
        Self::with(Settings { connections: None, failed_attempts: None, ipv6_prefix: 64, capacity: 65_536 })
    }

    /// New limits, which have counted nothing yet.
    fn with(settings: Settings) -> Self {
        let Settings { connections, failed_attempts, capacity, .. } = settings;
        let connections = connections.map(Connections::new);
        let attempts = failed_attempts.map(|(max, per)| Attempts::new(max, per, capacity));
        Self { settings, counts: Arc::new(Counts { connections, attempts }) }
    }

    /// Sets the maximum number of connections of an address: of sockets, from the handshake until their connection is
    /// dropped, and of [streams](crate::WsAuthLayer::streams) that take a place in the limits.
    ///
    /// A handshake counts from its beginning, before its token is verified, and so does one that waits for its
    /// [first message](crate::FirstMessage). The socket of an anonymous client
    /// ([`optional`](crate::WsAuthLayer::optional)) does not count once it is open, because the layer does not know
    /// when it ends. Defaults to no limit.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn connections(self, max: usize) -> Result<Self, ConfigError> {
        if max == 0 {
            return Err(ConfigError::ZeroLimit("connections of an address"));
        }
        Ok(Self::with(Settings { connections: Some(max), ..self.settings }))
    }

    /// Sets the maximum number of failed attempts of an address within a time.
    ///
    /// An attempt has failed if its token is refused with
    /// [`RejectionKind::InvalidToken`](crate::RejectionKind::InvalidToken): a token that nobody gave to the client.
    ///
    /// These do **not** count, because a page that makes such a mistake again and again must not lock out everybody
    /// else at its address:
    ///
    /// - a token that was valid once and has expired or was revoked, or that is not valid yet
    /// - a [ticket](crate::Tickets) that was used, has expired, or is for another path or origin. The store does not
    ///   tell it from one that never existed, but nobody can guess 256 random bits. A text that cannot be a ticket
    ///   counts, and so does one that another verifier, combined by [`or`](crate::Verifier::or()), finds invalid rather
    ///   than malformed: it may be a guess at a token of that one.
    /// - a DPoP proof by the right key that is too old, was made by a wrong clock, was used before, or lacks a nonce. One
    ///   for another URL or another token counts.
    /// - a request without a token, and one that is [forbidden](crate::VerifyError::forbidden)
    /// - a refusal by these limits, and one that is not the client's fault
    ///
    /// If a provider answers an introspection with *not active*, the attempt **counts**. The token may have expired, or
    /// may be invented: the provider does not say which (RFC 7662 §2.2).
    ///
    /// A success does not reset the count: otherwise, a client that has one valid token could guess others.
    ///
    /// The window slides by an eighth of its length: a failure counts for this time, and for an eighth longer at most.
    /// Attempts that are being verified at the same time are not counted yet, and may exceed the limit; a limit on
    /// [`connections`](Self::connections) bounds them too. Defaults to no limit.
    ///
    /// # Errors
    ///
    /// If one of them is zero.
    pub fn failed_attempts(self, max: u32, per: Duration) -> Result<Self, ConfigError> {
        if max == 0 {
            return Err(ConfigError::ZeroLimit("failed attempts"));
        }
        if per.is_zero() {
            return Err(ConfigError::ZeroLimit("the time of failed attempts"));
        }
        Ok(Self::with(Settings { failed_attempts: Some((max, per)), ..self.settings }))
    }

    /// Sets how many bits of an IPv6 address count. Addresses that begin with the same bits share their limits.
    ///
    /// Defaults to 64, the network of one customer or one machine (RFC 4291 §2.5.4), in which each client can choose
    /// among 2⁶⁴ addresses. Many providers give larger networks to each customer: 56 or 48.
    ///
    /// # Errors
    ///
    /// If it is not between 1 and 128.
    pub fn ipv6_prefix(self, bits: u8) -> Result<Self, ConfigError> {
        if !(1..=128).contains(&bits) {
            return Err(ConfigError::InvalidIpv6Prefix(bits));
        }
        Ok(Self::with(Settings { ipv6_prefix: bits, ..self.settings }))
    }

    /// Sets for how many addresses failed attempts are remembered; see [memory](Self#memory). It is rounded up to a
    /// multiple of 16.
    ///
    /// Defaults to 65,536, which is 4 MiB once that many addresses have failed.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(self, addresses: usize) -> Result<Self, ConfigError> {
        if addresses == 0 {
            return Err(ConfigError::ZeroLimit("the remembered addresses"));
        }
        Ok(Self::with(Settings { capacity: addresses, ..self.settings }))
    }

    /// Lets a client in, unless its address has reached the limit of failed attempts.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Visit, AddressLimitError> {
        let key = Key::new(address, self.settings.ipv6_prefix);
        if let Some(attempts) = &self.counts.attempts {
            attempts.check(key).map_err(|retry_after| AddressLimitError::TooManyAttempts { retry_after })?;
        }
        Ok(Visit::new(Arc::clone(&self.counts), key))
    }
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self::new()
    }
}

// By hand: the counts hold the addresses of clients.
impl fmt::Debug for AddressLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { connections, failed_attempts, ipv6_prefix, capacity } = self.settings;
        f.debug_struct("AddressLimits")
            .field("connections", &connections)
            .field("failed_attempts", &failed_attempts)
            .field("ipv6_prefix", &ipv6_prefix)
            .field("capacity", &capacity)
            .finish_non_exhaustive()
    }
}
