//! What is sent to the provider.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    ConfigError, Token,
    introspection::{ClientAuth, IntrospectionVerifier},
    jwks::{KeysErrorKind, StartError},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    ENDPOINT, ISSUER, SECRET, auth,
    provider::{Provider, Seen},
    verify,
};

const DOCUMENT: &str = "https://id.example.com/.well-known/openid-configuration";

/// The request for a token with characters that a form escapes.
async fn request_with(auth: ClientAuth) -> Seen {
    let provider = Provider::yes();
    let verifier = IntrospectionVerifier::<Value>::endpoint(format!("{ENDPOINT}?tenant=a"), auth)
        .http_client(provider.client())
        .audience("chat")
        .build()
        .unwrap();
    verify(&verifier, "a+b&c=d").await.unwrap();
    provider.requests().remove(0)
}

#[tokio::test]
async fn token_is_sent_in_a_form() {
    let Seen { uri, headers, form, .. } = request_with(auth()).await;
    assert_eq!(uri, "https://id.example.com/introspect?tenant=a");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(form["token"], "a+b&c=d");
    assert_eq!(form["token_type_hint"], "access_token");
    assert_eq!(form.len(), 2);
}

#[tokio::test]
async fn server_authenticates_by_each_method() {
    let Seen { headers, form, .. } = request_with(ClientAuth::basic("chat:server", "a b&ü")).await;
    let encoded = headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    assert_eq!(STANDARD.decode(encoded).unwrap(), b"chat%3Aserver:a+b%26%C3%BC");
    assert!(headers["authorization"].is_sensitive());
    assert!(!form.contains_key("client_id"));

    let Seen { headers, form, .. } = request_with(ClientAuth::post("chat-server", "a b")).await;
    assert!(!headers.contains_key("authorization"));
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("chat-server", "a b"));

    let Seen { headers, .. } = request_with(ClientAuth::bearer("own-token")).await;
    assert_eq!(headers["authorization"], "Bearer own-token");
}

#[tokio::test]
async fn own_token_is_obtained_for_each_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let auth = ClientAuth::bearer_with({
        let count = Arc::clone(&count);
        async move || match count.fetch_add(1, SeqCst) {
            0 => Ok(Token::new("first")),
            1 => Err("no token".into()),
            _ => Ok(Token::new("not\na header")),
        }
    });
    let provider = Provider::yes();
    let verifier = IntrospectionVerifier::<Value>::endpoint(ENDPOINT, auth)
        .http_client(provider.client())
        .audience("chat")
        .build()
        .unwrap();
    assert!(verify(&verifier, "alice").await.is_ok());
    assert!(verify(&verifier, "bob").await.unwrap_err().is_unavailable());
    assert!(verify(&verifier, "carol").await.unwrap_err().is_unavailable());
    assert_eq!((count.load(SeqCst), provider.count()), (3, 1));
    assert_eq!(provider.requests()[0].headers["authorization"], "Bearer first");
}

#[tokio::test]
async fn endpoint_is_discovered_once() {
    let provider = Provider::yes();
    let discover =
        || IntrospectionVerifier::<Value>::discover(ISSUER, auth()).audience("chat").http_client(provider.client());
    // The provider is down, and then up.
    let early = discover().build().unwrap();
    assert!(verify(&early, "alice").await.unwrap_err().is_unavailable());
    provider.document(DOCUMENT, &json!({"issuer": ISSUER, "introspection_endpoint": ENDPOINT}));
    assert!(verify(&early, "alice").await.is_ok());

    let verifier = discover().await.unwrap();
    provider.document(DOCUMENT, &json!({}));
    assert!(verify(&verifier, "alice").await.is_ok());
    assert_eq!(provider.requests()[1].uri, ENDPOINT);
}

#[tokio::test]
async fn document_must_be_that_of_the_issuer() {
    for (name, document, expected) in [
        (
            "another issuer",
            json!({"issuer": "https://evil.example", "introspection_endpoint": ENDPOINT}),
            KeysErrorKind::WrongIssuer,
        ),
        (
            "a slash more",
            json!({"issuer": format!("{ISSUER}/"), "introspection_endpoint": ENDPOINT}),
            KeysErrorKind::WrongIssuer,
        ),
        ("no endpoint", json!({"issuer": ISSUER}), KeysErrorKind::Malformed),
        ("no url", json!({"issuer": ISSUER, "introspection_endpoint": "introspect"}), KeysErrorKind::Malformed),
        (
            "plain http",
            json!({"issuer": ISSUER, "introspection_endpoint": "http://id.example.com/i"}),
            KeysErrorKind::InsecureUrl,
        ),
        (
            "this machine",
            json!({"issuer": ISSUER, "introspection_endpoint": "http://127.0.0.1/i"}),
            KeysErrorKind::InsecureUrl,
        ),
    ] {
        let provider = Provider::yes();
        provider.document("https://id.internal/metadata", &document);
        let verifier = IntrospectionVerifier::<Value>::discover_at(ISSUER, "https://id.internal/metadata", auth());
        let error = verifier.http_client(provider.client()).await.unwrap_err();
        let StartError::Discovery { issuer, source } = error else { panic!("{name}: {error}") };
        assert_eq!((issuer.as_str(), source.kind()), (ISSUER, expected), "{name}");
        assert_eq!(provider.count(), 0);
    }
}

#[tokio::test]
async fn unsafe_configurations_do_not_build() {
    let at = |url: &str, auth| IntrospectionVerifier::<Value>::endpoint(url, auth);
    let https = |auth| at(ENDPOINT, auth);
    let zero = Duration::ZERO;
    for (name, builder) in [
        ("http", at("http://id.example.com/introspect", auth())),
        ("credentials", at("https://a:b@id.example.com/introspect", auth())),
        ("no id", https(ClientAuth::basic("", SECRET))),
        ("no secret", https(ClientAuth::post("chat-server", ""))),
        ("no token", https(ClientAuth::bearer(""))),
        ("no issuer", https(auth()).issuer("")),
        ("no audience", https(auth()).audience("")),
        ("audience and any", https(auth()).audience("chat").insecure_any_audience()),
        ("no time", https(auth()).timeout(zero)),
        ("no requests", https(auth()).concurrent_requests(0)),
        ("rechecks all the time", https(auth()).recheck_every(zero)),
        ("answers kept forever", https(auth()).cache_active(Duration::MAX)),
    ] {
        assert!(builder.build().is_err(), "{name}");
    }
    let number = IntrospectionVerifier::<u32>::endpoint(ENDPOINT, auth()).build();
    assert!(matches!(number, Err(ConfigError::ClaimsNotAnObject(_))));
    assert!(at("http://localhost:9400/introspect", auth()).build().is_ok());
    assert!(at("http://id.example.com/introspect", auth()).insecure_http().build().is_ok());
    let year = Duration::from_secs(365 * 24 * 3600);
    assert!(https(auth()).timeout(year).cache_active(year).build().is_ok());
    assert!(https(auth()).timeout(year + Duration::from_nanos(1)).build().is_err());
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let provider = Provider::yes();
    for auth in [auth(), ClientAuth::post("chat-server", SECRET), ClientAuth::bearer(SECRET)] {
        let builder =
            IntrospectionVerifier::<Value>::endpoint(ENDPOINT, auth).audience("chat").http_client(provider.client());
        let mut shown = format!("{builder:?}");
        let verifier = builder.build().unwrap();
        verify(&verifier, "token-of-alice").await.unwrap();
        provider.respond(|_| Err("down".into()));
        let error = verify(&verifier, "token-of-bob").await.unwrap_err();
        provider.answer(crate::provider::active);
        shown += &format!("{verifier:?} {error:?}");
        for secret in [SECRET, "token-of", "s3cret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        // How full the cache is.
        verify(&verifier, "token-of-carol").await.unwrap();
        verify(&verifier, "token-of-dave").await.unwrap();
        provider.answer(|_| crate::provider::inactive());
        verify(&verifier, "token-of-eve").await.unwrap_err();
        verify(&verifier, "token-of-mallory").await.unwrap_err();
        provider.answer(crate::provider::active);
        assert!(format!("{verifier:?}").contains("active: 3, inactive: 2,"), "{verifier:?}");
    }
}
