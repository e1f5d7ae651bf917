//! Amazon Cognito.
//!
//! Not run against Cognito. Facts from its documentation, read in November 2026.
//!
//! # At Cognito
//!
//! Create a user pool and an app client. In the settings of the app client, set the access token expiration: 5 minutes to a
//! day, an hour by default.
//!
//! # Here
//!
//! ```no_run
//! use axum_ws_auth::{Verifier, VerifyError, WsAuthLayer, jwt::JwtVerifier};
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     username: String,
//!     client_id: String,
//!     token_use: String,
//! }
//!
//! # async fn layer() -> Result<WsAuthLayer, Box<dyn std::error::Error>> {
//! let verifier = JwtVerifier::<Claims>::discover("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123")
//!     // Access tokens have no `aud`. The check below takes its place.
//!     .insecure_any_audience()
//!     .await?
//!     .authorize(|claims, _| {
//!         let is_ours = claims.token_use == "access" && claims.client_id == "1example23456789";
//!         if is_ours { Ok(()) } else { Err(VerifyError::invalid()) }
//!     });
//! let layer = WsAuthLayer::new(verifier);
//! # Ok(layer) }
//! ```
//!
//! # How access ends
//!
//! Cognito does not tell this server of anything, and has no introspection. A global sign-out or a revoked refresh token
//! stops Cognito's own services from accepting access tokens, but the signature of a token stays valid until it expires.
//! So:
//!
//! - keep access tokens short, and have pages refresh,
//! - where your backend calls `AdminUserGlobalSignOut`, or disables a user, call
//!   [`Revocations::revoke_subject`](crate::Revocations::revoke_subject) too,
//! - or ask Cognito again during the session with [`Verified::recheck_with`](crate::Verified::recheck_with): `GetUser` fails
//!   with a revoked access token. It needs the scope `aws.cognito.signin.user.admin`.
//!
//! # Pitfalls
//!
//! - **Issuer**: `https://cognito-idp.REGION.amazonaws.com/POOL`, not the domain of the sign-in pages.
//! - **ID tokens** have `aud`, and `token_use` is `id`. They are for the page.
//! - **Without the check of `client_id`**, tokens of every app client of the pool are accepted.
//! - **Groups** are in `cognito:groups`, scopes in `scope`.
