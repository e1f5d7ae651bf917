//! The headers `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`: lists to which each proxy appends, or a
//! single value that the outermost or the only proxy has set.

use std::net::IpAddr;

use http::HeaderMap;

use super::{Malformed, node};

pub(super) const FOR: &str = "x-forwarded-for";
pub(super) const HOST: &str = "x-forwarded-host";
pub(super) const PROTO: &str = "x-forwarded-proto";

/// The addresses that proxies got the request from, the nearest proxy's first. `None` for one that cannot be read.
pub(super) fn clients(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    members(headers, FOR).map(|member| node::address(member.ok()?))
}

/// What the proxy wrote that is this far from the server: 1 for the nearest. If fewer wrote something, the outermost of
/// them.
pub(super) fn member<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    distance: usize,
) -> Result<Option<&'a str>, Malformed> {
    members(headers, name).take(distance).last().transpose()
}

/// The members of a list, the last one first. Several lines are one list.
fn members<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = Result<&'a str, Malformed>> {
    headers.get_all(name).iter().rev().flat_map(|line| {
        let bytes = line.as_bytes().rsplit(|&b| b == b',');
        bytes.map(|member| str::from_utf8(member.trim_ascii()).map_err(|_| Malformed))
    })
}
