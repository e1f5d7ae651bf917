//! A look at a JSON object that is spelled the plain way, as headers and claims of nearly all tokens are: in a third of the
//! time that a whole parser takes. What is not plain is left to the parser, and so is every error.

/// A member's value, as far as it is plain.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A string without escapes.
    Text(&'a str),
    /// A number without sign, fraction or exponent.
    Integer(u64),
    /// Any other. Only its end was looked for, so that it may be malformed.
    Other,
}

/// Shows each member of an object. `None` where something is not plain, or `see` says so; then nothing is known.
pub(super) fn members<'a>(json: &'a str, mut see: impl FnMut(&'a str, Value<'a>) -> Option<()>) -> Option<()> {
    let mut scan = Scan { json, at: 0 };
    scan.expect(b'{')?;
    loop {
        let name = scan.text()?;
        scan.expect(b':')?;
        let value = scan.value()?;
        see(name, value)?;
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    // There may be space behind it, and nothing else.
    scan.peek().is_none().then_some(())
}

/// Sets what may be there once.
pub(super) fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

struct Scan<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.json.get(self.at..)?;
        let len = plain_len(rest.as_bytes());
        self.at += len;
        self.expect(b'"')?;
        rest.get(..len)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            // With an escape it is none that is known here.
            b'"' => self.text().map(Value::Text),
            b'0'..=b'9' => self.number(),
            _ => self.skip().map(|()| Value::Other),
        }
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let rest = self.json.get(self.at..)?;
        let len = rest.bytes().position(|b| !b.is_ascii_digit())?;
        let digits = rest.get(..len)?;
        let is_integer = !matches!(rest.as_bytes().get(len), Some(b'.' | b'e' | b'E'));
        let is_well_formed = len == 1 || !digits.starts_with('0');
        match digits.parse() {
            Ok(integer) if is_integer && is_well_formed => {
                self.at += len;
                Some(Value::Integer(integer))
            }
            _ => self.skip().map(|()| Value::Other),
        }
    }

    /// Goes to the end of a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        loop {
            match self.byte()? {
                b'"' => self.skip_text()?,
                b'{' | b'[' => depth += 1,
                b',' | b'}' | b']' if depth == 0 => return Some(()),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Goes to the quote at the end of a string.
    fn skip_text(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }
}

/// How far a string goes on without a quote, an escape, or what may not stand there (RFC 8259 §7): eight bytes at a time.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest bit that is set is that of the first byte below the limit, which is 128 at most.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let ends = equal(b'"') | equal(b'\\') | below(word, u64::from(b' '));
        if ends != 0 {
            return number * 8 + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |&b: &u8| b == b'"' || b == b'\\' || b < b' ';
    bytes.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
}
