//! Opaque tokens: the provider is asked about each.

#![cfg(all(feature = "introspection", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "introspection/answers.rs"]
mod answers;
#[path = "introspection/events.rs"]
mod events;
#[path = "introspection/network.rs"]
mod network;
#[path = "introspection/provider.rs"]
mod provider;
#[path = "introspection/requests.rs"]
mod requests;
#[path = "introspection/sessions.rs"]
mod sessions;
#[path = "introspection/sharing.rs"]
mod sharing;
#[path = "introspection/signed.rs"]
mod signed;
mod support;

use std::time::SystemTime;

use axum_ws_auth::{
    Token, Verified, Verifier, VerifyError, VerifyInput,
    introspection::{ClientAuth, IntrospectionBuilder, IntrospectionVerifier},
};
use provider::Provider;
use serde_json::Value;

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const ENDPOINT: &str = "https://id.example.com/introspect";
pub(crate) const SECRET: &str = "s3cret of the server";

pub(crate) fn auth() -> ClientAuth {
    ClientAuth::basic("chat-server", SECRET)
}

/// A verifier of tokens for the audience `chat`.
pub(crate) fn builder(provider: &Provider) -> IntrospectionBuilder<Value> {
    IntrospectionVerifier::endpoint(ENDPOINT, auth()).issuer(ISSUER).audience("chat").http_client(provider.client())
}

pub(crate) async fn verify<V: Verifier>(verifier: &V, token: &str) -> Result<Verified<V::Claims>, VerifyError> {
    verifier.verify(VerifyInput::without_request(&Token::new(token), SystemTime::now())).await
}
