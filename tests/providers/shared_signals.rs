//! Security events of a transmitter that was written from the specifications (SSF 1.0, CAEP 1.0, RFC 8935 and 8936).

use std::time::{Duration, Instant};

use axum::Router;
use axum_ws_auth::{
    MemoryRevocations, Revocations, ScopedId, WsAuthLayer,
    jwks::IssuerKeys,
    jwt::JwtVerifier,
    signals::{BearerToken, SharedSignals, SharedSignalsBuilder, StreamRequest, SubjectId, Transmitter},
};
use http::HeaderValue;
use serde_json::{Value, json};

use crate::{
    TIMEOUT,
    node::{Node, closed, is_open},
    transmitter::TestTransmitter,
};

#[tokio::test]
async fn pushed_event_closes_the_sockets_that_it_is_about() {
    struct Case {
        event: Value,
        /// Whether the socket of the laptop is closed, and that of the phone.
        closes: (bool, bool),
    }
    let mut transmitter = TestTransmitter::start().await;
    let mut node = Node::bind().await;
    push_to(&mut node, &transmitter).await;
    let case = |shape, closes| Case { event: json!({"shape": shape}), closes };

    let cases = [
        case("keycloak log-out", (true, false)),
        case("session-revoked of a session", (true, false)),
        case("token-claims-change of a token", (true, false)),
        case("keycloak log-out of all sessions", (true, true)),
        case("keycloak new password", (true, true)),
        case("session-revoked of a user", (true, true)),
        case("session-revoked of an email address", (true, true)),
        case("token-claims-change of a user", (true, true)),
        case("account-disabled", (true, true)),
        case("stream-updated", (false, false)),
        case("unknown event", (false, false)),
    ];
    for (number, Case { mut event, closes }) in cases.into_iter().enumerate() {
        let shape = event["shape"].to_string();
        // Revocations stay in effect, so each case has a user of its own.
        let user = format!("alice{number}");
        let mut open = async |device: &str| {
            let id = format!("{user}-{device}");
            let token = transmitter.access_token(&user, &id, &id).await;
            (node.open(&token).await.expect("a 101"), token)
        };
        let (mut laptop, laptop_token) = open("laptop").await;
        let (mut phone, phone_token) = open("phone").await;
        for (name, value) in [("sub", user.clone()), ("email", format!("{user}@example.com"))] {
            event[name] = value.into();
        }
        for name in ["sid", "jti"] {
            event[name] = format!("{user}-laptop").into();
        }

        let answer = transmitter.emit(event).await;

        assert_eq!(answer["status"], 202, "{shape}: {answer}");
        for (socket, token, is_closed) in [(&mut laptop, laptop_token, closes.0), (&mut phone, phone_token, closes.1)] {
            if is_closed {
                let (code, reason, _) = closed(socket).await;
                assert_eq!((code, reason.as_str()), (3000, "revoked"), "{shape}");
                assert_eq!(node.open(&token).await.err(), Some(401), "{shape}");
            } else {
                assert!(is_open(socket).await, "{shape}");
            }
        }
    }
}

#[tokio::test]
async fn bad_event_is_refused_and_a_repeated_one_is_answered_like_the_first() {
    let mut transmitter = TestTransmitter::start().await;
    let mut node = Node::bind().await;
    push_to(&mut node, &transmitter).await;
    let token = transmitter.access_token("alice", "laptop", "1").await;
    let mut socket = node.open(&token).await.expect("a 101");

    for (claims, header, err) in [
        // SSF 1.0 §4.1: not these claims.
        (json!({"exp": 4_102_444_800_u64}), json!({}), "invalid_request"),
        (json!({"sub": "alice"}), json!({}), "invalid_request"),
        (json!({}), json!({"typ": "JWT"}), "invalid_request"),
        (json!({"iss": "https://evil.example"}), json!({}), "invalid_issuer"),
        (json!({"aud": "https://mail.example.com"}), json!({}), "invalid_audience"),
        (json!({"events": {}}), json!({}), "invalid_request"),
        (json!({"sub_id": "alice"}), json!({}), "invalid_request"),
    ] {
        let event = json!({"shape": "session-revoked of a user", "sub": "alice", "claims": claims, "header": header});
        let answer = transmitter.emit(event.clone()).await;
        assert_eq!((&answer["status"], &answer["body"]["err"]), (&json!(400), &json!(err)), "{event}: {answer}");
    }
    assert!(is_open(&mut socket).await);

    let answers = transmitter.emit_twice(json!({"shape": "session-revoked of a user", "sub": "alice"})).await;
    assert_eq!([&answers[0]["status"], &answers[1]["status"]], [202, 202]);
    closed(&mut socket).await;
}

#[tokio::test]
async fn polled_event_closes_its_socket_and_is_acknowledged() {
    let mut transmitter = TestTransmitter::start().await;
    let streams = management_of(&transmitter).await;
    let stream = streams.create_stream(&StreamRequest::poll()).await.expect("a stream");
    // The transmitter has it already.
    let again = streams.create_stream(&StreamRequest::poll()).await.expect("the same stream");
    assert_eq!(again.id(), stream.id());
    let mut node = Node::bind().await;
    let signals = serve(&mut node, &transmitter, stream.audiences(), |signals| signals).await;
    let poll = streams.poll(&stream).expect("a URL").interval(Duration::from_millis(50)).expect("a duration");
    let _polling = signals.poll(poll).expect("a runtime");
    signals.verify_stream(&streams, &stream).await.expect("a verification event");
    let token = transmitter.access_token("alice", "laptop", "1").await;
    let mut socket = node.open(&token).await.expect("a 101");

    let bad = json!({"shape": "session-revoked of a user", "sub": "alice", "claims": {"exp": 4_102_444_800_u64}});
    let bad = transmitter.emit(bad).await["jti"].as_str().expect("an id").to_owned();
    transmitter.emit(json!({"shape": "keycloak log-out", "sub": "alice", "sid": "laptop"})).await;

    let (code, reason, _) = closed(&mut socket).await;
    assert_eq!((code, reason.as_str()), (3000, "revoked"));
    let begin = Instant::now();
    let state = loop {
        let state = transmitter.state().await;
        if state["waiting"].as_array().is_some_and(Vec::is_empty) {
            break state;
        }
        assert!(begin.elapsed() < TIMEOUT, "not acknowledged: {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(state["errors"][&bad]["err"], "invalid_request", "{state}");
    assert_eq!(state["errors"].as_object().map(serde_json::Map::len), Some(1), "{state}");
}

/// Creates a stream to the node, and has it verified.
async fn push_to(node: &mut Node, transmitter: &TestTransmitter) {
    let streams = management_of(transmitter).await;
    let secret = HeaderValue::from_static("Bearer of pushes");
    let request = StreamRequest::push(node.url("/signals"), Some(secret.clone()));
    let stream = streams.create_stream(&request).await.expect("a stream");
    let set = |signals: SharedSignalsBuilder| signals.push_authorization(&secret);
    let signals = serve(node, transmitter, stream.audiences(), set).await;
    signals.verify_stream(&streams, &stream).await.expect("a verification event");
}

async fn management_of(transmitter: &TestTransmitter) -> Transmitter {
    let discover = Transmitter::discover(&transmitter.issuer).token(BearerToken::from("management"));
    discover.await.expect("a transmitter")
}

/// Serves sockets for tokens of the transmitter, and its pushes at `/signals`.
async fn serve(
    node: &mut Node,
    transmitter: &TestTransmitter,
    audiences: &[String],
    set: impl FnOnce(SharedSignalsBuilder) -> SharedSignalsBuilder,
) -> SharedSignals {
    let issuer = transmitter.issuer.clone();
    let keys = IssuerKeys::jwks_url(&issuer, transmitter.keys_url());
    let verifier = JwtVerifier::<Value>::builder().issuer_keys(keys.clone()).audience("chat").await.expect("its keys");
    let revocations = Revocations::new(MemoryRevocations::new());
    let users = move |subject: SubjectId| {
        let issuer = issuer.clone();
        async move {
            let SubjectId::Email { email } = subject else { return Ok(None) };
            Ok(email.strip_suffix("@example.com").map(|user| ScopedId::of(issuer, user)))
        }
    };
    let signals = SharedSignals::with_keys(keys, &revocations).users(users);
    let signals = audiences.iter().fold(signals, SharedSignalsBuilder::audience);
    let signals = set(signals).await.expect("its keys");
    let routes = Router::new().route("/signals", signals.push_route());
    node.serve(WsAuthLayer::new(verifier).revocations(&revocations), routes);
    signals
}
