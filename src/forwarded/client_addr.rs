use std::{fmt, net::IpAddr};

/// The address of the client, as a request extension.
///
/// [`WsAuthLayer`](crate::WsAuthLayer) puts it into every request that it sees, before verifiers, hooks and the inner
/// service see the request. A session keeps it, so that its verifier sees it again at each refresh and recheck. It is
/// the address of the connection's peer, or, if that is one of the [`TrustedProxies`](crate::TrustedProxies), the
/// address that the proxy names. No client can forge it. An IPv4 address that is written as an IPv6 one
/// (`::ffff:192.0.2.1`) is an IPv4 address here.
///
/// A request has none if the address is unknown: if the server does not tell the peer's address, or a proxy does not
/// tell the client's. The layer takes the peer's address from axum's
/// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), so serve the application with
/// [`into_make_service_with_connect_info::<SocketAddr>()`](axum::Router::into_make_service_with_connect_info). If your
/// server knows the address by other means, insert a `ConnectInfo<SocketAddr>` into the request's extensions, outside
/// the layer. In tests, axum's [`MockConnectInfo`](axum::extract::connect_info::MockConnectInfo) does.
///
/// # Example
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{Extension, Router, body::Body, extract::connect_info::MockConnectInfo, http::Request, routing::get};
/// use axum_ws_auth::{ClientAddr, TrustedProxies, WsAuthLayer, test_util::{self, TestToken}};
/// use http_body_util::BodyExt;
/// use tower::ServiceExt;
///
/// async fn address(Extension(client): Extension<ClientAddr>) -> String {
///     client.to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>())
///     .trusted_proxies(TrustedProxies::x_forwarded(["10.0.0.0/8"])?);
/// let app = Router::new().route("/", get(address)).layer(layer);
/// let request = || {
///     Request::get("/")
///         .header("authorization", format!("Bearer {}", TestToken::new("alice").sign()))
///         .header("x-forwarded-for", "198.51.100.7")
///         .body(Body::empty())
/// };
/// let from = |peer: [u8; 4]| app.clone().layer(MockConnectInfo(SocketAddr::from((peer, 443))));
///
/// // Yes: the header is the proxy's.
/// let response = from([10, 0, 0, 1]).oneshot(request()?).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "198.51.100.7");
///
/// // No: anybody else can write it too.
/// let response = from([192, 0, 2, 1]).oneshot(request()?).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "192.0.2.1");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    pub(crate) const fn new(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }

    /// The IP address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
