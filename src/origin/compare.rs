//! Normalizes and compares origins.

use std::{borrow::Cow, net::Ipv4Addr};

use http::{
    Method,
    header::HOST,
    request::Parts,
    uri::{Authority, Scheme},
};

use super::OriginErrorKind;
use crate::forwarded::{External, Malformed, UNKNOWN};

/// Lower-cases an origin and removes the default port. Origins are compared as text, because URL parsers turn the
/// origin of `tauri://localhost` into `null`.
pub(super) fn normalize(origin: &str) -> Cow<'_, str> {
    let origin = if origin.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(origin.to_ascii_lowercase())
    } else {
        Cow::Borrowed(origin)
    };
    let default_port = [("https://", ":443"), ("http://", ":80")]
        .iter()
        .find(|(scheme, port)| origin.starts_with(scheme) && origin.ends_with(port))
        .map(|(_, port)| port.len());
    match (default_port, origin) {
        (None, origin) => origin,
        (Some(port), Cow::Borrowed(origin)) => Cow::Borrowed(origin.get(..origin.len() - port).unwrap_or(origin)),
        (Some(port), Cow::Owned(mut origin)) => {
            origin.truncate(origin.len() - port);
            Cow::Owned(origin)
        }
    }
}

/// Why a configured origin could never match one that a client sends.
pub(super) fn find_problem(origin: &str) -> Option<&'static str> {
    if origin == "null" {
        return None;
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Some("it is not of the form scheme://host");
    };
    if scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss") {
        return Some("it must be the origin of the page: http or https");
    }
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !is_scheme {
        return Some("its scheme is malformed");
    }
    if !authority.is_ascii() {
        return Some("browsers send the host in ASCII form (xn--…)");
    }
    if authority.is_empty() {
        // The schemes of embedded pages may have no host: `file://`, `qrc://`, `content://`.
        let has_host = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
            || scheme.to_ascii_lowercase().ends_with("-extension");
        return has_host.then_some("it has no host");
    }
    if authority.contains('*') {
        return Some("wildcards are not supported: use a predicate");
    }
    if authority.contains(['/', '?', '#']) {
        return Some("it has a path or trailing slash");
    }
    if host_and_port(authority).is_none() {
        return Some("its host or port is malformed");
    }
    None
}

/// Whether page and request have the same host and port. A missing port is the default port of the page's scheme.
pub(super) fn is_same_origin(origin: &str, parts: &Parts) -> Result<bool, OriginErrorKind> {
    let External { host, is_https } = external(parts)?;
    let host =
        host.as_deref().map(|host| host_and_port(host).ok_or(OriginErrorKind::ForwardedMalformed)).transpose()?;
    let (authority, default_port) = match origin.split_once("://") {
        Some(("https", authority)) => (authority, 443),
        Some(("http", authority)) => (authority, 80),
        _ => return Ok(false),
    };
    // HTTP/2 requests have a scheme. `https` is reliable; `http` may come from a proxy that terminates TLS.
    let is_https = is_https.or((parts.uri.scheme() == Some(&Scheme::HTTPS)).then_some(true));
    if is_https.is_some_and(|is_https| is_https != (default_port == 443)) {
        return Ok(false);
    }
    let Some(page) = host_and_port(authority) else { return Ok(false) };
    let is_page = |target: &Authority| {
        page.host().eq_ignore_ascii_case(target.host())
            && page.port_u16().unwrap_or(default_port) == target.port_u16().unwrap_or(default_port)
    };
    if let Some(host) = host {
        return Ok(is_page(&host));
    }
    let is_page = |target: &str| host_and_port(target).is_some_and(|target| is_page(&target));
    // `Host` must agree with `:authority` (RFC 9113 §8.3.1) or the absolute-form target (RFC 9112 §3.2.2).
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host_agrees = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_page),
        (None, _) => parts.uri.authority().is_some(),
        (Some(_), Some(_)) => false,
    };
    Ok(host_agrees && parts.uri.authority().is_none_or(|authority| is_page(authority.as_str())))
}

/// What trusted proxies say of the host and scheme that the client asked for.
fn external(parts: &Parts) -> Result<&External, OriginErrorKind> {
    match parts.extensions.get::<Result<External, Malformed>>() {
        Some(external) => external.as_ref().map_err(|Malformed| OriginErrorKind::ForwardedMalformed),
        None => Ok(&UNKNOWN),
    }
}

/// What the origin is compared with, for logs: what a trusted proxy says, or each `Host` and the authority of the URI.
pub(super) fn request_host(parts: &Parts) -> String {
    let Ok(External { host, is_https }) = external(parts) else {
        return "what a proxy says, which is malformed".to_owned();
    };
    let scheme = is_https.map_or("", |is_https| if is_https { "https://" } else { "http://" });
    if let Some(host) = host {
        return format!("{scheme}{host}");
    }
    let hosts = parts.headers.get_all(HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
    let authority = parts.uri.authority().map(|authority| authority.as_str().into());
    format!("{scheme}{}", hosts.chain(authority).collect::<Vec<_>>().join(" and "))
}

/// The possible origins of a page that the request does not name because it is of the request's own origin.
///
/// A browser sends no `Origin` with a `GET` or `HEAD` within one origin (Fetch §3.2), but `Sec-Fetch-Site:
/// same-origin`, which a page cannot set. It sends that over TLS and to loopback hosts only (Fetch Metadata §2), so
/// `http` is possible there only.
pub(super) fn own_origins(parts: &Parts) -> impl Iterator<Item = String> {
    let mut sites = parts.headers.get_all("sec-fetch-site").iter();
    let is_own = matches!((sites.next(), sites.next()), (Some(site), None) if site == "same-origin")
        && [Method::GET, Method::HEAD].contains(&parts.method);
    let external = external(parts).ok();
    let host = external.and_then(|External { host, .. }| {
        let sent = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        host.as_deref().or_else(sent).or_else(|| parts.uri.authority().map(Authority::as_str))
    });
    let schemes = match external.and_then(|external| external.is_https) {
        Some(true) => &["https"][..],
        Some(false) => &["http"],
        None => &["https", "http"],
    };
    host.filter(|host| is_own && host_and_port(host).is_some())
        .into_iter()
        .flat_map(|host| schemes.iter().map(move |scheme| format!("{scheme}://{host}")))
        .filter(|origin| can_send_secure_cookies(origin))
}

/// Whether a page of this origin can have TLS-only cookies of its host. Browsers send these over `https`, and to
/// loopback hosts without TLS too.
pub(super) fn can_send_secure_cookies(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://") else { return true };
    host_and_port(authority).is_some_and(|authority| {
        let host = authority.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
            || host == "[::1]"
    })
}

/// Parses a host and port as browsers write them. `Authority` also accepts user names and unusual ports, and treats a
/// port that is not a number as missing.
fn host_and_port(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let is_canonical = match authority.port() {
        Some(port) => port.as_str() == port.as_u16().to_string(),
        None => authority.as_str() == authority.host(),
    };
    (is_canonical && !text.contains('@')).then_some(authority)
}
