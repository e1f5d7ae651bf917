//! Searches for traces of a token: in any spelling, by decoding the text and not by encoding the token.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A shorter text may occur by chance.
const MIN_LEN: usize = 16;

/// Whether a text holds the token, or one of its parts that are secret.
pub(crate) fn is_in(token: &str, text: &[u8]) -> bool {
    // The signature is the last run of base64 symbols, whatever form the token has.
    let is_symbol = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let signature = token.split(|c| !is_symbol(c)).rfind(|run| run.len() >= MIN_LEN);
    let secrets = || [Some(token), signature].into_iter().flatten().filter(|secret| secret.len() >= MIN_LEN);
    let mut spellings = vec![text.to_vec()];
    for _ in 0..3 {
        let last = spellings.last().expect("the text");
        spellings.push(percent_decode(last).collect());
    }
    let decoded: Vec<Vec<u8>> = spellings.iter().flat_map(|text| base64_in(text)).collect();
    spellings.extend(decoded);
    spellings.iter().any(|text| secrets().any(|secret| contains(text, secret.as_bytes())))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What each run of base64 symbols holds, at each of the four places where a group may begin.
fn base64_in(text: &[u8]) -> Vec<Vec<u8>> {
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let runs = text.split(|byte| !is_symbol(byte)).filter(|run| run.len() >= MIN_LEN);
    let url_safe = |run: &[u8]| String::from_utf8_lossy(run).replace('+', "-").replace('/', "_");
    let at = |run: String| (0..4).filter_map(move |start| run.get(start..).map(str::to_owned)).collect::<Vec<_>>();
    let groups = runs.map(url_safe).flat_map(at);
    groups.filter_map(|run| LENIENT.decode(run.get(..run.len() / 4 * 4).expect("ASCII")).ok()).collect()
}
