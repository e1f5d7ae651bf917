//! The request: its token, its origin, and its session.

use axum_ws_auth::{AllowOrigin, ConfigError};
use tracing::Level;

use super::*;
use crate::support::log::{Log, captured};

#[tokio::test(start_paused = true)]
async fn cookie_from_the_same_origin_refreshes_the_session() {
    let node = Node::new();
    let cookie = |token: &str| format!("{COOKIE}={token}");
    let handshake = handshake().origin(ORIGIN).header("cookie", cookie("alice.60"));
    let (_socket, session) = node.open_with(handshake).await;
    let path = format!("/refresh/{}", session.id());

    let response = answer(&node.app, post(&path, &[("cookie", &cookie("alice.3600")), ("origin", ORIGIN)])).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let answer = seen(response).await;
    assert!((3590..=3600).contains(&answer.expires_in()), "{answer:?}");
    assert!(left(&session) > 3590);
    assert_eq!(*session.claims(), "alice.3600");

    // Any other page, and a request without an origin, is refused, and the session is not looked at.
    for origin in [Some("https://evil.example"), Some("http://localhost.evil.example"), Some("null"), None] {
        let cookie = cookie("alice.7200");
        let headers = [("cookie", cookie.as_str())].into_iter().chain(origin.map(|origin| ("origin", origin)));
        let answer = node.post(&path, &headers.collect::<Vec<_>>()).await;
        assert_eq!(answer.error(), (403, "origin_not_allowed"), "{origin:?}");
        assert_eq!(*session.claims(), "alice.3600");
    }
    let cookie = cookie("alice.7200");
    let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(
        node.post(&path, &headers).await.error(),
        (403, "origin_not_allowed"),
        "that is enough for a `GET` only"
    );
}

#[tokio::test(start_paused = true)]
async fn policy_of_the_layer_applies_to_explicit_tokens_too() {
    let node = Node::with_layer(WsAuthLayer::new(timed).allow_origin(["https://app.example.com"]).unwrap());
    let (_socket, session) = node.open("alice.60").await;
    let path = format!("/refresh/{}", session.id());
    let token = ("authorization", "Bearer alice.3600");
    let answer = node.post(&path, &[token, ("origin", "https://evil.example")]).await;
    assert_eq!(answer.error(), (403, "origin_not_allowed"));
    assert_eq!(node.post(&path, &[token, ("origin", "https://app.example.com")]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_logged() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let node = Node::new();
    let (_socket, session) = node.open("alice.60").await;
    let (answer, log) = captured(Level::INFO, node.refresh(session.id(), "bad")).await;
    assert_eq!(answer.status, 401);
    assert!(log.contains("handshake refused kind=\"invalid_token\""), "{log}");
}

/// Ids of sessions need not be secret, and these refusals do not count as attempts of the session.
#[tokio::test(start_paused = true)]
async fn flood_of_refusals_by_another_user_is_a_handful_of_log_events() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    // Only the session's own verifier refuses `carol`.
    let verifier = timed.authorize(|claims: &String, parts| {
        if claims == "carol" && parts.method == http::Method::GET { Err(VerifyError::invalid()) } else { Ok(()) }
    });
    let node = Node::with_verifier(verifier);
    let (_first, first) = node.open("alice.600").await;
    let (_second, second) = node.open("alice.600").await;
    let log = Log::default();
    let _logging = log.capture(Level::INFO);
    for _ in 0..25 {
        assert_eq!(node.refresh(first.id(), "bob.3600").await.status, 404);
        assert_eq!(node.refresh(second.id(), "carol").await.status, 404);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = log.text();
    assert_eq!(log.lines().filter(|line| line.contains("refresh refused")).count(), 10, "{log}");
    assert!(log.contains("other_subject") && log.contains("token_invalid"), "{log}");
    assert!(log.ends_with("refreshes refused suppressed=40\n"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn request_without_a_valid_token_learns_nothing() {
    let node = Node::new();
    let (_socket, session) = node.open("alice.60").await;
    let unknown = "0123456789abcdef0000000000000001";
    let ids = [session.id().to_string(), unknown.to_owned(), "1".to_owned()];
    for (headers, error, challenge) in [
        (vec![], "missing_token", r#"Bearer realm="websocket""#),
        (vec![("authorization", "Bearer bad")], "invalid_token", r#"Bearer realm="websocket", error="invalid_token""#),
    ] {
        let mut answers = Vec::new();
        for id in &ids {
            answers.push(node.post(&format!("/refresh/{id}"), &headers).await);
        }
        assert_eq!(answers[0].error(), (401, error));
        assert_eq!(answers[0].challenge.as_deref(), Some(challenge));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    let (token, other) = (("authorization", "Bearer alice.3600"), ("authorization", "Bearer alice.7200"));
    let answer = node.post(&format!("/refresh/{}", session.id()), &[token, other]).await;
    assert_eq!(answer.error(), (400, "invalid_request"));
    assert_eq!(*session.claims(), "alice.60");
}

#[tokio::test(start_paused = true)]
async fn other_subjects_and_unknown_sessions_get_one_answer() {
    let node = Node::new();
    let (_socket, session) = node.open("alice.60").await;
    let id = session.id().to_string();
    // A session of another node, and one of this node that never was.
    let (elsewhere, never) = (format!("0123456789abcdef{}", &id[16..]), format!("{}ffffffffffffffff", &id[..16]));
    let mut answers = vec![node.refresh(session.id(), "bob.3600").await, node.refresh(session.id(), "nobody").await];
    for id in [&elsewhere, &never, "1", "%20", &format!("{id}0"), &id[..31], "é"] {
        answers.push(
            node.post(&format!("/refresh/{}", id.replace('é', "%C3%A9")), &[("authorization", "Bearer alice.3600")])
                .await,
        );
    }
    assert_eq!(answers[0].error(), (404, "unknown_session"));
    assert_eq!((&answers[0].challenge, &answers[0].retry_after), (&None, &None));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(*session.claims(), "alice.60");

    assert_eq!(node.refresh(session.id(), "alice.3600").await.status, 200);
    session.end();
    assert_eq!(node.refresh(session.id(), "alice.3600").await, answers[0], "it has ended");
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_not_allowed() {
    let node = Node::new();
    let (_socket, session) = node.open("alice.60").await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "CONNECT"] {
        let mut request = post(&format!("/refresh/{}", session.id()), &[("authorization", "Bearer alice.3600")]);
        *request.method_mut() = method.parse().unwrap();
        let response = answer(&node.app, request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST".parse().unwrap()),
            "{method}"
        );
    }
    // A handshake is none here, whatever its headers say.
    let mut request = handshake().path(format!("/refresh/{}", session.id())).authorization("alice.3600").build();
    *request.method_mut() = http::Method::POST;
    assert_eq!(answer(&node.app, request).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn settings_for_handshakes_do_not_open_the_route() {
    let layer = WsAuthLayer::new(timed).optional().handshakes_only().accept_then_close();
    let node = Node::with_layer(layer);
    let (_socket, session) = node.open("alice.60").await;
    let path = format!("/refresh/{}", session.id());
    assert_eq!(node.post(&path, &[]).await.error(), (401, "missing_token"));
    assert_eq!(node.post(&path, &[("authorization", "Bearer bad")]).await.error(), (401, "invalid_token"));
    assert_eq!(node.refresh(session.id(), "alice.3600").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_shown_to_the_hook() {
    let hook = |rejection: axum_ws_auth::Rejection| {
        let mut response = Response::new(Body::from(rejection.kind().as_str()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let node = Node::with_layer(WsAuthLayer::new(timed).on_rejection(hook));
    let (_socket, session) = node.open("alice.60").await;
    assert_eq!(node.post(&format!("/refresh/{}", session.id()), &[]).await.status, 418);
}

#[tokio::test(start_paused = true)]
async fn token_is_nowhere_to_be_seen() {
    const TOKEN: &str = "alice.3600.secret";
    let node = Node::new();
    let (_socket, session) = node.open("alice.60").await;
    let path = format!("/refresh/{}", session.id());
    let other = node.open("bob.60").await;
    let ids = [session.id(), other.1.id(), "0123456789abcdef0000000000000001".parse().unwrap()];
    let ((), log) = captured(Level::TRACE, async {
        for id in ids {
            for header in [("authorization", format!("Bearer {TOKEN}")), ("cookie", format!("{COOKIE}={TOKEN}"))] {
                let headers = [(header.0, header.1.as_str()), ("origin", ORIGIN)];
                let response = answer(&node.app, post(&format!("/refresh/{id}"), &headers)).await;
                assert!(!format!("{response:?} {:?}", response.extensions()).contains("secret"));
                assert!(!text(response).await.contains("secret"));
            }
        }
    })
    .await;
    if cfg!(feature = "tracing") {
        assert!(log.contains("session refreshed") && log.contains("refresh refused"), "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
    assert_eq!(node.post(&path, &[]).await.status, 401);
}

#[tokio::test]
async fn layer_without_a_registry_has_no_route() {
    let layer = WsAuthLayer::new(timed);
    assert_eq!(layer.refresh_route::<()>().err(), Some(ConfigError::NoRegistry));
    assert_eq!(layer.signalr_refresh_route::<()>().err(), Some(ConfigError::NoRegistry));
    let layer = layer.sessions(&Sessions::new()).refresh_limit(0, Duration::from_secs(60));
    assert_eq!(layer.refresh_route::<()>().err(), Some(ConfigError::ZeroLimit("refreshes")));
    assert!(layer.refresh_limit(1, Duration::from_secs(60)).refresh_route::<()>().is_ok());
    let any = WsAuthLayer::new(timed).allow_origin(AllowOrigin::insecure_any()).unwrap();
    assert!(any.sources([TokenSource::cookie(COOKIE)]).is_err(), "a cookie needs an origin");
}

#[tokio::test(start_paused = true)]
async fn route_without_the_parameter_finds_no_session() {
    let layer = WsAuthLayer::new(timed).sessions(&Sessions::new());
    let app = Router::new().route("/refresh/{id}", layer.refresh_route().unwrap());
    let log = Log::default();
    let _logging = log.capture(Level::ERROR);
    for _ in 0..25 {
        let request = post("/refresh/0123456789abcdef0000000000000001", &[("authorization", "Bearer alice.3600")]);
        let answer = seen(answer(&app, request).await).await;
        assert_eq!(answer.error(), (404, "unknown_session"));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.lines().filter(|line| line.contains("no session in the path")).count(), 10, "{log}");
        assert!(log.ends_with("requests without a session in the path suppressed=15\n"), "{log}");
    }
}
