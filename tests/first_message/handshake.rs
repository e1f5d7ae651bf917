//! The handshake and its handler.

use super::*;

#[tokio::test(start_paused = true)]
async fn handshake_with_a_token_is_unaffected() {
    let app = App::new(FirstMessage::home_assistant().max_waiting(1).unwrap());
    let _waiting = app.open().await;
    // No greeting and no timeout. The session begins at once, and the handler receives the first message.
    let mut socket = app.connect(handshake().authorization("alice")).await;
    assert_eq!(next(&mut socket).await, "hello alice");
    assert_eq!(app.sessions.iter().count(), 1);
    sleep(Duration::from_secs(60)).await;
    socket.send(r#"{"type":"auth","access_token":"bob"}"#.into()).await.unwrap();
    assert!(next(&mut socket).await.contains("bob"));
    let listed = layer().first_message(bare()).allow_origin(["https://app.example"]).unwrap();
    let listed = App::with(listed, Sessions::new());
    for (app, request, status) in [
        (&app, handshake().authorization("bad"), 401),
        (&app, handshake().authorization("down"), 503),
        (&app, handshake().authorization("alice").path("/closed"), 403),
        (&app, handshake().authorization(""), 400),
        (&app, handshake().authorization("alice").bearer_subprotocol("bob"), 400),
        (&listed, handshake().origin("https://evil.example"), 403),
        (&listed, handshake().origin("https://app.example"), 101),
    ] {
        assert_eq!(answer(&app.router, request.clone().build()).await.status(), status, "{request:?}");
        let connected = test_util::connect(app.router.clone(), request.build()).await;
        assert_eq!(connected.is_ok(), status == 101);
    }
}

#[tokio::test(start_paused = true)]
async fn handler_selects_the_subprotocol_before_there_is_a_session() {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        let debug = format!("{upgrade:?}");
        assert!(debug.contains("session: None") && upgrade.session().is_none(), "{debug}");
        upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |mut socket| {
            let _ = socket.send(format!("{:?} {:?}", socket.protocol(), socket.session().subject()).into()).await;
        })
    }
    let app = Router::new().route("/", any(chat)).layer(layer().first_message(bare()));
    for offer in ["graphql-transport-ws", "x, graphql-transport-ws"] {
        let request = handshake().subprotocols([offer]).build();
        let (mut socket, response) = test_util::connect(app.clone(), request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "graphql-transport-ws");
        socket.send("alice".into()).await.unwrap();
        assert_eq!(next(&mut socket).await, r#"Some("graphql-transport-ws") Some("alice")"#);
    }
    assert_eq!(selected(&answer(&app, handshake().build()).await), None);
}

/// The response of any handler that does not wait for the first message is replaced by a 401.
#[tokio::test(start_paused = true)]
async fn other_handlers_cannot_accept_the_client() {
    async fn no_upgrade(_: AuthenticatedUpgrade<String>) -> &'static str {
        "secret"
    }
    async fn dropped_response(upgrade: AuthenticatedUpgrade<String>) -> &'static str {
        let _ = upgrade.on_upgrade(async |_| {});
        "secret"
    }
    async fn other_claims(upgrade: AuthenticatedUpgrade<u8>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn optional_session(_: Option<Authenticated<String>>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn by_hand(mut request: Request<Body>) -> Response {
        let connection = timeout(Duration::ZERO, hyper::upgrade::on(&mut request)).await;
        assert!(matches!(connection, Ok(Err(_))), "the connection is withheld");
        (StatusCode::SWITCHING_PROTOCOLS, [("upgrade", "websocket"), ("connection", "upgrade")]).into_response()
    }
    let handlers = [
        ("axum's extractor", any(test_util::echo)),
        ("plain response", any(async || "secret")),
        ("error response", any(async || (StatusCode::NOT_FOUND, "secret"))),
        ("no upgrade", any(no_upgrade)),
        ("dropped response", any(dropped_response)),
        ("other claims", any(other_claims)),
        ("optional session", any(optional_session)),
        ("required session", any(async |Authenticated(_): Authenticated<String>| "secret")),
        ("upgrade by hand", any(by_hand)),
    ];
    for (name, handler) in handlers {
        for optional in [false, true] {
            let sessions = Sessions::new();
            let layer = layer().first_message(bare()).sessions(&sessions);
            let layer = if optional { layer.optional() } else { layer };
            let app = Router::new().route("/", handler.clone()).layer(layer);
            for request in [handshake(), handshake().http2()] {
                let request = request.build();
                // Over HTTP/2 a dropped response cannot be distinguished from another one.
                let is_accepted = name == "dropped response" && request.version() == Version::HTTP_2;
                let response = answer(&app, request).await;
                let refused = is_refused_with(&response, StatusCode::UNAUTHORIZED, "missing_token");
                assert!(refused != is_accepted, "{name}: {response:?}");
                assert!(!text(response).await.contains("secret"), "{name}");
            }
            let refused = test_util::connect(app, handshake().build()).await.unwrap_err();
            assert_eq!(refused.to_string(), "the handshake was refused with 401 Unauthorized", "{name}");
            settle().await;
            assert_eq!(sessions.count(), 0, "{name}");
        }
    }
    // A malformed handshake has no first message. With `optional`, it is anonymous.
    async fn guest(guest: Option<Authenticated<String>>) -> String {
        format!("guest {}", guest.is_none())
    }
    let strict = Router::new().route("/", any(guest)).layer(layer().first_message(bare()));
    let guests = Router::new().route("/", any(guest)).layer(layer().first_message(bare()).optional());
    for header in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key", "x-none"] {
        let request = || {
            let mut request = handshake().build();
            request.headers_mut().remove(header);
            request
        };
        let response = answer(&strict, request()).await;
        assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "missing_token"), "{header}: {response:?}");
        let response = answer(&guests, request()).await;
        let is_handshake = header == "x-none";
        assert_eq!(response.status(), if is_handshake { 401 } else { 200 }, "{header}");
        assert_eq!(text(response).await == "guest true", !is_handshake, "{header}");
    }
    let app = App::with(layer().first_message(bare()).optional(), Sessions::new());
    assert_eq!(app.respond("alice").await, "hello alice");
    assert_eq!(app.respond("bad").await, "3000 invalid_token");
}
