use std::fmt;

use axum::body::Body;
use http::{
    HeaderName, HeaderValue, Method, Request, Version,
    header::{
        AUTHORIZATION, CONNECTION, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};

/// Starts a valid handshake for `/` on the host `localhost`, without a token.
pub fn handshake() -> HandshakeBuilder {
    HandshakeBuilder { path: "/".to_owned(), headers: Vec::new(), version: Version::HTTP_11 }
}

/// Builds the request of a WebSocket handshake; see [`handshake`].
#[derive(Clone)]
#[must_use]
pub struct HandshakeBuilder {
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    version: Version,
}

impl HandshakeBuilder {
    /// Sets path and query. Defaults to `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Offers the pair `bearer, <token>`, as `new WebSocket(url, ["bearer", token])` does.
    ///
    /// # Panics
    ///
    /// If the token is not a valid header value.
    pub fn bearer_subprotocol(self, token: &str) -> Self {
        self.subprotocols(["bearer", token])
    }

    /// Offers subprotocols.
    ///
    /// # Panics
    ///
    /// If a name is not a valid header value.
    pub fn subprotocols<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        self.header(SEC_WEBSOCKET_PROTOCOL, names.join(", "))
    }

    /// Adds `Authorization: Bearer <token>`.
    ///
    /// # Panics
    ///
    /// If the token is not a valid header value.
    pub fn authorization(self, token: &str) -> Self {
        self.header(AUTHORIZATION, format!("Bearer {token}"))
    }

    /// Adds a cookie.
    ///
    /// # Panics
    ///
    /// If it is not a valid header value.
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header(COOKIE, format!("{name}={value}"))
    }

    /// Adds an `Origin`.
    ///
    /// # Panics
    ///
    /// If it is not a valid header value.
    pub fn origin(self, origin: &str) -> Self {
        self.header(ORIGIN, origin)
    }

    /// Adds a header line. `Host` is replaced instead.
    ///
    /// # Panics
    ///
    /// If the name or the value is not valid in a header.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let name = name.try_into().ok().expect("a valid header name");
        let value = value.try_into().ok().expect("a valid header value");
        self.headers.push((name, value));
        self
    }

    /// Makes the request an extended `CONNECT` (RFC 8441), which browsers send over HTTP/2 connections.
    pub fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    /// Builds the request.
    ///
    /// With `tower::ServiceExt::oneshot` it gets a `101`, and no connection follows. [`connect`](super::connect) opens
    /// a real one.
    ///
    /// # Panics
    ///
    /// If the path is not a valid one.
    #[must_use]
    pub fn build(self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.version_mut() = self.version;
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if self.version == Version::HTTP_2 {
            *request.method_mut() = Method::CONNECT;
            *request.uri_mut() = format!("http://localhost{}", self.path).parse().expect("a valid path");
            request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        } else {
            headers.insert(HOST, HeaderValue::from_static("localhost"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            // The example of RFC 6455 §1.3.
            headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
            *request.uri_mut() = self.path.parse().expect("a valid path");
        }
        for (name, value) in self.headers {
            // A test may override `Host`; any other header may occur twice.
            if name == HOST {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        // axum considers a request upgradable if hyper's handle is there. This one belongs to no connection.
        let handle = hyper::upgrade::on(Request::new(()));
        request.extensions_mut().insert(handle);
        request
    }
}

// By hand: a value or the path may hold a token, and a failing test prints its values.
impl fmt::Debug for HandshakeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&HeaderName> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("HandshakeBuilder")
            .field("version", &self.version)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
