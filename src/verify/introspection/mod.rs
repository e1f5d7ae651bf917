//! Opaque tokens, which only their provider can read: OAuth 2.0 Token Introspection (RFC 7662).
//!
//! [`IntrospectionVerifier`] asks the provider about each token. The claims are the members of its answer, such as
//! `sub`, `scope` and `client_id`.
//!
//! - **The answer is checked here.** `active` must be `true`. The rules for `exp`, `nbf`, `iss` and `aud` are those of
//!   [`jwt`](crate::jwt): what is configured is required, and without an [audience](IntrospectionBuilder::audience) a
//!   token that has one is refused. A token without `exp` is accepted, because its session is rechecked. (A session
//!   that begins with a [ticket](crate::Tickets) is not rechecked: set a
//!   [`max_lifetime`](crate::WsAuthLayer::max_lifetime).) A token that is bound to a key (`cnf`, or a `token_type` of
//!   `DPoP`) is refused, and so is a refresh token, which a client must not send here.
//! - **401 is about the token alone**: it is not active, or breaks a rule. If the provider is unreachable, refuses the
//!   credentials of this server, or answers with anything else, handshakes get 503 with `Retry-After` and clients keep
//!   their tokens. An [event](crate#events) says what is wrong, at most once every 10 seconds for each reason. A token
//!   that is not active is a [failed attempt](crate::AddressLimits::failed_attempts) of its address.
//! - **Live sessions are rechecked** every [60 seconds](IntrospectionBuilder::recheck_every), so a token that is
//!   revoked at the provider closes its connections. Rechecks are spread over time, and never answered from the cache.
//!   While the provider is unavailable, sessions go on until [`max_unconfirmed`](crate::WsAuthLayer::max_unconfirmed).
//! - **Few requests.** Concurrent handshakes with the same token share one request, and its answer is kept for [10
//!   seconds](IntrospectionBuilder::cache_active), or [5 seconds](IntrospectionBuilder::cache_inactive) if the token is
//!   not active. The cache holds hashes of up to 10 000 active tokens with the answers about them, and of 4 096
//!   inactive ones, which never evict active ones. At most [32 handshakes](IntrospectionBuilder::concurrent_requests)
//!   and [32 rechecks](crate::WsAuthLayer::max_concurrent_rechecks) ask at the same time. If a client disconnects, the
//!   others with its token go on.
//! - **The token** is sent in the body of a `POST`, to `https` or a loopback address alone. Redirects are not followed.
//!   An answer longer than 64 KiB is refused.
//!
//! # Example
//!
//! ```
//! use axum::body::Bytes;
//! use axum::{Router, http::StatusCode, routing::any};
//! use axum_ws_auth::introspection::{ClientAuth, IntrospectionVerifier};
//! use axum_ws_auth::{Verifier, VerifyError, WsAuthLayer};
//! use axum_ws_auth::test_util::{self, handshake};
//! use http::{Request, Response};
//! use tower::ServiceExt;
//!
//! #[derive(serde::Deserialize)]
//! struct Claims { scope: String }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In place of a provider. Without `http_client`, requests are sent to the endpoint.
//! let provider = async |request: Request<Bytes>| {
//!     let answer: &[u8] = match form_urlencoded::parse(request.body()).find(|(name, _)| name == "token") {
//!         Some((_, token)) if token == "token-of-alice" => {
//!             br#"{"active": true, "sub": "alice", "aud": "chat", "scope": "read write"}"#
//!         }
//!         Some((_, token)) if token == "token-for-elsewhere" => {
//!             br#"{"active": true, "sub": "bob", "aud": "mail", "scope": "read write"}"#
//!         }
//!         _ => br#"{"active": false}"#,
//!     };
//!     Ok(Response::new(Bytes::from_static(answer)))
//! };
//!
//! let auth = ClientAuth::basic("chat-server", "secret");
//! // Or `discover("https://id.example.com", auth)`, which finds the endpoint.
//! let verifier = IntrospectionVerifier::<Claims>::endpoint("https://id.example.com/introspect", auth)
//!     .http_client(provider)
//!     .audience("chat")
//!     .build()?
//!     .authorize(|claims, _| {
//!         let may_write = claims.scope.split(' ').any(|scope| scope == "write");
//!         if may_write { Ok(()) } else { Err(VerifyError::insufficient_scope("write")) }
//!     });
//! let app = Router::new().route("/", any(test_util::echo)).layer(WsAuthLayer::new(verifier));
//!
//! for (token, status) in [
//!     ("token-of-alice", StatusCode::SWITCHING_PROTOCOLS),
//!     ("token-for-elsewhere", StatusCode::UNAUTHORIZED),
//!     ("token-of-eve", StatusCode::UNAUTHORIZED),
//! ] {
//!     let response = app.clone().oneshot(handshake().bearer_subprotocol(token).build()).await?;
//!     assert_eq!(response.status(), status);
//! }
//! # Ok(()) }
//! ```
//!
//! # JSON Web Tokens and opaque tokens
//!
//! A provider may issue both, and answer for its opaque ones alone. Combine two verifiers, and keep JSON Web Tokens
//! away from the second:
//!
//! ```
//! # use axum_ws_auth::introspection::{ClientAuth, IntrospectionVerifier};
//! # use axum_ws_auth::{Verifier, WsAuthLayer, jwt::JwtVerifier};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # type Claims = serde_json::Value;
//! # let auth = ClientAuth::basic("chat-server", "secret");
//! let tokens = JwtVerifier::<Claims>::discover("https://id.example.com").audience("chat").build()?;
//! let opaque = IntrospectionVerifier::discover("https://id.example.com", auth).audience("chat").opaque_only().build()?;
//! # let _ =
//! WsAuthLayer::new(tokens.or(opaque));
//! # Ok(()) }
//! ```

mod alarm;
mod answer;
mod build;
mod builder;
mod cache;
mod client_auth;
mod endpoint;
mod failure;
mod introspector;
mod provider;
mod request;
mod response;
mod signed;
mod turns;
mod verifier;

pub use builder::IntrospectionBuilder;
pub use client_auth::ClientAuth;
pub use verifier::IntrospectionVerifier;
