//! The decoder alone: what only shows in its state.

use super::{
    super::decoder::Decoder, BINARY, CLOSE, CONTINUATION, FINAL, Limits, PING, Seen, TEXT, WebSocketErrorKind, frame,
};

/// What the decoder returns for these bytes, in chunks of this length.
fn decode(decoder: &mut Decoder, bytes: &[u8], chunk: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    for chunk in bytes.to_vec().chunks_mut(chunk) {
        let mut at = 0;
        while at < chunk.len() {
            let (consumed, decoded) = decoder.decode(&mut chunk[at..]);
            at += consumed;
            match decoded {
                Ok(None) => {}
                Ok(Some(message)) => seen.push(Seen::from(Some(Ok(message)))),
                Err(error) => return vec![Seen::Failed(error.kind())],
            }
        }
    }
    seen
}

const CHUNKS: [usize; 4] = [1, 3, 17, 1 << 20];

#[test]
fn only_a_close_frame_is_returned_while_discarding() {
    let limits = Limits { max_frame: 10, max_message: 10, ..Limits::default() };
    let ping = frame(FINAL | PING, b"cut here");
    let (before, after) = ping.split_at(9);
    for chunk in CHUNKS {
        let mut decoder = Decoder::new(limits);
        assert_eq!(decode(&mut decoder, &[&frame(TEXT, b"abc")[..], before].concat(), chunk), []);
        assert_ne!(decoder.capacity(), 0);
        decoder.discard();
        assert_eq!(decoder.capacity(), 0, "a message that is discarded holds no memory");
        let discarded = [
            after,
            &frame(CONTINUATION, b"of the text"),
            &frame(FINAL, b""),
            &frame(FINAL, b"of no message"),
            &frame(BINARY, &[0; 1000]),
            &frame(FINAL | TEXT, b"within a message, and \xff"),
            &frame(FINAL | PING, b"ping"),
            &[0x81, 1, b'a'],
        ]
        .concat();
        assert_eq!(decode(&mut decoder, &discarded, chunk), [], "in chunks of {chunk}");
        assert_eq!(decoder.capacity(), 0);
        let close = frame(FINAL | CLOSE, b"\x03\xe8bye");
        assert_eq!(decode(&mut decoder, &close[..10], chunk), [], "the frame is not complete");
        assert_eq!(decode(&mut decoder, &close[10..], chunk), [Seen::Close(None)]);
    }
}

#[test]
fn control_frames_do_not_count_as_part_of_a_message() {
    let limits = Limits { max_frame: 10, max_message: 10, ..Limits::default() };
    let frames = [frame(TEXT, b"12345678"), frame(FINAL | PING, b"ping"), frame(FINAL, b"90")].concat();
    for chunk in CHUNKS {
        let seen = decode(&mut Decoder::new(limits), &frames, chunk);
        assert_eq!(seen, [Seen::Ping(b"ping".to_vec()), Seen::Text("1234567890".to_owned())]);
    }
}

/// A character that is cut off at the end of a frame.
#[test]
fn incomplete_characters_count_as_part_of_a_message() {
    let limits = Limits { max_frame: 10, max_message: 10, ..Limits::default() };
    let start = frame(TEXT, b"12345678\xc3");
    for (end, expected) in
        [(&b"\xa9"[..], Seen::Text("12345678é".to_owned())), (b"\xa90", Seen::Failed(WebSocketErrorKind::TooLarge))]
    {
        let frames = [start.clone(), frame(FINAL, end)].concat();
        assert_eq!(decode(&mut Decoder::new(limits), &frames, 1), [expected]);
    }
}

/// Not only when the fourth byte of the character comes.
#[test]
fn invalid_characters_fail_at_their_first_wrong_byte() {
    for bytes in [&b"\xed\xa0"[..], b"\xe0\x9f", b"\xf4\x90", b"\xf0\x9f\xa6.", b"\xc3."] {
        let mut decoder = Decoder::new(Limits::default());
        let message = frame(FINAL | TEXT, &[bytes, &[b'.'; 100]].concat());
        let (before, from) = message.split_at(5 + bytes.len());
        assert_eq!(decode(&mut decoder, before, 1), []);
        assert_eq!(decode(&mut decoder, &from[..1], 1), [Seen::Failed(WebSocketErrorKind::InvalidUtf8)], "{bytes:x?}");
    }
}

#[test]
fn each_length_has_one_encoding() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        for chunk in CHUNKS {
            let seen = decode(&mut Decoder::new(Limits::default()), &frame(FINAL | BINARY, &vec![7; len]), chunk);
            assert!(seen == [Seen::Binary(vec![7; len])], "{len} bytes in chunks of {chunk}");
        }
    }
    // Longer encodings of the shortest and the longest length that a shorter one can hold.
    for header in [&[0x82, 0xfe, 0, 0][..], &[0x82, 0xfe, 0, 125], &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
        let seen = decode(&mut Decoder::new(Limits::default()), header, 1);
        assert_eq!(seen, [Seen::Failed(WebSocketErrorKind::Protocol)], "{header:x?}");
    }
}

/// Each direct read fills the room that there is. Then there must be more, or the rest would be copied.
#[test]
fn direct_reads_follow_each_other() {
    let payload: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let bytes = frame(FINAL | BINARY, &payload);
    let mut decoder = Decoder::new(Limits::default());
    let (mut at, mut reads) = (20_000, 0);
    assert_eq!(decode(&mut decoder, &bytes[..at], at), []);
    while let Some((message, len)) = decoder.direct_read_buffer() {
        message.extend_from_slice(&bytes[at..at + len]);
        (at, reads) = (at + len, reads + 1);
        let (held, used) = (message.capacity(), message.len());
        assert!(held <= (4 * used).min(payload.len()), "{held} bytes for {used}");
        if let Some(message) = decoder.decode_direct_read(len).unwrap() {
            assert!(at == bytes.len() && reads < 30, "{reads} reads");
            assert!(Seen::from(Some(Ok(message))) == Seen::Binary(payload));
            return;
        }
    }
    panic!("{} bytes are left after {reads} reads", bytes.len() - at);
}
