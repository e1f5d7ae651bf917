//! Searches for a token by decoding the text, where the crate encodes the token.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const ALPHABETS: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&alphabet::STANDARD, CONFIG), GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG)];

/// A shorter token may occur by chance.
const MIN_LEN: usize = 16;

/// Whether a text holds the token: literally, percent-encoded, or in base64.
pub fn is_in(token: &str, text: &[u8]) -> bool {
    if token.len() < MIN_LEN {
        return text == token.as_bytes();
    }
    let contains = |text: &[u8]| text.windows(token.len()).any(|window| window == token.as_bytes());
    let decoded: Vec<u8> = percent_encoding::percent_decode(text).collect();
    contains(text) || contains(&decoded) || base64_in(text).any(|decoded| contains(&decoded))
}

/// What each run of base64 symbols holds, wherever a group of four begins.
fn base64_in(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let runs = text.split(move |byte| !is_symbol(byte)).filter(|run| run.len() >= MIN_LEN);
    let groups = runs.flat_map(|run| (0..4).map(move |start| &run[start..start + (run.len() - start) / 4 * 4]));
    groups.flat_map(|group| ALPHABETS.iter().filter_map(move |alphabet| alphabet.decode(group).ok()))
}
