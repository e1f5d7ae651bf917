/// How a client addressed this server, as far as trusted proxies say so. An extension of requests that come from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct External {
    /// The client's `Host`, with the port, if there is one.
    pub(crate) host: Option<Box<str>>,
    /// Whether the client used TLS.
    pub(crate) is_https: Option<bool>,
}

/// What a trusted proxy wrote cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// No trusted proxy says anything.
pub(crate) static UNKNOWN: External = External { host: None, is_https: None };

impl External {
    pub(super) fn parse(host: Option<&str>, scheme: Option<&str>) -> Result<Self, Malformed> {
        Ok(Self { host: host.map(Box::from), is_https: scheme.map(is_https).transpose()? })
    }
}

/// Some proxies name the scheme of a WebSocket.
fn is_https(scheme: &str) -> Result<bool, Malformed> {
    let is = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    match (is(["https", "wss"]), is(["http", "ws"])) {
        (false, false) => Err(Malformed),
        (is_https, _) => Ok(is_https),
    }
}
