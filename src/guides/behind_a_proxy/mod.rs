//! nginx, haproxy, Caddy and Apache in front of an application: configurations, and what goes wrong without them.
//!
//! The proxy speaks TLS and HTTP/2 with browsers, and HTTP/1.1 with the application. It has to
//!
//! - pass the upgrade on,
//! - keep `Host`, by which [`AllowOrigin::same_origin`](crate::AllowOrigin::same_origin) tells the application's own
//!   page from a foreign one,
//! - leave silent connections open long enough,
//! - pass events on as they come,
//! - have room for a large token,
//! - keep tickets and tokens out of its log,
//! - say who the client is, and drop what the client itself says of that.
//!
//! Each configuration below does so. This crate's tests run it as it is printed here, but for addresses and paths, with
//! the version of Debian 12: nginx 1.22, haproxy 2.6, Caddy 2.6, Apache 2.4. They send tokens by every source, refuse
//! and end sessions, stream events, and open a page in Chromium.
//!
//! # The application
//!
//! ```no_run
//! use std::{net::SocketAddr, time::Duration};
//!
//! use axum::{Router, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, TokenSource, TrustedProxies, WsAuthLayer, test_util};
//! use serde_json::Value;
//!
//! async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
//!     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! // In production: a verifier of your own.
//! let layer = WsAuthLayer::new(test_util::verifier::<Value>())
//!     .sources([TokenSource::cookie("__Host-session"), TokenSource::bearer_subprotocol()])?
//!     // The proxy runs on this machine.
//!     .trusted_proxies(TrustedProxies::x_forwarded(["127.0.0.1"])?)
//!     // Every 30 seconds, with 20 seconds to answer.
//!     .keep_alive(Duration::from_secs(30), Duration::from_secs(20))?;
//! let app = Router::new().route("/chat", any(chat)).layer(layer);
//!
//! // Only the proxy reaches it. Its address comes with each connection.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(()) }
//! ```
//!
//! [`TrustedProxies`](crate::TrustedProxies) names the proxies that may say who the client is. Then
//! [`ClientAddr`](crate::ClientAddr) is the client's address and not the proxy's, and the same-origin rule compares the
//! host and the scheme that the client asked for, even if the proxy rewrites `Host`. What a proxy does not set, it
//! passes on as the client sent it: without a line for `X-Forwarded-For`, any client can claim any address. Caddy sets
//! `X-Forwarded-For`, `-Host` and `-Proto` by itself, Apache the first two.
//!
//! # nginx
//!
//! ```nginx
#![doc = include_str!("nginx.conf")]
//! ```
//!
//! From 1.25.1 on, write `listen 443 ssl;` and `http2 on;`.
//!
//! # haproxy
//!
//! ```haproxy
#![doc = include_str!("haproxy.cfg")]
//! ```
//!
//! # Caddy
//!
//! ```caddyfile
#![doc = include_str!("Caddyfile")]
//! ```
//!
//! Caddy gets its certificate by itself, passes upgrades on, keeps `Host`, and passes events on at once.
//!
//! # Apache
//!
//! ```apache
#![doc = include_str!("apache.conf")]
//! ```
//!
//! # What goes wrong
//!
//! A page sees the close code 1006 in every case, and no reason: browsers hide it from pages.
//! [`accept_then_close`](crate::WsAuthLayer::accept_then_close) does not help, because a page that looks foreign is
//! told nothing. The status is in the browser's developer tools. The reason is in the application's log, with the
//! feature `tracing`.
//!
//! | you see | because |
//! | --- | --- |
//! | 403 for a page's cookie, while a token in a subprotocol works; `handshake refused` with the reason `origin_not_allowed` | The proxy sends another `Host`, or `Host` without its port, so the application's own page looks foreign. nginx sends the upstream's name without a `Host` line, and loses the port with `$host`. Apache needs `ProxyPreserveHost On`. Caddy needs no `header_up Host`. |
//! | 400; `handshake incomplete`, missing `Upgrade` or `Connection` | The proxy drops these headers. nginx needs both lines, Apache `upgrade=websocket`. |
//! | 426; `handshake incomplete`, missing `HTTP/1.1` | nginx speaks HTTP/1.0 without `proxy_http_version 1.1`. |
//! | 400, and nothing in the application's log | The token does not fit into the proxy's buffers: `large_client_header_buffers`, `LimitRequestFieldSize`. A token of 6 KiB fits without these lines. haproxy has 16 KiB for the whole head (`tune.bufsize`). |
//! | 1006 after a minute of silence | The proxy's [time-out](#time-outs). |
//! | An `EventSource` that opens late or never | The proxy collects the response: `proxy_buffering off`. |
//!
//! This shows the proxy's and the application's answer without a browser, here to a handshake with a cookie:
//!
//! ```sh
//! curl --include --http1.1 https://chat.example.com/chat \
//!     --header "Connection: Upgrade" --header "Upgrade: websocket" \
//!     --header "Sec-WebSocket-Version: 13" --header "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" \
//!     --header "Origin: https://chat.example.com" --cookie "__Host-session=$TOKEN"
//! ```
//!
//! If `Host` cannot be kept, use [`TrustedProxies`](crate::TrustedProxies) as above, or name the pages:
//! [`WsAuthLayer::allow_origin`](crate::WsAuthLayer::allow_origin).
//!
//! # Time-outs
//!
//! A proxy cuts what is silent. The client gets no close frame, and the application notices only when it sends
//! something.
//!
//! | proxy | setting | default |
//! | --- | --- | --- |
//! | nginx | `proxy_read_timeout` | 60 s |
//! | haproxy | sockets: `timeout tunnel`; event streams, and sockets without a `timeout tunnel`: `timeout client`, `timeout server` | none; often 50 or 60 s |
//! | Apache | the longer of `Timeout` and `ProxyTimeout` | 60 s; Debian: 300 s |
//! | Caddy | | never |
//!
//! [`WsAuthLayer::keep_alive`](crate::WsAuthLayer::keep_alive) pings sockets, and sends comments on event streams. Its
//! interval must be shorter than the time-out; half of it is a good value. A longer time-out instead would keep
//! connections whose client has vanished. In the tests, a time-out of three seconds cuts both, and pings keep both open.
//!
//! # Logs
//!
//! The usual formats log the query: nginx's `combined`, haproxy's `httplog`, Apache's `%r`, and Caddy's, which also
//! logs `Sec-WebSocket-Protocol` with the token in it. The configurations above log the path alone. But a proxy's
//! *error* log may still quote a request, and so may others on the way. So put [tickets](crate::Tickets) into URLs,
//! never tokens: a ticket is used up by then.
//!
//! # HTTP/2
//!
//! haproxy accepts WebSockets over HTTP/2 (RFC 8441), and upgrades them to the application over HTTP/1.1. Apache does
//! so with `H2WebSockets on`, since 2.4.58. nginx and Caddy 2.6 do not offer it; browsers then open another connection,
//! over HTTP/1.1. The page notices no difference.
//!
//! A proxy may also speak HTTP/2 with the application, such as haproxy with `proto h2` in the line `server`. Handshakes
//! then are `CONNECT` requests, so route them with [`any`](axum::routing::any), not with `get`. Caddy 2.6 cannot do
//! this.
//!
//! A download that is cut with its [session](crate::Streams) looks complete behind Caddy 2.6, and over HTTP/2 behind
//! haproxy 2.6: they end the response as if it were complete. Event streams are not affected: their last event says
//! that they ended.
//!
//! # Load balancers
//!
//! These were not run. The facts are from their documentation, of November 2026.
//!
//! - **AWS Application Load Balancer** cuts what is silent for 60 seconds (`idle_timeout.timeout_seconds`, up to 4000).
//!   It sends `Host` with the listener's port, unless `routing.http.preserve_host_header.enabled` is on. It appends to
//!   `X-Forwarded-For`: trust the load balancer's subnets. It sets no `X-Forwarded-Host`, so a client can: name the
//!   pages with [`WsAuthLayer::allow_origin`](crate::WsAuthLayer::allow_origin). For its own tokens see
//!   [`AlbVerifier`](crate::jwt::AlbVerifier).
//! - **Cloudflare** cuts what is silent for 100 seconds, and keeps `Host`. It also closes sockets when it updates its
//!   servers, so clients must reconnect.
//!
//! # Several nodes
//!
//! Sticky sessions are not needed. A socket stays with its node because it is one connection, and a handshake brings
//! along all that a node has to know. What nodes share is in a [store](crate::Redis): tickets, revocations and limits.
//! A request that concerns a socket on another node finds it, too
//! ([`Sessions::reachable_through`](crate::Sessions::reachable_through)).
//!
//! Two protocols need sticky sessions for reasons of their own: socket.io while it polls, and SignalR between its
//! negotiation and its socket.
