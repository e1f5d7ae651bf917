//! Compares the URI in a proof with that of the request (RFC 9449 §4.3), after normalization (RFC 3986 §6.2.2 and
//! §6.2.3).

use http::uri::Authority;

use crate::error::ConfigError;

/// The URL at which clients reach this server, without a slash at its end.
#[derive(Clone, Debug)]
pub(super) struct BaseUrl(Normalized);

/// A URI without query and fragment.
#[derive(Clone, Debug)]
struct Normalized {
    scheme: &'static str,
    authority: String,
    path: String,
}

impl BaseUrl {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::InvalidUrl { url: without_credentials(text), problem };
        if text.contains(['?', '#']) {
            return Err(invalid("it has a query or a fragment"));
        }
        let mut base = Normalized::parse(text).ok_or_else(|| invalid("it is not an absolute url"))?;
        if base.scheme != "https" && !base.is_loopback() {
            return Err(invalid("it is not https"));
        }
        base.path.truncate(base.path.trim_end_matches('/').len());
        Ok(Self(base))
    }

    /// Whether `htu` is the URI of a request with this path.
    pub(super) fn is_target(&self, htu: &str, path: &str) -> bool {
        let (Self(base), Some(htu)) = (self, Normalized::parse(htu)) else { return false };
        let is_path = htu.path.strip_prefix(&base.path).is_some_and(|rest| rest == normalize_path(path));
        is_path && htu.scheme == base.scheme && htu.authority == base.authority
    }
}

impl Normalized {
    /// `None` if it is not an absolute URI of the web.
    fn parse(uri: &str) -> Option<Self> {
        let uri = uri.split(['?', '#']).next()?;
        let (scheme, rest) = uri.split_once("://")?;
        // A page may sign the URL of its WebSocket, which it opens by an HTTP request.
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => ("https", 443),
            "http" | "ws" => ("http", 80),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority: Authority =
            authority.parse().ok().filter(|authority: &Authority| !authority.as_str().contains('@'))?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return None;
        }
        let port = match authority.as_str().get(host.len()..)? {
            "" | ":" => None,
            _ => Some(authority.port_u16()?),
        };
        let authority = match port {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host,
        };
        Some(Self { scheme, authority, path: normalize_path(path) })
    }

    fn is_loopback(&self) -> bool {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        };
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// Decodes escapes of unreserved characters, writes all others in upper case, and removes dot segments.
fn normalize_path(path: &str) -> String {
    let path = normalize_escapes(path);
    let mut segments = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => {
                segments.push(other);
                continue;
            }
        }
        if rest.peek().is_none() {
            // What is left is a folder.
            segments.push("");
        }
    }
    format!("/{}", segments.join("/"))
}

fn normalize_escapes(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut normalized = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_at_checked(2).and_then(|(digits, after)| Some((decoded(digits)?, digits, after))) {
            Some((byte, _, after)) if is_unreserved(byte) => {
                normalized.push(char::from(byte));
                normalized.push_str(after);
            }
            Some((_, digits, after)) => {
                normalized.push('%');
                normalized.push_str(&digits.to_ascii_uppercase());
                normalized.push_str(after);
            }
            None => {
                normalized.push('%');
                normalized.push_str(piece);
            }
        }
    }
    normalized
}

fn decoded(digits: &str) -> Option<u8> {
    let are_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
    are_digits.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn without_credentials(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("…@{rest}"))
}

#[cfg(test)]
mod tests {
    use super::BaseUrl;

    #[test]
    fn uris_are_compared_after_normalization() {
        for (base, path, htu, expected) in [
            ("https://ws.example.com", "/chat", "https://ws.example.com/chat", true),
            ("https://ws.example.com/", "/chat", "wss://ws.example.com/chat", true),
            ("wss://ws.example.com", "/chat", "HTTPS://WS.Example.com:443/chat?room=1#top", true),
            ("https://ws.example.com:443", "/", "https://ws.example.com", true),
            ("https://ws.example.com:8443", "/", "https://ws.example.com:8443/", true),
            ("https://ws.example.com", "/%7euser/%c3%a4", "https://ws.example.com/~user/%C3%A4", true),
            ("https://ws.example.com", "/a%2fb", "https://ws.example.com/a%2Fb", true),
            ("https://ws.example.com", "/a/./b/../c", "https://ws.example.com/a/c", true),
            ("https://ws.example.com", "/a/..", "https://ws.example.com/", true),
            ("https://ws.example.com", "/a/.", "https://ws.example.com/a/", true),
            ("https://ws.example.com", "/../a", "https://ws.example.com/a", true),
            ("https://ws.example.com", "/100%", "https://ws.example.com/100%", true),
            ("https://ws.example.com", "/%\u{e9}1", "https://ws.example.com/%\u{e9}1", true),
            ("https://example.com/ws", "/chat", "https://example.com/ws/chat", true),
            ("http://localhost:3000", "/chat", "ws://localhost:3000/chat", true),
            ("http://[::1]:3000", "/", "http://[::1]:3000/", true),
            ("https://ws.example.com", "/a%2fb", "https://ws.example.com/a/b", false),
            ("https://ws.example.com", "/chat", "http://ws.example.com/chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com/Chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com/chat/", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com:8443/chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com:x/chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com:99999/chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com.evil.example/chat", false),
            ("https://ws.example.com", "/chat", "https://ws.example.com@evil.example/chat", false),
            ("https://ws.example.com", "/chat", "https://alice@ws.example.com/chat", false),
            ("https://ws.example.com", "/chat", "ftp://ws.example.com/chat", false),
            ("https://ws.example.com", "/chat", "https:///chat", false),
            ("https://ws.example.com", "/chat", "/chat", false),
            ("https://ws.example.com", "/chat", "", false),
            ("https://example.com/ws", "/chat", "https://example.com/chat", false),
            ("https://example.com/ws", "/chat", "https://example.com/wschat", false),
        ] {
            let base = BaseUrl::parse(base).expect("a base");
            assert_eq!(base.is_target(htu, path), expected, "{base:?} {path} {htu}");
        }
    }

    #[test]
    fn a_base_is_absolute_and_https() {
        for base in [
            "",
            "ws.example.com",
            "/chat",
            "http://ws.example.com",
            "ws://ws.example.com",
            "http://localhost.evil.example",
            "https://",
            "https://alice:secret@ws.example.com",
            "https://ws.example.com/?a=b",
            "https://ws.example.com/#a",
        ] {
            let error = BaseUrl::parse(base).expect_err(base);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
