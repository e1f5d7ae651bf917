//! Authenticates WebSocket connections on [axum], from the handshake to the close frame: a tower layer that answers `401`
//! instead of a handshake, and a socket that is closed when its session ends.
//!
//! A WebSocket handshake is an HTTP request over which a web page has almost no control: it has a URL, cookies, and a
//! list of subprotocols. [`WsAuthLayer`] finds the token in any of these, or in a header, takes it out before anything
//! else can see it, checks the page's origin, has a [`Verifier`] verify the token, and only then lets the request
//! through to axum's `WebSocketUpgrade`, or to anything else that upgrades. From then on the [`Session`] is what the
//! connection stands on.
//!
//! # Example
//!
//! ```
//! use axum::{Router, http::StatusCode, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer, jwt::JwtVerifier};
//! use axum_ws_auth::test_util::{TestToken, handshake};
//! use tower::ServiceExt;
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     sub: String,
//! }
//!
//! async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
//!     upgrade.on_upgrade(async |mut socket| {
//!         let claims = socket.claims();
//!         while let Some(Ok(message)) = socket.recv().await {
//!             println!("{} says {message:?}", claims.sub);
//!         }
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = JwtVerifier::<Claims>::builder()
//!     .secret(b"at least thirty-two bytes of secret")?
//!     .issuer("https://id.example.com")
//!     .audience("chat")
//!     .build()?;
//! let app = Router::new().route("/chat", any(chat)).layer(WsAuthLayer::new(verifier));
//!
//! // Yes: what a browser sends for `new WebSocket(url, ["bearer", token])`.
//! let token = TestToken::new("alice").claim("iss", "https://id.example.com").claim("aud", "chat");
//! let token = token.sign_with(b"at least thirty-two bytes of secret");
//! let response = app.clone().oneshot(handshake().path("/chat").bearer_subprotocol(&token).build()).await?;
//! assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
//! assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
//!
//! // No: without a token there is no handshake.
//! let response = app.oneshot(handshake().path("/chat").build()).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="websocket""#);
//! # Ok(()) }
//! ```
//!
//! # The way of a handshake
//!
//! 1. **Find** the token: [`TokenSource`].
//! 2. **Strip** it from headers, URI and `OriginalUri`, and copies of it from all other headers.
//! 3. **Origin**: which pages may open a WebSocket: [`AllowOrigin`].
//! 4. **Verify**: [`Verifier`]; [`jwt`] for JSON Web Tokens, with keys that [change](jwks).
//! 5. **Admit** the session: it is registered ([`Sessions`]), and then [`Revocations`] and [`Limits`] are looked at,
//!    the latter [on all nodes](Limits::across_nodes) if you like.
//! 6. **Inner service**, with the [`Session`] in the request's extensions: [`AuthenticatedUpgrade`], [`Authenticated`].
//! 7. **Choose** the subprotocol: if the handler selected none, the answer names the public marker and never the token,
//!    because browsers drop a connection on which nothing is selected, or something that was not offered.
//!
//! Whatever fails is a [`Rejection`], never a `101` (unless asked for:
//! [`accept_then_close`](WsAuthLayer::accept_then_close)). HTTP/1.1 upgrades and HTTP/2 extended `CONNECT` (RFC 8441)
//! are treated alike; browsers use the latter by themselves on connections that speak HTTP/2. Route handshakes with
//! [`any`](axum::routing::any), which takes both methods.
//!
//! Requests that do not ask for a WebSocket are plain HTTP, whatever else they offer in `Upgrade`; see [`WsAuthLayer`].
//!
//! # After the upgrade
//!
//! A token expires; a WebSocket does not. The [`AuthenticatedSocket`] that
//! [`AuthenticatedUpgrade`] hands out is closed when its session ends, whatever the handler is doing: with a close code of
//! [`CloseCodes`], a reason that programs can read, and two seconds for the client to answer.
//!
//! - **It ends** ([`EndReason`]) when the token expires or the session is too old
//!   ([`max_lifetime`](WsAuthLayer::max_lifetime)), by the monotonic clock or by the one on the wall, whichever comes
//!   first; by order of the application ([`Session::end`], [`Sessions::end_subject`] and its like, [`Revocations`]); and with
//!   its connection. A client that sends without pause does not put that off. A handler can wait for that ([`Session::ended`]), and for the time before ([`Session::expiring_in`]).
//! - **It is refreshed** with a new token of the same subject and issuer: by the handler ([`Session::refresh`]), or by the
//!   client's own messages ([`RefreshProtocol`]) without any code.
//! - **It may begin later**, for clients that can send a token only when the socket is open ([`FirstMessage`]).
//! - **A registry** knows every session, if the layer is given one ([`Sessions`]): to count, limit, list and end them, and to
//!   drain them when the server goes down ([`Sessions::drain`]). A subject is one user together with its issuer
//!   ([`ScopedId`]). Orders also reach the session of a plain request, for as long as somebody holds it; it takes no place.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, EndReason, Sessions, WsAuthLayer};
//! use axum_ws_auth::test_util::{self, TestToken, handshake};
//! use futures_util::StreamExt;
//! use serde_json::Value;
//! use tokio_tungstenite::tungstenite::Message;
//!
//! async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
//!     upgrade.on_upgrade(async |socket| {
//!         // This handler never looks at its socket, and yet …
//!         assert_eq!(socket.session().ended().await, EndReason::TokenExpired);
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::time::pause();
//! let sessions = Sessions::new();
//! let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions);
//! let app = Router::new().route("/", any(chat)).layer(layer);
//!
//! // … a token that is good for an hour (and half a minute of leeway) opens a socket for an hour. The clock of this test
//! // is paused, so that it does not take as long.
//! let token = TestToken::new("alice").expires_in(Duration::from_secs(3600)).sign();
//! let (mut socket, _) = test_util::connect(app, handshake().bearer_subprotocol(&token).build()).await?;
//! assert_eq!(sessions.count(), 1);
//! let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
//! assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "token_expired"));
//! # Ok(()) }
//! ```
//!
//! A handler that upgrades by other means ([`Authenticated`] beside axum's own extractor, or another library's) closes its
//! socket itself. It keeps the [`Session`] as long as the connection, waits for [`Session::ended`], and closes the socket with
//! [`Session::close_code`]. A task that only waits owns a [`SessionWatcher`], which keeps nothing; see [`Session::watch`]. A
//! handler that drops the session, or keeps it and never looks at it, is named in the log once; see [Events](#events).
//!
//! # Speed
//!
//! `axum::serve` leaves Nagle's algorithm on, which delays small messages. No layer can turn it off, the listener can:
//!
//! ```no_run
//! use axum::serve::ListenerExt;
//!
//! # async fn serve(app: axum::Router) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
//!     let _ = stream.set_nodelay(true);
//! });
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! # Events
//!
//! With the feature `tracing`, under the target `axum_ws_auth`. None of them holds a token.
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | `handshake admitted` | debug | `session` (its id) and `subject` |
//! | `request admitted` | debug | the same, of an authenticated request that is no handshake |
//! | `handshake incomplete` | warn | `missing`: a WebSocket client has asked, and what makes the request a handshake is gone: `Upgrade`, `Connection`, `:protocol` or `HTTP/1.1` itself. A proxy in front drops it |
//! | `handshake refused` | info | `kind` and [`reason`](Rejection::reason) |
//! | `cause of the refusal` | debug | `cause` |
//! | `beneath the cause` | trace | `beneath`: a verifier's own error; for JWTs it may quote claims |
//! | `session refreshed` | debug | `session` |
//! | `refresh refused` | info | `session` and [`reason`](RefreshError::reason); the cause, and too many attempts, at debug |
//! | `session ended` | debug | `session`, `subject` and [`reason`](EndReason::as_str); of an [`AuthenticatedSocket`] |
//! | `keys changed` | info | `issuer`, and how many `keys` can be used now |
//! | `keys confirmed` | debug | the same, where they are as before |
//! | `keys not refreshed` | warn | `issuer` and [`reason`](jwks::KeysErrorKind::as_str); the cause at debug |
//! | `keys withdrawn` | error | `issuer`, which says twice in a row that it has no key that can be used |
//! | `no ticket issued` | info | `error`, which names what is wrong with the store if that is the reason |
//! | `ticket not redeemed` | warn | `error`: what is wrong with the store; the handshake is refused with 503 |
//! | `limits not shared` | warn | `error`: what is wrong with the store; this node counts the sessions of these subjects for itself |
//! | `evictions not heard` | warn | `error`: sessions that had to go for others learn of it at the next renewal |
//! | `revocation not confirmed` | error | `error`: what is wrong with the store, which does not know of it |
//! | `revocations not read` | warn | `error`: what is wrong with the store; this node may not know all |
//! | `revocations lost by the store` | error | this node's place in the log is gone, as after a failover: it loads all again; the cause at debug |
//! | `revocations told again…` | error | `count`, `lost`: this node added what the store had lost |
//! | | warn | `count`: this node added what the store had never confirmed |
//! | `revocations incomplete…` | warn | this node started while others add what the store has lost; it admits nobody until they are done |
//! | `no session in the request` | error | the `claims` asked for: the route lacks its layer |
//! | `sessions without a subject are not limited` | warn | once: [`Limits::per_subject`] needs a verifier that names subjects |
//! | `session dropped before its upgrade` | warn | `session`; once for each registry: the handler accepted the handshake and kept no [`Session`], so nothing ends the connection and no limit counts it |
//! | `session ended and nothing watches it` | warn | `session`; once for each registry: the handler took [`Authenticated`], keeps the [`Session`], and does not close its socket |
//! | `subprotocol not offered` | warn | a handler selected a name that is left out of the answer |
//! | `refusal hook answered with success` | error | the standard refusal was sent instead |
//!
//! Other crates log more. Where a handler uses axum's own `WebSocket`, tungstenite reads from it, and at `TRACE` prints every
//! message, as text and as bytes. A token that such a handler receives is among them: leave the target `tungstenite` at `DEBUG`
//! in production. An [`AuthenticatedSocket`] is not read by tungstenite, and prints nothing that it receives.
//!
//! # Features
//!
//! | feature | what | default |
//! | --- | --- | --- |
//! | `jwt` | [`jwt::JwtVerifier`], [`CachedVerifier`]; needs one of the next two | yes |
//! | `aws-lc-rs` | signatures by aws-lc-rs: faster, needs a C compiler; wins where both are on | yes |
//! | `rust-crypto` | signatures by the RustCrypto crates: no C; RSA up to 4096 bits instead of 8192 | no |
//! | `jwks` | [`jwks`]: keys that are fetched, OpenID Connect Discovery; brings reqwest with rustls | no |
//! | `redis` | [`Redis`]: tickets, revocations and limits for servers on many machines | no |
//! | `redis-tls` | `rediss://`: connections to Redis by TLS, with rustls and aws-lc-rs | no |
//! | `tracing` | events for handshakes, sessions and keys | yes |
//! | `test-util` | [`test_util`]: handshakes, tokens and in-memory connections for tests | no |
//! | `full` | everything but `rust-crypto` and `test-util` | no |
//!
//! [axum]: https://docs.rs/axum

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod extract;
mod future;
mod handshake;
mod id;
mod layer;
mod lock;
mod origin;
#[cfg(feature = "redis")]
mod redis;
mod rejection;
mod revocation;
mod service;
mod session;
mod socket;
pub mod store;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test_util;
mod ticket;
mod time;
mod token;
mod verify;
mod websocket;

#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisCredentials};
#[cfg(feature = "jwks")]
pub use self::verify::jwks;
#[cfg(feature = "jwt")]
pub use self::verify::{CachedVerifier, jwt};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use self::websocket::fuzzing;
pub use self::{
    error::ConfigError,
    extract::{Authenticated, AuthenticatedRejection, AuthenticatedUpgrade},
    future::ResponseFuture,
    id::{ParseSessionIdError, ScopedId, SessionId},
    layer::WsAuthLayer,
    origin::{AllowOrigin, OriginError, OriginErrorKind},
    rejection::{Rejection, RejectionKind},
    revocation::{MemoryRevocations, RevocationOptions, RevocationStatus, Revocations},
    service::WsAuth,
    session::{
        AdmissionError, CloseCodes, Drain, Drained, EndReason, Limits, RefreshError, RefreshErrorKind, Session,
        SessionInfo, SessionWatcher, Sessions,
    },
    socket::{AuthenticatedSocket, FirstMessage, FirstToken, RefreshProtocol, RefreshRequest, SessionEnded},
    store::{lease::AtLimit, revocations::Revocation},
    ticket::{MemoryTickets, Ticket, TicketError, TicketErrorKind, TicketOptions, TicketVerifier, Tickets},
    time::TimeSource,
    token::{Token, TokenError, TokenErrorKind, TokenSource},
    verify::{Authorize, Or, Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput},
    websocket::{WebSocketError, WebSocketErrorKind},
};

// The README's examples are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
