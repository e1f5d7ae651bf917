//! The token never leaks: not in a response, a `Debug` or a log.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::error::Error;

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, RefreshProtocol, Rejection, Session, Token, TokenSource, Verified,
    VerifyError, VerifyInput, WsAuthLayer,
    test_util::{self, HandshakeBuilder, TestToken, base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use support::{log::Log, *};
use tower::{Layer, Service};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::Level;

/// The token, its parts, and every base64 form of it: in both alphabets, at every offset in a longer text.
fn forms(token: &str) -> Vec<String> {
    let mut forms = vec![token.to_owned()];
    forms.extend(token.split('.').filter(|part| part.len() > 8).map(str::to_owned));
    for skipped in 0..3 {
        let text = &token[skipped..skipped + (token.len() - skipped) / 3 * 3];
        forms.extend([STANDARD.encode(text), base64url(text)]);
    }
    forms
}

fn assert_clean(what: &str, text: &str, token: &str) {
    for form in forms(token) {
        assert!(!text.contains(&form), "{what} holds `{form}`:\n{text}");
    }
}

fn all_sources() -> Vec<TokenSource> {
    let mut sources = all_presets();
    sources.extend([
        TokenSource::header("x-token"),
        TokenSource::query("access_token"),
        TokenSource::cookie("session"),
    ]);
    sources
}

/// A token in each place that may hold one.
fn carriers(token: &str) -> Vec<HandshakeBuilder> {
    let encoded = base64url(token);
    let escaped: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let appsync = base64url(format!(r#"{{"Authorization":"Bearer {token}"}}"#));
    let offers = [
        format!("bearer, {token}"),
        format!("bearer.{token}, chat"),
        format!("base64url.bearer.authorization.k8s.io.{encoded}, chat"),
        format!("phoenix, base64url.bearer.phx.{encoded}"),
        format!("bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20{token}"),
        format!("v1.token.websocket.jupyter.org, v1.token.websocket.jupyter.org.{token}"),
        format!("realtime, openai-insecure-api-key.{token}"),
        format!("aws-appsync-event-ws, header-{appsync}"),
        // Several times.
        format!("{token}, bearer, {token}, bearer.{token}, chat"),
    ];
    let mut carriers: Vec<_> = offers.iter().map(|offer| handshake().subprotocols([offer.as_str()])).collect();
    carriers.extend([
        handshake().authorization(token),
        handshake().header("x-token", token),
        handshake().path(format!("/?a=b&access_token={escaped}")),
        handshake().cookie("session", token),
        handshake().authorization(token).subprotocols(["chat", token]),
    ]);
    carriers.into_iter().map(|request| request.origin("https://localhost")).collect()
}

/// A handler that prints everything it has.
async fn talkative(session: Authenticated<Value>, upgrade: AuthenticatedUpgrade<Value>) -> Response {
    tracing::info!(?session, ?upgrade, claims = ?session.0.claims(), offered = ?upgrade.requested_protocols().collect::<Vec<_>>());
    upgrade.on_upgrade(async |mut socket| {
        tracing::info!(?socket, session = ?socket.session());
        while let Some(message) = socket.recv().await {
            tracing::info!(?message);
        }
    })
}

/// Runs each handshake under a subscriber that records everything, with an inner tracing layer and a handler that
/// prints. Returns the log.
async fn run(layer: WsAuthLayer, token: &str) -> String {
    let log = Log::default();
    let trace =
        TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true).level(Level::TRACE));
    // For everything on this thread, including the tasks of sockets.
    let _logging = log.everything();
    let app = Router::new().route("/", any(talkative)).layer(trace).layer(layer);
    for request in carriers(token) {
        let response = answer(&app, request.clone().build()).await;
        assert_clean("a response", &format!("{response:?}"), token);
        for (name, value) in response.headers() {
            assert_clean(name.as_str(), &String::from_utf8_lossy(value.as_bytes()), token);
        }
        if let Some(rejection) = response.extensions().get::<Rejection>() {
            let mut cause: Option<&dyn Error> = Some(rejection);
            while let Some(error) = cause {
                assert_clean("an error", &format!("{error} {error:?}"), token);
                cause = error.source();
            }
        }
        assert_clean("a body", &text(response).await, token);

        if let Ok((mut socket, _)) = test_util::connect(app.clone(), request.build()).await {
            let refresh = json!({ "type": "auth.refresh", "token": token }).to_string();
            for message in ["hello", &refresh, "{}", &format!("{refresh}x")] {
                let _ = socket.send(message.into()).await;
            }
            let _ = socket.close(None).await;
            while let Some(Ok(message)) = socket.next().await {
                assert_clean("a message", &message.to_string(), token);
            }
        }
    }
    log.text()
}

#[tokio::test]
async fn accepted_token_does_not_leak() {
    let token = TestToken::new("alice").sign();
    let layer = jwt_layer().sources(all_sources()).unwrap().refresh_protocol(RefreshProtocol::json());
    let log = run(layer, &token).await;
    assert_clean("the log", &log, &token);
    if cfg!(feature = "tracing") {
        for event in ["handshake admitted", "session refreshed", "refresh refused", "session ended"] {
            assert!(log.contains(event), "the log holds {event}: {log}");
        }
    }
    for printed in ["alice", "AuthenticatedSocket", "hello"] {
        assert!(log.contains(printed), "the handler printed {printed}: {log}");
    }
}

#[tokio::test]
async fn refused_token_does_not_leak() {
    let good = TestToken::new("alice").sign();
    let tokens = [
        TestToken::new("alice").sign_with(b"somebody else's thirty-two bytes!"),
        TestToken::new("alice").claim("exp", 1).sign(),
        TestToken::new("alice").claim("aud", "somebody else").sign(),
        TestToken::new("alice").claim("nbf", u64::MAX).sign(),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        "not-a-jwt-at-all-but-secret-all-the-same".to_owned(),
        "secret with spaces and \"quotes\" in it".to_owned(),
    ];
    for token in tokens {
        let layer = || jwt_layer().sources(all_sources()).unwrap();
        for layer in [layer(), layer().accept_then_close(), layer().max_token_len(10).unwrap()] {
            let log = run(layer, &token).await;
            assert_clean("the log", &log, &token);
            if cfg!(feature = "tracing") {
                assert!(log.contains("handshake refused"), "{log}");
            }
        }
    }
}

/// The log names claims that cannot be deserialized.
#[tokio::test]
async fn error_about_claims_holds_no_token() {
    #[derive(serde::Deserialize)]
    struct Never {
        #[expect(dead_code, reason = "the claim is missing")]
        missing: u8,
    }
    let token = TestToken::new("alice").sign();
    let log = run(WsAuthLayer::new(test_util::verifier::<Never>()).sources(all_sources()).unwrap(), &token).await;
    assert_clean("the log", &log, &token);
    if cfg!(feature = "tracing") {
        assert!(log.contains("missing field `missing`"), "{log}");
    }
}

/// Percent-encodes the bytes that `escape` selects, with a prefix for repeated encoding.
fn escaped(text: &str, escape: impl Fn(u8) -> bool, prefix: &str) -> String {
    let spell = |b: u8| if escape(b) { format!("%{prefix}{b:02x}") } else { char::from(b).to_string() };
    text.bytes().map(spell).collect()
}

/// A token with commas is several names of the list.
#[tokio::test]
async fn copies_across_the_names_of_subprotocols_are_removed() {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(Value::Null)));
    let (token, ends_with_comma) = ("0123456789,abcdef,secret", "0123456789-abcdef,");
    for (token, lines) in [
        (token, &[token][..]),
        (token, &["chat, 0123456789,abcdef,secret,v1"]),
        (token, &["chat", token]),
        (token, &["chat,0123456789%2cabcdef,secret"]),
        // The lines are joined.
        (ends_with_comma, &["0123456789-abcdef", "chat"]),
    ] {
        let layer =
            WsAuthLayer::new(any).sources([TokenSource::header("x-token"), TokenSource::bearer_subprotocol()]).unwrap();
        let mut request = handshake().header("x-token", token);
        for line in lines {
            request = request.header("sec-websocket-protocol", *line);
        }
        let seen = tower::service_fn(async |request: Request<Body>| {
            let names: Vec<_> = request.headers().get_all("sec-websocket-protocol").iter().cloned().collect();
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(format!("{names:?}"))))
        });
        let response = layer.layer(seen).call(request.build()).await.unwrap();
        assert!(!response.headers().contains_key("sec-websocket-protocol"), "{lines:?} {response:?}");
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        assert_eq!(body, "[]", "{lines:?}");
    }
}

/// Proxies repeat the URL in other headers, browsers in `Referer`, and clients send a token twice.
#[tokio::test]
async fn copies_of_the_token_are_removed_from_all_headers() {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(Value::Null)));
    let jwt = TestToken::new("alice").sign();
    for token in [jwt.as_str(), "an/opaque+token==", "~with~%41~escapes~", "0123456789abcdef"] {
        let in_url = escaped(token, |b| !b.is_ascii_alphanumeric(), "");
        let url = format!("/?a=b&access_token={in_url}&c=d");
        let spellings = [
            token.to_owned(),
            in_url.clone(),
            escaped(token, |b| !b.is_ascii_alphanumeric(), "25"),
            escaped(token, |b| !b.is_ascii_alphanumeric(), "2525"),
            escaped(token, |_| true, ""),
            escaped(token, |b| b % 2 == 0 || b == b'%', ""),
            base64url(token),
            STANDARD.encode(token),
            STANDARD.encode(format!("u:{token}")),
            STANDARD.encode(format!("user:{token}:x")),
            base64url(format!(r#"{{"Authorization":"Bearer {token}"}}"#)),
        ];
        let mut sources = all_sources();
        sources.retain(|source| *source != TokenSource::authorization());
        let layer = WsAuthLayer::new(any).sources(sources).unwrap();
        let mut carriers =
            vec![handshake().path(&url), handshake().header("x-token", token), handshake().cookie("session", token)];
        if token == jwt {
            carriers.extend([
                handshake().bearer_subprotocol(token),
                handshake().subprotocols(["chat", &format!("bearer.{token}")]),
            ]);
        }
        for carrier in carriers {
            for spelling in &spellings {
                let mut request = carrier.clone().origin("https://localhost");
                for (name, before, after) in [
                    ("x-original-uri", "/?access_token=", "&c=d"),
                    ("x-forwarded-uri", "/?access_token=", ""),
                    ("x-original-url", "/?access_token=", ""),
                    ("x-rewrite-url", "/?access_token=", ""),
                    ("x-envoy-original-path", "/?access_token=", ""),
                    ("referer", "https://localhost/login?next=%2Fws%3Faccess_token%3D", "%26c"),
                    ("forwarded", "for=192.0.2.1;path=\"/?t=", "\", for=192.0.2.2"),
                    ("x-forwarded-for", "", ", 192.0.2.3"),
                    ("x-forwarded-access-token", "", ""),
                    ("x-twice", "", &format!(" {spelling}")),
                    ("authorization", "Basic ", ""),
                    ("cookie", "first=1; other=", "; last=2"),
                ] {
                    request = request.header(name, format!("{before}{spelling}{after}"));
                }
                let request = request.header(
                    "sec-websocket-protocol",
                    if token == jwt { spelling.trim_end_matches('=') } else { "chat" },
                );
                let seen = text(answer(&mirror_behind(layer.clone()), request.build()).await).await;
                assert!(seen.starts_with("uri /"), "{seen}");
                for left in [spelling.as_str(), token] {
                    assert!(!seen.contains(left), "{token} as {spelling}: {seen}");
                }
                // The rest of the header stays.
                for kept in ["x-forwarded-for: , 192.0.2.3\n", "for=192.0.2.2\n", "first=1; other=", "; last=2\n"] {
                    assert!(seen.contains(kept), "{token} as {spelling}: {kept} in {seen}");
                }
                assert!(seen.contains(r#""x-original-uri": Sensitive"#), "{seen}");
            }
        }
    }
}

/// A client could hide a second token around a copy of the first, which only the inner service would find.
#[tokio::test]
async fn removing_a_copy_leaves_no_other_token() {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(Value::Null)));
    let sources = [TokenSource::authorization(), TokenSource::query("t"), TokenSource::cookie("session")];
    let app = mirror_behind(WsAuthLayer::new(any).sources(sources).unwrap());
    for (name, value, kept) in [
        ("cookie", format!("a=1; sess{TOKEN}ion=other; b=2"), "cookie: a=1; b=2\n"),
        ("authorization", format!("{TOKEN}Bearer other"), ""),
        ("authorization", format!("Bea{TOKEN}rer other"), ""),
    ] {
        let request = handshake().path(format!("/?t={TOKEN}")).header(name, &value).build();
        let seen = text(answer(&app, request).await).await;
        assert!(seen.starts_with("uri /\n") && seen.contains(kept), "{value}: {seen}");
        assert!(!seen.contains("other"), "{value}: {seen}");
    }
}

#[tokio::test]
async fn query_parameter_with_a_copy_is_removed() {
    let app = mirror_behind(opaque_layer());
    for (query, kept) in [
        (format!("?a=b&token={TOKEN}&c"), "?a=b&c"),
        (format!("?next=%2F%3Ft%3D{}&c=%20", escaped(TOKEN, |b| b == b'.', "")), "?c=%20"),
        ("?a=b".to_owned(), "?a=b"),
    ] {
        for path in ["/", "/nested"] {
            let request = handshake().authorization(TOKEN).path(format!("{path}{query}")).build();
            let seen = text(answer(&app, request).await).await;
            assert!(seen.starts_with(&format!("uri /{kept}\noriginal {path}{kept}\n")), "{query}: {seen}");
            assert_clean("the request", &seen, TOKEN);
        }
    }
}

/// A token with `&` is several parameters of a query.
#[tokio::test]
async fn copies_across_the_parameters_of_a_query_are_removed() {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(Value::Null)));
    let app = mirror_behind(WsAuthLayer::new(any).sources([TokenSource::header("x-token")]).unwrap());
    let token = "0123456789&abcdef&secret";
    for query in [format!("?a=b&{token}"), format!("?{token}&c"), format!("?a=0123456789&{token}&abcdef&secret")] {
        let request = handshake().header("x-token", token).path(format!("/nested{query}")).build();
        let seen = text(answer(&app, request).await).await;
        assert!(seen.starts_with("uri /\noriginal /nested\n") && !seen.contains("secret"), "{query}: {seen}");
    }
}

/// A short token may occur in other text by chance, and the origin must be checked unchanged.
#[tokio::test]
async fn only_copies_are_removed() {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(Value::Null)));
    let app = mirror_behind(WsAuthLayer::new(any).sources([TokenSource::query("t")]).unwrap());
    let request = handshake().path("/?t=light").header("x-theme", "lighter").header("x-copy", "light");
    let seen = text(answer(&app, request.build()).await).await;
    assert!(seen.contains("x-theme: lighter\n") && seen.contains("x-copy: \n"), "{seen}");

    let host = TOKEN.replace('.', "-").to_lowercase();
    let origin = format!("https://{host}.example.com");
    for (allowed, status) in
        [(origin.as_str(), StatusCode::SWITCHING_PROTOCOLS), ("https://app.example.com", StatusCode::FORBIDDEN)]
    {
        let app = echo_behind(WsAuthLayer::new(any).allow_origin([allowed.to_owned()]).unwrap());
        let request = handshake().authorization(&host).origin(&origin);
        assert_eq!(answer(&app, request.build()).await.status(), status, "{allowed}");
    }
}

#[tokio::test]
async fn debug_output_holds_no_token() {
    let secret = "the-secret-token";
    let token = Token::new(secret);
    assert_eq!(format!("{token:?}"), "Token(..)");
    assert_eq!(format!("{:?}", Some(&token)), "Some(Token(..))");

    let (parts, _) = handshake().authorization(secret).build().into_parts();
    let input = VerifyInput::new(&token, &parts, std::time::UNIX_EPOCH);
    assert_eq!(format!("{input:?}"), "VerifyInput { token: Token(..), now: SystemTime { tv_sec: 0, tv_nsec: 0 }, .. }");
    assert_eq!(
        format!("{:?}", Verified::new(secret).with_subject("alice")),
        r#"Verified { expires_at: None, subject: Some("alice"), issuer: None, token_id: None, issued_at: None, recheck_in: None, .. }"#
    );
    assert_eq!(
        format!("{:?}", handshake().authorization(secret).path(format!("/?t={secret}"))),
        r#"HandshakeBuilder { version: HTTP/1.1, headers: ["authorization"], .. }"#
    );

    let keep = |request: Request<Body>| async move {
        let session = request.extensions().get::<Session<String>>().expect("a session").clone();
        let id = session.id();
        let printed = format!(r#"Session {{ id: SessionId({id}), subject: Some("alice"), expires_at: None, .. }}"#);
        assert_eq!(format!("{session:?}"), printed);
        assert_eq!(format!("{:?}", Authenticated(session)), format!("Authenticated({printed})"));
    };
    assert!(!format!("{:?}", opaque_layer()).contains(TOKEN));
    let mut service = opaque_layer().layer(Router::new().route("/", any(keep)));
    let future = service.call(handshake().authorization(TOKEN).build());
    assert_eq!(format!("{future:?}"), "ResponseFuture { .. }");
    assert_eq!(future.await.unwrap().status(), 200);
}

/// Tests [`assert_clean`] itself.
#[test]
fn assert_clean_finds_each_form() {
    let token = TestToken::new("alice").sign();
    for text in [
        format!("x{token}y"),
        token.rsplit('.').next().unwrap().to_owned(),
        base64url(&token),
        STANDARD.encode(format!("1{token}")),
        base64url(format!("{{\"Authorization\":\"Bearer {token}\"}}")),
    ] {
        let found = std::panic::catch_unwind(|| assert_clean("it", &text, &token));
        assert!(found.is_err(), "{text}");
    }
}
