//! Which URLs keys are fetched from.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::ConfigError;

/// Keys that come over a connection that anybody can change are nobody's.
#[derive(Clone, Copy, Debug)]
pub(super) struct UrlRule {
    /// The user said so by name.
    insecure_http: bool,
    /// The configured URL is on this machine, so that others there are fine too. Somebody elsewhere does not lead here.
    loopback: bool,
}

impl UrlRule {
    /// Reads a URL that the user has configured.
    pub(super) fn configured(text: &str, insecure_http: bool) -> Result<(Url, Self), ConfigError> {
        let invalid = |problem| ConfigError::InvalidUrl { url: without_credentials(text), problem };
        let url = Url::parse(text).map_err(|_| invalid("it is not an absolute url"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("it holds credentials"));
        }
        if url.fragment().is_some() {
            return Err(invalid("it has a fragment"));
        }
        let rule = Self { insecure_http, loopback: is_loopback(&url) };
        if rule.allows(&url) { Ok((url, rule)) } else { Err(invalid("it is not https")) }
    }

    pub(super) fn allows(self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.insecure_http || (self.loopback && is_loopback(url)),
            _ => false,
        }
    }
}

/// Where the discovery document of an issuer is (OpenID Connect Discovery 1.0 §4).
pub(super) fn metadata_url(issuer: &str) -> String {
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

/// What stands before an `@` may be a password, and what stands behind a `?` too.
pub(super) fn without_credentials(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("…@{rest}"));
    shown.split_once('?').map_or(shown.clone(), |(place, _)| format!("{place}?…"))
}
