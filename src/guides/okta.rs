//! Okta.
//!
//! Not run against Okta. Facts from its documentation, read in November 2026.
//!
//! # At Okta
//!
//! 1. Use a custom authorization server: `default`, or one of your own. Tokens of the org server are for Okta alone, and
//!    nobody else can verify them.
//! 2. Its *Audience* is the `aud` of access tokens: `api://default` for `default`.
//! 3. Create an application for the page or app that signs users in, and an access policy that allows it.
//! 4. For Universal Logout, the application's integration names the route as its *global token revocation endpoint*:
//!    `https://ws.example.com/universal-logout`. Its *subject format* is *Email* by default.
//!
//! # Here
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, ScopedId, WsAuthLayer, jwt::JwtVerifier};
//! use axum_ws_auth::signals::{SubjectId, UniversalLogout};
//! use serde_json::Value;
//!
//! # async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response { upgrade.on_upgrade(async |_| {}) }
//! # async fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! const SERVER: &str = "https://example.okta.com/oauth2/default";
//! let verifier = JwtVerifier::<Value>::discover(SERVER).audience("api://default").await?;
//! // The org signs the requests, with keys of its own.
//! let org = JwtVerifier::<Value>::discover("https://example.okta.com").await?;
//! let revocations = Revocations::new(MemoryRevocations::new());
//! let logout = UniversalLogout::new(&org, &revocations, "https://ws.example.com/universal-logout")?
//!     // The `sub` of access tokens is the user's login, here the email address.
//!     .users(async |subject: SubjectId| match subject {
//!         SubjectId::Email { email } => Ok(Some(ScopedId::of(SERVER, email))),
//!         _ => Ok(None),
//!     });
//! let app = Router::new()
//!     .route("/chat", any(chat))
//!     .layer(WsAuthLayer::new(verifier).revocations(&revocations))
//!     .route("/universal-logout", logout.route());
//! # Ok(app) }
//! ```
//!
//! # How access ends
//!
//! | at Okta | here |
//! | --- | --- |
//! | an administrator clears the user's sessions, or Okta sees a threat | all connections of the user are closed |
//! | the access token is revoked | its connections are closed within a period, with an [`IntrospectionVerifier`](crate::introspection::IntrospectionVerifier) for the same issuer |
//! | the user signs out | nothing, until the token expires: Okta has no back-channel log-out |
//!
//! Universal Logout needs Okta Identity Engine. The lifetime of access tokens is set by a rule of the access policy: an hour
//! by default, and five minutes at least.
//!
//! # Pitfalls
//!
//! - **Issuer**: `https://HOST/oauth2/SERVER`, without a slash at the end. With a custom domain, the server's settings say
//!   which domain tokens name.
//! - **Two issuers**: the org and the authorization server. A resolver that answers with the org's issuer ends nothing.
//! - **`sub`** is the user's login, which can change; the user's id is `uid`.
//! - **`aud`** of a Universal Logout request is the exact URL of the route, also behind a proxy.
