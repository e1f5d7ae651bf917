//! Auth0.
//!
//! Not run against Auth0. Facts from its documentation, read in November 2026.
//!
//! # At Auth0
//!
//! 1. Create an API. Its identifier is the audience: here `https://chat.example.com`.
//! 2. The application requests this `audience` when users sign in. Without it, they get a token for `/userinfo` that nobody
//!    else can read.
//! 3. In the settings of the application, set the *Back-Channel Logout URI* to
//!    `https://ws.example.com/backchannel-logout`, and choose its initiators, such as `password-changed` and
//!    `session-revoked`. This needs the Enterprise plan.
//! 4. Access tokens do not have the session's id. `sid` is a reserved name, so add a claim with a name of your own by an
//!    Action after login:
//!
//! ```js
//! exports.onExecutePostLogin = async (event, api) => {
//!   api.accessToken.setCustomClaim('https://chat.example.com/sid', event.session?.id);
//! };
//! ```
//!
//! # Here
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, WsAuthLayer};
//! use axum_ws_auth::{jwt::JwtVerifier, signals::BackChannelLogout};
//! use serde_json::Value;
//!
//! # async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response { upgrade.on_upgrade(async |_| {}) }
//! # async fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! let verifier = JwtVerifier::<Value>::discover("https://example.eu.auth0.com/")
//!     .audience("https://chat.example.com")
//!     .provider_session_claim("https://chat.example.com/sid")
//!     .await?;
//! let revocations = Revocations::new(MemoryRevocations::new());
//! let log_out = BackChannelLogout::new(&verifier, &revocations, "the application's client id")?;
//! let app = Router::new()
//!     .route("/chat", any(chat))
//!     .layer(WsAuthLayer::new(verifier).revocations(&revocations))
//!     .route("/backchannel-logout", log_out.route());
//! # Ok(app) }
//! ```
//!
//! # How access ends
//!
//! Auth0 sends a log-out token when a session ends by one of the chosen initiators: `rp-logout`, `idp-logout`,
//! `password-changed`, `session-expired`, `session-revoked`, `account-deleted`, `email-identifier-changed`. The connections
//! of that session are closed, and no others.
//!
//! Without the Enterprise plan, set a short *Maximum Access Token Lifetime* in the settings of the API (it is a day by
//! default), and have pages refresh.
//!
//! # Pitfalls
//!
//! - **Issuer**: `https://TENANT.REGION.auth0.com/`, with the slash at the end. With a custom domain, it is that domain.
//! - **Without step 4**, a log-out names a session that no connection has, and ends nothing.
//!   [`whole_subject`](crate::signals::BackChannelLogout::whole_subject) ends all sessions of the user instead.
//! - **The log-out URL** must be `https`, with a public address. A test on your machine needs a tunnel.
//! - **`sub`** has the connection in front: `auth0|…`, `google-oauth2|…`.
//! - **`typ`** of access tokens is `JWT`, or `at+jwt` if the API has the profile *RFC 9068*. Both are accepted.
