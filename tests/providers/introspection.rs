//! Real providers answer for tokens (RFC 7662), also signed (RFC 9701).

use std::time::Duration;

use axum::Router;
use axum_ws_auth::{
    WsAuthLayer,
    introspection::{ClientAuth, IntrospectionBuilder, IntrospectionVerifier},
    jwks::IssuerKeys,
};
use serde_json::Value;

use crate::{
    NOWHERE, glewlwyd,
    glewlwyd::Glewlwyd,
    node::{Node, Socket, closed, is_open},
    oidc_provider::{JWT, OPAQUE, OidcProvider, RESOURCE_SERVER},
};

/// How soon a revoked token closes its sockets.
const PERIOD: Duration = Duration::from_millis(300);

#[tokio::test]
async fn revoked_opaque_token_closes_its_socket_within_the_period() {
    let mut provider = OidcProvider::start(NOWHERE).await;
    let node = node_with(of_oidc_provider(&provider)).await;
    let token = provider.sign_in("laptop", "alice", OPAQUE).await;
    let other = provider.sign_in("phone", "alice", OPAQUE).await;
    let mut socket = node.open(&token).await.expect("a 101");
    let mut untouched = node.open(&other).await.expect("a 101");

    provider.revoke(&token).await;

    is_revoked(&mut socket).await;
    assert_eq!(node.open(&token).await.err(), Some(401));
    assert!(is_open(&mut untouched).await);
}

#[tokio::test]
async fn signed_answer_is_verified_with_the_keys_of_the_provider() {
    let mut provider = OidcProvider::start(NOWHERE).await;
    let mut other = OidcProvider::start(NOWHERE).await;
    let signed_by =
        async |issuer: &str| node_with(of_oidc_provider(&provider).signed_answers(IssuerKeys::discover(issuer))).await;
    let (node, mistrusting) = (signed_by(&provider.issuer).await, signed_by(&other.issuer).await);
    let token = provider.sign_in("laptop", "alice", OPAQUE).await;
    let of_the_other = other.sign_in("laptop", "alice", OPAQUE).await;

    let mut socket = node.open(&token).await.expect("a 101");
    assert_eq!(node.open(&of_the_other).await.err(), Some(401));
    assert_eq!(mistrusting.open(&token).await.err(), Some(503));
    provider.revoke(&token).await;
    is_revoked(&mut socket).await;
}

#[tokio::test]
async fn mistakes_of_the_operator_are_not_blamed_on_the_client() {
    let mut provider = OidcProvider::start(NOWHERE).await;
    let node = node_with(of_oidc_provider(&provider)).await;
    let wrong_secret = IntrospectionVerifier::discover(&provider.issuer, ClientAuth::basic("chat", "wrong"));
    let wrong_secret = node_with(wrong_secret.audience(OPAQUE)).await;
    let wrong_audience = IntrospectionVerifier::discover(&provider.issuer, resource_server()).audience("urn:another");
    let wrong_audience = node_with(wrong_audience).await;
    let opaque = provider.sign_in("laptop", "alice", OPAQUE).await;
    let jwt = provider.sign_in("laptop", "alice", JWT).await;

    assert_eq!(wrong_secret.open(&opaque).await.err(), Some(503));
    // The provider does not answer for its own JWTs: `unsupported_token_type`.
    assert_eq!(node.open(&jwt).await.err(), Some(503));
    // The token is good, but not for this server.
    assert_eq!(wrong_audience.open(&opaque).await.err(), Some(401));
}

/// Its answers have no `iss`, and its signed answers are for the audience of the token. It does not sign that a token
/// is inactive: it answers 400.
#[tokio::test]
async fn glewlwyd_answers_for_its_access_tokens() {
    let mut provider = Glewlwyd::start(NOWHERE).await;
    let with = |secret| {
        let builder = IntrospectionVerifier::discover(&provider.issuer, ClientAuth::basic("web", secret));
        builder.audience(glewlwyd::AUDIENCE).recheck_every(PERIOD)
    };
    let keys = IssuerKeys::discover(&provider.issuer);
    let plain = node_with(with(glewlwyd::SECRET)).await;
    let signed = node_with(with(glewlwyd::SECRET).client_id(glewlwyd::AUDIENCE).signed_answers(keys)).await;
    let wrong_secret = node_with(with("wrong")).await;
    let token = provider.sign_in("laptop", "alice").await.access_token;

    assert_eq!(wrong_secret.open(&token).await.err(), Some(503));
    assert_eq!(plain.open("unknown").await.err(), Some(401));
    assert_eq!(signed.open("unknown").await.err(), Some(503));
    assert!(signed.open(&token).await.is_ok());
    let mut socket = plain.open(&token).await.expect("a 101");
    provider.revoke(&token).await;
    is_revoked(&mut socket).await;
}

fn resource_server() -> ClientAuth {
    let (id, secret) = RESOURCE_SERVER;
    ClientAuth::basic(id, secret)
}

fn of_oidc_provider(provider: &OidcProvider) -> IntrospectionBuilder<Value> {
    let builder = IntrospectionVerifier::discover(&provider.issuer, resource_server());
    builder.audience(OPAQUE).recheck_every(PERIOD)
}

async fn node_with(builder: IntrospectionBuilder<Value>) -> Node {
    let verifier = builder.await.expect("a provider that answers");
    let mut node = Node::bind().await;
    node.serve(WsAuthLayer::new(verifier), Router::new());
    node
}

/// Expects that the recheck closes the socket.
async fn is_revoked(socket: &mut Socket) {
    let (code, reason, _) = closed(socket).await;
    assert_eq!((code, reason.as_str()), (3000, "revoked"));
}
