//! What the provider's answer means for the token.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum_ws_auth::{VerifyErrorKind as Kind, introspection::IntrospectionBuilder};
use http::Response;
use serde_json::{Value, json};

use crate::{
    builder,
    provider::{Provider, active, inactive, json_response, seconds, status},
    verify,
};

/// The answer of [`active`] with other members. `null` removes a member.
fn with(members: &Value) -> Value {
    let mut answer = active("alice");
    for (name, value) in members.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    answer
}

#[tokio::test]
async fn active_token_has_the_claims_of_the_answer() {
    let provider = Provider::yes();
    let verified = verify(&builder(&provider).build().unwrap(), "alice").await.unwrap();
    assert_eq!(verified.claims["scope"], "read");
    assert_eq!(verified.subject.as_deref(), Some("alice"));
    assert_eq!(verified.issuer.as_deref(), Some(crate::ISSUER));
    assert_eq!(verified.recheck_in, Some(Duration::from_secs(60)));
    let left = verified.expires_at.unwrap().duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((3600..=3630).contains(&left), "with the leeway: {left}");
}

#[tokio::test]
async fn session_at_the_provider_is_known() {
    let provider = Provider::new(|_| with(&json!({"sid": "one", "session": "two", "jti": "id", "iat": 1})));
    let verified = verify(&builder(&provider).build().unwrap(), "token").await.unwrap();
    assert_eq!(verified.provider_session.as_deref(), Some("one"));
    assert_eq!(verified.token_id.as_deref(), Some("id"));
    assert_eq!(verified.issued_at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
    let renamed = builder(&provider).provider_session_claim("session").build().unwrap();
    assert_eq!(verify(&renamed, "token").await.unwrap().provider_session.as_deref(), Some("two"));
}

#[tokio::test]
async fn answer_decides_about_the_token() {
    struct Case {
        name: &'static str,
        members: Value,
        expected: Result<(), Kind>,
    }
    let now = seconds(SystemTime::now());
    let case = |name, members, expected| Case { name, members, expected };
    for Case { name, members, expected } in [
        case("inactive", json!({"active": false}), Err(Kind::Invalid)),
        case("inactive, whatever else it says", json!({"active": false, "exp": "soon"}), Err(Kind::Invalid)),
        case("expired", json!({"exp": now - 31}), Err(Kind::Expired)),
        case("expired within the leeway", json!({"exp": now - 10}), Ok(())),
        case("without exp", json!({"exp": null}), Ok(())),
        case("not valid yet", json!({"nbf": now + 60}), Err(Kind::NotYetValid)),
        case("another issuer", json!({"iss": "https://evil.example"}), Err(Kind::WrongIssuer)),
        case("no issuer", json!({"iss": null}), Ok(())),
        case("another audience", json!({"aud": "mail"}), Err(Kind::WrongAudience)),
        case("several audiences", json!({"aud": ["mail", "chat"]}), Ok(())),
        case("no audience", json!({"aud": null}), Err(Kind::MissingClaim)),
        case("bound to a key", json!({"cnf": {"jkt": "x"}}), Err(Kind::SenderConstrained)),
        case("DPoP", json!({"token_type": "DPoP"}), Err(Kind::SenderConstrained)),
        case("no type", json!({"token_type": null}), Ok(())),
        case("type in another case", json!({"token_type": "bearer"}), Ok(())),
        case("another type", json!({"token_type": "mac"}), Err(Kind::WrongType)),
        case("refresh token", json!({"token_type": "refresh_token"}), Err(Kind::WrongType)),
        case("refresh token of Hydra", json!({"token_use": "refresh_token"}), Err(Kind::WrongType)),
        case("refresh token of Keycloak", json!({"typ": "Refresh"}), Err(Kind::WrongType)),
        case("access token of Keycloak", json!({"typ": "Bearer"}), Ok(())),
    ] {
        let answer = with(&members);
        let provider = Provider::new(move |_| answer.clone());
        let outcome = verify(&builder(&provider).build().unwrap(), "token").await;
        assert_eq!(outcome.map(|_| ()).map_err(|error| error.kind()), expected, "{name}");
    }
}

#[tokio::test]
async fn answer_that_is_not_one_is_unavailable() {
    let json = |text: &str| Response::new(Bytes::copy_from_slice(text.as_bytes()));
    for (name, response) in [
        ("no active", json("{}")),
        ("active as text", json(r#"{"active": "true"}"#)),
        ("active as a number", json(r#"{"active": 1}"#)),
        ("active twice", json(r#"{"active": false, "active": true}"#)),
        ("null", json("null")),
        ("a list", json("[true]")),
        ("no json", json("<html>")),
        ("nothing", json("")),
        ("more after it", json(r#"{"active": true} {}"#)),
        ("not utf-8", Response::new(Bytes::from_static(b"{\"active\": true, \"sub\": \"\xff\"}"))),
        ("exp as text", json_response(&with(&json!({"exp": "soon"})))),
        ("exp out of range", json_response(&with(&json!({"exp": u64::MAX})))),
        ("aud as a number", json_response(&with(&json!({"aud": 5})))),
        ("sub as a list", json_response(&with(&json!({"sub": ["alice"]})))),
        ("token type as a number", json_response(&with(&json!({"token_type": 5})))),
        ("no content", status(204)),
        ("redirect", status(307)),
        ("bad request", status(400)),
        ("wrong client", status(401)),
        ("forbidden", status(403)),
        ("not found", status(404)),
        ("too many requests", status(429)),
        ("server error", status(500)),
        ("too long", json(&format!(r#"{{"active": true, "x": "{}"}}"#, "x".repeat(64 * 1024)))),
    ] {
        let provider = Provider::yes();
        provider.respond(move |_| Ok(response.clone()));
        let error = verify(&builder(&provider).build().unwrap(), "token").await.unwrap_err();
        assert!(error.is_unavailable(), "{name}: {error}");
        assert!(error.retry_after().is_some(), "{name}");
    }
    let provider = Provider::yes();
    provider.respond(|_| Err("connection refused".into()));
    assert!(verify(&builder(&provider).build().unwrap(), "token").await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn answer_may_be_64_kib_long() {
    for (len, is_read) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let provider = Provider::yes();
        provider.respond(move |token| {
            let answer = active(token).to_string();
            Ok(Response::new(format!("{answer}{}", " ".repeat(len - answer.len())).into()))
        });
        assert_eq!(verify(&builder(&provider).build().unwrap(), "alice").await.is_ok(), is_read, "{len}");
    }
}

#[tokio::test]
async fn retry_after_of_the_provider_is_passed_on_within_bounds() {
    for (header, expected) in [("17", 17), ("100000", 300), ("Thu, 01 Jan 2026 00:00:00 GMT", 5)] {
        let provider = Provider::yes();
        provider.respond(move |_| {
            let response = Response::builder().status(429).header("retry-after", header);
            Ok(response.body(Bytes::new())?)
        });
        let error = verify(&builder(&provider).build().unwrap(), "token").await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(expected)), "{header}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "the introspection endpoint responded with status 429");
    }
}

#[tokio::test]
async fn settings_change_what_an_answer_means() {
    type Change = fn(IntrospectionBuilder<Value>) -> IntrospectionBuilder<Value>;
    let now = seconds(SystemTime::now());
    let cases: [(&str, Value, Change); 4] = [
        ("audience", json!({"aud": "mail"}), |builder| builder.audience("mail")),
        ("leeway", json!({"exp": now - 60}), |builder| builder.leeway(Duration::from_secs(600))),
        ("binding", json!({"cnf": {"jkt": "x"}, "token_type": "DPoP"}), IntrospectionBuilder::insecure_ignore_cnf),
        ("issuer", json!({"iss": "https://other.example"}), |builder| builder.issuer("https://other.example")),
    ];
    for (name, members, change) in cases {
        let answer = with(&members);
        let provider = Provider::new(move |_| answer.clone());
        assert!(verify(&builder(&provider).build().unwrap(), "token").await.is_err(), "{name}");
        assert!(verify(&change(builder(&provider)).build().unwrap(), "token").await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn without_an_audience_a_token_for_another_service_is_refused() {
    use crate::{ENDPOINT, auth};
    use axum_ws_auth::introspection::IntrospectionVerifier;
    let bare =
        |provider: &Provider| IntrospectionVerifier::<Value>::endpoint(ENDPOINT, auth()).http_client(provider.client());
    let provider = Provider::yes();
    let error = verify(&bare(&provider).build().unwrap(), "alice").await.unwrap_err();
    assert_eq!(error.kind(), Kind::WrongAudience);
    assert!(verify(&bare(&provider).insecure_any_audience().build().unwrap(), "alice").await.is_ok());
    provider.answer(|_| with(&json!({"aud": null, "iss": "https://anybody.example"})));
    assert!(verify(&bare(&provider).build().unwrap(), "alice").await.is_ok());
}

#[tokio::test]
async fn json_web_tokens_are_not_asked_about_if_only_opaque_ones_are_expected() {
    let provider = Provider::yes();
    let verifier = builder(&provider).opaque_only().build().unwrap();
    assert_eq!(verify(&verifier, crate::support::TOKEN).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(provider.count(), 0);
    for token in ["alice", "eye", "a.b.c", "ey.a", "ey.a.b.c"] {
        assert!(verify(&verifier, token).await.is_ok(), "{token}");
    }
    assert!(verify(&builder(&provider).build().unwrap(), crate::support::TOKEN).await.is_ok());
    provider.answer(|_| inactive());
}
