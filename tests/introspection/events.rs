//! What the log says.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    SECRET, builder,
    provider::{Provider, status},
    support::log::Log,
    verify,
};

#[tokio::test(start_paused = true)]
async fn log_names_what_is_wrong_without_a_flood_and_without_secrets() {
    if !cfg!(feature = "tracing") {
        return;
    }
    let log = Log::default();
    let _capture = log.everything();
    let provider = Provider::yes();
    let verifier = builder(&provider).build().unwrap();
    let lines = |reason: &str| log.text().lines().filter(|line| line.contains(reason)).count();

    // Wrong credentials of this server.
    provider.respond(|_| Ok(status(401)));
    for number in 0..1000 {
        assert!(verify(&verifier, &format!("token{number}")).await.is_err());
    }
    assert!(log.has("ERROR", "introspection refused"), "{}", log.text());
    assert_eq!(lines("wrong_credentials"), 1);

    // Another reason is another event.
    provider.respond(|_| Err("connection refused".into()));
    for number in 0..1000 {
        assert!(verify(&verifier, &format!("token{number}")).await.is_err());
    }
    assert!(log.has("WARN", "introspection failed"), "{}", log.text());
    assert_eq!(lines("unreachable\""), 1);
    assert!(log.has("DEBUG", "connection refused"));

    sleep(Duration::from_secs(10)).await;
    assert!(verify(&verifier, "token").await.is_err());
    assert_eq!(lines("unreachable\""), 2);
    // What an answer quotes is not logged.
    provider.respond(|token| Ok(crate::provider::json_response(&serde_json::json!({"active": token, "echo": token}))));
    assert!(verify(&verifier, "token-of-alice").await.is_err());
    assert!(log.has("WARN", "malformed"));
    provider.respond(|token| {
        let mut answer = crate::provider::active(token);
        answer["exp"] = token.into();
        Ok(crate::provider::json_response(&answer))
    });
    assert!(verify(&verifier, "token-of-bob").await.is_err());
    for secret in [SECRET, "token0", "token-of", "Basic "] {
        assert!(!log.text().contains(secret), "{secret}: {}", log.text());
    }
}

#[tokio::test]
async fn kind_of_token_that_the_provider_does_not_answer_for_is_named() {
    if !cfg!(feature = "tracing") {
        return;
    }
    for (body, level, reason) in [
        (r#"{"error": "unsupported_token_type", "error_description": "structured"}"#, "WARN", "unsupported_token"),
        (r#"{"error": "invalid_client"}"#, "ERROR", "wrong_credentials"),
        (r#"{"error": "invalid_request"}"#, "WARN", "status"),
        ("<html>", "WARN", "status"),
    ] {
        let log = Log::default();
        let _capture = log.everything();
        let provider = Provider::yes();
        provider.respond(move |_| Ok(http::Response::builder().status(400).body(body.into())?));
        assert!(verify(&builder(&provider).build().unwrap(), "token").await.unwrap_err().is_unavailable());
        assert!(log.has(level, reason), "{body}: {}", log.text());
    }
}
