//! The default client, over TCP.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::{get, post},
};
use axum_ws_auth::introspection::IntrospectionVerifier;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{auth, provider::active, verify};

#[tokio::test]
async fn default_client_posts_and_follows_no_redirect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({"issuer": issuer, "introspection_endpoint": format!("{issuer}/introspect")});
    let elsewhere = Arc::new(Mutex::new(0));
    let answer = {
        let issuer = issuer.clone();
        async move |headers: HeaderMap, form: String| {
            assert!(headers["authorization"].to_str().unwrap().starts_with("Basic "));
            let token = form_urlencoded::parse(form.as_bytes()).find(|(name, _)| name == "token").unwrap().1;
            let mut answer = active(&token);
            answer["iss"] = json!(issuer);
            match &*token {
                "redirect" => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/elsewhere")]).into_response(),
                "long" => format!("{answer}{}", " ".repeat(64 * 1024)).into_response(),
                _ => answer.to_string().into_response(),
            }
        }
    };
    let count = Arc::clone(&elsewhere);
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(async move || document.to_string()))
        .route("/introspect", post(answer))
        .route("/elsewhere", post(async move || *count.lock().unwrap() += 1));
    tokio::spawn(async { axum::serve(listener, app).await });

    let verifier = IntrospectionVerifier::<Value>::discover(&issuer, auth()).audience("chat").await.unwrap();
    assert_eq!(verify(&verifier, "alice").await.unwrap().subject.as_deref(), Some("alice"));
    for token in ["redirect", "long"] {
        assert!(verify(&verifier, token).await.unwrap_err().is_unavailable(), "{token}");
    }
    assert_eq!(*elsewhere.lock().unwrap(), 0);
}
