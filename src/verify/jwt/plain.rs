//! A look at a JSON object that is spelled the plain way, as the claims of nearly all tokens are, without the work of a
//! whole parser. What is not plain is left to the parser, and so is every error.

use memchr::memchr2;

/// A member's value, as far as it is plain.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A string without escapes.
    Text(&'a str),
    /// A number without sign, fraction or exponent.
    Integer(u64),
    /// Any other. Only its end was looked for.
    Other,
}

/// Shows each member of an object. `None` where something is not plain, or `see` says so; then nothing is known.
///
/// What was shown is what a parser would find, if that finds the whole object well-formed: it must be asked too.
pub(super) fn members<'a>(json: &'a str, mut see: impl FnMut(&'a str, Value<'a>) -> Option<()>) -> Option<()> {
    let mut scan = Scan { json, at: 0 };
    scan.expect(b'{')?;
    loop {
        scan.expect(b'"')?;
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
    scan.next().is_none().then_some(())
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

    /// Takes the next byte that is not space.
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

    /// Takes a string whose first quote was taken.
    fn text(&mut self) -> Option<&'a str> {
        let begin = self.at;
        let len = memchr2(b'"', b'\\', self.json.as_bytes().get(begin..)?)?;
        self.at += len;
        self.expect(b'"')?;
        self.json.get(begin..begin + len)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.next()? {
            // With an escape it is none that is known here.
            b'"' => self.text().map(Value::Text),
            first @ b'0'..=b'9' => self.number(first),
            _ => {
                self.at -= 1;
                self.skip().map(|()| Value::Other)
            }
        }
    }

    /// Takes a number whose first digit was taken.
    fn number(&mut self, first: u8) -> Option<Value<'a>> {
        let digit = |byte: u8| u64::from(byte.wrapping_sub(b'0'));
        let mut integer = digit(first);
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            // Nothing is known of what is greater than a date can be.
            integer = integer.checked_mul(10)?.checked_add(digit(byte))?;
            self.at += 1;
        }
        match self.byte()? {
            b'.' | b'e' | b'E' => self.skip().map(|()| Value::Other),
            _ => Some(Value::Integer(integer)),
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
