//! Keys that an issuer publishes and rotates: JSON Web Key Sets (RFC 7517), found by OpenID Connect Discovery 1.0 or at
//! a known URL.
//!
//! Most applications need only [`JwtVerifier::discover`] with the issuer.
//!
//! - **A token is verified only with the keys of its issuer** (`iss`), and these keys verify no other tokens. A
//!   verifier can have several issuers. An issuer can have [several names](IssuerKeys::alias), and sign tokens
//!   [without `iss`](IssuerKeys::allow_missing_iss).
//! - **Issuers that cannot be listed** are recognized by a [rule](IssuerRule), such as a realm for each tenant, or
//!   share the keys of [Microsoft Entra](IssuerKeys::entra_tenants).
//! - **A key's algorithm** is its `alg`, or follows from its type and curve; [`algorithms`](IssuerKeys::algorithms)
//!   restricts it. Encryption keys, keys of an unknown type, and keys that are too short or malformed are ignored; the
//!   others are used. A fetched key that is symmetric, or has private members such as `d`, is public knowledge and
//!   never used. Nor is a copy of it without these members. The [status](IssuerStatus::unusable) lists every ignored
//!   key.
//! - **Keys are refreshed in the background**, before they are stale, by one task that ends with the last clone of the
//!   verifier. A token with a known key never waits.
//! - **A token with an unknown key** triggers a fetch, and all such tokens share it. A token that would be refused
//!   anyway, because it is expired or for another audience, triggers none. Clients can send arbitrary key ids, so there
//!   is at most one such fetch every 10 [seconds](IssuerKeys::cool_down) for each issuer. A token is refused with 401
//!   only if a fetch that began after the token arrived did not bring its key. If no fetch is possible yet, the token
//!   is refused with 503 and `Retry-After`. So an attacker who guesses a key id before the issuer uses it cannot make
//!   valid tokens fail with 401. A key that changes without a new id, or has no id, is noticed only at the next
//!   refresh.
//! - **If the issuer is unavailable**, the last good keys stay in use for up to a [day](IssuerKeys::max_stale). After
//!   that, tokens are refused with 503, never 401. A response that is not a key set does not replace the keys. Fetches
//!   are retried within one second, then two, four, and so on up to a minute, or after the issuer's `Retry-After` of up
//!   to five minutes.
//! - **A withdrawn key** stays in use until the next refresh, for an [hour](IssuerKeys::refresh_interval) at most
//!   unless the issuer is unavailable. This includes tokens in a [`CachedVerifier`](crate::CachedVerifier).
//! - **A well-formed set without a usable key withdraws all keys**: the set is empty, or all its keys have other
//!   purposes. The first such response may be a mistake, so the keys stay in use and the fetch is repeated within a
//!   second. The second in a row drops the keys, and tokens are refused with 503 until the issuer publishes new ones. A
//!   `null` or missing list is not a well-formed set (RFC 7517 §5.1) and counts as an outage.
//!
//! Times are measured with the monotonic clock, which may stop while the machine sleeps.
//!
//! # Example
//!
//! ```
//! use axum_ws_auth::jwks::{IssuerKeys, JwkSet, KeysErrorKind, StartError};
//! use axum_ws_auth::jwt::JwtVerifier;
//! use axum::{Json, Router, routing::get};
//! use serde_json::{Value, json};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An issuer on localhost, where `http` is allowed.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let issuer = format!("http://{}", listener.local_addr()?);
//! let metadata = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
//! let keys = json!({"keys": [
//!     {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
//!     {"kty": "OKP", "crv": "X25519", "kid": "b", "use": "enc", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},
//! ]});
//! let app = Router::new()
//!     .route("/.well-known/openid-configuration", get(async || Json(metadata)))
//!     .route("/keys", get(async || Json(keys)));
//! tokio::spawn(async { axum::serve(listener, app).await });
//!
//! // Yes: the keys are fetched before the first handshake.
//! let verifier = JwtVerifier::<Value>::discover(&issuer).audience("chat").await?;
//! let status = &verifier.status()[0];
//! assert_eq!(status.key_ids().collect::<Vec<_>>(), [Some("a")]);
//! assert_eq!(status.unusable()[0].key_id(), Some("b"));
//!
//! // No: the document names another issuer. A trailing slash makes a difference.
//! let other = JwtVerifier::<Value>::discover(format!("{issuer}/")).audience("chat").await;
//! let Err(StartError::Keys { source, .. }) = other else { panic!("the issuer differs") };
//! assert_eq!(source.kind(), KeysErrorKind::WrongIssuer);
//!
//! // Several issuers, one with a local key set. `build` does not wait for the keys.
//! # let file = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
//! let set: JwkSet = serde_json::from_str(file)?;
//! let verifier = JwtVerifier::<Value>::builder()
//!     .issuer_keys(IssuerKeys::discover("https://id.example.com"))
//!     .issuer_keys(IssuerKeys::jwks_url("https://partner.example", "https://partner.example/keys.json"))
//!     .issuer_keys(IssuerKeys::jwks("https://batch.example", set))
//!     .audience("chat")
//!     .build()?;
//! assert!(verifier.status()[2].is_usable() && !verifier.status()[0].is_usable());
//! # Ok(()) }
//! ```
//!
//! # Issuers
//!
//! | issuer | `discover(…)` |
//! | --- | --- |
//! | ADFS | `https://HOST/adfs`, with the [alias](IssuerKeys::alias) `http://HOST/adfs/services/trust`, which access tokens name |
//! | Auth0 | `https://TENANT.REGION.auth0.com/`, with the slash |
//! | AWS Application Load Balancer | none: its tokens need an [`AlbVerifier`](crate::jwt::AlbVerifier) |
//! | AWS Cognito | `https://cognito-idp.REGION.amazonaws.com/POOL`; access tokens have no `aud`, so they need [`insecure_any_audience`](crate::jwt::JwtVerifierBuilder::insecure_any_audience) and a check of `client_id` |
//! | Google | `https://accounts.google.com`, with the [alias](IssuerKeys::alias) `accounts.google.com`, which some tokens name |
//! | Keycloak | `https://HOST/realms/REALM` |
//! | Keycloak, a realm for each tenant | an [`IssuerRule`] for `https://HOST/realms/*` |
//! | Microsoft Entra, one tenant | `https://login.microsoftonline.com/TENANT/v2.0`, with the id of the tenant; `https://sts.windows.net/TENANT/` for tokens of version 1 |
//! | Microsoft Entra, several tenants | [`IssuerKeys::entra_tenants`]: the document of `common` names no issuer |
//! | Okta | `https://HOST/oauth2/SERVER` |
//!
//! [`JwtVerifier::discover`]: crate::jwt::JwtVerifier::discover

mod budget;
mod build;
mod client;
#[cfg(feature = "introspection")]
mod discover;
mod entra;
mod error;
mod fetch;
mod issuer;
mod issuer_keys;
mod issuers;
mod json_client;
mod names;
mod on_demand;
mod pem;
mod refresh;
mod rule;
mod schedule;
mod set;
mod status;

pub use client::FetchJwks;
pub use error::{KeysError, KeysErrorKind, StartError};
pub use issuer_keys::IssuerKeys;
pub use rule::IssuerRule;
pub use set::{JwkSet, UnusableKey};
pub use status::IssuerStatus;

#[cfg(feature = "introspection")]
pub(crate) use build::MAX_DURATION;
#[cfg(feature = "introspection")]
pub(crate) use discover::discover_url;
pub(crate) use issuer::{Freshness, Issuer, Keys};
pub(crate) use issuers::{Found, Issuers, KeyGeneration, KnownIssuer};
pub(crate) use pem::{PemKey, PemKeys};
