//! A log-out at a real provider closes the sockets of that browser (OpenID Connect Back-Channel Logout 1.0).

use std::time::Duration;

use axum::Router;
use axum_ws_auth::{MemoryRevocations, Revocations, WsAuthLayer, jwt::JwtVerifier, signals::BackChannelLogout};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    glewlwyd::{AUDIENCE, Glewlwyd},
    node::{Node, Notice, closed, is_open, observed},
    oidc_provider::{JWT, OidcProvider},
    redis::RedisServer,
};

/// Where the provider sends its notices.
const NOTICES: &str = "/backchannel-logout";

#[tokio::test(flavor = "multi_thread")]
async fn log_out_in_one_browser_closes_its_sockets_on_all_nodes_and_no_others() {
    let redis = RedisServer::start();
    let (mut first, mut second) = (Node::bind().await, Node::bind().await);
    let mut provider = OidcProvider::start(&first.url(NOTICES)).await;
    let verifier = JwtVerifier::<Value>::discover(&provider.issuer).audience(JWT).token_type("at+jwt").await;
    let verifier = verifier.expect("a provider that answers");
    let revocations = [Revocations::new(redis.store()), Revocations::new(redis.store())];
    let log_out = BackChannelLogout::new(&verifier, &revocations[0], "web").expect("a client id");
    let (route, mut notices) = observed(log_out.route());
    let layer = |revocations| WsAuthLayer::new(verifier.clone()).revocations(revocations);
    first.serve(layer(&revocations[0]), Router::new().route(NOTICES, route));
    second.serve(layer(&revocations[1]), Router::new());

    let laptop = provider.sign_in("laptop", "alice", JWT).await;
    let phone = provider.sign_in("phone", "alice", JWT).await;
    let mut on_first = first.open(&laptop).await.expect("a 101");
    let mut on_second = second.open(&laptop).await.expect("a 101");
    let mut on_phone = second.open(&phone).await.expect("a 101");

    let ((), closed_on_first, closed_on_second) =
        tokio::join!(provider.sign_out("laptop"), closed(&mut on_first), closed(&mut on_second));
    let notice = notices.recv().await.expect("a notice");
    assert_eq!(notice.status, 200);
    for (node, (code, reason, at)) in [("the first", closed_on_first), ("the second", closed_on_second)] {
        assert_eq!((code, reason.as_str()), (3000, "revoked"), "{node}");
        let after = at.duration_since(notice.arrived);
        println!("{node} node closed its socket {after:?} after the notice arrived");
        // Half a second on a machine that does nothing else.
        assert!(after < Duration::from_secs(5), "{node}: {after:?}");
    }

    for node in [&first, &second] {
        assert_eq!(node.open(&laptop).await.err(), Some(401));
        assert!(node.open(&phone).await.is_ok());
    }
    assert!(is_open(&mut on_phone).await);
}

#[tokio::test]
async fn token_of_a_browser_that_has_logged_out_opens_no_first_socket() {
    let mut node = Node::bind().await;
    let mut provider = OidcProvider::start(&node.url(NOTICES)).await;
    let mut notices = serve(&mut node, &provider.issuer, JWT, |log_out| log_out).await;
    let token = provider.sign_in("laptop", "alice", JWT).await;

    provider.sign_out("laptop").await;

    assert_eq!(notices.recv().await.map(|notice| notice.status), Some(200));
    assert_eq!(node.open(&token).await.err(), Some(401));
}

/// Its notices follow a draft: they have no type and do not expire.
#[tokio::test]
async fn notice_of_glewlwyd_is_refused_by_default() {
    let mut node = Node::bind().await;
    let mut provider = Glewlwyd::start(&node.url(NOTICES)).await;
    let mut notices = serve(&mut node, &provider.issuer, AUDIENCE, |log_out| log_out).await;
    let token = provider.sign_in("laptop", "alice").await.access_token;
    let mut socket = node.open(&token).await.expect("a 101");

    provider.sign_out("laptop").await;

    assert_eq!(notices.recv().await.map(|notice| notice.status), Some(400));
    assert!(is_open(&mut socket).await);
}

/// Its ID tokens have a `sid`. Their audience is the client.
#[tokio::test]
async fn log_out_at_glewlwyd_closes_sockets_that_were_opened_with_id_tokens_of_that_browser() {
    let mut node = Node::bind().await;
    let mut provider = Glewlwyd::start(&node.url(NOTICES)).await;
    let mut notices = serve(&mut node, &provider.issuer, "web", of_a_draft).await;
    let laptop = provider.sign_in("laptop", "alice").await.id_token;
    let phone = provider.sign_in("phone", "alice").await.id_token;
    let mut on_laptop = node.open(&laptop).await.expect("a 101");
    let mut on_phone = node.open(&phone).await.expect("a 101");

    provider.sign_out("laptop").await;

    assert_eq!(notices.recv().await.map(|notice| notice.status), Some(200));
    let (code, reason, _) = closed(&mut on_laptop).await;
    assert_eq!((code, reason.as_str()), (3000, "revoked"));
    assert_eq!(node.open(&laptop).await.err(), Some(401));
    assert!(is_open(&mut on_phone).await);
}

/// Its access tokens have no `sid`.
#[tokio::test]
async fn log_out_at_glewlwyd_closes_all_sockets_of_the_subject_if_asked_to() {
    let mut node = Node::bind().await;
    let mut provider = Glewlwyd::start(&node.url(NOTICES)).await;
    let whole_subject = |log_out| of_a_draft(log_out).whole_subject();
    let mut notices = serve(&mut node, &provider.issuer, AUDIENCE, whole_subject).await;
    let laptop = provider.sign_in("laptop", "alice").await.access_token;
    let phone = provider.sign_in("phone", "alice").await.access_token;
    let mut sockets = Vec::new();
    for token in [&laptop, &phone] {
        sockets.push(node.open(token).await.expect("a 101"));
    }

    provider.sign_out("laptop").await;

    assert_eq!(notices.recv().await.map(|notice| notice.status), Some(200));
    for socket in &mut sockets {
        let (code, reason, _) = closed(socket).await;
        assert_eq!((code, reason.as_str()), (3000, "revoked"));
    }
    assert_eq!(node.open(&phone).await.err(), Some(401));
}

fn of_a_draft(log_out: BackChannelLogout) -> BackChannelLogout {
    log_out.insecure_accept_untyped().insecure_accept_without_exp()
}

/// Serves one node, which receives the notices.
async fn serve(
    node: &mut Node,
    issuer: &str,
    audience: &str,
    set: impl FnOnce(BackChannelLogout) -> BackChannelLogout,
) -> UnboundedReceiver<Notice> {
    let verifier = JwtVerifier::<Value>::discover(issuer).audience(audience).await.expect("a provider that answers");
    let revocations = Revocations::new(MemoryRevocations::new());
    let log_out = BackChannelLogout::new(&verifier, &revocations, "web").expect("a client id");
    let (route, notices) = observed(set(log_out).route());
    node.serve(WsAuthLayer::new(verifier).revocations(&revocations), Router::new().route(NOTICES, route));
    notices
}
