//! The form of SignalR 11, as its own tests check it.

use serde_json::json;

use super::*;

const TOKEN: (&str, &str) = ("authorization", "Bearer alice.1800");

#[tokio::test(start_paused = true)]
async fn answers_are_those_of_signalr() {
    let node = Node::with_layer(WsAuthLayer::new(timed).refresh_limit(3, Duration::from_secs(60)));
    let (_socket, session) = node.open("alice.60").await;
    let path = format!("/hub/refresh?id={}", session.id());

    let response = answer(&node.app, post(&path, &[TOKEN])).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let answered = seen(response).await;
    assert_eq!((answered.status, answered.body), (200, json!({ "tokenLifetimeSeconds": 1799 })));
    assert_eq!(*session.claims(), "alice.1800");

    for (path, headers, status, error) in [
        ("/hub/refresh", vec![TOKEN], 400, "missing_connection_token"),
        ("/hub/refresh?id=", vec![TOKEN], 400, "missing_connection_token"),
        ("/hub/refresh?id=does-not-exist", vec![TOKEN], 404, "connection_not_found"),
        (&path, vec![("authorization", "Bearer bob.1800")], 404, "connection_not_found"),
        (&path, vec![("authorization", "Bearer bad")], 401, "invalid_token"),
        (&path, vec![], 401, "invalid_token"),
        ("/hub/refresh", vec![], 401, "invalid_token"),
        (&path, vec![("cookie", "__Host-session=alice.60")], 403, "origin_not_allowed"),
    ] {
        let answered = node.post(path, &headers).await;
        assert_eq!((answered.status, &answered.body), (status, &json!({ "error": error })), "{path} {headers:?}");
        assert_eq!(answered.challenge.is_some(), status == 401, "{path} {headers:?}");
    }
    let response = answer(&node.app, post(&path, &[])).await;
    assert_eq!(response.headers().get_all("content-type").iter().collect::<Vec<_>>(), ["application/json"]);

    let mut request = post(&path, &[TOKEN]);
    *request.method_mut() = http::Method::GET;
    assert_eq!(answer(&node.app, request).await.status(), StatusCode::METHOD_NOT_ALLOWED);

    // A lifetime that no client could hold, and then none.
    let answered = node.post(&path, &[("authorization", "Bearer alice.4000000000")]).await;
    assert_eq!(answered.body, json!({ "tokenLifetimeSeconds": i32::MAX }));
    let answered = node.post(&path, &[("authorization", "Bearer alice")]).await;
    assert_eq!((answered.status, answered.body), (200, json!({})));
    let answered = node.post(&path, &[TOKEN]).await;
    assert_eq!((answered.error(), answered.retry_after.as_deref()), ((429, "too_many_attempts"), Some("60")));
}

#[tokio::test(start_paused = true)]
async fn insufficient_token_is_a_rejected_change() {
    let verifier = timed.authorize(|claims: &String, parts: &http::request::Parts| {
        let is_handshake = parts.method == http::Method::GET;
        if is_handshake && claims.ends_with(".less") { Err(VerifyError::forbidden()) } else { Ok(()) }
    });
    let node = Node::with_verifier(verifier);
    let (_socket, session) = node.open("alice.60").await;
    let path = format!("/hub/refresh?id={}", session.id());
    let answered = node.post(&path, &[("authorization", "Bearer alice.60.less")]).await;
    assert_eq!(answered.error(), (403, "permission_change_rejected"));
}
