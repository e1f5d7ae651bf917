//! ZITADEL.
//!
//! Not run against ZITADEL. Facts from its documentation, read in November 2026.
//!
//! # At ZITADEL
//!
//! 1. In the project, create an application of the type *API* for this server, with the authentication method *Basic*. Note
//!    its client id and secret, and the id of the project.
//! 2. The application that signs users in requests the scope `urn:zitadel:iam:org:project:id:PROJECT_ID:aud`, which makes
//!    the project an audience of its tokens.
//! 3. Its access tokens are opaque by default (*Auth Token Type* `Bearer Token`). Keep them so, or choose `JWT`.
//!
//! # Here
//!
//! ```no_run
//! use axum_ws_auth::{WsAuthLayer, introspection::{ClientAuth, IntrospectionVerifier}};
//! use serde_json::Value;
//! use std::time::Duration;
//!
//! # async fn layer(secret: String) -> Result<WsAuthLayer, Box<dyn std::error::Error>> {
//! let auth = ClientAuth::basic("the API's client id", secret);
//! let verifier = IntrospectionVerifier::<Value>::discover("https://example.zitadel.cloud", auth)
//!     .audience("the project's id")
//!     .recheck_every(Duration::from_secs(30))
//!     .await?;
//! let layer = WsAuthLayer::new(verifier);
//! # Ok(layer) }
//! ```
//!
//! JWTs are verified without a request to ZITADEL by a [`JwtVerifier`](crate::jwt::JwtVerifier), with the same issuer and
//! audience. They are then valid until they expire, unless a notice ends them.
//!
//! # How access ends
//!
//! A token that is revoked or whose session has ended is inactive, and its connections are closed within the period of
//! `recheck_every`.
//!
//! Back-channel log-out is a beta feature, which must be enabled by the feature API. Set `backchannel_logout_uri` of the
//! application that signs users in. The log-out token in ZITADEL's documentation has the type `JWT`, and access tokens have
//! no `sid`, so [`BackChannelLogout`](crate::signals::BackChannelLogout) needs
//! [`insecure_accept_untyped`](crate::signals::BackChannelLogout::insecure_accept_untyped) and
//! [`whole_subject`](crate::signals::BackChannelLogout::whole_subject).
//!
//! # Pitfalls
//!
//! - **Issuer**: the domain of the instance, without a slash at the end.
//! - **`active: false`** is also the answer if the token lacks the audience of step 2.
//! - **Roles** are in `urn:zitadel:iam:org:project:PROJECT_ID:roles`, if the scope asks for them.
