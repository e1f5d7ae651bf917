//! The same bytes give the same messages as in tungstenite, and the same end, save where that is lax.

use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::{Role, WebSocket, WebSocketConfig},
};

use super::{
    super::decoder::Decoder, BINARY, CLOSE, CONTINUATION, FINAL, Limits, PING, PONG, Seen, TEXT, WebSocketErrorKind,
    frame,
};

const MAX_FRAME: usize = 3000;
const MAX_MESSAGE: usize = 5000;

/// What was read, and how it ended: `None` where the bytes ended first.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Seen>,
    failed: Option<WebSocketErrorKind>,
}

fn ours(bytes: &[u8], random: &mut Random) -> Outcome {
    let limits = Limits { max_frame: MAX_FRAME, max_message: MAX_MESSAGE, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let mut messages = Vec::new();
    let mut rest = bytes.to_vec();
    while !rest.is_empty() {
        let mut piece: Vec<u8> = rest.drain(..(1 + random.below(rest.len().min(700)))).collect();
        let mut taken = 0;
        while taken < piece.len() {
            match decoder.decode(&mut piece[taken..]) {
                Err(error) => return Outcome { messages, failed: Some(error.kind()) },
                Ok((len, message)) => {
                    taken += len;
                    let Some(message) = message else { continue };
                    let seen = Seen::from(Some(Ok(message)));
                    let is_close = matches!(seen, Seen::Close(_));
                    messages.push(seen);
                    if is_close {
                        return Outcome { messages, failed: None };
                    }
                }
            }
        }
    }
    Outcome { messages, failed: None }
}

/// Reads from memory, and then would block.
struct Stream(Cursor<Vec<u8>>);

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8]) -> Outcome {
    let config = WebSocketConfig::default().max_frame_size(Some(MAX_FRAME)).max_message_size(Some(MAX_MESSAGE));
    let mut socket = WebSocket::from_raw_socket(Stream(Cursor::new(bytes.to_vec())), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        let failed = match socket.read() {
            Ok(message) => {
                let seen = match message {
                    Message::Text(text) => Seen::Text(text.as_str().to_owned()),
                    Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                    Message::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                    Message::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                    Message::Close(frame) => {
                        Seen::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())))
                    }
                    Message::Frame(_) => panic!("never read"),
                };
                let is_close = matches!(seen, Seen::Close(_));
                messages.push(seen);
                if is_close {
                    return Outcome { messages, failed: None };
                }
                continue;
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(Error::Utf8(_)) => Some(WebSocketErrorKind::InvalidUtf8),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => Some(WebSocketErrorKind::TooLarge),
            Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => panic!("there is no handshake"),
            Err(Error::Protocol(_)) => Some(WebSocketErrorKind::Protocol),
            Err(error) => panic!("{error}"),
        };
        return Outcome { messages, failed };
    }
}

/// Where tungstenite reads on although RFC 6455 has the connection fail.
fn is_lax(ours: &Outcome, theirs: &Outcome) -> bool {
    let Some(failed) = ours.failed else { return false };
    // It read all that was read here.
    if !theirs.messages.starts_with(&ours.messages) {
        return false;
    }
    match failed {
        // Lengths that are not in their shortest form (§5.2), close codes that may not be sent (§7.4), what is wrong with a frame
        // whose header or payload is not complete, and text that fails at once (§8.1) and not at its end.
        WebSocketErrorKind::Protocol | WebSocketErrorKind::InvalidUtf8 | WebSocketErrorKind::TooLarge => true,
        _ => false,
    }
}

/// Numbers that are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn payload(random: &mut Random, is_text: bool) -> Vec<u8> {
    let len = match random.below(8) {
        0 => 0,
        1 => random.of(&[1, 2, 124, 125, 126, 127, 2047, 2048, 2049, 2999, 3000, 3001]),
        _ => random.below(300),
    };
    if is_text {
        let mut text: String = (0..len).map(|_| random.of(&['a', 'é', '日', '\u{1f980}', 'z'])).collect();
        text.truncate((0..=len.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default());
        text.into_bytes()
    } else {
        (0..len).map(|_| random.next() as u8).collect()
    }
}

/// Frames as a client may send them, and now and then one that it may not.
fn conversation(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        let is_text = random.one_in(2);
        let mut rest = payload(random, is_text);
        let mut opcode = if is_text { TEXT } else { BINARY };
        while random.one_in(2) {
            // Within a character too.
            let part: Vec<u8> = rest.drain(..random.below(rest.len() + 1)).collect();
            bytes.extend(frame(opcode, &part));
            opcode = CONTINUATION;
            if random.one_in(3) {
                let opcode = random.of(&[PING, PONG]);
                let part = payload(random, false);
                bytes.extend(frame(FINAL | opcode, &part[..part.len().min(125)]));
            }
        }
        bytes.extend(frame(FINAL | opcode, &rest));
        if random.one_in(30) {
            let frames: [&[u8]; 8] = [
                &frame(FINAL | CLOSE, b""),
                &frame(FINAL | CLOSE, b"\x03\xe8bye"),
                &frame(FINAL | CLOSE, b"\x03\xed"),
                &frame(FINAL | CLOSE, b"x"),
                &frame(FINAL | TEXT, b"\xff"),
                &frame(FINAL | CONTINUATION, b"a"),
                b"\x81\x01a",
                &[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4],
            ];
            bytes.extend_from_slice(random.of(&frames));
        }
    }
    if random.one_in(3) && !bytes.is_empty() {
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
    }
    bytes.truncate(if random.one_in(4) { random.below(bytes.len() + 1) } else { bytes.len() });
    bytes
}

#[test]
fn whatever_arrives_is_read_as_by_tungstenite() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut alike, mut failed, mut lax) = (0, 0, 0);
    for round in 0..20_000 {
        let bytes = conversation(&mut random);
        let (ours, theirs) = (ours(&bytes, &mut random), theirs(&bytes));
        if ours == theirs {
            alike += 1;
            failed += usize::from(ours.failed.is_some());
        } else {
            assert!(is_lax(&ours, &theirs), "round {round}, {bytes:x?}:\n{ours:?}\n{theirs:?}");
            lax += 1;
        }
    }
    // Both kinds are there, or this says nothing.
    assert!(alike > 10_000 && failed > 500, "{alike} alike, {failed} of these failed, {lax} lax");
}
