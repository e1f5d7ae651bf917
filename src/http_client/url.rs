//! Which URLs requests may be sent to.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::ConfigError;

/// Requires `https`, because an attacker on the network path can replace keys and answers, and read tokens and secrets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlPolicy {
    /// Plain `http` is explicitly allowed.
    insecure_http: bool,
    /// The configured URL is a loopback address, so other loopback addresses are allowed. A remote host must not
    /// redirect to this machine.
    loopback: bool,
}

impl UrlPolicy {
    /// Parses a configured URL.
    pub(crate) fn parse(text: &str, insecure_http: bool) -> Result<(Url, Self), ConfigError> {
        let invalid = |problem| ConfigError::InvalidUrl { url: without_credentials(text), problem };
        let url = Url::parse(text).map_err(|_| invalid("it is not an absolute url"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("it holds credentials"));
        }
        if url.fragment().is_some() {
            return Err(invalid("it has a fragment"));
        }
        let policy = Self { insecure_http, loopback: is_loopback(&url) };
        if policy.allows(&url) { Ok((url, policy)) } else { Err(invalid("it is not https")) }
    }

    pub(crate) fn allows(self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.insecure_http || (self.loopback && is_loopback(url)),
            _ => false,
        }
    }
}

/// The URL of an issuer's discovery document (OpenID Connect Discovery 1.0 §4).
pub(crate) fn metadata_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// Removes what may be a password: everything before an `@` and after a `?`.
pub(crate) fn without_credentials(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("…@{rest}"));
    shown.split_once('?').map_or(shown.clone(), |(base, _)| format!("{base}?…"))
}
