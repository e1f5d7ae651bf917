//! JSON objects from clients and identity providers.

use serde::{Deserialize, de::Error};

/// Deserializes an object.
///
/// A struct that derives `Deserialize` also accepts an array, and `serde_json` does not check the UTF-8 of members that
/// it ignores (RFC 8259 §8.1).
pub(crate) fn from_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, serde_json::Error> {
    let text = str::from_utf8(json).map_err(Error::custom)?;
    if is_object(text) { serde_json::from_str(text) } else { Err(Error::custom("not an object")) }
}

/// Whether this may be an object.
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::from_object;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Member {
        name: u8,
    }

    /// Key sets, discovery documents and answers to polls were read from arrays too, and from bytes that are not UTF-8.
    #[test]
    fn only_objects_in_utf8_are_read() {
        for json in [r#"{"name":7}"#, " \r\n\t{\"other\":[],\"name\":7}\n"] {
            assert_eq!(from_object::<Member>(json.as_bytes()).expect(json), Member { name: 7 });
        }
        for json in [
            &b"[7]"[..],
            b" [7]",
            b"",
            b"7",
            b"null",
            b"{",
            b"{}",
            b"{\"name\":7,\"other\":\"\xff\"}",
            b"\x0c{\"name\":7}",
        ] {
            assert!(from_object::<Member>(json).is_err(), "{}", json.escape_ascii());
        }
    }
}
