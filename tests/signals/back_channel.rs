//! OpenID Connect Back-Channel Logout.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, UNIX_EPOCH},
};

use axum::{Router, body::Body, response::Response};
use axum_ws_auth::{
    ConfigError, MemoryRevocations, RevocationOptions, Revocations, TimeSource, jwt::JwtVerifier,
    signals::BackChannelLogout, store::RevocationStore, test_util::base64url,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    fixtures::{ISSUER, Node, OTHER_ISSUER, Unreliable, access_token, is_open, key, now, other_key, reason, verifier},
    support::{
        answer, closed,
        issuer::{Key, Pair, Reply, TestIssuer},
        log::{Log, captured},
        text,
    },
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const FORM: &str = "application/x-www-form-urlencoded";

fn node(store: impl RevocationStore) -> Node {
    node_with(Revocations::new(store), |logout| logout)
}

fn node_with(revocations: Revocations, settings: impl FnOnce(BackChannelLogout) -> BackChannelLogout) -> Node {
    let logout = settings(BackChannelLogout::new(&verifier(), &revocations, "web").unwrap());
    Node::new(revocations, logout.route())
}

async fn notify(node: &Node, notice: &Notice) -> Response {
    post(node, FORM, format!("logout_token={}", notice.token())).await
}

async fn post(node: &Node, content_type: &str, body: impl Into<Body>) -> Response {
    let request = Request::post("/notices").header("content-type", content_type);
    answer(&node.app, request.body(body.into()).unwrap()).await
}

/// A notice that alice has logged out of the browser `laptop`, unless it is changed.
#[derive(Clone)]
struct Notice {
    token_type: Option<&'static str>,
    claims: Value,
    key: Key,
    /// Members to add to the claims as text.
    suffix: &'static str,
}

impl Notice {
    fn new() -> Self {
        let claims = json!({
            "iss": ISSUER, "aud": "web", "iat": now(), "exp": now() + 120, "jti": "1", "sub": "alice", "sid": "laptop",
            "events": {EVENT: {}},
        });
        Self { token_type: Some("logout+jwt"), claims, key: key(), suffix: "" }
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    fn token(&self) -> String {
        let claims = self.claims.to_string();
        let claims = format!("{}{}}}", claims.strip_suffix('}').unwrap(), self.suffix);
        self.key.sign_as(self.token_type, &claims)
    }
}

async fn assert_refused(response: Response, expected: &str, name: &str) {
    assert_eq!((response.status(), reason(&response)), (StatusCode::BAD_REQUEST, Some(expected)), "{name}");
    assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
    assert_eq!(response.headers()["content-type"], "application/json", "{name}");
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(document["error"], "invalid_request", "{name}");
    assert!(document["error_description"].is_string(), "{name}");
}

#[tokio::test(start_paused = true)]
async fn a_notice_of_a_session_closes_its_sockets_on_all_nodes_and_no_others() {
    let store = Arc::new(MemoryRevocations::new());
    let (a, b) = (node(Arc::clone(&store)), node(store));
    let laptop = access_token(ISSUER, "laptop", now() - 10);
    let phone = access_token(ISSUER, "phone", now() - 10);
    let elsewhere = access_token(OTHER_ISSUER, "laptop", now() - 10);
    let (mut on_a, mut on_b) = (a.open(&laptop).await, b.open(&laptop).await);
    let (mut other_browser, mut other_issuer) = (b.open(&phone).await, b.open(&elsewhere).await);

    let response = notify(&a, &Notice::new()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(text(response).await, "");

    for socket in [&mut on_a, &mut on_b] {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
    }
    assert!(is_open(&mut other_browser).await && is_open(&mut other_issuer).await);
    for node in [&a, &b] {
        assert!(node.is_refused(&laptop).await);
        assert!(!node.is_refused(&phone).await && !node.is_refused(&elsewhere).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_of_a_subject_closes_all_its_sockets_and_those_of_no_other_issuer() {
    let node = node(MemoryRevocations::new());
    let tokens = ["laptop", "phone"].map(|sid| access_token(ISSUER, sid, now() - 10));
    let mut sockets = [node.open(&tokens[0]).await, node.open(&tokens[1]).await];
    let mut other_issuer = node.open(&access_token(OTHER_ISSUER, "laptop", now() - 10)).await;

    assert_eq!(notify(&node, &Notice::new().without("sid")).await.status(), StatusCode::OK);

    for (socket, token) in sockets.iter_mut().zip(&tokens) {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
        assert!(node.is_refused(token).await);
    }
    assert!(is_open(&mut other_issuer).await);
}

#[tokio::test(start_paused = true)]
async fn by_choice_a_notice_of_a_session_ends_the_whole_subject() {
    let node = node_with(Revocations::new(MemoryRevocations::new()), BackChannelLogout::whole_subject);
    let mut phone = node.open(&access_token(ISSUER, "phone", now() - 10)).await;
    assert_eq!(notify(&node, &Notice::new()).await.status(), StatusCode::OK);
    assert_eq!(closed(&mut phone).await, (3000, "revoked".to_owned()));

    // There is nothing more to end.
    let mut tablet = node.open(&access_token(ISSUER, "tablet", now() + 20)).await;
    assert_eq!(notify(&node, &Notice::new().without("sub").set("sid", "tablet")).await.status(), StatusCode::OK);
    assert_eq!(closed(&mut tablet).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_notice_before_the_handshake_refuses_it_for_as_long_as_revocations_are_kept() {
    for notice in [Notice::new(), Notice::new().without("sid")] {
        let options = RevocationOptions::new().keep_for(Duration::from_secs(600)).unwrap();
        let node = node_with(Revocations::with_options(MemoryRevocations::new(), options), |logout| logout);
        let token = access_token(ISSUER, "laptop", now() - 10);
        assert_eq!(notify(&node, &notice).await.status(), StatusCode::OK);
        assert!(node.is_refused(&token).await);
        tokio::time::sleep(Duration::from_secs(590)).await;
        assert!(node.is_refused(&token).await);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!node.is_refused(&token).await);
    }
}

/// The token ids need not be remembered: a repeated notice has no effect on what came after it.
#[tokio::test(start_paused = true)]
async fn a_repeated_notice_is_answered_like_the_first_and_ends_no_later_sign_in() {
    let notice = Notice::new().set("iat", now() - 100);
    for (name, notice) in [("session", notice.clone()), ("subject", notice.without("sid"))] {
        let node = node(MemoryRevocations::new());
        let mut before = node.open(&access_token(ISSUER, "laptop", now() - 200)).await;
        let first = notify(&node, &notice).await;
        assert_eq!(closed(&mut before).await, (3000, "revoked".to_owned()), "{name}");

        // The provider gives the new sign-in a new session.
        let token = access_token(ISSUER, "laptop, again", now() - 50);
        let mut after = node.open(&token).await;
        let entries = node.revocations.status().entries;
        let second = notify(&node, &notice).await;
        assert!(is_open(&mut after).await, "{name}");
        assert!(!node.is_refused(&token).await, "{name}");
        assert_eq!(node.revocations.status().entries, entries, "{name}");

        let parts = |response: &Response| (response.status(), response.headers().clone());
        assert_eq!(parts(&first), parts(&second), "{name}");
        assert_eq!(text(first).await, text(second).await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn notices_in_every_form_that_providers_send_are_accepted() {
    struct Case {
        name: &'static str,
        content_type: &'static str,
        body: String,
    }
    let case =
        |name, notice: Notice| Case { name, content_type: FORM, body: format!("logout_token={}", notice.token()) };
    let typed = |token_type| Notice { token_type: Some(token_type), ..Notice::new() };
    let events = |events: Value| Notice::new().set("events", events);
    let plain = Notice::new().token();
    let cases = [
        case("as specified", Notice::new()),
        case("a long media type", typed("application/logout+jwt")),
        case("another case", typed("Application/Logout+JWT")),
        case("several audiences", Notice::new().set("aud", json!(["another", "web"]))),
        case("no subject", Notice::new().without("sub")),
        case("no session", Notice::new().without("sid")),
        case("a null session", Notice::new().set("sid", Value::Null)),
        case("a fractional iat", Notice::new().set("iat", now() as f64 - 0.5)),
        case("a clock that is ahead", Notice::new().set("iat", now() + 20)),
        case("more claims", Notice::new().set("trace_id", "1").set("custom", json!({"nonce": 1}))),
        case("more in the event", events(json!({EVENT: {"revoke_offline_access": true}}))),
        case("more events", events(json!({EVENT: {}, "revoke_offline_access": true}))),
        case("a null event", events(json!({EVENT: null}))),
        Case {
            name: "a charset",
            content_type: "Application/X-WWW-Form-URLencoded; charset=utf-8",
            ..case("", Notice::new())
        },
        Case { name: "more parameters", content_type: FORM, body: format!("a=b&logout_token={plain}&logout_token2=c") },
        Case { name: "escapes", content_type: FORM, body: format!("logout%5Ftoken={}", plain.replace('.', "%2E")) },
    ];
    for Case { name, content_type, body } in cases {
        let node = node(MemoryRevocations::new());
        let mut socket = node.open(&access_token(ISSUER, "laptop", now() - 10)).await;
        let response = post(&node, content_type, body).await;
        assert_eq!((response.status(), reason(&response)), (StatusCode::OK, None), "{name}");
        assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_check_of_the_token_refuses_by_itself() {
    let notice = Notice::new;
    let typed = |token_type| Notice { token_type, ..notice() };
    let suffixed = |suffix| Notice { suffix, ..notice() };
    let cases = [
        ("no type", typed(None), "wrong_type"),
        ("an old type", typed(Some("JWT")), "wrong_type"),
        ("an access token's type", typed(Some("at+jwt")), "wrong_type"),
        ("another event's type", typed(Some("secevent+jwt")), "wrong_type"),
        ("another issuer's key", Notice { key: other_key(), ..notice() }, "bad_signature"),
        ("an unknown key", Notice { key: Key::new(Pair::EdTest2, "2"), ..notice() }, "unknown_key"),
        ("another issuer", notice().set("iss", "https://evil.example.com"), "wrong_issuer"),
        ("no issuer", notice().without("iss"), "missing_claim"),
        ("an empty issuer", notice().set("iss", ""), "missing_claim"),
        ("the audience of access tokens", notice().set("aud", "chat"), "wrong_audience"),
        ("another client", notice().set("aud", json!(["web2", "WEB"])), "wrong_audience"),
        ("no audience", notice().without("aud"), "missing_claim"),
        ("no exp", notice().without("exp"), "missing_claim"),
        ("a null exp", notice().set("exp", Value::Null), "malformed_claim"),
        ("expired", notice().set("exp", now() - 31), "token_expired"),
        ("not yet valid", notice().set("nbf", now() + 60), "token_not_yet_valid"),
        ("no iat", notice().without("iat"), "missing_claim"),
        ("an iat of text", notice().set("iat", now().to_string()), "malformed_claim"),
        ("a future iat", notice().set("iat", now() + 90), "issued_in_future"),
        ("no jti", notice().without("jti"), "missing_claim"),
        ("an empty jti", notice().set("jti", ""), "missing_claim"),
        ("a jti of a number", notice().set("jti", 1), "malformed_claim"),
        ("no events", notice().without("events"), "missing_event"),
        ("null events", notice().set("events", Value::Null), "missing_event"),
        ("no event", notice().set("events", json!({})), "missing_event"),
        (
            "another event",
            notice().set("events", json!({"http://schemas.openid.net/event/logout": {}})),
            "missing_event",
        ),
        ("an event of another case", notice().set("events", json!({EVENT.to_uppercase(): {}})), "missing_event"),
        ("events in a list", notice().set("events", json!([EVENT])), "unexpected_claims"),
        ("events as text", notice().set("events", EVENT), "unexpected_claims"),
        ("a nonce", notice().set("nonce", "n"), "nonce_present"),
        ("a null nonce", notice().set("nonce", Value::Null), "nonce_present"),
        ("an empty nonce", notice().set("nonce", ""), "nonce_present"),
        ("neither sub nor sid", notice().without("sub").without("sid"), "missing_subject"),
        ("an empty sub and no sid", notice().set("sub", "").without("sid"), "missing_subject"),
        ("an empty sid", notice().set("sid", ""), "malformed_claim"),
        ("a sid of a number", notice().set("sid", 7), "malformed_claim"),
        ("a sid of a list", notice().set("sid", json!(["laptop"])), "malformed_claim"),
        ("a sub of a number", notice().set("sub", 7).without("sid"), "malformed_claim"),
        ("bound to a key", notice().set("cnf", json!({"jkt": "a"})), "sender_constrained"),
        ("a repeated iss", suffixed(r#","iss":"https://id.example.com""#), "malformed_claim"),
        ("a repeated aud", suffixed(r#","aud":"web""#), "malformed_claim"),
        ("a repeated sub", suffixed(r#","sub":"alice""#), "malformed_claim"),
        ("a repeated sid", suffixed(r#","sid":"laptop""#), "malformed_claim"),
        ("a repeated exp", suffixed(r#","exp":4102444800"#), "malformed_claim"),
        ("repeated events", suffixed(r#","events":{}"#), "unexpected_claims"),
        ("claims that are not JSON", suffixed(r#","a":"#), "unexpected_claims"),
    ];
    let node = node(MemoryRevocations::new());
    let mut socket = node.open(&access_token(ISSUER, "laptop", now() - 10)).await;
    for (name, notice, expected) in cases {
        assert_refused(notify(&node, &notice).await, expected, name).await;
    }
    let repeated = format!(r#"{{"{EVENT}":{{}},"{EVENT}":{{}}}}"#);
    let claims = Notice::new().claims.to_string().replace(&json!({EVENT: {}}).to_string(), &repeated);
    let token = key().sign_as(Some("logout+jwt"), &claims);
    assert_refused(post(&node, FORM, format!("logout_token={token}")).await, "unexpected_claims", "a repeated event")
        .await;

    assert_eq!(node.revocations.status().entries, 0);
    assert!(is_open(&mut socket).await);
}

#[tokio::test(start_paused = true)]
async fn each_check_of_the_request_refuses_by_itself() {
    let token = Notice::new().token();
    let form = format!("logout_token={token}");
    let unsigned = |header: Value| {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(Notice::new().claims.to_string()));
        format!("logout_token={message}.")
    };
    let cases = [
        ("json", "application/json", form.clone(), "wrong_content_type"),
        ("a longer type", "application/x-www-form-urlencoded2", form.clone(), "wrong_content_type"),
        ("no body", FORM, String::new(), "missing_token"),
        ("another parameter", FORM, format!("token={token}"), "missing_token"),
        ("another case", FORM, format!("Logout_Token={token}"), "missing_token"),
        ("an empty token", FORM, "logout_token=&a=b".to_owned(), "missing_token"),
        ("two tokens", FORM, format!("{form}&{form}"), "repeated_token"),
        ("a token and an empty one", FORM, format!("{form}&logout_token"), "repeated_token"),
        ("no JWT", FORM, "logout_token=a.b".to_owned(), "token_malformed"),
        ("no UTF-8", FORM, "logout_token=%ff.%ff.%ff".to_owned(), "token_malformed"),
        ("no signature", FORM, unsigned(json!({"alg": "none", "typ": "logout+jwt"})), "wrong_algorithm"),
        (
            "a critical header",
            FORM,
            unsigned(json!({"alg": "EdDSA", "typ": "logout+jwt", "crit": ["b64"]})),
            "critical_header",
        ),
        ("64 KiB and a byte", FORM, format!("a={}", "a".repeat(64 * 1024 - 1)), "body_too_large"),
    ];
    let node = node(MemoryRevocations::new());
    for (name, content_type, body, expected) in cases {
        assert_refused(post(&node, content_type, body).await, expected, name).await;
    }
    let padded = format!("{form}&a={}", "a".repeat(64 * 1024 - form.len() - 3));
    assert_eq!(post(&node, FORM, padded).await.status(), StatusCode::OK, "64 KiB");

    let chunks = (0..1024).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 1024])));
    assert_refused(post(&node, FORM, Body::from_stream(stream::iter(chunks))).await, "body_too_large", "no length")
        .await;
    let broken = stream::iter([Ok(Bytes::from(form.clone())), Err(std::io::Error::other("gone"))]);
    assert_refused(post(&node, FORM, Body::from_stream(broken)).await, "body_incomplete", "cut off").await;

    let silent = stream::pending::<Result<Bytes, std::io::Error>>();
    assert_refused(post(&node, FORM, Body::from_stream(silent)).await, "body_incomplete", "no byte in 10 seconds")
        .await;

    let untyped = Request::post("/notices").body(Body::from(form.clone())).unwrap();
    assert_refused(answer(&node.app, untyped).await, "wrong_content_type", "no content type").await;
    let mut twice = Request::post("/notices").body(Body::from(form.clone())).unwrap();
    for _ in 0..2 {
        twice.headers_mut().append("content-type", HeaderValue::from_static(FORM));
    }
    assert_refused(answer(&node.app, twice).await, "wrong_content_type", "two content types").await;

    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let uri = format!("/notices?{form}");
        let request = Request::builder().method(method).uri(uri).header("content-type", FORM);
        let response = answer(&node.app, request.body(form.clone().into()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "POST", "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_setting_accepts_what_the_default_refuses() {
    struct Case {
        name: &'static str,
        settings: fn(BackChannelLogout) -> BackChannelLogout,
        accepted: Vec<Notice>,
        refused: Vec<(Notice, &'static str)>,
    }
    let typed = |token_type| Notice { token_type, ..Notice::new() };
    let without_exp = |age: u64| Notice::new().without("exp").set("iat", now() - age);
    let cases = [
        Case {
            name: "client_id",
            settings: |logout| logout.client_id("mobile").unwrap(),
            accepted: vec![Notice::new(), Notice::new().set("aud", "mobile")],
            refused: vec![(Notice::new().set("aud", "desktop"), "wrong_audience")],
        },
        Case {
            name: "insecure_accept_untyped",
            settings: BackChannelLogout::insecure_accept_untyped,
            accepted: vec![typed(Some("logout+jwt")), typed(Some("JWT")), typed(Some("")), typed(None)],
            refused: vec![
                (typed(Some("secevent+jwt")), "wrong_type"),
                (Notice { token_type: None, ..Notice::new().set("nonce", "n") }, "nonce_present"),
                (Notice { token_type: None, ..Notice::new().set("aud", "chat") }, "wrong_audience"),
            ],
        },
        Case {
            name: "insecure_accept_without_exp",
            settings: BackChannelLogout::insecure_accept_without_exp,
            accepted: vec![Notice::new(), without_exp(0), without_exp(320)],
            refused: vec![
                (without_exp(340), "token_too_old"),
                (Notice::new().set("exp", now() - 31), "token_expired"),
                (Notice::new().set("exp", Value::Null), "malformed_claim"),
            ],
        },
    ];
    for Case { name, settings, accepted, refused } in cases {
        let node = node_with(Revocations::new(MemoryRevocations::new()), settings);
        for notice in &accepted {
            let response = notify(&node, notice).await;
            let outcome = (response.status(), reason(&response));
            assert_eq!(outcome, (StatusCode::OK, None), "{name}: {:?} {}", notice.token_type, notice.claims);
        }
        for (notice, expected) in refused {
            assert_refused(notify(&node, &notice).await, expected, name).await;
        }
    }
}

#[tokio::test]
async fn a_client_id_is_required() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let empty = ConfigError::Empty("client id");
    assert_eq!(BackChannelLogout::new(&verifier(), &revocations, "").unwrap_err(), empty);
    let logout = BackChannelLogout::new(&verifier(), &revocations, "web").unwrap();
    assert_eq!(logout.client_id("").unwrap_err(), empty);
}

#[tokio::test(start_paused = true)]
async fn the_time_source_decides_what_has_expired() {
    let then = UNIX_EPOCH + Duration::from_secs(now() + 1000);
    let node = node_with(Revocations::new(MemoryRevocations::new()), |logout| {
        logout.time_source(TimeSource::new(move || then))
    });
    assert_refused(notify(&node, &Notice::new()).await, "token_expired", "later").await;
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_notice_is_answered_503_and_reaches_the_other_nodes_later() {
    let store = Unreliable::default();
    let (a, b) = (node(store.clone()), node(store.clone()));
    let token = access_token(ISSUER, "laptop", now() - 10);
    let (mut on_a, mut on_b) = (a.open(&token).await, b.open(&token).await);

    store.is_down.store(true, SeqCst);
    let response = notify(&a, &Notice::new()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reason(&response), Some("revocation_not_confirmed"));
    assert_eq!(
        (&response.headers()["retry-after"], &response.headers()["cache-control"]),
        (&"5".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(document["error"], "temporarily_unavailable");
    assert_eq!(closed(&mut on_a).await, (3000, "revoked".to_owned()));
    assert!(is_open(&mut on_b).await);

    store.is_down.store(false, SeqCst);
    assert_eq!(closed(&mut on_b).await, (3000, "revoked".to_owned()));
    assert_eq!(notify(&a, &Notice::new()).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_answered_503_while_the_keys_are_unavailable() {
    let issuer = TestIssuer::in_process(ISSUER, &[key()]);
    issuer.reply("/keys", Reply::raw(500, ""));
    let verifier = JwtVerifier::<Value>::builder().issuer_keys(issuer.keys()).audience("chat").build().unwrap();
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = Router::new().route("/", BackChannelLogout::new(&verifier, &revocations, "web").unwrap().route());
    let post = || {
        let body = Body::from(format!("logout_token={}", Notice::new().token()));
        Request::post("/").header("content-type", FORM).body(body).unwrap()
    };
    let response = answer(&app, post()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reason(&response), Some("verifier_unavailable"));
    assert!(response.headers().contains_key("retry-after"));

    // The keys are those of the verifier: once it has them, the route has them too.
    issuer.publish(&[key()]);
    verifier.ready().await.unwrap();
    assert_eq!(answer(&app, post()).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_was_accepted_and_refused_and_hold_no_token() {
    let node = node(MemoryRevocations::new());
    let notices = [
        (Notice::new(), "log-out notice accepted issuer=\"https://id.example.com\" of=\"provider_session\""),
        (Notice::new().without("sid"), "log-out notice accepted issuer=\"https://id.example.com\" of=\"subject\""),
        (Notice::new().set("nonce", "n"), "log-out notice refused reason=\"nonce_present\""),
        (Notice::new().set("aud", "chat"), "log-out notice refused reason=\"wrong_audience\""),
        (Notice::new().set("events", "secret"), "log-out notice refused reason=\"unexpected_claims\""),
    ];
    for (notice, expected) in notices {
        let (response, log) = captured(Level::DEBUG, notify(&node, &notice)).await;
        if cfg!(feature = "tracing") {
            assert!(log.contains(expected), "{log}");
        }
        let seen = format!("{log}\n{response:?}\n");
        let seen = seen + &text(response).await;
        for part in notice.token().split('.').chain(["laptop", "secret"]) {
            assert!(!seen.contains(part), "{part}: {seen}");
        }
    }
}

/// Anybody can send something to the route.
#[tokio::test(start_paused = true)]
async fn flood_of_bad_notices_is_a_handful_of_events() {
    let log = Log::default();
    let _logging = log.capture(Level::INFO);
    let node = node(MemoryRevocations::new());
    for _ in 0..50 {
        assert_eq!(post(&node, FORM, "logout_token=x").await.status(), StatusCode::BAD_REQUEST);
    }
    sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.lines().count(), 11, "{log}");
        assert!(log.ends_with("log-out notices refused suppressed=40\n"), "{log}");
    }
}
