//! The layer and its settings, by topic.

mod logs;
mod refresh;
mod refusal;
mod request;
mod session;

use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{
    handshake::{Authenticator, Config, Pipeline},
    service::WsAuth,
    time::TimeSource,
    verify::Verifier,
};

/// Authenticates WebSocket handshakes; see the [crate docs](crate).
///
/// It can wrap a [`Router`](axum::Router), one route, or any tower service. It authenticates *every* request, so no
/// form of request bypasses it; see [`handshakes_only`](Self::handshakes_only).
///
/// # Handshakes and plain requests
///
/// A **handshake** is an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket`, in any case, in any header line and
/// beside other protocols (RFC 6455 §4.2.1); or an extended `CONNECT` whose `:protocol` is `websocket` (RFC 8441). Its
/// session is registered and counted. The inner service sees one line `Upgrade: websocket` and one line `Connection:
/// Upgrade`, because axum's extractor and others read only the first line.
///
/// Every other request is **plain**. It is authenticated too, but limits do not count it and it evicts no session,
/// unless its response turns out to be a [stream](Self::streams). The layer ignores another protocol in `Upgrade` (RFC
/// 9110 §7.8): `curl --http2` and Java's `HttpClient` offer `h2c` with every request. It removes
/// [`OnUpgrade`](hyper::upgrade::OnUpgrade) from the extensions of a plain request, so that no handler can upgrade it.
/// Put routes that upgrade to another protocol outside the layer.
///
/// # Order of layers
///
/// As with all axum layers, routes added to a router *after* the layer are outside it. Use one layer per route: the
/// outer one removes the token, so an inner one would find none and refuse. If routes need different rules, give each
/// its own layer, with verifiers that share what they can ([`Verifier::authorize`]).
///
/// Tracing layers outside this one see the token. Put them inside, or have them omit headers and query. The same
/// applies to copies of the URL that proxies add, such as `X-Original-URI`, `X-Forwarded-Uri`, `Forwarded` or
/// `Referer`.
#[derive(Clone)]
#[must_use]
pub struct WsAuthLayer {
    pipeline: Arc<Pipeline>,
}

impl WsAuthLayer {
    /// A layer that accepts a token in the subprotocol pair `bearer, <token>` or in `Authorization: Bearer <token>`,
    /// and refuses every other request.
    pub fn new<V: Verifier>(verifier: V) -> Self {
        Self { pipeline: Arc::new(Pipeline::new(Arc::new(Authenticator::new(verifier)))) }
    }

    /// Sets the clock, for tests. Defaults to the system's.
    pub fn time_source(mut self, time: TimeSource) -> Self {
        self.config().session_mut().time = time;
        self
    }

    pub(crate) fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut Arc::make_mut(&mut self.pipeline).config)
    }
}

impl<S> Layer<S> for WsAuthLayer {
    type Service = WsAuth<S>;

    fn layer(&self, inner: S) -> WsAuth<S> {
        WsAuth::new(inner, Arc::clone(&self.pipeline))
    }
}

impl fmt::Debug for WsAuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WsAuthLayer").field(&self.pipeline).finish()
    }
}
