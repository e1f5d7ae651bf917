//! Attempts, and who can use them up.

use super::*;

async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_for_the_subject_only() {
    let node = Node::with_layer(WsAuthLayer::new(timed).refresh_limit(2, Duration::from_secs(60)));
    let (_socket, session) = node.open("alice.600").await;
    // Strangers, with whatever token, use up no attempt.
    for _ in 0..10 {
        assert_eq!(node.refresh(session.id(), "bob.3600").await.status, 404);
        assert_eq!(node.refresh(session.id(), "nobody").await.status, 404);
        assert_eq!(node.refresh(session.id(), "bad").await.status, 401);
        assert_eq!(node.post(&format!("/refresh/{}", session.id()), &[]).await.status, 401);
    }
    assert_eq!(node.refresh(session.id(), "alice.3600").await.status, 200);
    tokio::time::sleep(Duration::from_millis(9_500)).await;
    assert_eq!(node.refresh(session.id(), "alice.3600").await.status, 200);
    let answer = node.refresh(session.id(), "alice.7200").await;
    assert_eq!((answer.error(), answer.retry_after.as_deref()), ((429, "too_many_attempts"), Some("51")));
    assert_eq!(node.refresh(session.id(), "bob.3600").await.error(), (404, "unknown_session"));
    assert_eq!(*session.claims(), "alice.3600");

    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(node.refresh(session.id(), "alice.7200").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn attempts_count_together_with_those_of_the_handler() {
    let node = Node::with_layer(WsAuthLayer::new(timed).refresh_limit(1, Duration::from_secs(60)));
    let (_socket, session) = node.open("alice.600").await;
    session.refresh(axum_ws_auth::Token::new("alice.3600")).await.unwrap();
    assert_eq!(node.refresh(session.id(), "alice.7200").await.error(), (429, "too_many_attempts"));
}

#[tokio::test(start_paused = true)]
async fn session_whose_layer_disables_refreshes_keeps_its_token() {
    let sessions = Sessions::new();
    let node = Node::with_sessions(WsAuthLayer::new(timed), sessions.clone());
    // Another layer with the same registry, and no refreshes.
    let layer = WsAuthLayer::new(timed).refresh_limit(0, Duration::from_secs(60)).sessions(&sessions);
    let other = Router::new().route("/", any(idle)).layer(layer);
    let (_socket, _) = test_util::connect(other, handshake().authorization("alice.60").build()).await.unwrap();
    let id = sessions.iter().next().expect("a session").id();
    let answer = node.refresh(id, "alice.3600").await;
    assert_eq!((answer.error(), &answer.retry_after), ((429, "too_many_attempts"), &None));
    let answer = node.post(&format!("/hub/refresh?id={id}"), &[("authorization", "Bearer alice.3600")]).await;
    assert_eq!(answer.error(), (404, "refresh_disabled"));
}
