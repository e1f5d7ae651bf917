//! Ory: Ory Network, and Ory Hydra on servers of your own.
//!
//! Not run against Ory. Facts from its documentation, read in November 2026.
//!
//! # At Ory
//!
//! 1. Create an OAuth 2.0 client for the page or app that signs users in, with the `audience` `https://chat.example.com`. It
//!    requests this audience when users sign in: otherwise `aud` is empty.
//! 2. Access tokens are opaque by default (`ory_at_…`). Keep them so, or set `strategies.access_token` to `jwt`.
//! 3. Create an API key for this server (Ory Network). The admin API of a server of your own has no authentication: it must
//!    not be reachable from outside.
//!
//! # Here
//!
//! ```no_run
//! use axum_ws_auth::{WsAuthLayer, introspection::{ClientAuth, IntrospectionVerifier}};
//! use serde_json::Value;
//! use std::time::Duration;
//!
//! # async fn layer(api_key: String) -> Result<WsAuthLayer, Box<dyn std::error::Error>> {
//! let url = "https://example.projects.oryapis.com/admin/oauth2/introspect";
//! let verifier = IntrospectionVerifier::<Value>::endpoint(url, ClientAuth::bearer(api_key))
//!     .issuer("https://example.projects.oryapis.com")
//!     .audience("https://chat.example.com")
//!     .recheck_every(Duration::from_secs(30))
//!     .await?;
//! let layer = WsAuthLayer::new(verifier);
//! # Ok(layer) }
//! ```
//!
//! The discovery document does not name this endpoint.
//!
//! # How access ends
//!
//! A revoked token is inactive, and its connections are closed within the period of `recheck_every`. That is so for JWTs
//! too, if they are introspected; a [`JwtVerifier`](crate::jwt::JwtVerifier) accepts them until they expire.
//!
//! For back-channel log-out, set `backchannel_logout_uri` of the client. The log-out token names the session (`sid`), and
//! neither the user nor an expiry, and access tokens have no `sid`. So it takes
//!
//! - JWTs with a claim `sid` that the consent app adds: `session.access_token`, with the `login_session_id` of the consent
//!   request as its value, and `sid` in `oauth2.allowed_top_level_claims`,
//! - and [`insecure_accept_untyped`](crate::signals::BackChannelLogout::insecure_accept_untyped) and
//!   [`insecure_accept_without_exp`](crate::signals::BackChannelLogout::insecure_accept_without_exp).
//!
//! # Pitfalls
//!
//! - **Issuer**: exactly as in the discovery document. Older versions of Hydra add a slash at the end.
//! - **Claims of your own** are in `ext`, unless they are allowed at the top level.
//! - **`sub`** is what the login app has accepted: the id of the identity, with Ory's own pages.
