//! Microsoft Entra ID.
//!
//! Not run against Entra. Facts from its documentation, read in November 2026.
//!
//! # At Entra
//!
//! 1. Register an application for this server. Under *Expose an API*, add a scope: here `chat`.
//! 2. In its manifest, set `requestedAccessTokenVersion` to `2`.
//! 3. The page or app that signs users in requests the scope `api://…/chat` of that application.
//!
//! # Here
//!
//! ```no_run
//! use axum_ws_auth::{Verifier, VerifyError, WsAuthLayer, jwt::JwtVerifier};
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     /// The user, in all applications of the tenant.
//!     oid: String,
//!     #[serde(default)]
//!     scp: String,
//! }
//!
//! # async fn layer() -> Result<WsAuthLayer, Box<dyn std::error::Error>> {
//! let tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
//! let verifier = JwtVerifier::<Claims>::discover(format!("https://login.microsoftonline.com/{tenant}/v2.0"))
//!     // The client id of this server.
//!     .audience("6e74172b-be56-4843-9ff4-e66a39bb12e3")
//!     .await?
//!     .authorize(|claims, _| {
//!         let may_chat = claims.scp.split(' ').any(|scope| scope == "chat");
//!         if may_chat { Ok(()) } else { Err(VerifyError::insufficient_scope("chat")) }
//!     });
//! let layer = WsAuthLayer::new(verifier);
//! # Ok(layer) }
//! ```
//!
//! For customers with tenants of their own, [`IssuerKeys::entra_tenants`](crate::jwks::IssuerKeys::entra_tenants) accepts
//! those that you choose, with the keys that all tenants share.
//!
//! # How access ends
//!
//! Entra does not tell this server of a log-out or a disabled account: front-channel log-out reaches browsers only, and
//! continuous access evaluation is for Microsoft's own services. Access ends when the token expires, after 60 to 90 minutes
//! at random. To end it sooner:
//!
//! - set [`max_lifetime`](crate::WsAuthLayer::max_lifetime), or a token lifetime policy at Entra,
//! - look at the user again with [`Verified::recheck_with`](crate::Verified::recheck_with), by Microsoft Graph for example,
//! - or call [`Revocations::revoke_subject`](crate::Revocations::revoke_subject) where you learn of it.
//!
//! # Pitfalls
//!
//! - **Issuer**: with the id of a tenant. The document of `common` or `organizations` names `{tenantid}`, which is no issuer.
//! - **Version 1 tokens** (`ver` is `1.0`, the default of an application for one tenant) have the issuer
//!   `https://sts.windows.net/TENANT/` and often the audience `api://…`. Step 2 avoids them.
//! - **A token for Microsoft Graph** cannot be verified by anybody else. The page must request a scope of this server.
//! - **`sub`** differs between applications. To find a user in a database, use `oid` together with `tid`.
//! - **`jti`** is missing; the token's id is `uti`. So [`revoke_token`](crate::Revocations::revoke_token) cannot name one.
//! - **Applications** that act for themselves have `roles` in their tokens, and no `scp`.
