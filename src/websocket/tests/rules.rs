//! What a server must accept and reject (RFC 6455 §5, §7 and §8).

use std::{future::poll_fn, task::Poll};

use axum::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{
    super::decoder::Decoder, BINARY, CLOSE, CONTINUATION, Chunks, FINAL, Limits, Message, PING, PONG, Seen, TEXT,
    WebSocket, WebSocketErrorKind, frame, read_all,
};

const CHUNKS: [usize; 6] = [1, 2, 3, 7, 64, 1 << 20];

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    seen: Vec<Seen>,
    sent: Vec<u8>,
}

fn case(name: &'static str, frames: &[Vec<u8>], seen: &[Seen], sent: &[u8]) -> Case {
    Case { name, bytes: frames.concat(), seen: seen.to_vec(), sent: sent.to_vec() }
}

/// A stream that ends without a close frame.
fn cut(name: &'static str, frames: &[Vec<u8>], seen: &[Seen]) -> Case {
    let mut seen = seen.to_vec();
    seen.extend([Seen::Failed(WebSocketErrorKind::Io), Seen::End]);
    case(name, frames, &seen, &[])
}

fn fault(name: &'static str, frames: &[Vec<u8>], kind: WebSocketErrorKind) -> Case {
    let code: u16 = match kind {
        WebSocketErrorKind::Protocol => 1002,
        WebSocketErrorKind::InvalidUtf8 => 1007,
        _ => 1009,
    };
    let [high, low] = code.to_be_bytes();
    // What follows a fault is not read.
    let mut frames = frames.to_vec();
    frames.push(frame(FINAL | TEXT, b"behind"));
    case(name, &frames, &[Seen::Failed(kind), Seen::End], &[0x88, 2, high, low])
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

fn with_second(first: u8, second: u8) -> Vec<u8> {
    vec![first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

async fn check(cases: impl IntoIterator<Item = Case>) {
    for Case { name, bytes, seen, sent } in cases {
        for chunk in CHUNKS {
            let (actual, answered) = read_all(&bytes, chunk, Limits::default()).await;
            assert_eq!(actual, seen, "{name}, in chunks of {chunk}");
            assert_eq!(answered, sent, "{name}, in chunks of {chunk}");
        }
    }
}

#[tokio::test]
async fn messages_are_received_in_any_chunks() {
    let long = "z".repeat(70_000);
    let middle = "é".repeat(200);
    check([
        cut("nothing", &[], &[]),
        cut("a text", &[frame(FINAL | TEXT, b"hello")], &[text("hello")]),
        cut("an empty text", &[frame(FINAL | TEXT, b"")], &[text("")]),
        cut("an empty binary", &[frame(FINAL | BINARY, b"")], &[Seen::Binary(Vec::new())]),
        cut("a two-byte length", &[frame(FINAL | TEXT, middle.as_bytes())], &[text(&middle)]),
        cut(
            "an eight-byte length",
            &[frame(FINAL | BINARY, long.as_bytes())],
            &[Seen::Binary(long.clone().into_bytes())],
        ),
        cut("a long text", &[frame(FINAL | TEXT, long.as_bytes())], &[text(&long)]),
        cut(
            "two",
            &[frame(FINAL | TEXT, b"a"), frame(FINAL | BINARY, b"b")],
            &[text("a"), Seen::Binary(b"b".to_vec())],
        ),
        cut(
            "fragments",
            &[frame(TEXT, b"a"), frame(CONTINUATION, b""), frame(CONTINUATION, b"b"), frame(FINAL, b"c")],
            &[text("abc")],
        ),
        cut("empty fragments", &[frame(BINARY, b""), frame(FINAL, b"")], &[Seen::Binary(Vec::new())]),
        cut(
            "control frames between fragments",
            &[frame(TEXT, b"a"), frame(FINAL | PONG, b"p"), frame(FINAL, b"b")],
            &[Seen::Pong(b"p".to_vec()), text("ab")],
        ),
        cut(
            "a character in three fragments",
            &[frame(TEXT, b"\xf0\x9f"), frame(CONTINUATION, b"\xa6"), frame(FINAL, b"\x80")],
            &[text("\u{1f980}")],
        ),
        cut("half a message", &[frame(TEXT, b"a")], &[]),
        cut("half a header", &[vec![0x81]], &[]),
        cut("half a payload", &[frame(FINAL | TEXT, b"hello")[..8].to_vec()], &[]),
    ])
    .await;
}

/// Some are read in part together with the message before, and some directly into the message.
#[tokio::test]
async fn large_messages_follow_each_other() {
    let payloads =
        [40_000, 10, 65_536, 200_000, 20_000, 0, 65_536, 65_537].map(|len| vec![b'a' + (len % 7) as u8; len]);
    let frames = payloads.iter().map(|payload| frame(FINAL | BINARY, payload));
    let bytes = frames.chain([frame(FINAL | CLOSE, b"")]).collect::<Vec<_>>().concat();
    let mut seen: Vec<Seen> = payloads.into_iter().map(Seen::Binary).collect();
    seen.extend([Seen::Close(None), Seen::End]);
    for chunk in [997, 20_011, 50_000, 1 << 20] {
        assert!(read_all(&bytes, chunk, Limits::default()).await.0 == seen, "in chunks of {chunk}");
    }
}

#[tokio::test]
async fn ping_is_answered() {
    let seen = [Seen::Ping(b"p".to_vec()), Seen::Failed(WebSocketErrorKind::Io), Seen::End];
    check([
        case("a ping", &[frame(FINAL | PING, b"p")], &seen, &[0x8a, 1, b'p']),
        case(
            "an empty ping",
            &[frame(FINAL | PING, b"")],
            &[Seen::Ping(Vec::new()), seen[1].clone(), Seen::End],
            &[0x8a, 0],
        ),
        case(
            "between fragments",
            &[frame(TEXT, b"a"), frame(FINAL | PING, b"p"), frame(FINAL, b"b")],
            &[Seen::Ping(b"p".to_vec()), text("ab"), seen[1].clone(), Seen::End],
            &[0x8a, 1, b'p'],
        ),
    ])
    .await;
}

#[tokio::test]
async fn close_frame_is_answered_with_its_code() {
    let closed = |frame| [Seen::Close(frame), Seen::End];
    let behind = frame(FINAL | TEXT, b"behind");
    check([
        case("without a code", &[frame(FINAL | CLOSE, b""), behind.clone()], &closed(None), &[0x88, 0]),
        case(
            "with a reason",
            &[frame(FINAL | CLOSE, b"\x03\xe8bye"), behind.clone()],
            &closed(Some((1000, "bye".to_owned()))),
            &[0x88, 5, 3, 0xe8, b'b', b'y', b'e'],
        ),
        case(
            "between fragments",
            &[frame(TEXT, b"a"), frame(FINAL | CLOSE, b"\x0f\xa0"), behind],
            &closed(Some((4000, String::new()))),
            &[0x88, 2, 0x0f, 0xa0],
        ),
    ])
    .await;
    for code in 0..=5200_u16 {
        let bytes = frame(FINAL | CLOSE, &code.to_be_bytes());
        let (seen, _) = read_all(&bytes, 1 << 20, Limits::default()).await;
        let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if may_be_sent {
            Seen::Close(Some((code, String::new())))
        } else {
            Seen::Failed(WebSocketErrorKind::Protocol)
        };
        assert_eq!(seen[0], expected, "{code}");
    }
}

#[tokio::test]
async fn protocol_violation_is_closed_with_1002() {
    let mut cases = vec![
        fault("a continuation without a message", &[frame(FINAL, b"a")], WebSocketErrorKind::Protocol),
        fault("a text within a message", &[frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")], WebSocketErrorKind::Protocol),
        fault("a binary within a text", &[frame(TEXT, b"a"), frame(BINARY, b"b")], WebSocketErrorKind::Protocol),
        fault("no mask", &[vec![0x81, 1, b'a']], WebSocketErrorKind::Protocol),
        fault("a close frame of one byte", &[frame(FINAL | CLOSE, b"a")], WebSocketErrorKind::Protocol),
        fault("a long ping", &[frame(FINAL | PING, &[0; 126])], WebSocketErrorKind::Protocol),
        fault("a long close frame", &[frame(FINAL | CLOSE, &[3; 126])], WebSocketErrorKind::Protocol),
        fault("two bytes for a length of 125", &[vec![0x82, 0xfe, 0, 125]], WebSocketErrorKind::Protocol),
        fault(
            "eight bytes for a length of 65535",
            &[vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]],
            WebSocketErrorKind::Protocol,
        ),
        fault(
            "a length with the highest bit",
            &[vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]],
            WebSocketErrorKind::Protocol,
        ),
    ];
    for bit in [0x10, 0x20, 0x40] {
        cases.push(fault("a reserved bit", &[frame(FINAL | TEXT | bit, b"a")], WebSocketErrorKind::Protocol));
        cases.push(fault("a reserved bit of a ping", &[frame(FINAL | PING | bit, b"a")], WebSocketErrorKind::Protocol));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(fault("a reserved opcode", &[frame(FINAL | opcode, b"a")], WebSocketErrorKind::Protocol));
        cases.push(fault(
            "a reserved opcode, by its first byte",
            &[vec![FINAL | opcode]],
            WebSocketErrorKind::Protocol,
        ));
    }
    for opcode in [CLOSE, PING, PONG] {
        cases.push(fault("a fragmented control frame", &[frame(opcode, b"")], WebSocketErrorKind::Protocol));
        for long in [126, 127] {
            let bytes = with_second(FINAL | opcode, 0x80 | long);
            cases.push(fault("a control frame with a long length", &[bytes], WebSocketErrorKind::Protocol));
        }
    }
    check(cases).await;
}

#[tokio::test]
async fn invalid_utf_8_is_closed_with_1007() {
    let invalid: [&[u8]; 12] = [
        b"\xff",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\x80",
        b"ab\xe9cd",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"cut\xf0\x9f\xa6",
    ];
    let mut cases = Vec::new();
    for bytes in invalid {
        cases.push(fault("in one frame", &[frame(FINAL | TEXT, bytes)], WebSocketErrorKind::InvalidUtf8));
        for at in 0..=bytes.len() {
            let (first, rest) = bytes.split_at(at);
            let frames = [frame(TEXT, first), frame(FINAL, rest)];
            cases.push(fault("in two frames", &frames, WebSocketErrorKind::InvalidUtf8));
        }
        let reason = [&[3, 0xe8], bytes].concat();
        cases.push(fault("in a close reason", &[frame(FINAL | CLOSE, &reason)], WebSocketErrorKind::InvalidUtf8));
    }
    check(cases).await;
}

/// The rest of the frame, or of the message, never comes.
#[tokio::test]
async fn invalid_utf_8_fails_before_the_frame_is_complete() {
    for bytes in [&b"ab\xe9c"[..], b"\xf4\x90", b"\xed\xa0", b"\xe0\x9f", b"\xf5", b"\xc0"] {
        let mut unfinished = frame(FINAL | TEXT, &[bytes, &[b'.'; 100]].concat());
        unfinished.truncate(6 + bytes.len());
        for frames in [unfinished, frame(TEXT, bytes)] {
            let (mut client, server) = duplex(1024);
            let mut socket = WebSocket::new(server, Limits::default());
            client.write_all(&frames).await.unwrap();
            let next = Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
            assert_eq!(next, Seen::Failed(WebSocketErrorKind::InvalidUtf8), "{bytes:x?}");
        }
    }
}

#[tokio::test]
async fn too_large_frame_or_message_is_closed_with_1009() {
    let limits = Limits { max_frame: 100, max_message: 150, ..Limits::default() };
    let tell = |bytes: Vec<u8>| async move { read_all(&bytes, 1, limits).await };
    let too_large = [Seen::Failed(WebSocketErrorKind::TooLarge), Seen::End];
    let sent = [0x88, 2, 3, 0xf1];
    // By its header alone.
    for bytes in [frame(FINAL | BINARY, &[0; 101])[..2].to_vec(), with_second(FINAL | TEXT, 0xff)] {
        let bytes = if bytes.len() == 14 { vec![0x81, 0xff, 0, 0, 0, 0, 0, 0xf0, 0, 0] } else { bytes };
        assert_eq!(tell(bytes).await, (too_large.to_vec(), sent.to_vec()));
    }
    let (seen, _) = tell([frame(BINARY, &[0; 100]), frame(FINAL, &[0; 50])].concat()).await;
    assert_eq!(seen[0], Seen::Binary(vec![0; 150]));
    let (seen, answer) = tell([frame(BINARY, &[0; 100]), frame(FINAL, &[0; 51])[..6].to_vec()].concat()).await;
    assert_eq!((seen, answer), (too_large.to_vec(), sent.to_vec()));
    // Control frames are as long as the protocol lets them be.
    let (seen, _) = tell(frame(FINAL | PING, &[0; 125])).await;
    assert_eq!(seen[0], Seen::Ping(vec![0; 125]));
}

#[tokio::test]
async fn unmasked_frames_are_accepted_if_enabled() {
    let limits = Limits { accept_unmasked: true, ..Limits::default() };
    for chunk in CHUNKS {
        let (seen, _) = read_all(b"\x81\x05hello\x89\x00", chunk, limits).await;
        assert_eq!(seen[..2], [text("hello"), Seen::Ping(Vec::new())]);
    }
}

#[test]
fn announced_length_reserves_nothing() {
    let mut decoder = Decoder::new(Limits::default());
    let mut bytes = [0x82, 0xff, 0, 0, 0, 0, 0, 0xf0, 0, 0, 1, 2, 3, 4, 5];
    assert!(matches!(decoder.decode(&mut bytes), (15, Ok(None))));
    assert!(decoder.direct_read_buffer().is_none(), "not for one byte");
    // What has come allows for three times as much.
    let mut more = vec![0; 20_000];
    assert!(matches!(decoder.decode(&mut more), (20_000, Ok(None))));
    let (message, most) = decoder.direct_read_buffer().unwrap();
    assert!(message.capacity() <= 4 * 20_001 && most <= 3 * 20_001, "{} bytes for 20001", message.capacity());
}

#[tokio::test]
async fn read_quota_counts_all_bytes_of_all_frames() {
    let exactly = [frame(FINAL | PING, b"p"), frame(FINAL | TEXT, b"hello")].concat();
    for (ration, expected, chunk) in [
        (exactly.len(), text("hello"), 1024),
        (exactly.len() - 1, Seen::Failed(WebSocketErrorKind::TooLarge), 1024),
        (exactly.len(), text("hello"), 1),
        (exactly.len() - 1, Seen::Failed(WebSocketErrorKind::TooLarge), 1),
    ] {
        let (mut client, io) = duplex(1024);
        let mut socket = WebSocket::new(Chunks { io, chunk }, Limits::default());
        socket.set_read_quota(Some(ration));
        client.write_all(&[&exactly[..], &frame(FINAL | TEXT, b"next")].concat()).await.unwrap();
        assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::Ping(b"p".to_vec()));
        assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), expected);
        if expected == text("hello") {
            // Nothing behind it is lost when the ration is taken away.
            socket.set_read_quota(None);
            assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), text("next"));
        }
    }
}

#[tokio::test]
async fn server_that_closes_receives_until_the_close_frame_of_the_client() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    socket.start_send(Message::Close(None)).unwrap();
    assert_eq!(socket.start_send(Message::Ping(Bytes::new())).unwrap_err().kind(), WebSocketErrorKind::Closed);
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    client.write_all(&[frame(FINAL | TEXT, b"late"), frame(FINAL | CLOSE, b"")].concat()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await));
    }
    assert_eq!(seen, [text("late"), Seen::Close(None), Seen::End]);
    drop(socket);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, [0x88, 0], "one close frame");
}

#[tokio::test]
async fn cancelled_read_loses_nothing() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    for byte in [frame(TEXT, "é".as_bytes()), frame(FINAL, b"!")].concat() {
        poll_fn(|cx| {
            assert!(socket.poll_next(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        client.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), text("é!"));
}
