//! Verifying the token.

use super::*;

/// The same checks as in a handshake.
#[tokio::test(start_paused = true)]
async fn malformed_token_is_refused_without_the_verifier() {
    let verified = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&verified);
    let verifier = move |input: VerifyInput<'_>| {
        log.lock().unwrap().push(input.token.expose().to_owned());
        timed(input)
    };
    let whole = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let app = App::with(WsAuthLayer::new(verifier).first_message(whole), Sessions::new());
    for (token, expected) in [
        ("", "1008 invalid_request"),
        (" ", "3000 invalid_token"),
        ("a b", "3000 invalid_token"),
        (" a", "3000 invalid_token"),
        ("a\n", "3000 invalid_token"),
        ("a\r\nX-Admin: 1", "3000 invalid_token"),
        ("a\0b", "3000 invalid_token"),
        ("a\u{7f}", "3000 invalid_token"),
        ("a\u{85}b", "3000 invalid_token"),
        ("a\u{a0}b", "3000 invalid_token"),
        ("a\u{2028}b", "3000 invalid_token"),
        ("tök€n", "hello tök€n"),
    ] {
        assert_eq!(app.respond(token).await, expected, "{token:?}");
    }
    assert_eq!(*verified.lock().unwrap(), ["tök€n"]);
}

#[tokio::test(start_paused = true)]
async fn verifier_sees_the_same_head_as_in_a_handshake() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let verifier = move |input: VerifyInput<'_>| {
        let parts = input.parts;
        let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.clone());
        let mut headers = parts.headers.clone();
        let names = ["connection", "upgrade", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"];
        let upgrade_headers = names.map(|name| headers.remove(name).is_some());
        let head = format!("{} {} {original:?} {:?} {headers:?}", parts.method, parts.uri, parts.version);
        log.lock().unwrap().push(((head, input.now), upgrade_headers));
        timed(input)
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let layer = WsAuthLayer::new(verifier).first_message(bare()).time_source(TimeSource::new(move || now));
    let inner = App::with(layer, Sessions::new());
    let app = App { router: Router::new().nest("/api", inner.router.clone()), ..inner };
    let request = || {
        let request = handshake().path("/api/room?a=b").header("x-a", "1").header("x-a", "2");
        request.header("sec-websocket-extensions", "permessage-deflate")
    };
    assert_eq!(next(&mut app.connect(request().authorization("alice")).await).await, "hello alice");
    let mut socket = app.connect(request()).await;
    assert_eq!(seen.lock().unwrap().len(), 1, "the token is not received yet");
    socket.send("alice".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, "hello alice");
    let seen = seen.lock().unwrap();
    let [(handshake, all), (later, none)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        handshake.0,
        r#"GET /room?a=b Some(/api/room?a=b) HTTP/1.1 {"host": "localhost", "x-a": "1", "x-a": "2"}"#
    );
    assert_eq!((later, later.1), (handshake, now));
    // Headers of the upgrade are not kept for the session.
    assert_eq!((all, none), (&[true; 5], &[false; 5]));
}

/// A client that has disconnected does not cancel it.
#[tokio::test(start_paused = true)]
async fn verifier_that_hangs_times_out() {
    let hang = |_: VerifyInput<'_>| std::future::pending::<Result<Verified<String>, VerifyError>>();
    let handler = async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(async |_| {});
    let layer = WsAuthLayer::new(hang).first_message(FirstMessage::graphql_ws());
    let router = Router::new().route("/", any(handler)).layer(layer);
    let (mut socket, _) = test_util::connect(router, handshake().build()).await.unwrap();
    let start = Instant::now();
    socket.send(r#"{"type":"connection_init","payload":{"token":"alice"}}"#.into()).await.unwrap();
    assert_eq!(closed(&mut socket).await, (1013, "unavailable".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn token_is_never_logged() {
    /// Logs everything.
    async fn log_all(upgrade: AuthenticatedUpgrade<String>) -> Response {
        tracing::info!(?upgrade);
        upgrade.on_upgrade(async |mut socket| {
            tracing::info!(?socket);
            while let Some(message) = socket.recv().await {
                tracing::info!(?message);
            }
        })
    }
    let (log, secret) = (Log::default(), "the-other-secret");
    // Captures this thread, which also runs the tasks of the connections.
    let capture = log.everything();
    for protocol in [FirstMessage::graphql_ws(), FirstMessage::centrifugo(), FirstMessage::home_assistant()] {
        let layer = opaque_layer().first_message(protocol.clone());
        tracing::info!(?layer, ?protocol);
        let app = Router::new().route("/", any(log_all)).layer(layer.max_token_len(70).unwrap());
        for token in [TOKEN, secret, &*secret.repeat(5)] {
            for message in [
                token_of(token),
                json!({ "type": "auth", "access_token": token }).to_string(),
                json!({ "id": 1, "connect": { "token": token } }).to_string(),
                init(json!({ "token": token, "authToken": secret })),
            ] {
                let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
                socket.send(message.into()).await.unwrap();
                let _ = socket.close(None).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
        }
    }
    drop(capture);
    let log = log.text();
    for part in TOKEN.split('.').chain([secret]) {
        assert!(!log.contains(part), "{log}");
    }
    assert!(log.contains("connection_init") && log.contains("alice"), "the handler logs: {log}");
    if cfg!(feature = "tracing") {
        for event in ["handshake admitted", "token_invalid", "missing_token", "token_too_large"] {
            assert!(log.contains(event), "{event}: {log}");
        }
    }
    let found = FirstToken::new(Token::new(secret)).replay(secret);
    assert_eq!(format!("{found:?}"), "FirstToken { token: Token(..), .. }");
    assert_eq!(format!("{:?}", FirstMessage::home_assistant()), "FirstMessage { timeout: 10s, max_bytes: 16384, .. }");
}
