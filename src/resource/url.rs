use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::error::ConfigError;

/// What goes between the host and the path of a resource (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// As much as clients and proxies take.
const MAX_LEN: usize = 2048;

/// Where the metadata of a resource is.
#[derive(Clone, Debug)]
pub(super) struct MetadataUrl {
    pub(super) url: String,
    pub(super) path: String,
}

impl MetadataUrl {
    /// Of the resource with this URL (RFC 9728 §3.1). A query stays behind the path.
    pub(super) fn of_resource(resource: &str) -> Result<Self, ConfigError> {
        let uri = parse(resource)?;
        let path = uri.path();
        // Axum takes these for parameters.
        if path.split('/').any(|segment| segment.starts_with([':', '*'])) {
            return Err(invalid(resource, "a segment of its path begins with `:` or `*`"));
        }
        let path = format!("{WELL_KNOWN}{}", if path == "/" { "" } else { path });
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
        let url = format!("{}://{authority}{path}{query}", uri.scheme_str().unwrap_or("https"));
        Ok(Self { url, path })
    }
}

/// Checks the issuer of an authorization server (RFC 8414 §2).
pub(super) fn check_issuer(issuer: &str) -> Result<(), ConfigError> {
    match parse(issuer)?.query() {
        None => Ok(()),
        Some(_) => Err(invalid(issuer, "the issuer has a query")),
    }
}

/// Parses an absolute URL without a fragment and credentials. It must be `https`, unless it is of this machine.
pub(super) fn parse(url: &str) -> Result<Uri, ConfigError> {
    if url.len() > MAX_LEN {
        return Err(invalid("…", "it is longer than 2048 bytes"));
    }
    if url.contains('#') {
        return Err(invalid(url, "it has a fragment"));
    }
    // `Uri` allows more.
    if !url.bytes().all(is_url_byte) {
        return Err(invalid(url, "it holds a character that a url may not hold"));
    }
    let uri: Uri = url.parse().map_err(|_| invalid(url, "it is not an absolute url"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid(url, "it is not an absolute url"));
    };
    if authority.as_str().contains('@') {
        return Err(invalid(url, "it holds credentials"));
    }
    match scheme {
        _ if authority.host().is_empty() => Err(invalid(url, "it has no host")),
        "https" => Ok(uri),
        "http" if is_loopback(authority.host()) => Ok(uri),
        _ => Err(invalid(url, "it is not https")),
    }
}

/// RFC 3986 §2, without the brackets of IPv6 addresses outside a host: `Uri` refuses those.
const fn is_url_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'/' | b'?' | b'@' | b'[' | b']')
        || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

fn invalid(url: &str, problem: &'static str) -> ConfigError {
    let url = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("…@{rest}"));
    ConfigError::InvalidUrl { url, problem }
}

#[cfg(test)]
mod tests {
    use super::{MetadataUrl, check_issuer};

    #[test]
    fn well_known_part_is_inserted_before_the_path() {
        const HERE: &str = "/.well-known/oauth-protected-resource";
        for (resource, prefix, path, query) in [
            ("https://api.example.com", "https://api.example.com", "", ""),
            ("https://api.example.com/", "https://api.example.com", "", ""),
            ("https://api.example.com/mcp", "https://api.example.com", "/mcp", ""),
            ("https://api.example.com/mcp/", "https://api.example.com", "/mcp/", ""),
            ("https://api.example.com:8443/a/b%20c", "https://api.example.com:8443", "/a/b%20c", ""),
            ("https://api.example.com/mcp?tenant=7", "https://api.example.com", "/mcp", "?tenant=7"),
            ("https://api.example.com?tenant=7", "https://api.example.com", "", "?tenant=7"),
            ("https://api.example.com/?tenant=7", "https://api.example.com", "", "?tenant=7"),
            ("http://localhost:3000/mcp", "http://localhost:3000", "/mcp", ""),
            ("http://127.0.0.2/mcp", "http://127.0.0.2", "/mcp", ""),
            ("http://[::1]:3000/mcp", "http://[::1]:3000", "/mcp", ""),
        ] {
            let metadata = MetadataUrl::of_resource(resource).expect(resource);
            assert_eq!(metadata.url, format!("{prefix}{HERE}{path}{query}"), "{resource}");
            assert_eq!(metadata.path, format!("{HERE}{path}"), "{resource}");
        }
    }

    #[test]
    fn urls_that_clients_could_not_use_are_refused() {
        let long = format!("https://api.example.com/{}", "a".repeat(2048));
        for (url, problem) in [
            ("", "absolute"),
            ("/mcp", "absolute"),
            ("api.example.com", "absolute"),
            ("mailto:alice@example.com", "absolute"),
            ("https://", "absolute"),
            ("https://:443/mcp", "no host"),
            ("http://api.example.com/mcp", "not https"),
            ("http://127.0.0.1.example.com/mcp", "not https"),
            ("http://localhost.example.com/mcp", "not https"),
            ("http://128.0.0.1/mcp", "not https"),
            ("wss://api.example.com/mcp", "not https"),
            ("https://api.example.com/mcp#top", "fragment"),
            ("https://alice:secret@api.example.com/mcp", "credentials"),
            ("https://api.example.com/mcp?a=\"b\"", "character"),
            ("https://api.example.com/m c p", "character"),
            ("https://api.example.com/{room}", "character"),
            ("https://api.example.com/m\r\nx: y", "character"),
            ("https://api.example.com/ü", "character"),
            ("https://api.example.com/:room", "begins with"),
            ("https://api.example.com/a/*rest", "begins with"),
            (&long, "longer"),
        ] {
            let error = MetadataUrl::of_resource(url).expect_err(url).to_string();
            assert!(error.contains(problem) && !error.contains("secret"), "{url}: {error}");
        }
        assert!(check_issuer("https://id.example.com/realms/a").is_ok());
        assert!(check_issuer("https://id.example.com?realm=a").is_err());
    }
}
