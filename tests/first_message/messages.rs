//! The messages of a client that is accepted.

use super::*;

#[tokio::test(start_paused = true)]
async fn messages_sent_with_the_first_one_are_not_lost() {
    let app = App::new(bare());
    let texts: Vec<String> =
        (0..200).map(|n| format!("{n} {}", "x".repeat(if n % 50 == 9 { 40_000 } else { n }))).collect();
    // Several lengths, up to the maximum before authentication.
    for len in [20, 1022, 1023, 1024, 1025, 2048, 16 * 1024] {
        let first = format!("{:<1$}", "alice", len - if len < 126 { 6 } else { 8 });
        let mut bytes = frame(TEXT, first.as_bytes());
        assert_eq!(bytes.len(), len);
        texts.iter().for_each(|text| bytes.extend(frame(TEXT, text.as_bytes())));
        let (_, mut reader) = write_raw(app.open().await, bytes).await;
        assert_eq!(next(&mut reader).await, "hello alice", "{len}");
        for (n, text) in texts.iter().enumerate() {
            assert!(next(&mut reader).await == *text, "{len}: message {n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn first_message_may_be_fragmented_between_pings() {
    let app = App::new(bare());
    let frames =
        [(PING, "a"), (0x8a, "b"), (0x01, "al"), (PING, "c"), (0x00, "i"), (0x00, ""), (0x80, "ce"), (PING, "d")];
    let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload.as_bytes())).collect();
    for pause in [0, 100] {
        let (_, mut socket) = write_slowly(app.open().await, bytes.clone(), Duration::from_millis(pause)).await;
        for expected in [r#"Pong(b"a")"#, r#"Pong(b"c")"#, "hello alice", r#"Pong(b"d")"#] {
            assert_eq!(next(&mut socket).await, expected);
        }
    }
    // Also if there is no room for the pongs, because the greeting fills the pipe.
    let mut socket = App::new(bare().greeting("x".repeat(16 * 1024 - 4))).open().await;
    let bytes = [frame(PING, &[b'a'; 100]).repeat(100), frame(TEXT, b"alice")].concat();
    socket.get_mut().write_all(&bytes).await.unwrap();
    settle().await;
    assert!(next(&mut socket).await.starts_with('x'));
    // The newest ping is answered first.
    let mut pongs = 0;
    loop {
        match next(&mut socket).await {
            pong if pong.starts_with("Pong") => pongs += 1,
            other => break assert_eq!(other, "hello alice"),
        }
    }
    assert!((1..=100).contains(&pongs), "{pongs}");
}

/// Neither the handler nor the client can see a difference.
#[tokio::test(start_paused = true)]
async fn socket_behaves_as_after_a_handshake_with_a_token() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        let upgrade = upgrade.max_message_size(100_000).max_frame_size(50_000).accept_unmasked_frames(true);
        upgrade.on_upgrade(async move |mut socket| {
            let close = CloseFrame { code: 4000, reason: "bye".into() };
            let messages: [ServerMessage; 5] = [
                "t€xt".into(),
                ServerMessage::Binary(vec![0, 255].into()),
                ServerMessage::Ping("ping".into()),
                ServerMessage::Pong("pong".into()),
                "x".repeat(200_000).into(),
            ];
            let _ = socket.recv().await;
            for message in messages {
                let _ = socket.send(message).await;
            }
            while let Some(Ok(message)) = socket.recv().await {
                let text = format!("{message:?}");
                if text.contains("leave") {
                    let _ = socket.send(ServerMessage::Close(Some(close.clone()))).await;
                }
                sender.send((text.len(), text.chars().take(80).collect::<String>())).unwrap();
            }
        })
    };
    let app = Router::new().route("/", any(handler)).layer(layer().first_message(bare()));
    let binary = |first: u8, len: usize| frame(first, &vec![b'x'; len]);
    let close = [&4001_u16.to_be_bytes()[..], b"ciao"].concat();
    let leave = [frame(TEXT, b"leave"), frame(0x88, &close)].concat();
    let clients: [(&str, Vec<u8>); 8] = [
        ("client closes", [frame(TEXT, "t€xt".as_bytes()), frame(0x82, &[0, 255]), frame(0x88, &close)].concat()),
        ("no reason", frame(0x88, b"")),
        ("control", [frame(PING, b"p"), frame(0x8a, b"q"), leave.clone()].concat()),
        ("large", [binary(0x02, 50_000), binary(0x80, 50_000), leave.clone()].concat()),
        ("too large a frame", binary(0x82, 50_001)),
        ("too large", [binary(0x02, 50_000), binary(0x00, 50_000), binary(0x80, 1)].concat()),
        ("without a mask", [&[TEXT, 5][..], &leave[6..]].concat()),
        ("random bytes", vec![0xff; 20]),
    ];
    for (name, bytes) in clients {
        let mut outcomes = Vec::new();
        for (request, first) in [(handshake().authorization("alice"), vec![]), (handshake(), frame(TEXT, b"alice"))] {
            let (socket, _) = test_util::connect(app.clone(), request.build()).await.unwrap();
            let (_, mut reader) = write_raw(socket, [first, frame(TEXT, b"go"), bytes.clone()].concat()).await;
            let mut messages = Vec::new();
            while messages.last().is_none_or(|last| last != "gone") {
                messages.push(next(&mut reader).await);
            }
            drop(reader);
            settle().await;
            let seen: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
            messages[4].truncate(80);
            // The pong may be sent before or after the messages of the handler.
            messages.sort();
            outcomes.push((messages, seen));
        }
        assert!(outcomes[0] == outcomes[1], "{name}: {outcomes:#?}");
        let seen = outcomes[1].1.iter().map(|(_, text)| &**text).collect::<Vec<_>>().join(" ");
        let expected = match name {
            "client closes" => {
                r#"Text(Utf8Bytes(Utf8Bytes(b"t\xe2\x82\xacxt"))) Binary(b"\0\xff") Close(Some(CloseFrame { code: 4001, reason: Utf8Bytes(Utf8Bytes(b"ciao")) }))"#
            }
            "no reason" => "Close(None)",
            "control" => r#"Ping(b"p") Pong(b"q") Text(Utf8Bytes(Utf8Bytes(b"leave")))"#,
            "large" => "Binary(b\"xxx",
            "without a mask" => r#"Text(Utf8Bytes(Utf8Bytes(b"leave")))"#,
            _ => "",
        };
        assert!(seen.starts_with(expected) && (expected.is_empty() == seen.is_empty()), "{name}: {seen}");
    }
}

#[tokio::test]
async fn first_message_works_over_http2() {
    let mut client = Client::of(opaque_layer().first_message(FirstMessage::graphql_ws())).await;
    for (token, expected) in [("x", INVALID), (TOKEN, r#"{"payload":{},"type":"connection_init"}"#)] {
        let response = client.connect("/", &[("sec-websocket-protocol", "chat")]).await;
        assert_eq!(
            (response.status(), &response.headers()["sec-websocket-protocol"]),
            (StatusCode::OK, &"chat".parse().unwrap())
        );
        let mut socket = socket_of(response).await;
        let first = init(json!({ "Authorization": format!("Bearer {token}") }));
        socket.feed(first.into()).await.unwrap();
        socket.send("over".into()).await.unwrap();
        assert_eq!(next(&mut socket).await, expected);
        if token == TOKEN {
            assert_eq!(next(&mut socket).await, "over");
        }
    }
}
