//! Universal Logout (Global Token Revocation).

use std::{
    error::Error,
    future::{Ready, ready},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, UNIX_EPOCH},
};

use axum::{Router, body::Body, response::Response};
use axum_ws_auth::{
    ConfigError, MemoryRevocations, Revocations, ScopedId, TimeSource,
    jwt::JwtVerifier,
    signals::{SubjectId, UniversalLogout},
    store::RevocationStore,
};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tracing::Level;

use crate::{
    fixtures::{ISSUER, Node, OTHER_ISSUER, Unreliable, access_token, is_open, key, now, other_key, reason, verifier},
    support::{
        answer, closed,
        issuer::{Key, Reply, TestIssuer},
        log::captured,
        text,
    },
};

const URL: &str = "https://chat.example.com/notices";
const JSON: &str = "application/json";
const TOKEN_TYPE: &str = "global-token-revocation+jwt";

type Resolved = Result<Option<ScopedId>, Box<dyn Error + Send + Sync>>;

/// Knows alice by her address, by a handle, and by her id at another issuer. Fails for an address at
/// `down.example.com`.
#[expect(clippy::needless_pass_by_value, reason = "a resolver owns the subject")]
fn users(subject: SubjectId) -> Ready<Resolved> {
    let is_alice = match &subject {
        SubjectId::Email { email } if email.ends_with("@down.example.com") => {
            return ready(Err("the database is down".into()));
        }
        SubjectId::Email { email } => &**email == "alice@example.com",
        SubjectId::IssSub { iss, sub } => (&**iss, &**sub) == (OTHER_ISSUER, "a1"),
        SubjectId::Opaque { id } => &**id == "handle",
        SubjectId::Other(other) => other.get("phone_number") == Some("+12065550100"),
        other => panic!("{other:?} is no user"),
    };
    ready(Ok(is_alice.then(|| ScopedId::of(ISSUER, "alice"))))
}

fn node(store: impl RevocationStore) -> Node {
    node_with(store, |logout| logout.users(users))
}

fn node_with(store: impl RevocationStore, settings: impl FnOnce(UniversalLogout) -> UniversalLogout) -> Node {
    let revocations = Revocations::new(store);
    let logout = settings(UniversalLogout::new(&verifier(), &revocations, URL).unwrap());
    Node::new(revocations, logout.route())
}

/// The JWT of a request, valid unless it is changed.
struct Sender {
    token_type: Option<&'static str>,
    claims: Value,
    key: Key,
}

impl Sender {
    /// As Okta writes it.
    fn new() -> Self {
        let claims = json!({
            "jti": "1", "iss": ISSUER, "sub": "client", "aud": URL, "exp": now() + 300, "nbf": now() - 300, "iat": now(),
        });
        Self { token_type: Some(TOKEN_TYPE), claims, key: key() }
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
        self.key.sign_as(self.token_type, &self.claims.to_string())
    }
}

fn alice() -> Value {
    json!({"sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "alice"}})
}

async fn send(node: &Node, sender: &Sender, body: &Value) -> Response {
    let authorization = format!("Bearer {}", sender.token());
    post(node, &[("authorization", &authorization), ("content-type", JSON)], body.to_string()).await
}

async fn post(node: &Node, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut request = Request::post("/notices");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(&node.app, request.body(body.into()).unwrap()).await
}

fn outcome(response: &Response) -> (u16, Option<&'static str>) {
    (response.status().as_u16(), reason(response))
}

#[tokio::test(start_paused = true)]
async fn a_request_closes_the_sockets_of_the_user_on_all_nodes_and_of_nobody_else() {
    let store = Arc::new(MemoryRevocations::new());
    let (a, b) = (node(Arc::clone(&store)), node(store));
    let tokens = ["laptop", "phone"].map(|sid| access_token(ISSUER, sid, now() - 10));
    let elsewhere = access_token(OTHER_ISSUER, "laptop", now() - 10);
    let mut sockets = [a.open(&tokens[0]).await, b.open(&tokens[0]).await, b.open(&tokens[1]).await];
    let mut other_issuer = b.open(&elsewhere).await;

    let response = send(&a, &Sender::new(), &alice()).await;
    assert_eq!(outcome(&response), (204, None));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(text(response).await, "");

    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
    }
    assert!(is_open(&mut other_issuer).await);
    for node in [&a, &b] {
        assert!(node.is_refused(&tokens[0]).await && node.is_refused(&tokens[1]).await);
        assert!(!node.is_refused(&elsewhere).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_answered_like_the_first_and_ends_no_later_sign_in() {
    let node = node(MemoryRevocations::new());
    let sender = Sender::new().set("iat", now() - 100);
    let mut before = node.open(&access_token(ISSUER, "laptop", now() - 200)).await;
    assert_eq!(outcome(&send(&node, &sender, &alice()).await), (204, None));
    assert_eq!(closed(&mut before).await, (3000, "revoked".to_owned()));

    let token = access_token(ISSUER, "laptop, again", now() - 50);
    let mut after = node.open(&token).await;
    assert_eq!(outcome(&send(&node, &sender, &alice()).await), (204, None));
    assert!(is_open(&mut after).await);
    assert!(!node.is_refused(&token).await);
}

#[tokio::test(start_paused = true)]
async fn users_are_found_by_each_kind_of_subject_or_not() {
    let subject = |subject: Value| json!({ "sub_id": subject });
    struct Case {
        name: &'static str,
        body: Value,
        with_resolver: (u16, Option<&'static str>),
        without: (u16, Option<&'static str>),
    }
    let unsupported = (422, Some("unsupported_subject"));
    let foreign = (403, Some("foreign_subject"));
    let cases = [
        Case { name: "the sender's own", body: alice(), with_resolver: (204, None), without: (204, None) },
        Case {
            name: "as in drafts before 2024",
            body: json!({"subject": alice()["sub_id"], "reason": "clear"}),
            with_resolver: (204, None),
            without: (204, None),
        },
        Case {
            name: "another issuer's, known to the resolver",
            body: subject(json!({"format": "iss_sub", "iss": OTHER_ISSUER, "sub": "a1"})),
            with_resolver: (204, None),
            without: foreign,
        },
        Case {
            name: "another issuer's",
            body: subject(json!({"format": "iss_sub", "iss": OTHER_ISSUER, "sub": "alice"})),
            with_resolver: foreign,
            without: foreign,
        },
        Case {
            name: "an address",
            body: subject(json!({"format": "email", "email": "alice@example.com"})),
            with_resolver: (204, None),
            without: unsupported,
        },
        Case {
            name: "an unknown address",
            body: subject(json!({"format": "email", "email": "eve@example.com"})),
            with_resolver: (404, Some("unknown_subject")),
            without: unsupported,
        },
        Case {
            name: "an opaque id",
            body: subject(json!({"format": "opaque", "id": "handle"})),
            with_resolver: (204, None),
            without: unsupported,
        },
        Case {
            name: "a phone number",
            body: subject(json!({"format": "phone_number", "phone_number": "+12065550100"})),
            with_resolver: (204, None),
            without: unsupported,
        },
        Case {
            name: "a token",
            body: subject(json!({"format": "jwt_id", "iss": ISSUER, "jti": "1"})),
            with_resolver: unsupported,
            without: unsupported,
        },
        Case {
            name: "a complex subject",
            body: subject(json!({"format": "complex", "user": alice()["sub_id"]})),
            with_resolver: unsupported,
            without: unsupported,
        },
        Case {
            name: "a resolver that fails",
            body: subject(json!({"format": "email", "email": "alice@down.example.com"})),
            with_resolver: (503, Some("resolver_failed")),
            without: unsupported,
        },
    ];
    for Case { name, body, with_resolver, without } in cases {
        let plain = node_with(MemoryRevocations::new(), |logout| logout);
        for (node, expected) in [(node(MemoryRevocations::new()), with_resolver), (plain, without)] {
            let mut socket = node.open(&access_token(ISSUER, "laptop", now() - 10)).await;
            let response = send(&node, &Sender::new(), &body).await;
            assert_eq!(outcome(&response), expected, "{name}");
            assert_eq!(response.headers().contains_key("retry-after"), expected.0 == 503, "{name}");
            assert_eq!(is_open(&mut socket).await, expected.0 != 204, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_check_of_the_sender_refuses_by_itself() {
    let sender = Sender::new;
    let typed = |token_type| Sender { token_type, ..sender() };
    let cases = [
        ("no type", typed(None), "wrong_type"),
        ("an ordinary type", typed(Some("JWT")), "wrong_type"),
        ("a log-out token's type", typed(Some("logout+jwt")), "wrong_type"),
        ("another issuer's key", Sender { key: other_key(), ..sender() }, "bad_signature"),
        ("another issuer", sender().set("iss", "https://evil.example.com"), "wrong_issuer"),
        ("no issuer", sender().without("iss"), "missing_claim"),
        ("the audience of access tokens", sender().set("aud", "chat"), "wrong_audience"),
        ("a URL that begins like it", sender().set("aud", format!("{URL}/2")), "wrong_audience"),
        ("another spelling of the URL", sender().set("aud", URL.to_uppercase()), "wrong_audience"),
        ("no audience", sender().without("aud"), "missing_claim"),
        ("no client", sender().without("sub"), "missing_claim"),
        ("another client", sender().set("sub", "client2"), "wrong_client"),
        ("no exp", sender().without("exp"), "missing_claim"),
        ("expired", sender().set("exp", now() - 31), "token_expired"),
        ("not yet valid", sender().set("nbf", now() + 60), "token_not_yet_valid"),
        ("no iat", sender().without("iat"), "missing_claim"),
        ("a future iat", sender().set("iat", now() + 90), "issued_in_future"),
        ("an old iat", sender().set("iat", now() - 340), "token_too_old"),
        ("a repeated claim", Sender { claims: json!({"iss": ISSUER}), ..sender() }, "missing_claim"),
    ];
    let node = node_with(MemoryRevocations::new(), |logout| logout.users(users).client_id("client").unwrap());
    for (name, sender, expected) in cases {
        // A body that would be refused too: the sender is checked first.
        let response = send(&node, &sender, &json!({})).await;
        assert_eq!(outcome(&response), (401, Some(expected)), "{name}");
        let challenge = r#"Bearer realm="global-token-revocation", error="invalid_token""#;
        assert_eq!(response.headers()["www-authenticate"], challenge, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        let document: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(document["error"], "invalid_token", "{name}");
    }
    assert_eq!(outcome(&send(&node, &Sender::new(), &alice()).await), (204, None));
    let with_age = |age| Sender::new().set("iat", now() - age);
    assert_eq!(outcome(&send(&node, &with_age(320), &alice()).await), (204, None));
}

#[tokio::test(start_paused = true)]
async fn each_check_of_the_request_refuses_by_itself() {
    let token = Sender::new().token();
    let bearer = format!("Bearer {token}");
    let node = node(MemoryRevocations::new());

    for (name, authorization, expected) in [
        ("none", vec![], "missing_token"),
        ("another scheme", vec![format!("Basic {token}")], "missing_token"),
        ("no token", vec!["Bearer ".to_owned()], "token_malformed"),
        ("no JWT", vec!["Bearer abc".to_owned()], "token_malformed"),
        ("two lines", vec![bearer.clone(), bearer.clone()], "repeated_token"),
        ("8 KiB and a byte", vec![format!("Bearer {}", "a".repeat(8 * 1024 + 1))], "token_malformed"),
    ] {
        let mut headers = vec![("content-type", JSON)];
        headers.extend(authorization.iter().map(|line| ("authorization", line.as_str())));
        let response = post(&node, &headers, alice().to_string()).await;
        assert_eq!(outcome(&response), (401, Some(expected)), "{name}");
        let is_bare = response.headers()["www-authenticate"] == r#"Bearer realm="global-token-revocation""#;
        assert_eq!(is_bare, expected == "missing_token", "{name}");
    }

    let subject = alice()["sub_id"].to_string();
    let cases = [
        ("a form", "application/x-www-form-urlencoded", alice().to_string(), "wrong_content_type"),
        ("nothing", JSON, String::new(), "malformed_subject"),
        ("no JSON", JSON, "{".to_owned(), "malformed_subject"),
        ("text after it", JSON, format!("{}x", alice()), "malformed_subject"),
        ("a list", JSON, format!("[{subject}]"), "malformed_subject"),
        ("no subject", JSON, "{}".to_owned(), "malformed_subject"),
        ("a subject without its member", JSON, subject.clone(), "malformed_subject"),
        ("a null subject", JSON, r#"{"sub_id":null}"#.to_owned(), "malformed_subject"),
        ("a subject of text", JSON, r#"{"sub_id":"alice"}"#.to_owned(), "malformed_subject"),
        ("two subjects", JSON, format!(r#"{{"sub_id":{subject},"sub_id":{subject}}}"#), "malformed_subject"),
        ("both names", JSON, format!(r#"{{"sub_id":{subject},"subject":{subject}}}"#), "malformed_subject"),
        ("no format", JSON, json!({"sub_id": {"iss": ISSUER, "sub": "alice"}}).to_string(), "malformed_subject"),
        ("no sub", JSON, json!({"sub_id": {"format": "iss_sub", "iss": ISSUER}}).to_string(), "malformed_subject"),
        ("an empty sub", JSON, alice().to_string().replace("alice", ""), "malformed_subject"),
        ("64 KiB and a byte", JSON, " ".repeat(64 * 1024 + 1), "body_too_large"),
    ];
    for (name, content_type, body, expected) in cases {
        let response = post(&node, &[("authorization", &bearer), ("content-type", content_type)], body).await;
        assert_eq!(outcome(&response), (400, Some(expected)), "{name}");
        let document: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(document["error"], "invalid_request", "{name}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri("/notices").header("authorization", &bearer);
        let response = answer(&node.app, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(node.revocations.status().entries, 0);
}

#[tokio::test]
async fn the_url_must_be_one_that_a_provider_can_name() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let new = |url: &str| UniversalLogout::new(&verifier(), &revocations, url);
    for url in
        ["", "/notices", "ftp://h/", "http://chat.example.com/", "https://h/?a=b", "https://h/#a", "https://u:p@h/"]
    {
        let error = new(url).unwrap_err();
        assert!(
            matches!(error, ConfigError::InvalidUrl { .. }) && !error.to_string().contains("u:p"),
            "{url}: {error}"
        );
    }
    assert!(new("http://localhost:3000/notices").is_ok());
    assert_eq!(new(URL).unwrap().client_id("").unwrap_err(), ConfigError::Empty("client id"));
}

#[tokio::test(start_paused = true)]
async fn the_time_source_decides_what_has_expired() {
    let then = UNIX_EPOCH + Duration::from_secs(now() + 1000);
    let node = node_with(MemoryRevocations::new(), |logout| logout.time_source(TimeSource::new(move || then)));
    assert_eq!(outcome(&send(&node, &Sender::new(), &alice()).await), (401, Some("token_expired")));
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_503_while_the_store_or_the_keys_are_unavailable() {
    let store = Unreliable::default();
    let node = node(store.clone());
    store.is_down.store(true, SeqCst);
    let response = send(&node, &Sender::new(), &alice()).await;
    assert_eq!(outcome(&response), (503, Some("revocation_not_confirmed")));
    assert_eq!(response.headers()["retry-after"], "5");

    let issuer = TestIssuer::in_process(ISSUER, &[key()]);
    issuer.reply("/keys", Reply::raw(500, ""));
    let verifier = JwtVerifier::<Value>::builder().issuer_keys(issuer.keys()).audience("chat").build().unwrap();
    let logout = UniversalLogout::new(&verifier, &node.revocations, URL).unwrap();
    let app = Router::new().route("/notices", logout.route());
    let node = Node { app, revocations: node.revocations };
    let response = send(&node, &Sender::new(), &alice()).await;
    assert_eq!(outcome(&response), (503, Some("verifier_unavailable")));
    assert!(response.headers().contains_key("retry-after") && !response.headers().contains_key("www-authenticate"));
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_was_accepted_and_refused_and_hold_no_token() {
    let node = node(MemoryRevocations::new());
    let eve = json!({"sub_id": {"format": "email", "email": "eve@example.com"}});
    for (sender, body, expected) in [
        (Sender::new(), alice(), "log-out notice accepted issuer=\"https://id.example.com\" of=\"subject\""),
        (Sender::new(), eve, "log-out notice refused reason=\"unknown_subject\""),
        (Sender::new().set("aud", "chat"), alice(), "log-out notice refused reason=\"wrong_audience\""),
    ] {
        let (response, log) = captured(Level::DEBUG, send(&node, &sender, &body)).await;
        if cfg!(feature = "tracing") {
            assert!(log.contains(expected), "{log}");
        }
        let seen = format!("{log}\n{response:?}\n");
        let seen = seen + &text(response).await;
        for part in sender.token().split('.').chain(["eve@"]) {
            assert!(!seen.contains(part), "{part}: {seen}");
        }
    }
}
