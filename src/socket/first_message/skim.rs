/// Follows the frames of a client (RFC 6455 §5.2) without keeping what is in them, to see where its close frame ends.
///
/// tungstenite cannot do this: it gives up on a connection at the first frame that is too large.
#[derive(Default)]
pub(super) struct Skim {
    /// The header of the present frame, as far as it was seen.
    header: [u8; LONGEST_HEADER],
    seen: usize,
    /// The bytes of the present frame's payload that are still to come.
    payload: u64,
    is_close: bool,
    closed: bool,
}

/// Two bytes, eight for the length, and four for the mask.
const LONGEST_HEADER: usize = 14;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

impl Skim {
    /// Whether a close frame was seen, to its end. Nothing follows it.
    pub(super) const fn has_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes of the present frame are still to come, by what its header says.
    pub(super) const fn announced(&self) -> u64 {
        self.payload
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first()
            && !self.closed
        {
            if self.payload == 0 {
                self.push_header(byte);
                bytes = rest;
            } else {
                let skipped = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
            }
            self.closed = self.is_close && self.payload == 0 && self.seen == 0;
        }
    }

    fn push_header(&mut self, byte: u8) {
        if let Some(slot) = self.header.get_mut(self.seen) {
            *slot = byte;
            self.seen += 1;
        }
        let [first, second, a, b, c, d, e, f, g, h, ..] = self.header;
        let (length, extension) = match second & LENGTH {
            126 => (u64::from(u16::from_be_bytes([a, b])), 2),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8),
            short => (u64::from(short), 0),
        };
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        if self.seen >= 2 && self.seen >= 2 + extension + mask {
            self.seen = 0;
            self.payload = length;
            self.is_close = first & OPCODE == CLOSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_seen_behind_frames_of_every_length() {
        let frame = |first: u8, masked: bool, len: usize| {
            let mask = if masked { MASKED } else { 0 };
            let mut frame = vec![first];
            match len {
                0..126 => frame.push(mask | u8::try_from(len).expect("a byte")),
                126..=0xffff => {
                    frame.extend([&[mask | 126][..], &u16::try_from(len).expect("two").to_be_bytes()].concat());
                }
                _ => frame.extend([&[mask | 127][..], &(len as u64).to_be_bytes()].concat()),
            }
            // What a payload or a mask holds looks like close frames.
            frame.extend(std::iter::repeat_n(0x88, len + if masked { 4 } else { 0 }));
            frame
        };
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            for (close, closing) in [(frame(0x88, true, 0), 6), (frame(0x88, true, 2), 8), (frame(0x88, false, 2), 4)] {
                assert_eq!(close.len(), closing);
                let bytes = [frame(0x81, true, len), frame(0x02, false, len), frame(0x89, true, 5), close].concat();
                for piece in [1, 2, 7, 1000, bytes.len()] {
                    let mut skim = Skim::default();
                    let (before, last) = bytes.split_at(bytes.len() - 1);
                    before.chunks(piece).for_each(|piece| skim.push(piece));
                    assert!(!skim.has_closed(), "{len} in pieces of {piece}");
                    skim.push(last);
                    assert!(skim.has_closed(), "{len} in pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for bytes in [&[0xff; 40][..], &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5]] {
            let mut skim = Skim::default();
            skim.push(bytes);
            assert!(!skim.has_closed());
        }
    }
}
