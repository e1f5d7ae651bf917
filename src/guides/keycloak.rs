//! Keycloak.
//!
//! Not run against Keycloak. Facts from its documentation and source of version 26, read in November 2026.
//!
//! # At Keycloak
//!
//! 1. Create a client for the page or app that signs users in: here `web`.
//! 2. Access tokens do not name this server by default. Create a client scope with a mapper of the type *Audience*:
//!    *Included Custom Audience* `chat`, *Add to access token* on. Add the scope to the client as *Default*.
//! 3. In the settings of the client: *Front channel logout* off, *Backchannel logout URL*
//!    `https://ws.example.com/backchannel-logout`, *Backchannel logout session required* on.
//!
//! # Here
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, WsAuthLayer};
//! use axum_ws_auth::{jwt::JwtVerifier, signals::BackChannelLogout};
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     preferred_username: String,
//! }
//!
//! # async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response { upgrade.on_upgrade(async |_| {}) }
//! # async fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! let verifier = JwtVerifier::<Claims>::discover("https://id.example.com/realms/shop").audience("chat").await?;
//! let revocations = Revocations::new(MemoryRevocations::new());
//! let log_out = BackChannelLogout::new(&verifier, &revocations, "web")?;
//! let app = Router::new()
//!     .route("/chat", any(chat))
//!     .layer(WsAuthLayer::new(verifier).revocations(&revocations))
//!     .route("/backchannel-logout", log_out.route());
//! # Ok(app) }
//! ```
//!
//! # How access ends
//!
//! | at Keycloak | here |
//! | --- | --- |
//! | the user logs out, or an administrator signs out a session | the connections of that session are closed, and no others |
//! | an account is disabled, a password changes, a session times out | nothing, until the token expires |
//!
//! The second row needs short tokens (*Access Token Lifespan*, 5 minutes by default), or
//! [`SharedSignals`](crate::signals::SharedSignals), which Keycloak can transmit as an experiment since 26.7:
//!
//! 1. Start Keycloak with `--features=ssf`, and turn the transmitter on in the settings of the realm.
//! 2. Turn *SSF enabled* on for a client, allow push or poll delivery, and set *Default subjects* to `ALL`: by default no
//!    user is a subject of a stream. For push, *Valid push URLs* must list the route.
//! 3. Create the stream with [`Transmitter`](crate::signals::Transmitter), by an access token of that client. Keycloak has
//!    one stream for each client.
//!
//! Keycloak answers polls at once, also if there is no event:
//! [`Poll::interval`](crate::signals::Poll::interval) sets how often to ask.
//!
//! # Pitfalls
//!
//! - **Issuer**: `https://HOST/realms/REALM`, without a slash at the end. If this server reaches Keycloak by another name
//!   than browsers do, name both in [`IssuerKeys::discover_at`](crate::jwks::IssuerKeys::discover_at).
//! - **`aud`** is `account` without the mapper of step 2. The refusal is `wrong_audience`.
//! - **`typ`** of access tokens is `JWT`, as of ID tokens, whose audience is the client. With *Use "at+jwt" as access token
//!   header type* in the client's advanced settings, add
//!   [`token_type("at+jwt")`](crate::jwt::JwtVerifierBuilder::token_type).
//! - **Log-out tokens** of old versions have the type `JWT`: see
//!   [`insecure_accept_untyped`](crate::signals::BackChannelLogout::insecure_accept_untyped).
//! - **`sid`** is in access tokens of users. Those of service accounts have none, and no log-out ends them.
//! - **Lightweight access tokens** lack `aud` unless the mapper has *Add to lightweight access token* on.
//! - **A realm for each tenant** needs no verifier for each: see [`IssuerRule`](crate::jwks::IssuerRule).
