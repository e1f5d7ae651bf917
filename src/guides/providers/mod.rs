#![doc = include_str!("providers.md")]

#[doc = include_str!("auth0.md")]
pub mod auth0 {}

#[doc = include_str!("cognito.md")]
pub mod cognito {}

#[doc = include_str!("entra.md")]
pub mod entra {}

#[doc = include_str!("keycloak.md")]
pub mod keycloak {}

#[doc = include_str!("okta.md")]
pub mod okta {}

#[doc = include_str!("ory.md")]
pub mod ory {}

#[doc = include_str!("zitadel.md")]
pub mod zitadel {}
