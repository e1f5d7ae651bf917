//! Signed answers (RFC 9701).

use std::{
    error::Error as _,
    time::{Duration, SystemTime},
};

use axum::body::Bytes;
use axum_ws_auth::{
    ConfigError, Token, Verifier, VerifyErrorKind as Kind, VerifyInput,
    introspection::{ClientAuth, IntrospectionBuilder},
    jwks::StartError,
};
use http::Response;
use serde_json::{Value, json};

use crate::{
    ISSUER, builder,
    provider::{Provider, active, inactive, json_response, seconds},
    support::issuer::{Key, Pair, TestIssuer},
    verify,
};

const TYPE: &str = "token-introspection+jwt";

fn key() -> Key {
    Key::new(Pair::Ed25519, "a")
}

fn signing(provider: &Provider, issuer: &TestIssuer) -> IntrospectionBuilder<Value> {
    builder(provider).signed_answers(issuer.keys())
}

/// The claims of a signed answer of this moment.
fn claims(answer: &Value) -> Value {
    json!({
        "iss": ISSUER, "aud": "chat-server", "iat": seconds(SystemTime::now()), "token_introspection": answer,
    })
}

fn jwt_response(token: impl Into<Bytes>) -> Response<Bytes> {
    let response = Response::builder().header("content-type", "application/token-introspection+jwt; charset=utf-8");
    response.body(token.into()).unwrap()
}

#[tokio::test]
async fn signed_answer_decides_about_the_token() {
    let issuer = TestIssuer::in_process(ISSUER, &[key()]);
    let provider = Provider::yes();
    provider.respond(|token| {
        let answer = if token == "alice" { active(token) } else { inactive() };
        Ok(jwt_response(key().sign_as(Some(TYPE), &claims(&answer).to_string())))
    });
    let verifier = signing(&provider, &issuer).await.unwrap();
    let verified = verify(&verifier, "alice").await.unwrap();
    assert_eq!((verified.subject.as_deref(), &verified.claims["scope"]), (Some("alice"), &json!("read")));
    assert_eq!(verify(&verifier, "eve").await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(provider.requests()[0].headers["accept"], "application/token-introspection+jwt");
}

#[tokio::test]
async fn answer_without_a_valid_signature_is_unavailable() {
    let issuer = TestIssuer::in_process(ISSUER, &[key()]);
    let now = seconds(SystemTime::now());
    let signed = |token_type: Option<&str>, change: Value| {
        let mut claims = claims(&active("alice"));
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        jwt_response(key().sign_as(token_type, &claims.to_string()))
    };
    let good = claims(&active("alice")).to_string();
    let mut unsigned_type = signed(Some(TYPE), json!({}));
    unsigned_type.headers_mut().insert("content-type", "application/json".parse().unwrap());
    for (name, response) in [
        ("plain", json_response(&active("alice"))),
        ("plain, with the type of a signed one", jwt_response(active("alice").to_string())),
        ("signed, with the type of a plain one", unsigned_type),
        ("access token", signed(Some("at+jwt"), json!({}))),
        ("jwt", signed(Some("JWT"), json!({}))),
        ("no type", signed(None, json!({}))),
        ("another issuer", signed(Some(TYPE), json!({"iss": "https://evil.example"}))),
        ("no issuer", signed(Some(TYPE), json!({"iss": null}))),
        ("for another server", signed(Some(TYPE), json!({"aud": "mail-server"}))),
        ("for nobody", signed(Some(TYPE), json!({"aud": null}))),
        ("no time", signed(Some(TYPE), json!({"iat": null}))),
        ("replayed", signed(Some(TYPE), json!({"iat": now - 120}))),
        ("from the future", signed(Some(TYPE), json!({"iat": now + 120}))),
        ("expired", signed(Some(TYPE), json!({"exp": now - 60}))),
        ("no answer", signed(Some(TYPE), json!({"token_introspection": null}))),
        ("an answer that is none", signed(Some(TYPE), json!({"token_introspection": [true]}))),
        ("an answer at the top", signed(Some(TYPE), json!({"token_introspection": null, "active": true}))),
        ("another key", jwt_response(Key::new(Pair::EdTest1, "a").sign_as(Some(TYPE), &good))),
        ("nothing", jwt_response("")),
    ] {
        let provider = Provider::yes();
        provider.respond(move |_| Ok(response.clone()));
        let verifier = signing(&provider, &issuer).await.unwrap();
        let error = verify(&verifier, "alice").await.expect_err(name);
        assert!(error.is_unavailable(), "{name}: {error}");
        let source = error.source().unwrap().to_string();
        assert!(!source.contains("keys"), "{name}: {source}");
    }
    // The clocks may differ by a minute.
    for (seconds, is_accepted) in [(-61, false), (-60, true), (60, true), (61, false)] {
        let provider = Provider::yes();
        let response = signed(Some(TYPE), json!({"iat": now.checked_add_signed(seconds)}));
        provider.respond(move |_| Ok(response.clone()));
        let (verifier, token) = (signing(&provider, &issuer).await.unwrap(), Token::new("alice"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let outcome = verifier.verify(VerifyInput::without_request(&token, now)).await;
        assert_eq!(outcome.is_ok(), is_accepted, "{seconds}");
    }
    // The key alone makes the difference.
    let provider = Provider::yes();
    provider.respond(move |_| Ok(jwt_response(key().sign_as(Some(TYPE), &good))));
    assert!(verify(&signing(&provider, &issuer).await.unwrap(), "alice").await.is_ok());
}

#[tokio::test]
async fn signed_answers_need_keys_and_the_id_of_this_server() {
    let issuer = TestIssuer::in_process(ISSUER, &[key()]);
    let provider = Provider::yes();
    provider.respond(|token| {
        let mut claims = claims(&active(token));
        claims["aud"] = json!("named");
        Ok(jwt_response(key().sign_as(Some(TYPE), &claims.to_string())))
    });
    let anonymous = || {
        use axum_ws_auth::introspection::IntrospectionVerifier;
        IntrospectionVerifier::<Value>::endpoint(crate::ENDPOINT, ClientAuth::bearer("own-token"))
            .http_client(provider.client())
            .audience("chat")
            .signed_answers(issuer.keys())
    };
    assert_eq!(anonymous().build().unwrap_err(), ConfigError::Empty("client id"));
    assert!(verify(&anonymous().client_id("named").build().unwrap(), "alice").await.is_ok());

    // No keys: the provider is down.
    issuer.reply(crate::support::issuer::KEYS, crate::support::issuer::Reply::raw(500, ""));
    provider.respond(|token| Ok(jwt_response(key().sign_as(Some(TYPE), &claims(&active(token)).to_string()))));
    assert!(matches!(signing(&provider, &issuer).await, Err(StartError::Keys { .. })));
    let error = verify(&signing(&provider, &issuer).build().unwrap(), "alice").await.unwrap_err();
    assert!(error.is_unavailable());
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "the keys for signed introspection responses are not available");
}
