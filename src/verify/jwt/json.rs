//! A fast scanner for simple JSON objects, as the claims of nearly all tokens are. Anything else, and every error, is
//! left to the full parser.

use memchr::memchr2;

/// The value of a member.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A string without escapes.
    Text(&'a str),
    /// A number without sign, fraction or exponent.
    Integer(u64),
    /// Any other value, which the scanner only skips.
    Other,
}

/// Calls `visit` for each member of an object. Returns `None` if the object is not simple or `visit` returns `None`;
/// the members visited until then must be discarded.
///
/// The scanner does not validate everything that it skips. What it visits is correct only if the full parser also
/// accepts the object.
pub(super) fn visit_members<'a>(json: &'a str, mut visit: impl FnMut(&'a str, Value<'a>) -> Option<()>) -> Option<()> {
    let mut scanner = Scanner { json, at: 0 };
    scanner.expect(b'{')?;
    loop {
        scanner.expect(b'"')?;
        let name = scanner.text()?;
        scanner.expect(b':')?;
        let value = scanner.value()?;
        visit(name, value)?;
        match scanner.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    // Only white space may follow.
    scanner.next().is_none().then_some(())
}

/// Sets a value, or returns `None` if it is already set.
pub(super) fn set_once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

struct Scanner<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    /// Consumes the next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte()?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Consumes the rest of a string after its opening quote.
    fn text(&mut self) -> Option<&'a str> {
        let begin = self.at;
        let len = memchr2(b'"', b'\\', self.json.as_bytes().get(begin..)?)?;
        self.at += len;
        self.expect(b'"')?;
        self.json.get(begin..begin + len)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.next()? {
            b'"' => self.text().map(Value::Text),
            first @ b'0'..=b'9' => self.number(first),
            _ => {
                self.at -= 1;
                self.skip().map(|()| Value::Other)
            }
        }
    }

    /// Consumes the rest of a number after its first digit.
    fn number(&mut self, first: u8) -> Option<Value<'a>> {
        let digit = |byte: u8| u64::from(byte.wrapping_sub(b'0'));
        let mut integer = digit(first);
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            // Numbers beyond `u64` are left to the parser.
            integer = integer.checked_mul(10)?.checked_add(digit(byte))?;
            self.at += 1;
        }
        match self.byte()? {
            b'.' | b'e' | b'E' => self.skip().map(|()| Value::Other),
            _ => Some(Value::Integer(integer)),
        }
    }

    /// Moves to the end of a value.
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

    /// Moves to the closing quote of a string.
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
