//! How to set up identity providers, and [proxies](behind_a_proxy) in front of the application.
//!
//! Each page says what to set at the provider, what to write here, and how access ends when a user logs out or loses it.
//! None of these providers runs in this crate's tests: the facts are from their documentation, of the date that the page
//! names. The tests run two other providers, `oidc-provider` of npm and Glewlwyd, with sign-in, log-out notices,
//! introspection and bound tokens.
//!
//! | provider | access tokens | how access ends before they expire |
//! | --- | --- | --- |
//! | [Keycloak](keycloak) | JWT | back-channel log-out, Shared Signals (experimental) |
//! | [Auth0](auth0) | JWT | back-channel log-out, in the Enterprise plan |
//! | [Okta](okta) | JWT | Universal Logout, introspection |
//! | [Microsoft Entra](entra) | JWT | not by the provider |
//! | [Amazon Cognito](cognito) | JWT | not by the provider |
//! | [ZITADEL](zitadel) | opaque or JWT | introspection, back-channel log-out (beta) |
//! | [Ory](ory) | opaque or JWT | introspection, back-channel log-out |
//!
//! What is the same for all of them:
//!
//! - **Revocations** need a store that all nodes share, such as [`Redis`](crate::Redis). The examples use
//!   [`MemoryRevocations`](crate::MemoryRevocations), which suffices for one node.
//! - **Routes for notices** are outside of the [`WsAuthLayer`](crate::WsAuthLayer), because a provider has no access token.
//!   They must be reachable from the provider, by `https`.
//! - **The backend can end access itself**, whatever the provider does:
//!   [`Revocations::revoke_subject`](crate::Revocations::revoke_subject) where it locks an account.
//! - **A page refreshes its token** on the open socket, so tokens can be short: [`RefreshProtocol`](crate::RefreshProtocol).

pub mod auth0;
pub mod behind_a_proxy;
pub mod cognito;
pub mod entra;
pub mod keycloak;
pub mod okta;
pub mod ory;
pub mod zitadel;
