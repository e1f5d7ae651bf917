//! Searches for a token by decoding the text, where the crate encodes the token.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const ALPHABETS: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&alphabet::STANDARD, CONFIG), GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG)];

/// A shorter token may occur by chance.
const MIN_LEN: usize = 16;

/// Whether a text holds the token: literally, percent-encoded once or repeatedly, or in base64. A short token is found
/// only if it is the whole text.
pub fn is_in(token: &str, text: &[u8]) -> bool {
    if token.len() < MIN_LEN {
        return text == token.as_bytes();
    }
    let contains = |text: &[u8]| text.windows(token.len()).any(|window| window == token.as_bytes());
    let decoded = |text| contains(&Cow::from(percent_decode(text)));
    contains(text)
        || decoded(text)
        || decoded(&without_nested_escapes(text))
        || base64_in(text).any(|decoded| contains(&decoded))
}

/// The text with `%41` in place of `%2541` and `%252541`.
fn without_nested_escapes(text: &[u8]) -> Vec<u8> {
    let mut shorter = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        shorter.push(first);
        rest = after;
        while shorter.last() == Some(&b'%')
            && let [b'2', b'5', high, low, ..] = rest
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            rest = &rest[2..];
        }
    }
    shorter
}

/// What each run of base64 symbols holds, wherever a group of four begins.
fn base64_in(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let runs = text.split(move |byte| !is_symbol(byte)).filter(|run| run.len() >= MIN_LEN);
    let groups = runs.flat_map(|run| (0..4).map(move |start| &run[start..]));
    // A run of one more symbol than whole groups is no base64.
    let groups = groups.map(|group| &group[..group.len() - usize::from(group.len() % 4 == 1)]);
    groups.flat_map(|group| ALPHABETS.iter().filter_map(move |alphabet| alphabet.decode(group).ok()))
}
