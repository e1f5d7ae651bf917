//! Fills in `{variable|filter|…}` in texts of the table.

use std::time::{SystemTime, UNIX_EPOCH};

use axum_ws_auth::test_util::base64url;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// Expands a text. Braces that hold no variable stay as they are, so JSON needs no escapes.
pub(crate) fn expand(text: &str, variables: &[(&str, &str)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        expanded.push_str(before);
        let found = after.split_once('}').and_then(|(inner, rest)| Some((value(inner, variables)?, rest)));
        match found {
            Some((value, after)) => {
                expanded.push_str(&value);
                rest = after;
            }
            None => {
                expanded.push('{');
                rest = after;
            }
        }
    }
    expanded + rest
}

/// The number that a text stands for, if it is one of `{now}`, `{now+5}` and `{now-5}` alone.
pub(crate) fn time(text: &str) -> Option<u64> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    seconds(inner)
}

fn value(inner: &str, variables: &[(&str, &str)]) -> Option<String> {
    let mut filters = inner.split('|');
    let name = filters.next()?;
    let known = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let value = known.or_else(|| seconds(name).map(|seconds| seconds.to_string())).or_else(|| repeated(name))?;
    Some(filters.fold(value, |value, filter| filtered(&value, filter)))
}

fn seconds(name: &str) -> Option<u64> {
    let distance = name.strip_prefix("now")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    if distance.is_empty() { Some(now) } else { now.checked_add_signed(distance.parse().ok()?) }
}

/// `repeat TEXT COUNT`.
fn repeated(name: &str) -> Option<String> {
    let (text, count) = name.strip_prefix("repeat ")?.rsplit_once(' ')?;
    Some(text.repeat(count.parse().ok()?))
}

fn filtered(value: &str, filter: &str) -> String {
    let filtered = match filter {
        "base64url" => base64url(value),
        "base64" => STANDARD.encode(value),
        "base64-unpadded" => STANDARD_NO_PAD.encode(value),
        "escape" => value.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        "escape-dots" => value.replace('.', "%2E"),
        "nest" => {
            let (start, end) = value.split_at(value.len() / 2);
            format!("{start}{value}{end}")
        }
        "upper" => value.to_ascii_uppercase(),
        "pad" => format!("{value}{}", "=".repeat((4 - value.len() % 4).max(1))),
        "bits" => with_unused_bit(value),
        "standard" => value.replace('-', "+").replace('_', "/"),
        "short" => value.get(..value.len() - 1).expect("ASCII").to_owned(),
        _ => {
            let inserted = filter.strip_prefix("insert ").unwrap_or_else(|| panic!("unknown filter {filter}"));
            let (start, end) = value.split_at(value.len() / 2);
            format!("{start}{inserted}{end}")
        }
    };
    assert_ne!(filtered, value, "the filter {filter} must change the text");
    filtered
}

/// Sets the lowest bit of the last symbol, which holds no data.
fn with_unused_bit(value: &str) -> String {
    assert!(matches!(value.len() % 4, 2 | 3), "every bit is used");
    let (rest, last) = value.split_at(value.len() - 1);
    // In base64, each even symbol and the next one are neighbours, in ASCII too.
    let last = last.bytes().next().expect("a symbol");
    format!("{rest}{}", char::from(last + 1))
}
