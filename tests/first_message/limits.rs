//! Limits on time, bytes and clients before authentication.

use super::*;

#[tokio::test(start_paused = true)]
async fn silent_or_slow_client_is_closed_after_the_timeout() {
    let (graphql, seconds) = (FirstMessage::graphql_ws, Duration::from_secs);
    for (protocol, time) in [(graphql(), 10), (graphql().timeout(seconds(3)), 3)] {
        for bytes in [vec![], frame(TEXT, token_of("alice").as_bytes()), frame(PING, b"x").repeat(30)] {
            let (app, started) = (App::new(protocol.clone()), Instant::now());
            let (_, mut reader) = write_slowly(app.open().await, bytes, seconds(1)).await;
            assert_eq!(rest(&mut reader).await, "4408 timed_out");
            // Plus two seconds, because this client does not answer the close frame.
            assert_eq!((started.elapsed(), app.calls()), (seconds(time + 2), 0));
        }
    }
    // The timeout ends with the first message. It can be arbitrarily long.
    for protocol in [graphql(), graphql().timeout(Duration::MAX)] {
        let app = App::new(protocol);
        let mut socket = app.open().await;
        sleep(Duration::from_millis(9_990)).await;
        socket.send(token_of("alice").into()).await.unwrap();
        assert_eq!(next(&mut socket).await, "hello alice");
        sleep(seconds(3600)).await;
        assert!(next(&mut socket).await.contains("init"));
        assert_eq!(app.sessions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_too_much_is_refused_and_its_data_discarded() {
    const QUOTA: usize = 16 * 1024;
    let many = |first: u8, payload: &[u8]| frame(first, payload).repeat(300_000 / (payload.len() + 6));
    let announced = |len: u64| [&[TEXT, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    for (name, bytes) in [
        ("pings", many(PING, &[0; 100])),
        ("empty pings", many(PING, &[])),
        ("pongs", many(0x8a, &[0; 100])),
        ("fragments", [frame(0x01, b""), many(0x00, b"x")].concat()),
        ("empty fragments", [frame(0x01, b""), many(0x00, b"")].concat()),
        ("one byte too many", frame(TEXT, &[b'x'; QUOTA - 7])),
        ("one frame", frame(TEXT, &[b'x'; 300_000])),
        ("one binary frame", frame(0x82, &[b'x'; 300_000])),
        // Only headers: they are refused by the announced length, before anything is allocated.
        ("a frame announced", [&[TEXT, 0xfe][..], &16_385_u16.to_be_bytes(), &[0; 4]].concat()),
        ("a large frame announced", announced(15 << 20)),
        ("the largest frame announced", announced(u64::MAX >> 1)),
        ("a fragment announced", [frame(0x01, b"x"), vec![0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0]].concat()),
    ] {
        // The client ends its stream after the close frame, or does not answer it, or has sent a close frame before.
        for (closing, seconds) in [(None, 0), (Some(vec![]), 2), (Some(frame(0x88, b"\x03\xe8")), 0)] {
            let is_swallowed =
                name.ends_with("announced") && closing.as_ref().is_some_and(|closing| !closing.is_empty());
            let (ends_stream, closing) = (closing.is_none(), closing.unwrap_or_default());
            let bytes = [&bytes[..], &closing].concat();
            let app = App::new(FirstMessage::graphql_ws());
            let (start, len) = (Instant::now(), bytes.len());
            let (writing, mut reader) = write_raw(app.open().await, bytes).await;
            let received = loop {
                match next(&mut reader).await {
                    pong if pong.starts_with("Pong") => {}
                    other => break other,
                }
            };
            assert_eq!(received, MALFORMED, "{name}");
            assert_eq!(start.elapsed(), Duration::ZERO, "{name}");
            // Everything is read, or a reset could discard the close frame.
            assert_eq!(writing.await.unwrap(), len, "{name}");
            if ends_stream {
                drop(reader);
                settle().await;
            } else {
                assert_eq!(next(&mut reader).await, "gone", "{name}");
            }
            // The close frame counts as payload of the announced frame. The server does not wait for a frame that is
            // too large to discard.
            let seconds = if name.contains("large") {
                0
            } else if is_swallowed {
                2
            } else {
                seconds
            };
            assert_eq!((start.elapsed().as_secs(), app.calls()), (seconds, 0), "{name}");
        }
    }
    // The amount that is discarded is limited.
    let app = App::new(bare().max_waiting(1).unwrap());
    let (start, message) = (Instant::now(), frame(0x82, &[b'x'; 1 << 20]));
    let (writing, mut reader) = write_raw(app.open().await, message.repeat(20)).await;
    assert_eq!(rest(&mut reader).await, "1008 invalid_request");
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(reader);
    let accepted = writing.await.unwrap();
    assert!((7 << 20..9 << 20).contains(&accepted), "{accepted} bytes were read");
    assert_eq!(app.respond("alice").await, "hello alice");
    // The maximum counts every byte, can be set, and is the only limit.
    assert!(matches!(bare().max_bytes(0), Err(ConfigError::ZeroLimit(_))));
    for (max, len, expected) in [
        (1000, 982, "hello alice"),
        (1000, 983, "1008 invalid_request"),
        (100_000, 99_976, "hello alice"),
        (100_000, 99_977, "1008 invalid_request"),
    ] {
        let app = App::new(bare().max_bytes(max).unwrap());
        let first = [b"alice ".to_vec(), vec![b'x'; len - 6]].concat();
        let bytes = [frame(PING, b"ping"), frame(TEXT, &first)].concat();
        let (_, mut reader) = write_raw(app.open().await, bytes).await;
        assert_eq!(next(&mut reader).await, r#"Pong(b"ping")"#);
        assert_eq!(next(&mut reader).await, expected, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_clients_have_their_own_limit_and_no_session() {
    assert!(matches!(bare().max_waiting(0), Err(ConfigError::ZeroLimit(_))));
    let limits = Limits::new().total(2).unwrap().per_subject(1, AtLimit::RefuseNew).unwrap();
    let first_message = FirstMessage::graphql_ws().max_waiting(2).unwrap();
    let app = App::with(layer().first_message(first_message), Sessions::with_limits(limits));
    let sessions = &app.sessions;
    let is_full = async || {
        let response = answer(&app.router, handshake().build()).await;
        settle().await;
        is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "server_full")
    };
    let authenticate = async |mut socket: ClientSocket, subject: &str| {
        socket.send(token_of(subject).into()).await.unwrap();
        assert_eq!(next(&mut socket).await, format!("hello {subject}"));
        socket
    };
    let (first, second) = (app.open().await, app.open().await);
    assert_eq!((sessions.count(), sessions.iter().count(), sessions.end_all()), (0, 0, 0));
    assert!(is_full().await);
    drop(second);
    settle().await;
    // A disconnected client releases its permit, and so does an accepted one.
    let second = app.open().await;
    let _first = authenticate(first, "alice").await;
    assert_eq!((sessions.count(), sessions.iter().next().unwrap().subject()), (1, Some("alice")));
    assert_eq!(app.respond(token_of("alice")).await, "1013 too_many_sessions");
    let third = app.open().await;
    let second = authenticate(second, "bob").await;
    assert!(is_full().await, "there is a permit, but no room for a session");
    let mut third = third;
    third.send(token_of("carol").into()).await.unwrap();
    assert_eq!(rest(&mut third).await, "1013 unavailable");
    drop(second);
    settle().await;
    assert!(!is_full().await);
    assert!(app.respond(token_of("bob")).await.starts_with("hello bob"));

    let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap();
    let app = App::with(layer().first_message(FirstMessage::graphql_ws()), Sessions::with_limits(limits));
    let mut first = authenticate(app.open().await, "alice").await;
    assert_eq!(app.respond(token_of("bad")).await, INVALID);
    let _second = authenticate(app.open().await, "alice").await;
    assert!(rest(&mut first).await.ends_with(" | 1008 too_many_sessions"));
}

#[tokio::test(start_paused = true)]
async fn clients_with_the_same_key_share_a_limit() {
    assert!(matches!(bare().max_waiting_per_key(0, |_| ()), Err(ConfigError::ZeroLimit(_))));
    let peer = |parts: &http::request::Parts| parts.headers.get("x-peer").cloned();
    let protocol = bare().max_waiting_per_key(2, peer).unwrap().max_waiting(5).unwrap();
    let app = App::new(protocol);
    let from = |peer: &'static str| match peer {
        "" => handshake(),
        peer => handshake().header("x-peer", peer),
    };
    let is_full = async |peer| {
        let response = answer(&app.router, from(peer).build()).await;
        settle().await;
        is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "server_full")
    };
    let mut held = Vec::new();
    for peer in ["a", "a", "b", "", ""] {
        assert!(!is_full(peer).await, "{peer}");
        held.push(app.connect(from(peer)).await);
    }
    assert!(is_full("c").await, "the total is limited too");
    let mut first = held.remove(0);
    first.send("alice".into()).await.unwrap();
    assert_eq!(next(&mut first).await, "hello alice");
    drop(held.remove(1));
    settle().await;
    // Clients without a key share a limit. Accepted and disconnected clients release their permits.
    for (peer, full) in [("", true), ("a", false), ("b", false), ("c", false)] {
        assert_eq!(is_full(peer).await, full, "{peer}");
    }
    held.push(app.connect(from("a")).await);
    assert!(is_full("a").await && !is_full("b").await);
    assert_eq!(next(&mut app.connect(from("a").authorization("alice")).await).await, "hello alice");
}

#[tokio::test(start_paused = true)]
async fn drain_closes_unauthenticated_clients() {
    let app = App::new(FirstMessage::graphql_ws());
    let (mut waiting, mut known) = (app.open().await, app.open().await);
    known.send(token_of("alice").into()).await.unwrap();
    assert_eq!(next(&mut known).await, "hello alice");
    let start = Instant::now();
    let received = join(rest(&mut waiting), rest(&mut known));
    let (drained, (waiting, known)) = join(app.sessions.drain(Drain::service_restart()), received).await;
    assert_eq!((&*waiting, known.ends_with(" | 1012 shutdown")), ("1013 unavailable", true), "{known}");
    assert_eq!((drained.remaining, app.sessions.count(), start.elapsed()), (0, 0, Duration::ZERO));
    let response = answer(&app.router, handshake().build()).await;
    assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "draining"), "{response:?}");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_or_disconnects_is_released() {
    let large = || bare().greeting("x".repeat(100_000));
    for (name, protocol, token, seconds) in [
        ("does not read the greeting", large(), "", 12),
        ("does not read the message for accepted clients", bare().accepted("x".repeat(100_000)), "alice.60", 62),
        ("does not read the message for refused clients", bare().refused("x".repeat(100_000)), "bad", 2),
    ] {
        let app = App::new(protocol.max_waiting(1).unwrap());
        let mut socket = app.open().await;
        socket.send(token.into()).await.unwrap();
        sleep(Duration::from_millis(seconds * 1000 - 1)).await;
        let held = app.sessions.count() == 1 || answer(&app.router, handshake().build()).await.status() == 503;
        assert!(held, "{name}");
        sleep(Duration::from_millis(2)).await;
        assert_eq!((app.sessions.count(), app.calls()), (0, 0), "{name}");
        assert_eq!(answer(&app.router, handshake().build()).await.status(), 101, "{name}");
    }
    let app = App::new(bare().max_waiting(1).unwrap());
    let mut closing = app.open().await;
    closing.close(None).await.unwrap();
    assert_eq!(rest(&mut closing).await, "Close(None)", "the close frame is answered");
    for sent in [vec![], frame(TEXT, b"alice")[..9].to_vec(), frame(PING, b""), vec![0xff; 20], frame(0x88, b"")] {
        let mut socket = app.open().await;
        socket.get_mut().write_all(&sent).await.unwrap();
        drop(socket);
        settle().await;
        assert_eq!((app.calls(), app.respond("bad").await.as_str()), (0, "3000 invalid_token"), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_admission_is_a_close_frame_with_accept_then_close() {
    let sessions = Sessions::new();
    sessions.drain(Drain::going_away()).await;
    let handler = async |upgrade: AuthenticatedUpgrade<String>| upgrade.on_upgrade(async |_| {});
    let layer = WsAuthLayer::new(verifier).sessions(&sessions).first_message(FirstMessage::home_assistant());
    let router = Router::new().route("/", any(handler)).layer(layer.accept_then_close());
    let (mut socket, _) = test_util::connect(router, handshake().build()).await.unwrap();
    assert_eq!(closed(&mut socket).await, (1013, "unavailable".to_owned()));
}
