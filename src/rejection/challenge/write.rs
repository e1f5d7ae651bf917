use http::HeaderValue;

/// Writes a challenge with its parameters as quoted strings (RFC 9110 §11.3). `None` if a value is not
/// [quotable](is_quotable).
pub(super) fn write<'a>(scheme: &str, params: impl Iterator<Item = (&'a str, &'a str)>) -> Option<HeaderValue> {
    let mut line = scheme.to_owned();
    for (index, (name, value)) in params.enumerate() {
        line.push_str(if index == 0 { " " } else { ", " });
        line.push_str(name);
        line.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                line.push('\\');
            }
            line.push(c);
        }
        line.push('"');
    }
    HeaderValue::try_from(line).ok()
}

/// Whether the text is visible ASCII and spaces. A quoted string (RFC 9110 §5.6.4) may hold more, which few clients
/// read.
pub(super) fn is_quotable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}
