//! The same bytes give the same messages as in tungstenite, and the same end, save where that is lax.

use super::{
    super::decoder::Decoder,
    BINARY, CLOSE, CONTINUATION, FINAL, Limits, Message, PING, PONG, TEXT,
    comparison::{Agreement, MAX_FRAME, MAX_MESSAGE, Outcome, compare},
    frame,
};

fn ours(bytes: &[u8], random: &mut Random) -> Outcome<super::WebSocketError> {
    let limits = Limits { max_frame: MAX_FRAME, max_message: MAX_MESSAGE, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let mut messages = Vec::new();
    let mut rest = bytes.to_vec();
    while !rest.is_empty() {
        let mut piece: Vec<u8> = rest.drain(..(1 + random.below(rest.len().min(700)))).collect();
        let mut taken = 0;
        while taken < piece.len() {
            let (len, decoded) = decoder.decode(&mut piece[taken..]);
            taken += len;
            match decoded {
                Err(error) => return Outcome { messages, failed: Some(error) },
                Ok(None) => {}
                Ok(Some(message)) => {
                    let is_close = matches!(message, Message::Close(_));
                    messages.push(message);
                    if is_close {
                        return Outcome { messages, failed: None };
                    }
                }
            }
        }
    }
    Outcome { messages, failed: None }
}

/// The same numbers in every run (xorshift).
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

/// Frames that a client may send, and sometimes one that it must not.
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
fn any_bytes_are_decoded_as_by_tungstenite() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut no_error, mut same_error, mut lenient) = (0, 0, 0);
    for _ in 0..20_000 {
        let bytes = conversation(&mut random);
        match compare(&bytes, &ours(&bytes, &mut random)) {
            Agreement::NoError => no_error += 1,
            Agreement::SameError => same_error += 1,
            Agreement::Lenient => lenient += 1,
        }
    }
    // The test is meaningless unless all of them occur.
    assert!(
        no_error > 10_000 && same_error > 500 && lenient > 10,
        "{no_error} without error, {same_error} with the same error, {lenient} lenient"
    );
}
