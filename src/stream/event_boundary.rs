/// Whether a stream of Server-Sent Events is between two events, where another one may follow.
///
/// A blank line ends an event, and LF, CR or CRLF ends a line (HTML, "Parsing an event stream"). So the last three
/// bytes tell, and no other byte is looked at.
pub(super) struct EventBoundary {
    last: [u8; 3],
    /// How many of the first bytes were sent that may be a byte order mark.
    start: usize,
}

const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";
const BLANK_LINE: [u8; 3] = *b"\n\n\n";

impl EventBoundary {
    /// Of a stream that has sent nothing, which is the same as after a blank line.
    pub(super) const fn new() -> Self {
        Self { last: BLANK_LINE, start: 0 }
    }

    pub(super) fn push(&mut self, sent: &[u8]) {
        let (start, rest) = sent.split_at(sent.len().min(BYTE_ORDER_MARK.len() - self.start));
        self.start += start.len();
        self.shift(start);
        if self.last == BYTE_ORDER_MARK && !start.is_empty() {
            // It is not part of the first line.
            self.last = BLANK_LINE;
        }
        self.shift(rest);
    }

    fn shift(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().skip(bytes.len().saturating_sub(self.last.len())) {
            let [_, second, third] = self.last;
            self.last = [second, third, *byte];
        }
    }

    pub(super) const fn is_reached(&self) -> bool {
        matches!(self.last, [_, b'\n', b'\n'] | [_, b'\n' | b'\r', b'\r'] | [b'\n' | b'\r', b'\r', b'\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::EventBoundary;

    #[test]
    fn blank_line_is_a_boundary_however_it_is_cut() {
        for (stream, expected) in [
            ("", true),
            ("data: 1", false),
            ("data: 1\n", false),
            ("data: 1\r", false),
            ("data: 1\r\n", false),
            ("data: 1\n\n", true),
            ("data: 1\r\r", true),
            ("data: 1\r\n\r\n", true),
            ("data: 1\r\n\r", true),
            ("data: 1\n\r", true),
            ("data: 1\n\r\n", true),
            ("data: 1\r\r\n", true),
            ("data: 1\r\n\n", true),
            ("data: 1\n\ndata: 2\n", false),
            ("data: 1\n\nd", false),
            (":\n\n", true),
            ("\n", true),
            ("\r\n", true),
            ("\u{feff}", true),
            ("\u{feff}\n", true),
            ("\u{feff}data: 1", false),
            ("\u{feff}data: 1\n\n", true),
            // Only the first one is a byte order mark.
            ("\u{feff}\u{feff}", false),
            ("data: 1\n\n\u{feff}", false),
        ] {
            for first in 0..=stream.len() {
                let (start, rest) = stream.as_bytes().split_at(first);
                for second in 0..=rest.len() {
                    let (middle, end) = rest.split_at(second);
                    let mut boundary = EventBoundary::new();
                    [start, middle, end].into_iter().for_each(|part| boundary.push(part));
                    assert_eq!(boundary.is_reached(), expected, "{stream:?}: {start:?} {middle:?} {end:?}");
                }
            }
        }
    }

    #[test]
    fn part_of_a_byte_order_mark_is_no_boundary() {
        let mut boundary = EventBoundary::new();
        for (byte, expected) in [(0xef, false), (0xbb, false), (0xbf, true)] {
            boundary.push(&[byte]);
            assert_eq!(boundary.is_reached(), expected);
        }
    }
}
