//! Keys that an issuer publishes and changes: JSON Web Key Sets (RFC 7517), found by OpenID Connect Discovery 1.0 or at a
//! URL that is known.
//!
//! [`JwtVerifier::discover`] is all that it takes for most: give it the issuer, and never think about keys again.
//!
//! - **A token is verified with the keys of the issuer that it names** (`iss`), and with no others; the keys of an issuer
//!   count for its own tokens only. Several issuers stand side by side.
//! - **A key's algorithm** follows from its `alg`, or from its type and curve; [`algorithms`](IssuerKeys::algorithms)
//!   restricts it. Keys for encryption, of an unknown type, too short or broken are left out; the others still count. A
//!   fetched key that is symmetric, or has private members such as `d`, is known to everybody and is never used. Nor is a
//!   copy of it without these members. The [status](IssuerStatus::unusable) names every key that is left out.
//! - **Keys are fetched in the background**, before they are stale, by one task that ends with the last clone of the
//!   verifier. A token whose key is known never waits.
//! - **A token with an unknown key** causes a fetch, and all such tokens wait for it together. A token that would be refused
//!   anyway, because it has expired or is for another audience, causes none. Clients can invent key ids, so there is at most
//!   one such fetch every 10 [seconds](IssuerKeys::cool_down) for each issuer. A token is refused with 401 only if a fetch
//!   that began after the token arrived did not bring its key. If no fetch is possible yet, the token is refused with 503
//!   and `Retry-After`. So an attacker who guesses a key id before the issuer uses it cannot make valid tokens fail with
//!   401. A key that changes under the same id, or has no id, is noticed only at the next refresh.
//! - **If the issuer is unavailable**, the last good keys stay in use for up to a [day](IssuerKeys::max_stale). After that,
//!   tokens are refused with 503, never 401. No answer that is not a key set takes the place of good keys. The issuer is
//!   asked again after a second, then two, four, and a minute at most, or when it wants to be, up to five minutes.
//! - **A withdrawn key** stops counting at the next refresh, after an [hour](IssuerKeys::refresh_interval) at most unless the
//!   issuer is unavailable. This includes tokens in a [`CachedVerifier`](crate::CachedVerifier).
//! - **A well-formed set without a usable key withdraws all keys**: it is empty, or its keys are all for something else. The
//!   first such answer may be a mistake, so the keys stay and the issuer is asked again within a second. The second in a row
//!   drops the keys, and tokens are refused with 503 until the issuer publishes others. A list that is `null` or missing is
//!   no well-formed set (RFC 7517 §5.1) and counts as an outage.
//!
//! The times are told by the monotonic clock, which may stand still while a machine sleeps.
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
//! // An issuer on this machine, for which `http` will do.
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
//! // Yes: the keys are there before the first handshake.
//! let verifier = JwtVerifier::<Value>::discover(&issuer).audience("chat").await?;
//! let status = &verifier.status()[0];
//! assert_eq!(status.key_ids().collect::<Vec<_>>(), [Some("a")]);
//! assert_eq!(status.unusable()[0].key_id(), Some("b"));
//!
//! // No: the document is of another issuer, if only by a slash.
//! let other = JwtVerifier::<Value>::discover(format!("{issuer}/")).audience("chat").await;
//! let Err(StartError::Keys { source, .. }) = other else { panic!("it is not the same") };
//! assert_eq!(source.kind(), KeysErrorKind::WrongIssuer);
//!
//! // Several issuers, and a server that starts without waiting for them. One has its keys in a file.
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
//! | Auth0 | `https://TENANT.REGION.auth0.com/`, with the slash |
//! | AWS Cognito | `https://cognito-idp.REGION.amazonaws.com/POOL`; access tokens have no `aud`, so they need [`insecure_any_audience`](crate::jwt::JwtVerifierBuilder::insecure_any_audience) and a look at `client_id` |
//! | Google | `https://accounts.google.com` |
//! | Keycloak | `https://HOST/realms/REALM` |
//! | Microsoft Entra | `https://login.microsoftonline.com/TENANT/v2.0`, with the id of one tenant: the document of `common` names no issuer |
//! | Okta | `https://HOST/oauth2/SERVER` |
//!
//! [`JwtVerifier::discover`]: crate::jwt::JwtVerifier::discover

mod demand;
mod error;
mod fetch;
mod http;
mod issuer;
mod issuer_keys;
mod issuers;
mod refresh;
mod set;
mod source;
mod status;
mod url;

pub use error::{KeysError, KeysErrorKind, StartError};
pub use fetch::FetchJwks;
pub use issuer_keys::IssuerKeys;
pub use set::{JwkSet, UnusableKey};
pub use status::IssuerStatus;

pub(crate) use issuer::{Issuer, Keys, Looked};
pub(crate) use issuers::Issuers;
