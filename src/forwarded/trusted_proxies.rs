use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, header::FORWARDED};

use super::{
    MAX_HOPS,
    external::{External, Malformed},
    network::Network,
    rfc7239::{self, Element},
    x_forwarded,
};
use crate::error::ConfigError;

/// Which proxies may say who a client is, and by which header; see
/// [`WsAuthLayer::trusted_proxies`](crate::WsAuthLayer::trusted_proxies).
///
/// A server behind a proxy sees the proxy as the peer of every request, and sometimes a `Host` that the proxy chose.
/// Proxies pass on the rest in headers. Any client can send these headers too, so the layer reads them only if the
/// connection's peer is a trusted proxy. It reads one kind of header, because a proxy that writes one kind passes the
/// other on as the client sent it.
///
/// | | [`x_forwarded`](Self::x_forwarded) | [`forwarded`](Self::forwarded) (RFC 7239) | used for |
/// | --- | --- | --- | --- |
/// | the client's address | `X-Forwarded-For` | `for` | [`ClientAddr`](crate::ClientAddr) |
/// | the host that the client asked for | `X-Forwarded-Host` | `host` | [`AllowOrigin::same_origin`](crate::AllowOrigin::same_origin) |
/// | the scheme: `http` or `https`, `ws` or `wss` | `X-Forwarded-Proto` | `proto` | the same |
///
/// # What is read
///
/// Each proxy appends the address that its request came from. The list is read **from its end**, and trusted proxies
/// are skipped: the first address that is not one of them is the client. Anything before it may have been written by
/// the client. If all are trusted, the first of the list is the client; if the list is missing, the peer itself is.
///
/// - If the next address cannot be read (`unknown`, a name such as `_lb`, an empty or malformed entry), or if there are
///   more than 64, **the address is unknown**: the request has no [`ClientAddr`](crate::ClientAddr). The proxy's own
///   address is not used instead, because all clients would then share it, and its limits.
/// - The host and the scheme are those that the outermost trusted proxy wrote: the one next to the client. If it wrote
///   none, the next one's count, and if no proxy wrote a host, `Host` does.
/// - A host or scheme that **cannot be read** allows no page by the same-origin rule: the origin is refused with the
///   reason `forwarded_malformed`.
/// - The inner service sees all headers unchanged, whether a proxy or a client sent them.
///
/// # What the proxy has to do
///
/// It must append to the header that you name, or overwrite it, in every request. It must also set or remove the other
/// two headers of the `X-Forwarded` kind, because they are believed as well. Name proxies only: a peer with one of
/// these addresses can claim to be any client.
///
/// The peer's address comes from the server; see [`ClientAddr`](crate::ClientAddr). Without it, nobody is trusted, and
/// an event says so.
///
/// # Example
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{Router, extract::connect_info::MockConnectInfo, http::StatusCode, routing::any};
/// use axum_ws_auth::{TokenSource, TrustedProxies, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>())
///     .sources([TokenSource::cookie("session")])?
///     .trusted_proxies(TrustedProxies::x_forwarded(["10.0.0.0/8", "2001:db8:1::/48"])?);
/// let app = Router::new().route("/", any(test_util::echo)).layer(layer);
/// let from = |peer: [u8; 4]| app.clone().layer(MockConnectInfo(SocketAddr::from((peer, 443))));
///
/// // A proxy passes a page's handshake on, and names the backend in `Host`.
/// let request = || {
///     handshake()
///         .cookie("session", &TestToken::new("alice").sign())
///         .origin("https://chat.example.com")
///         .header("host", "backend:3000")
///         .header("x-forwarded-host", "chat.example.com")
///         .header("x-forwarded-proto", "https")
///         .build()
/// };
///
/// // Yes: the page is of the host that the client asked for.
/// assert_eq!(from([10, 0, 0, 1]).oneshot(request()).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
///
/// // No: this peer is no proxy.
/// assert_eq!(from([192, 0, 2, 1]).oneshot(request()).await?.status(), StatusCode::FORBIDDEN);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TrustedProxies {
    proxies: Proxies,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Proxies {
    Networks(Arc<[Network]>),
    /// The peer of every connection, and nobody else.
    AnyPeer,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    XForwarded,
    Forwarded,
}

/// Who sent a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// `None` if it is unknown.
    pub(crate) client: Option<IpAddr>,
    /// `None` if no trusted proxy passed the request on.
    pub(crate) external: Option<Result<External, Malformed>>,
}

impl TrustedProxies {
    /// Trusts these addresses and networks (`10.0.0.0/8`, `2001:db8::/32`, `::1`) to write `X-Forwarded-For`,
    /// `X-Forwarded-Host` and `X-Forwarded-Proto`.
    ///
    /// # Errors
    ///
    /// If the list is empty, or holds an entry that is no network, that has bits beyond its prefix, or that holds every
    /// address.
    pub fn x_forwarded<I>(networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self { proxies: Proxies::parse(networks)?, kind: Kind::XForwarded })
    }

    /// Trusts these addresses and networks to write `Forwarded` (RFC 7239).
    ///
    /// # Errors
    ///
    /// As for [`x_forwarded`](Self::x_forwarded).
    pub fn forwarded<I>(networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self { proxies: Proxies::parse(networks)?, kind: Kind::Forwarded })
    }

    /// Trusts the peer of every connection to write the `X-Forwarded` headers: there is exactly one proxy, and the last
    /// address of the list is the client.
    ///
    /// Use it for a Unix socket, whose peers have no address. Insecure because any peer that reaches the server
    /// directly can claim to be any client.
    pub const fn insecure_x_forwarded_by_any_peer() -> Self {
        Self { proxies: Proxies::AnyPeer, kind: Kind::XForwarded }
    }

    /// Trusts the peer of every connection to write `Forwarded`. See
    /// [`insecure_x_forwarded_by_any_peer`](Self::insecure_x_forwarded_by_any_peer).
    pub const fn insecure_forwarded_by_any_peer() -> Self {
        Self { proxies: Proxies::AnyPeer, kind: Kind::Forwarded }
    }

    /// Whether the server has to tell the peer's address.
    pub(crate) const fn needs_peer(&self) -> bool {
        matches!(self.proxies, Proxies::Networks(_))
    }

    /// Who sent this request over a connection of this peer.
    pub(crate) fn sender(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Sender {
        if !self.proxies.include_peer(peer) {
            return Sender { client: peer, external: None };
        }
        match self.kind {
            Kind::XForwarded => {
                let (client, distance) = self.proxies.walk(peer, x_forwarded::clients(headers));
                let member = |name| x_forwarded::member(headers, name, distance);
                let external =
                    member(x_forwarded::HOST).and_then(|host| External::parse(host, member(x_forwarded::PROTO)?));
                Sender { client, external: Some(external) }
            }
            Kind::Forwarded => {
                let elements = elements(headers);
                let client = |element: &Result<Element<'_>, Malformed>| element.as_ref().ok()?.client();
                let (client, distance) = self.proxies.walk(peer, elements.iter().map(client));
                Sender { client, external: Some(outermost(elements.get(..distance).unwrap_or(&elements))) }
            }
        }
    }
}

impl Proxies {
    fn parse<I>(networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let networks: Arc<[Network]> =
            networks.into_iter().map(|network| Network::parse(network.as_ref())).collect::<Result<_, _>>()?;
        if networks.is_empty() { Err(ConfigError::NoProxy) } else { Ok(Self::Networks(networks)) }
    }

    fn include_peer(&self, peer: Option<IpAddr>) -> bool {
        matches!(self, Self::AnyPeer) || peer.is_some_and(|peer| self.include(peer))
    }

    fn include(&self, address: IpAddr) -> bool {
        match self {
            Self::Networks(networks) => networks.iter().any(|network| network.contains(address)),
            Self::AnyPeer => false,
        }
    }

    /// Walks from a trusted peer to the client, over the addresses that each proxy wrote. Returns the client's address,
    /// if it is known, and how many proxies are on the way: at least one.
    fn walk(&self, peer: Option<IpAddr>, senders: impl Iterator<Item = Option<IpAddr>>) -> (Option<IpAddr>, usize) {
        let (mut client, mut distance) = (peer, 1);
        for (sender, at) in senders.zip(1..) {
            if at > MAX_HOPS {
                return (None, MAX_HOPS);
            }
            (client, distance) = (sender, at);
            if !sender.is_some_and(|sender| self.include(sender)) {
                break;
            }
        }
        (client, distance)
    }
}

/// What the proxies wrote, the nearest first. The list ends with a line that cannot be read.
fn elements(headers: &HeaderMap) -> Vec<Result<Element<'_>, Malformed>> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED).iter().rev() {
        match rfc7239::parse(line) {
            Ok(line) => elements.extend(line.into_iter().rev().map(Ok)),
            Err(malformed) => {
                elements.push(Err(malformed));
                break;
            }
        }
        if elements.len() > MAX_HOPS {
            break;
        }
    }
    elements
}

/// The host and the scheme that the outermost of these proxies wrote, the nearest first.
fn outermost(elements: &[Result<Element<'_>, Malformed>]) -> Result<External, Malformed> {
    let (mut host, mut proto) = (None, None);
    for element in elements {
        let element = element.as_ref().map_err(|malformed| *malformed)?;
        host = element.host.as_deref().or(host);
        proto = element.proto.as_deref().or(proto);
    }
    External::parse(host, proto)
}
