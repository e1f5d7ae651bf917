//! Authenticates WebSocket connections on [axum], from the handshake to the close frame.
//!
//! A web page controls little of a WebSocket handshake: the URL, cookies, and a list of subprotocols. [`WsAuthLayer`]
//! finds the token in any of these or in a header, removes it before anything else can see it, checks the page's
//! origin, and has a [`Verifier`] verify the token. Only then does the request reach axum's `WebSocketUpgrade`, or any
//! other handler that upgrades. A handshake without a valid token is answered with `401`, never with `101`. The socket
//! is closed when its [`Session`] ends.
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
//! # What to use
//!
//! | task | use |
//! | --- | --- |
//! | choose where clients send the token | [`TokenSource`] |
//! | verify JSON Web Tokens | [`jwt::JwtVerifier`] |
//! | fetch keys from an OpenID Connect provider | [`jwks`] |
//! | accept a realm for each tenant, or all tenants of Microsoft Entra | [`jwks::IssuerRule`], [`jwks::IssuerKeys::entra_tenants`] |
//! | verify tokens of an AWS Application Load Balancer | [`jwt::AlbVerifier`] |
//! | verify opaque tokens, by asking their provider | [`introspection`] |
//! | accept tokens that are bound to a key of the client | [`Dpop`] |
//! | skip the signature check for a token that was verified before | [`CachedVerifier`] |
//! | verify other tokens, in a database for example | [`verifier_fn`], [`Verifier`] |
//! | check a scope or the room in the path | [`Verifier::authorize`], [`Verifier::authorize_async`], [`PathParams`] |
//! | accept two kinds of tokens | [`Verifier::or`], [`Verifier::map`] |
//! | verify a token outside a request | [`VerifyInput::without_request`] |
//! | restrict which pages may connect | [`AllowOrigin`] |
//! | know clients, and the page's own origin, behind proxies | [`TrustedProxies`], [`ClientAddr`] |
//! | write the handler | [`AuthenticatedUpgrade`], [`AuthenticatedSocket`] |
//! | keep another library's upgrade | [`Authenticated`], [`Session::watch`] |
//! | take a new token on an open socket | [`RefreshProtocol`], [`Session::refresh`] |
//! | have users sign in again, or by other means | [`StepUp`], [`Session::require`] |
//! | take a new token from an `HttpOnly` cookie | [`WsAuthLayer::refresh_route`] |
//! | notice clients that have vanished, and keep idle sockets open | [`WsAuthLayer::keep_alive`] |
//! | verify a token again while its socket is open | [`Verified::recheck_in`](Verified::recheck_in()), [`Sessions::recheck_subject`] |
//! | authenticate clients by their first message | [`FirstMessage`] |
//! | end event streams, gRPC streams and downloads with their sessions | nothing: it is the default of [`WsAuthLayer::streams`] |
//! | count, list and end sessions | [`Sessions`] |
//! | show users where they are signed in | [`Sessions::of_subject`], [`WsAuthLayer::session_meta`] |
//! | limit sessions, in all or per subject | [`Limits`] |
//! | limit connections and failed attempts per address | [`AddressLimits`] |
//! | log users out on all nodes | [`Revocations`] |
//! | close sockets when users log out at their identity provider | [`signals`] |
//! | act on the identity provider's security events: Shared Signals, CAEP, RISC | [`signals::SharedSignals`] |
//! | put a one-time ticket into a URL instead of a token | [`Tickets`] |
//! | tell clients where to sign in, for MCP among others | [`ResourceMetadata`] |
//! | shut down | [`Sessions::drain`] |
//! | tell a load balancer, and operators, how healthy a node is | [`Health`] |
//! | choose close codes | [`CloseCodes`] |
//! | change the response to a refusal | [`WsAuthLayer::on_rejection`], [`WsAuthLayer::accept_then_close`] |
//! | run on several nodes | [`Redis`], or a [`store`] of your own; [`Sessions::reachable_through`] |
//! | run behind nginx, haproxy, Caddy, Apache or a load balancer | [`guides::behind_a_proxy`] |
//! | set up Keycloak, Auth0, Okta, Entra, Cognito, ZITADEL or Ory | [`guides::providers`] |
//! | read how it is done from the beginning to the end, or move from a check of your own | [`guides`] |
//! | test | [`test_util`] |
//!
//! # The steps of a handshake
//!
//! 1. **Find** the token: [`TokenSource`].
//! 2. **Strip** it from headers, URI and `OriginalUri`. Copies of it in other headers go too.
//! 3. **Origin**: check which page opens the WebSocket: [`AllowOrigin`].
//! 4. **Verify** the token: [`Verifier`].
//! 5. **Admit** the session: register it ([`Sessions`]), then check [`Revocations`] and [`Limits`].
//! 6. **Inner service**, with the [`Session`] in the request's extensions.
//! 7. **Choose** the subprotocol. If the handler selected none, the response names the public marker, never the token.
//!    Browsers drop a connection on which nothing is selected, or something that was not offered.
//!
//! A step that fails becomes a [`Rejection`]. HTTP/1.1 upgrades and HTTP/2 extended `CONNECT` (RFC 8441) are handled
//! alike; browsers use the latter on connections that speak HTTP/2. Route handshakes with [`any`](axum::routing::any),
//! which takes both methods. A request that does not ask for a WebSocket is plain HTTP; see [`WsAuthLayer`].
//!
//! # After the upgrade
//!
//! A token expires; a WebSocket does not. The [`AuthenticatedSocket`] is closed when its session ends, whatever the
//! handler is doing. The client gets a close code of [`CloseCodes`], a reason that programs can read, and two seconds
//! to answer.
//!
//! - **It ends** ([`EndReason`]) when the token expires, at its [`max_lifetime`](WsAuthLayer::max_lifetime), by order
//!   ([`Session::end`], [`Sessions::end_subject`], [`Revocations`]), or with its connection. The deadline is the
//!   earlier of the monotonic and the wall clock. A client that sends without pause does not delay it. A handler can
//!   wait for the end ([`Session::ended`]) or for the time before it ([`Session::expiring_in`]).
//! - **It is refreshed** with a new token of the same subject and issuer, by the handler ([`Session::refresh`]), by the
//!   client's messages ([`RefreshProtocol`]), or by a request to a route on any node ([`WsAuthLayer::refresh_route`]).
//! - **It may begin later**, for clients that can send a token only on an open socket ([`FirstMessage`]).
//! - **A registry** knows every session ([`Sessions`]). A subject is one user of one issuer ([`ScopedId`]).
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
//!         // This handler never looks at its socket.
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
//! // A token that expires in an hour (and 30 seconds of leeway) opens a socket for an hour. The test's clock is paused.
//! let token = TestToken::new("alice").expires_in(Duration::from_secs(3600)).sign();
//! let (mut socket, _) = test_util::connect(app, handshake().bearer_subprotocol(&token).build()).await?;
//! assert_eq!(sessions.count(), 1);
//! let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
//! assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "token_expired"));
//! # Ok(()) }
//! ```
//!
//! A handler that uses another WebSocket type closes its socket itself. It takes [`Authenticated`], holds the
//! [`Session`] as long as the connection, waits for [`Session::ended`], and closes with [`Session::close_code`]. A task
//! that only waits holds a [`SessionWatcher`] ([`Session::watch`]). An event names a handler that forgets this.
//!
//! # Speed
//!
//! `axum::serve` leaves Nagle's algorithm on, which delays small messages. The listener can turn it off:
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
//! # Stable names
//!
//! Programs may compare these strings. They change only with a breaking release. [`CloseCodes`] lists the close codes.
//!
//! | function | returns | seen in |
//! | --- | --- | --- |
//! | [`EndReason::as_str`] | `token_expired`, `max_lifetime`, `revoked`, `policy`, `insufficient_user_authentication`, `too_many_sessions`, `unresponsive`, `unconfirmed`, `shutdown`, `closed` | close reason, events |
//! | [`SessionKind::as_str`] | `websocket`, `stream`, `request` | lists of sessions |
//! | [`RejectionKind::as_str`] | `missing_token`, `invalid_request`, `invalid_token`, `insufficient_user_authentication`, `insufficient_scope`, `origin_not_allowed`, `head_too_large`, `too_many_requests`, `too_many_sessions`, `unavailable`, `timed_out` | response body, close reason, events |
//! | [`Rejection::reason`] | a name of the next five rows; without a cause, that of [`RejectionKind::as_str`] | events |
//! | [`TokenErrorKind::as_str`] | `conflicting_tokens`, `repeated_token`, `empty_token`, `token_too_large`, `undecodable_token`, `nothing_to_select`, `unstrippable_token` | |
//! | [`OriginErrorKind::as_str`] | `origin_missing`, `origin_malformed`, `origin_not_allowed`, `forwarded_malformed` | |
//! | [`VerifyErrorKind::as_str`] | `token_invalid`, `token_malformed`, `critical_header`, `wrong_type`, `wrong_algorithm`, `unknown_key`, `bad_signature`, `missing_claim`, `malformed_claim`, `unexpected_claims`, `token_expired`, `token_not_yet_valid`, `wrong_issuer`, `wrong_audience`, `sender_constrained`, `not_bound`, `missing_proof`, `proof_malformed`, `proof_wrong_algorithm`, `proof_wrong_key`, `proof_bad_signature`, `proof_for_elsewhere`, `proof_for_other_token`, `proof_stale`, `proof_replayed`, `use_dpop_nonce`, `unknown_ticket`, `ticket_for_elsewhere`, `insufficient_user_authentication`, `insufficient_scope`, `forbidden`, `verifier_unavailable` | |
//! | [`AdmissionError::as_str`] | `draining`, `server_full`, `revoked`, `revocations_stale`, `too_many_sessions` | |
//! | [`AddressLimitError::as_str`] | `too_many_connections`, `too_many_attempts`, `address_unknown` | |
//! | [`RefreshError::reason`] | `session_ended`, `refresh_in_progress`, `too_many_attempts`, `token_too_large`, `malformed_message`, `no_subject`, `other_subject`, `other_issuer`, `other_key`, `revoked`, `revocations_stale`, or a name of [`VerifyErrorKind::as_str`] | answer of a [`RefreshProtocol`], events |
//! | [`WsAuthLayer::refresh_route`] | `unknown_session`, `refresh_in_progress`, `too_many_attempts`, or a name of [`RejectionKind::as_str`] | response body |
//! | [`WsAuthLayer::signalr_refresh_route`] | `missing_connection_token`, `connection_not_found`, `invalid_token`, `permission_change_rejected`, `refresh_disabled`, or a name of the row above | response body |
//! | [`TicketErrorKind::as_str`] | `invalid_token`, `origin_not_allowed`, `internal`, `too_many_tickets`, `unavailable` | response body of [`Tickets::route`] |
//! | [`SignalErrorKind::as_str`](signals::SignalErrorKind::as_str) | `wrong_content_type`, `body_too_large`, `body_incomplete`, `missing_token`, `repeated_token`, `missing_event`, `nonce_present`, `missing_subject`, `issued_in_future`, `token_too_old`, `wrong_client`, `malformed_subject`, `unsupported_subject`, `foreign_subject`, `unknown_subject`, `resolver_failed`, `revocation_not_confirmed`, or a name of [`VerifyErrorKind::as_str`] | events |
//! | [`SecurityEventErrorKind::as_str`](signals::SecurityEventErrorKind::as_str) | `invalid_request`, `invalid_key`, `invalid_issuer`, `invalid_audience`, `authentication_failed`, `invalid_state`, `unavailable` | response body of [`SharedSignals::push_route`](signals::SharedSignals::push_route), polls, events |
//! | [`StreamState::as_str`](signals::StreamState::as_str) | `enabled`, `paused`, `disabled`, `unknown` | events |
//! | [`HealthStatus::as_str`] | `ok`, `degraded`, `unavailable` | [`HealthReport`] |
//! | [`HealthReason::as_str`] | `draining`, `server_full`, `revocations_stale`, `keys_missing`, `keys_not_refreshed`, `store_unreachable` | [`HealthReport`] |
//! | [`StoreErrorKind::as_str`](store::StoreErrorKind::as_str) | `unavailable`, `full`, `lost` | |
//! | [`KeysErrorKind::as_str`](jwks::KeysErrorKind::as_str) | `unreachable`, `timed_out`, `status`, `too_large`, `redirects`, `insecure_url`, `malformed`, `wrong_issuer`, `no_usable_key`, `misconfigured`, `abandoned` | [`JwtVerifier::status`](jwt::JwtVerifier::status), events |
//!
//! # Events
//!
//! With the feature `tracing`, under the target `axum_ws_auth`. No event holds a token, a path or a query.
//!
//! A handler runs in the span `ws_session` of its session, at `info`, with the session's id as `session`. So does the
//! body of a [stream](WsAuthLayer::streams). What the handler logs carries the id, and a search for it finds the whole
//! life of a session. [`WsAuthLayer::log_subject`] says where logs name the user. Without a subscriber, a span costs
//! nothing. With one, it takes the memory that the subscriber keeps for a span, for as long as the connection is open.
//!
//! Anybody can cause refusals, so events of refusals are throttled. For each kind, each layer writes ten at once and
//! then one a second. Its field `suppressed` is the number of events that were left out before it. If no event follows
//! within two seconds, the event `handshakes refused` has that number. The same holds for every event below that has
//! the field `suppressed`, because clients can cause any number of them; the next row is the event that ends a flood.
//! Signals, tickets, proofs and the bus between nodes have throttles of their own, so no flood hides another kind.
//! Routes that lack a layer share one.
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | `handshake admitted` | debug | `session` (its id) and `subject` |
//! | `request admitted` | debug | the same, for an authenticated request that is no handshake |
//! | `handshake incomplete…` | warn | `missing`: a WebSocket client sent the request, but a proxy dropped `Upgrade`, `Connection`, `:protocol` or `HTTP/1.1` itself; `route`, `peer`, `suppressed` |
//! | `handshakes incomplete` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `handshake refused` | info | `kind` and [`reason`](Rejection::reason); where known, the `route` ([`MatchedPath`](axum::extract::MatchedPath)), the client's address as `peer`, and the page's `origin`; `suppressed` |
//! | `handshakes refused` | info | `kind`, and `suppressed`: how many more there were in a flood that is over |
//! | `cause of the refusal` | debug | `cause`, which names the claim; `expected` and `found`: what was compared (origins, audiences, issuers, key ids, algorithms, types, times), at most 256 characters each, which may be anybody's if the signature is not valid |
//! | `underlying cause` | trace | `underlying`: a verifier's own error, which may quote claims |
//! | `session refreshed` | debug | `session` |
//! | `refresh refused` | info | `session` and [`reason`](RefreshError::reason); at debug after too many attempts; `suppressed` |
//! | `refreshes refused` | info | `suppressed`: how many more there were in a flood that is over |
//! | `session rechecked` | debug | `session`: the verifier accepts its token again |
//! | `session recheck refused` | info | `session` and [`reason`](RefreshError::reason): it ends |
//! | `step-up missed` | info | `session`: its client sent no token of a better or newer sign-in in time |
//! | `session recheck unavailable` | warn | `session`, `error`: the verifier is asked again; at debug until it answers |
//! | `session recheck not sent…` | warn | `error`: a node did not answer, or the nodes are not known; see [`Sessions::recheck_subject`] |
//! | `session ended` | debug | `session`, [`kind`](SessionKind::as_str), `subject`, [`reason`](EndReason::as_str) and how many `seconds` it lasted: once for every admitted handshake, and for every response that ends with its session |
//! | `keys changed` | info | `issuer`, and how many `keys` are usable now |
//! | `keys unchanged` | debug | the same, after a refresh that changed nothing |
//! | `log-out notice accepted` | info | `issuer`, `of`: `provider_session` or `subject` |
//! | `log-out notice refused` | info | [`reason`](signals::SignalErrorKind::as_str), `error`, `suppressed` |
//! | `log-out notices refused` | info | `suppressed`: how many more there were in a flood that is over |
//! | `key refresh failed` | warn | `issuer`, [`reason`](jwks::KeysErrorKind::as_str), `error` |
//! | `keys withdrawn…` | error | `issuer`: twice in a row, it published no usable key |
//! | `signal received` | debug | `issuer`, `event` (its type) and `id` of a [security event](signals::SharedSignals) |
//! | `signal refused` | info | [`reason`](signals::SecurityEventErrorKind::as_str), `error`, `suppressed` |
//! | `signals refused` | info | `suppressed`: how many more there were in a flood that is over |
//! | `signal not applied…` | warn | `error` of the store, the keys, the resolver or the fallback; `suppressed` |
//! | `signals not applied` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `signal not acted on` | warn | `event` and `why`: its subject is unknown, for example; at debug if its type is |
//! | `signal stream enabled` | info | `issuer`: the transmitter sends events |
//! | `signal stream paused…` | warn | `issuer`: events come later |
//! | `signal stream disabled…` | error | `issuer`, `status`: no events come |
//! | `signal poll failed` | warn | `error`; at debug until a poll succeeds |
//! | `introspection refused…` | error | `endpoint`, `reason` (`wrong_credentials` or `no_credentials`), `error`: the provider refuses the credentials of this server, or there are none; once every 10 seconds |
//! | `introspection failed` | warn | `endpoint` (or the issuer), `reason`, `error`: there is no usable answer; once every 10 seconds for each reason: `discovery`, `unreachable`, `timed_out`, `unsupported_token`, `status`, `too_large`, `malformed`, `not_signed`, `keys_unavailable`, `bad_signature` |
//! | `ticket not issued` | info | `error`, `suppressed` |
//! | `tickets not issued` | info | `suppressed`: how many more there were in a flood that is over |
//! | `ticket not redeemed` | warn | `error` of the store; the handshake is refused with 503; `suppressed` |
//! | `tickets not redeemed` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `proof not noted` | warn | `error` of the store; the token is refused with 503; `suppressed` |
//! | `proofs not noted` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `limit store unavailable` | warn | `error`; this node counts the affected subjects alone |
//! | `evictions not received` | warn | `error`; a session that another node evicted ends at the next renewal |
//! | `node bus unavailable` | warn | `error`; sessions of other nodes cannot be refreshed here, or those of this node there; `suppressed` |
//! | `node bus still unavailable` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `revocation not confirmed` | error | `error` of the store, which may not know of the revocation |
//! | `revocation store unavailable` | warn | `error`; this node may not know all revocations |
//! | `revocations lost by the store` | error | `error`: this node's cursor is unknown, as after a failover; it loads all revocations again |
//! | `revocations restored…` | error | `count`, `lost`: this node added revocations that the store had lost |
//! | | warn | `count`: this node added revocations that the store had never confirmed |
//! | `revocations incomplete…` | warn | other nodes are still restoring revocations; this node admits nobody until they finish |
//! | `cause of the failure` | debug | `cause` of an event above |
//! | `no session in the request…` | error | the `claims` asked for: the route lacks its layer; `suppressed` |
//! | `requests without a session` | error | `suppressed`: how many more there were in a flood that is over |
//! | `no session in the path…` | error | a [refresh route](WsAuthLayer::refresh_route) whose path lacks `{session}`; `suppressed` |
//! | `requests without a session in the path` | error | `suppressed`: how many more there were in a flood that is over |
//! | `sessions without a subject are not limited…` | warn | once: [`Limits::per_subject`] needs a verifier that names subjects |
//! | `session dropped before its upgrade…` | warn | `session`, once per registry: the handler accepted the handshake and dropped the [`Session`], so nothing ends the connection and no limit counts it |
//! | `session ended and nothing watches it…` | warn | `session`, once per registry: the handler holds the [`Session`] and does not close its socket |
//! | `peer address unknown…` | error | once per layer: [`TrustedProxies`] or [`AddressLimits`] need it, and the server does not tell it; see [`ClientAddr`] |
//! | `subprotocol not offered…` | warn | the response omits a name that the handler selected; `suppressed` |
//! | `subprotocols not offered` | warn | `suppressed`: how many more there were in a flood that is over |
//! | `rejection hook answered with success…` | error | the standard response was sent instead; `suppressed` |
//! | `rejection hook answers with success` | error | `suppressed`: how many more there were in a flood that is over |
//!
//! Other crates log more. axum's own `WebSocket` reads through tungstenite, which logs every message at `TRACE`,
//! including a token in a message. Keep the target `tungstenite` at `DEBUG` in production. An [`AuthenticatedSocket`]
//! does not use tungstenite and logs no message.
//!
//! # Metrics
//!
//! With the feature `metrics`, through the `metrics` facade. The module `metrics` has the names as constants, the
//! values of each label, an example, and `describe_metrics`. No label holds what a client sent. `examples/metrics.rs`
//! exports them to Prometheus, and `examples/grafana.json` is a dashboard.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `axum_ws_auth_handshakes_total` | counter | `kind`, `outcome`, `reason`, `source`, `http` |
//! | `axum_ws_auth_handshake_duration_seconds` | histogram | `outcome` |
//! | `axum_ws_auth_verify_duration_seconds` | histogram | `verifier` |
//! | `axum_ws_auth_sessions` | gauge | `kind` |
//! | `axum_ws_auth_session_duration_seconds` | histogram | `kind`, `end_reason` |
//! | `axum_ws_auth_refreshes_total` | counter | `outcome`, `reason` |
//! | `axum_ws_auth_rechecks_total` | counter | `outcome`, `reason` |
//! | `axum_ws_auth_revocations_total` | counter | `kind` |
//! | `axum_ws_auth_revocations_synced_timestamp_seconds` | gauge | |
//! | `axum_ws_auth_keys_refresh_total` | counter | `issuer`, `outcome`, `reason` |
//! | `axum_ws_auth_keys_refreshed_timestamp_seconds` | gauge | `issuer` |
//! | `axum_ws_auth_tickets_total` | counter | `outcome`, `reason` |
//! | `axum_ws_auth_store_errors_total` | counter | `store` |
//! | `axum_ws_auth_signals_total` | counter | `event`, `outcome`, `reason` |
//! | `axum_ws_auth_proofs_total` | counter | `outcome`, `reason` |
//!
//! # Features
//!
//! | feature | what | default |
//! | --- | --- | --- |
//! | `jwt` | [`jwt::JwtVerifier`], [`CachedVerifier`]; needs `aws-lc-rs` or `rust-crypto` | yes |
//! | `aws-lc-rs` | signatures by aws-lc-rs: faster, needs a C compiler; used if both are on | yes |
//! | `rust-crypto` | signatures by the RustCrypto crates: no C; RSA up to 4096 bits instead of 8192 | no |
//! | `dpop` | [`Dpop`]: tokens that are bound to a key of the client (RFC 9449) | no |
//! | `jwks` | [`jwks`]: fetched keys, OpenID Connect Discovery; adds reqwest with rustls | no |
//! | `signals` | [`signals`]: log-out notices and security events of identity providers; includes `jwks` | no |
//! | `introspection` | [`introspection`]: opaque tokens; includes `jwks` | no |
//! | `metrics` | [metrics](#metrics) for the facade of that name; the program installs a recorder | no |
//! | `redis` | [`Redis`]: tickets, revocations and limits for several nodes | no |
//! | `redis-tls` | `rediss://`: TLS to Redis, with rustls and aws-lc-rs | no |
//! | `streams` | [`Streams`]: responses of unknown length end with their sessions | yes |
//! | `tracing` | [events](#events) | yes |
//! | `test-util` | [`test_util`]: handshakes, tokens and in-memory connections for tests | no |
//! | `full` | everything but `rust-crypto` and `test-util` | no |
//!
//! [axum]: https://docs.rs/axum

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address_limits;
#[cfg(feature = "dpop")]
mod dpop;
mod error;
mod extract;
mod forwarded;
mod future;
#[cfg(any(doc, doctest))]
pub mod guides;
mod handshake;
mod health;
#[cfg(feature = "jwks")]
mod http_client;
mod id;
mod json;
mod layer;
mod lock;
#[cfg(feature = "metrics")]
pub mod metrics;
mod origin;
#[cfg(feature = "redis")]
mod redis;
mod refresh;
mod rejection;
mod resource;
mod revocation;
mod service;
mod session;
#[cfg(feature = "signals")]
pub mod signals;
mod socket;
pub mod store;
#[cfg(feature = "streams")]
mod stream;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test_util;
mod ticket;
mod time;
mod token;
mod verify;
mod websocket;

#[cfg(feature = "dpop")]
pub use self::dpop::Dpop;
#[cfg(feature = "jwks")]
pub use self::http_client::HttpClient;
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisCredentials};
#[cfg(feature = "streams")]
pub use self::stream::Streams;
#[cfg(feature = "introspection")]
pub use self::verify::introspection;
#[cfg(feature = "jwks")]
pub use self::verify::jwks;
#[cfg(feature = "jwt")]
pub use self::verify::{CachedVerifier, jwt};
pub use self::{
    address_limits::{AddressLimitError, AddressLimits},
    error::ConfigError,
    extract::{Authenticated, AuthenticatedRejection, AuthenticatedUpgrade},
    forwarded::{ClientAddr, TrustedProxies},
    future::ResponseFuture,
    health::{Health, HealthReason, HealthReport, HealthStatus, SessionsHealth, StoreHealth},
    id::{ParseSessionCursorError, ParseSessionIdError, ScopedId, SessionCursor, SessionId},
    layer::WsAuthLayer,
    origin::{AllowOrigin, OriginError, OriginErrorKind},
    rejection::{Rejection, RejectionKind},
    resource::{BearerMethod, ResourceMetadata},
    revocation::{MemoryRevocations, RevocationOptions, RevocationStatus, Revocations},
    service::WsAuth,
    session::{
        AdmissionError, CloseCodes, Drain, Drained, EndReason, Limits, OfSubject, RefreshError, RefreshErrorKind,
        Session, SessionEnded, SessionInfo, SessionKind, SessionMeta, SessionPage, SessionWatcher, Sessions,
        StepUpError,
    },
    socket::{AuthenticatedSocket, FirstMessage, FirstToken, RefreshProtocol, RefreshRequest},
    store::{lease::AtLimit, revocations::Revocation},
    telemetry::LogSubject,
    ticket::{MemoryTickets, Ticket, TicketError, TicketErrorKind, TicketOptions, TicketVerifier, Tickets},
    time::TimeSource,
    token::{Token, TokenError, TokenErrorKind, TokenSource},
    verify::{
        Authorize, AuthorizeAsync, FromVerifyInput, Map, Or, OwnedVerifyInput, PathParams, Recheck, StepUp, Verified,
        Verifier, VerifierFn, VerifyError, VerifyErrorKind, VerifyInput, verifier_fn,
    },
    websocket::{WebSocketError, WebSocketErrorKind},
};

/// Private code for the fuzz targets in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::{socket::fuzzing::*, websocket::fuzzing::*};
}

// Compiles and runs the README's examples with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
