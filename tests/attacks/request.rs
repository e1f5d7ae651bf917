//! The request of a case, before a transport gives it its form.

use super::{table::Case, template::expand, token::latin1};

pub(crate) const HOST: &str = "chat.example";

/// The lines that make a request of HTTP/1.1 a handshake (RFC 6455 §4.1).
const HANDSHAKE: [(&str, &str); 5] = [
    ("Host", HOST),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

pub(crate) struct Attack {
    pub(crate) method: Option<String>,
    pub(crate) target: String,
    pub(crate) version: String,
    /// The pseudo-header `:protocol`, if it is sent.
    pub(crate) protocol: Option<String>,
    /// The header lines, apart from those of the handshake.
    lines: Vec<Vec<u8>>,
    without: Vec<String>,
    /// What follows the head at once.
    pub(crate) behind: Vec<u8>,
    pub(crate) tokens: Vec<String>,
}

impl Attack {
    pub(crate) fn of(case: &Case) -> Self {
        let built = |spec: &Option<_>| spec.as_ref().map(super::token::TokenSpec::build);
        let (token, other) = (built(&case.token), built(&case.other));
        let variables: Vec<(&str, &str)> = [("token", &token), ("other", &other)]
            .into_iter()
            .filter_map(|(name, token)| Some((name, token.as_deref()?)))
            .collect();
        let fill = |text: &String| expand(text, &variables);
        let mut lines: Vec<String> = case.headers.iter().flatten().map(fill).collect();
        if case.headers.is_none() && case.target == "/" && token.is_some() {
            lines.push(fill(&"Authorization: Bearer {token}".to_owned()));
        }
        let protocol = case.protocol.as_deref().unwrap_or("websocket");
        Self {
            method: case.method.clone(),
            target: fill(&case.target),
            version: case.version.clone().unwrap_or_else(|| "1.1".to_owned()),
            protocol: Some(protocol.to_owned()).filter(|protocol| !protocol.is_empty()),
            lines: lines.iter().map(|line| latin1(line)).collect(),
            without: case.without.clone(),
            behind: case.behind.as_ref().map(|behind| latin1(&fill(behind))).unwrap_or_default(),
            tokens: [token, other].into_iter().flatten().collect(),
        }
    }

    /// Whether the response has a body.
    pub(crate) fn has_body(&self) -> bool {
        self.method.as_deref() != Some("HEAD")
    }

    /// The lines of the handshake that are sent over HTTP/1.1.
    pub(crate) fn handshake_lines(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_sent = |name: &str| !self.without.iter().any(|without| without.eq_ignore_ascii_case(name));
        HANDSHAKE.into_iter().filter(move |(name, _)| is_sent(name))
    }

    /// The other header lines, whole.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// The other header lines, as names and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a header line");
            (&line[..colon], line[colon + 1..].trim_ascii())
        })
    }
}
