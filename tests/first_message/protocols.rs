//! Finding the token in each protocol, and its messages and close codes.

use super::*;

#[tokio::test(start_paused = true)]
async fn graphql_token_is_found_under_each_name_and_removed() {
    let app = App::new(FirstMessage::graphql_ws());
    let rest = json!({ "tokens": ["x"], "n": { "token": "y", "o": null }, "f": 0.1, "ü": "\u{1}\"", "headers": { "x-role": "user" } });
    let mut all = vec![
        // Several members with the same token, and empty members.
        json!({ "token": "alice", "Token": "Bearer alice", "authToken": "alice" }),
        json!({ "token": "alice", "headers": { "Authorization": "Bearer alice" } }),
        json!({ "token": null, "authToken": "alice", "headers": { "Authorization": "" } }),
        json!({ "Authorization": "Bearer ", "authToken": "alice" }),
        json!({ "headers": { "Authorization": "alice", "authorization": "Bearer alice" } }),
    ];
    for name in ["Authorization", "authentication", "token", "accessToken", "access_token", "authToken"] {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            for value in ["alice", "Bearer alice", "bearer alice", "BEARER  alice"] {
                all.push(json!({ &*name: value }));
                if name.eq_ignore_ascii_case("authorization") {
                    all.push(json!({ "headers": { &*name: value } }));
                }
            }
        }
    }
    for tokens in all {
        let mut payload = rest.clone();
        for (name, value) in tokens.as_object().unwrap() {
            match value {
                Value::Object(headers) => payload[name].as_object_mut().unwrap().extend(headers.clone()),
                value => payload[name] = value.clone(),
            }
        }
        let sent = json!({ "type": "connection_init", "payload": payload }).to_string();
        let received = app.respond(sent).await;
        let Some(replay) = received.strip_prefix("hello alice | ") else { panic!("{tokens}: {received}") };
        let replay: Value = serde_json::from_str(replay).unwrap();
        assert_eq!(replay, json!({ "type": "connection_init", "payload": rest }), "{tokens}");
    }
}

#[tokio::test(start_paused = true)]
async fn graphql_message_without_exactly_one_valid_token_is_refused() {
    let token = |value: Value| init(json!({ "token": value }));
    let any = |value: Value| value.to_string();
    let long = |len: usize| token("x".repeat(len).into());
    let headers = |value: Value| init(json!({ "headers": value })).into();
    let cases: [(&str, Message, &str); 35] = [
        ("two headers", headers(json!({ "Authorization": "alice", "authorization": "bob" })), MISSING),
        (
            "a header and a member",
            init(json!({ "headers": { "Authorization": "alice" }, "token": "bob" })).into(),
            MISSING,
        ),
        ("a header that is not a string", headers(json!({ "Authorization": 1 })), MISSING),
        ("headers that are not an object", headers(json!("alice")), MISSING),
        (
            "a duplicate header",
            r#"{"type":"connection_init","payload":{"headers":{"Authorization":"bob","Authorization":"alice"}}}"#
                .into(),
            MISSING,
        ),
        ("empty", token("".into()).into(), MISSING),
        ("only a scheme", token("Bearer".into()).into(), MISSING),
        ("blank", token("Bearer \t".into()).into(), MISSING),
        ("a line break", token("alice\r\nX-Admin: 1".into()).into(), INVALID),
        ("a control character", token("al\0ice".into()).into(), INVALID),
        ("two tokens", init(json!({ "token": "alice", "authToken": "bob" })).into(), MISSING),
        ("two spellings", init(json!({ "token": "alice", "TOKEN": "bob" })).into(), MISSING),
        (
            "a duplicate member",
            r#"{"type":"connection_init","payload":{"token":"alice","token":"alice"}}"#.into(),
            MISSING,
        ),
        ("the second is not a string", init(json!({ "token": "alice", "authToken": 1 })).into(), MISSING),
        ("the first is not a string", init(json!({ "token": 1, "authToken": "alice" })).into(), MISSING),
        ("null", token(Value::Null).into(), MISSING),
        ("nested", init(json!({ "headers": { "token": "alice" } })).into(), MISSING),
        ("another name", init(json!({ "jwt": "alice" })).into(), MISSING),
        ("empty payload", init(json!({})).into(), MISSING),
        ("no payload", any(json!({ "type": "connection_init", "token": "alice" })).into(), MISSING),
        ("null payload", init(Value::Null).into(), MISSING),
        ("a string as payload", init(json!("alice")).into(), MISSING),
        ("an array as payload", init(json!([{ "token": "alice" }])).into(), MISSING),
        ("another type", any(json!({ "type": "subscribe", "payload": { "token": "alice" } })).into(), MISSING),
        ("no type", any(json!({ "payload": { "token": "alice" } })).into(), MISSING),
        ("an array", any(json!(["connection_init", { "token": "alice" }])).into(), MISSING),
        ("no JSON", "alice".into(), MISSING),
        ("trailing characters", format!("{} x", token_of("alice")).into(), MISSING),
        ("empty message", "".into(), MISSING),
        ("binary", Message::binary(token_of("alice")), MISSING),
        ("an invalid token", token_of("bad").into(), INVALID),
        ("an expired token", token_of("expired").into(), INVALID),
        ("verifier unavailable", token_of("down").into(), "1013 unavailable"),
        ("the maximum length", long(8192).into(), "hello xxx"),
        ("one byte longer", long(8193).into(), MALFORMED),
    ];
    let app = App::new(FirstMessage::graphql_ws());
    for (name, message, expected) in cases {
        let received = app.respond(message).await;
        assert!(
            received == expected || expected == "hello xxx" && received.starts_with(expected),
            "{name}: {received}"
        );
    }
    assert_eq!(app.respond_at("/closed", token_of("alice")).await, "4403 insufficient_scope");
    assert!(app.respond_at("/closed", token_of("admin")).await.starts_with("hello admin"));
    // Invalid UTF-8 is an invalid token, not a missing one.
    let (_, mut reader) = write_raw(app.open().await, frame(TEXT, b"\xff")).await;
    assert_eq!(rest(&mut reader).await, INVALID);
    let app = App::with(layer().first_message(bare()).max_token_len(5).unwrap(), Sessions::new());
    assert_eq!(app.respond("alice").await, "hello alice");
    assert_eq!(app.respond("alice2").await, "1008 invalid_request");
}

#[tokio::test(start_paused = true)]
async fn each_protocol_finds_its_token_and_sends_its_messages() {
    let connect = |connect: Value| json!({ "id": 1, "connect": connect }).to_string();
    let replaying = FirstMessage::new(|message| {
        let ServerMessage::Binary(token) = message else { return None };
        let token = Token::new(std::str::from_utf8(token).ok()?);
        Some(FirstToken::new(token).replay(ServerMessage::Binary("replay".into())))
    });
    let (centrifugo, bare) = (App::new(FirstMessage::centrifugo()), App::new(bare()));
    let (replaying, custom) = (App::new(replaying), App::new(self::bare().greeting("?").accepted("yes").refused("no")));
    let replay = r#"hello alice | {"connect":{"name":"js"},"id":1}"#;
    // centrifuge-js sends one command per line if it has subscriptions before it connects.
    let several = "{\"id\":1,\"connect\":{\"token\":\"alice\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"token\"}}";
    let others = "hello alice | {\"connect\":{},\"id\":1}\n{\"id\":2,\"subscribe\":{\"channel\":\"token\"}}";
    let cases: [(&App, Message, &str); 18] = [
        (&centrifugo, several.into(), others),
        (&centrifugo, connect(json!({ "token": "alice", "name": "js" })).into(), replay),
        (&centrifugo, connect(json!({ "token": "bad" })).into(), "3500 invalid_token"),
        (&centrifugo, connect(json!({ "token": "down" })).into(), "3004 unavailable"),
        (&centrifugo, connect(json!({ "token": "x".repeat(8193) })).into(), "3501 invalid_request"),
        (&centrifugo, connect(json!({ "token": 1 })).into(), "3500 missing_token"),
        (&centrifugo, r#"{"id":1,"subscribe":{"token":"alice"}}"#.into(), "3500 missing_token"),
        (&centrifugo, r#"{"id":1,"connect":{"token":"bob","token":"alice"}}"#.into(), "3500 missing_token"),
        (&bare, "alice and more".into(), "hello alice"),
        (&bare, Message::binary("alice"), "hello alice"),
        (&bare, "bad".into(), "3000 invalid_token"),
        (&replaying, Message::binary("alice"), r#"hello alice | Binary(b"replay")"#),
        (&replaying, "alice".into(), "3000 missing_token"),
        (&custom, "alice".into(), "? | yes | hello alice"),
        (&custom, "bad".into(), "? | no | 3000 invalid_token"),
        // The refusal is temporary, and clients treat this message as final.
        (&custom, "down".into(), "? | 1013 unavailable"),
        // The only error after which a client gets a new token.
        (
            &centrifugo,
            r#"{"connect":{"token":"expired"},"id":7}"#.into(),
            r#"{"error":{"code":109,"message":"token expired"},"id":7} | 3005 invalid_token"#,
        ),
        (&centrifugo, r#"{"connect":{"token":"expired"},"id":"7"}"#.into(), "3005 invalid_token"),
    ];
    for (app, message, expected) in cases {
        assert_eq!(app.respond(message).await, expected);
    }
}

/// After `auth_invalid`, its client never reconnects.
#[tokio::test(start_paused = true)]
async fn json_has_one_type_and_one_token() {
    let app = App::new(FirstMessage::json());
    for good in [
        r#"{"type":"auth.token","token":"alice"}"#,
        r#" {"token":"alice","type":"auth.token","client":{"token":"bob"}}"#,
    ] {
        // The handler does not receive it.
        assert_eq!(app.respond(good).await, "hello alice", "{good}");
    }
    for bad in [
        r#"{"type":"auth.refresh","token":"alice"}"#,
        r#"{"token":"alice"}"#,
        r#"{"type":"auth.token"}"#,
        r#"{"type":"auth.token","token":1}"#,
        r#"{"type":"auth.token","token":"alice","token":"bob"}"#,
        r#"{"type":"chat","type":"auth.token","token":"alice"}"#,
        r#"["auth.token","alice"]"#,
        r#"{"type":"auth.token","token":"alice"} x"#,
        "alice",
    ] {
        assert_eq!(app.respond(bad).await, "3000 missing_token", "{bad}");
    }
    assert_eq!(app.respond(Message::binary(r#"{"type":"auth.token","token":"alice"}"#)).await, "3000 missing_token");
    assert_eq!(app.respond(r#"{"type":"auth.token","token":"bad"}"#).await, "3000 invalid_token");
}

#[tokio::test(start_paused = true)]
async fn home_assistant_client_is_sent_auth_invalid_only_for_an_invalid_token() {
    let auth = |token: Value| json!({ "type": "auth", "access_token": token }).to_string();
    let asked = |version: &str| format!(r#"{{"ha_version":"{version}","type":"auth_required"}}"#);
    let ok =
        |version: &str| format!(r#"{} | {{"ha_version":"{version}","type":"auth_ok"}} | hello alice"#, asked(version));
    let own = "2024.12.0";
    let app = App::new(FirstMessage::home_assistant_as(own));
    assert_eq!(app.respond(auth("alice".into())).await, ok(own));
    let (asked, ok) = (asked("2022.8.0"), ok("2022.8.0"));
    let no = |why| format!(r#"{asked} | {{"type":"auth_invalid","message":"Invalid access token"}} | {why}"#);
    let app = App::new(FirstMessage::home_assistant());
    for (message, expected) in [
        (auth("alice".into()).into(), ok),
        (auth("bad".into()).into(), no("3000 invalid_token")),
        (auth("expired".into()).into(), no("3000 invalid_token")),
        (auth("".into()).into(), no("1008 invalid_request")),
        (auth("alice\n".into()).into(), no("3000 invalid_token")),
        (auth(1.into()).into(), no("3000 missing_token")),
        (r#"{"type":"auth"}"#.into(), no("3000 missing_token")),
        (r#"{"type":"x","access_token":"alice"}"#.into(), no("3000 missing_token")),
        (r#"{"type":"auth","access_token":"bob","access_token":"alice"}"#.into(), no("3000 missing_token")),
        (Message::binary(auth("alice".into())), no("3000 missing_token")),
        // The refusal is temporary.
        (auth("down".into()).into(), format!("{asked} | 1013 unavailable")),
    ] {
        assert_eq!(app.respond(message).await, expected);
    }
    let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap();
    let app = App::with(layer().first_message(FirstMessage::home_assistant()), Sessions::with_limits(limits));
    let mut first = app.open().await;
    first.send(auth("alice".into()).into()).await.unwrap();
    settle().await;
    assert_eq!(app.respond(auth("alice".into())).await, format!("{asked} | 1013 too_many_sessions"));
    let mut silent = app.open().await;
    assert_eq!(rest(&mut silent).await, format!("{asked} | 3008 timed_out"));
    let mut waiting = app.open().await;
    let (_, received) = join(app.sessions.drain(Drain::going_away()), rest(&mut waiting)).await;
    assert_eq!(received, format!("{asked} | 1013 unavailable"));
}

#[tokio::test(start_paused = true)]
async fn refused_with_sees_the_rejection_and_the_first_message() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let protocol = bare().refused_with(move |rejection, first| {
        let first = first.map(|first| first.to_text().unwrap().to_owned());
        log.lock().unwrap().push((rejection.reason(), rejection.kind().is_temporary(), first));
        Some(rejection.reason().into())
    });
    let app = App::new(protocol);
    assert_eq!(app.respond("expired 1").await, "token_expired | 3000 invalid_token");
    assert_eq!(app.respond("down").await, "verifier_unavailable | 1013 unavailable");
    assert_eq!(rest(&mut app.open().await).await, "timed_out | 3008 timed_out");
    let [expired, down, silent] = &seen.lock().unwrap()[..] else { panic!("{seen:?}") };
    assert_eq!(*expired, ("token_expired", false, Some("expired 1".to_owned())));
    assert_eq!(*down, ("verifier_unavailable", true, Some("down".to_owned())));
    assert_eq!(*silent, ("timed_out", true, None));
}

/// In any order of the setters, and for the whole session.
#[tokio::test(start_paused = true)]
async fn close_codes_of_the_layer_take_precedence_over_those_of_the_protocol() {
    let graphql = || layer().first_message(FirstMessage::graphql_ws());
    let own = CloseCodes::IANA.unauthorized(4001).unwrap().expired(4002).unwrap().timeout(4008).unwrap();
    let first = || layer().first_message(FirstMessage::centrifugo());
    for (layer, token, [refused, expired, timeout]) in [
        (graphql(), token_of as fn(&str) -> String, [4403, 4403, 4408]),
        (graphql().close_codes(own), token_of, [4001, 4002, 4008]),
        (layer().close_codes(own).first_message(FirstMessage::graphql_ws()), token_of, [4001, 4002, 4008]),
        (first().first_message(FirstMessage::graphql_ws()), token_of, [4403, 4403, 4408]),
        (first().first_message(bare()), str::to_owned, [3000, 3000, 3008]),
    ] {
        let app = App::with(layer, Sessions::new());
        assert_eq!(app.respond(token("bad")).await, format!("{refused} invalid_token"));
        let mut first = app.open().await;
        first.send(token("alice.60").into()).await.unwrap();
        for mut socket in [first, app.connect(handshake().authorization("alice.60")).await] {
            assert!(rest(&mut socket).await.ends_with(&format!(" | {expired} token_expired")));
        }
        let (mut silent, started) = (app.open().await, Instant::now());
        assert_eq!(rest(&mut silent).await, format!("{timeout} timed_out"));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }
}
