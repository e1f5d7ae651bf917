//! Which URLs the documents of an issuer may lead to.

use url::{Host, Url};

use super::refused::{Outcome, rule};

#[derive(Clone, Copy)]
pub struct UrlRule {
    pub issuer: &'static str,
    pub insecure_http: bool,
}

impl UrlRule {
    /// Only an issuer on this machine may lead to this machine without TLS.
    pub fn check(&self, url: &Url) -> Outcome<()> {
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.octets()[0] == 127,
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_plain_allowed = self.insecure_http || is_here && self.issuer.starts_with("http://");
        rule(url.scheme() == "https" || url.scheme() == "http" && is_plain_allowed, "not https")
    }
}
