//! Parses URLs of Redis, and names the problem of those that are unusable. Errors repeat nothing of the text: if a
//! password is not percent-encoded, any part of the text may be the password.

use ::url::{ParseError, Url};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::connect::KEEPALIVE;
use crate::error::ConfigError;

const NO_SCHEME: &str = "it does not begin with `redis://` or `rediss://`";
const NO_HOST: &str = "it names no host";
const BAD_PORT: &str =
    "its port is not a number from 1 to 65535; or a `/`, `?`, `#` or `@` of a user or password is not percent-encoded";
const BAD_DATABASE: &str =
    "its path is not the number of a database; or a `/` of a user or password is not percent-encoded";
const BAD_QUERY: &str =
    "it has a query parameter that is not known; or a `?` of a user or password is not percent-encoded";
const FRAGMENT: &str = "it has a fragment, which has no meaning; or a `#` of a user or password is not percent-encoded";
const INSECURE: &str = "`#insecure` would accept the certificate of any server";
const NO_PASSWORD: &str = "it names a user and no password; a password alone is written `redis://:password@host`";
const NOT_UTF8: &str = "its user or password is not percent-encoded UTF-8";
const UNSPECIFIED_ADDRESS: &str = "0.0.0.0 and :: are addresses to listen on, not to connect to";
const NO_TLS: &str = "TLS needs the feature `redis-tls` of axum-ws-auth";

pub(super) fn invalid(problem: &'static str) -> ConfigError {
    ConfigError::InvalidUrl { url: "redis://…".to_owned(), problem }
}

/// The settings of a server, from its URL.
pub(super) fn server(text: &str) -> Result<ConnectionInfo, ConfigError> {
    parse(text).map_err(invalid)
}

/// The settings of a server, from a client.
pub(super) fn server_of(client: &Client) -> Result<ConnectionInfo, ConfigError> {
    let info = client.get_connection_info().clone();
    check(&info).map_err(invalid)?;
    Ok(with_protocol(info))
}

/// Checks that the nodes of a cluster differ in host and port only.
pub(super) fn same_but_for_address(nodes: Vec<ConnectionInfo>) -> Result<Vec<ConnectionInfo>, ConfigError> {
    let Some(first) = nodes.first() else { return Err(invalid("there is none")) };
    let uses_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    for node in &nodes {
        let (settings, expected) = (node.redis_settings(), first.redis_settings());
        if matches!(node.addr(), ConnectionAddr::Unix(_)) {
            return Err(invalid("a cluster is not reached by a unix socket"));
        }
        if settings.db() != 0 {
            return Err(invalid("a cluster has the database 0 only"));
        }
        if (settings.username(), settings.password()) != (expected.username(), expected.password()) {
            return Err(invalid("the nodes of one cluster have different users or passwords"));
        }
        if uses_tls(node) != uses_tls(first) {
            return Err(invalid("some nodes of one cluster have TLS and others do not"));
        }
    }
    Ok(nodes)
}

/// The name of a service that sentinels monitor, which is the host of its URL.
pub(super) fn service(info: &ConnectionInfo, has_port: bool) -> Result<String, ConfigError> {
    match info.addr() {
        _ if has_port => Err(invalid("a service has no port: the sentinels know it")),
        ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. } => Ok(name.clone()),
        _ => Err(invalid("a service is not a unix socket")),
    }
}

pub(super) fn has_port(text: &str) -> bool {
    Url::parse(text.trim()).is_ok_and(|url| url.port().is_some())
}

fn parse(text: &str) -> Result<ConnectionInfo, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.contains("://") {
        return Err(NO_SCHEME);
    }
    let url = Url::parse(text).map_err(|error| match error {
        ParseError::EmptyHost => NO_HOST,
        ParseError::InvalidPort => BAD_PORT,
        ParseError::InvalidIpv4Address => "its host is not an IPv4 address",
        ParseError::InvalidIpv6Address => "its host is not an IPv6 address",
        ParseError::InvalidDomainCharacter | ParseError::IdnaError => {
            "its host holds a character that no host may hold"
        }
        ParseError::RelativeUrlWithoutBase => NO_SCHEME,
        _ => "it is not a URL",
    })?;
    match url.scheme() {
        "redis" | "rediss" | "valkey" | "valkeys" => tcp(&url)?,
        "unix" | "redis+unix" | "valkey+unix" => unix(&url)?,
        scheme if scheme.contains("sentinel") => return Err("sentinels are given to `Redis::sentinel`, by `redis://`"),
        scheme if scheme.contains("cluster") => return Err("a cluster is given to `Redis::cluster`, by `redis://`"),
        _ => return Err("its scheme is none of redis, rediss, valkey, valkeys and unix"),
    }
    // Should not fail: the checks above cover more, with better messages.
    let info = url.into_connection_info().map_err(|_| "it is not the URL of a Redis server")?;
    check(&info)?;
    Ok(with_protocol(with_tcp_settings(info)))
}

fn tcp(url: &Url) -> Result<(), &'static str> {
    let is_tls = matches!(url.scheme(), "rediss" | "valkeys");
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_HOST)?;
    if matches!(host, "0.0.0.0" | "[::]") {
        return Err(UNSPECIFIED_ADDRESS);
    }
    if host.contains(',') {
        return Err("it names several hosts: `Redis::cluster` and `Redis::sentinel` take a URL for each");
    }
    if host.contains('%') {
        return Err("its host is percent-encoded");
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("its host is not an IPv4 address");
    }
    if url.port() == Some(0) {
        return Err(BAD_PORT);
    }
    match url.fragment() {
        None => {}
        Some("insecure") if is_tls => return Err(INSECURE),
        Some(_) => return Err(FRAGMENT),
    }
    let path = url.path().strip_prefix('/').unwrap_or_default();
    if !path.is_empty() && path.parse::<u32>().is_err() {
        return Err(BAD_DATABASE);
    }
    if !url.username().is_empty() && url.password().is_none_or(str::is_empty) {
        return Err(NO_PASSWORD);
    }
    for part in [url.username(), url.password().unwrap_or_default()] {
        percent_encoding::percent_decode_str(part).decode_utf8().map_err(|_| NOT_UTF8)?;
    }
    query(url, &[])?;
    if is_tls && !cfg!(feature = "redis-tls") {
        return Err(NO_TLS);
    }
    Ok(())
}

fn unix(url: &Url) -> Result<(), &'static str> {
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err("its path is not absolute: a unix socket is written `unix:///run/redis.sock`");
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("it names no path");
    }
    if url.fragment().is_some() {
        return Err(FRAGMENT);
    }
    query(url, &["db", "user", "pass"])?;
    let values = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if values("db").is_some_and(|database| database.parse::<u32>().is_err()) {
        return Err("its parameter `db` is not the number of a database");
    }
    if values("user").is_some() && values("pass").is_none() {
        return Err("it names a user and no password");
    }
    Ok(())
}

fn query(url: &Url, known: &[&str]) -> Result<(), &'static str> {
    for (name, value) in url.query_pairs() {
        match &*name {
            "protocol" if matches!(&*value, "2" | "resp2" | "3" | "resp3") => {}
            "protocol" => return Err("its parameter `protocol` is neither 2 nor 3"),
            "db" if !known.contains(&"db") => return Err("the database is in the path, not in a parameter `db`"),
            name if known.contains(&name) => {}
            _ => return Err(BAD_QUERY),
        }
    }
    Ok(())
}

fn check(info: &ConnectionInfo) -> Result<(), &'static str> {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if matches!(&**host, "0.0.0.0" | "::") => {
            Err(UNSPECIFIED_ADDRESS)
        }
        ConnectionAddr::TcpTls { .. } if !cfg!(feature = "redis-tls") => Err(NO_TLS),
        ConnectionAddr::TcpTls { insecure: true, .. } => Err(INSECURE),
        _ => Ok(()),
    }
}

/// RESP2, and no `CLIENT SETINFO`, so that a user needs few rights.
fn with_protocol(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    info.set_redis_settings(settings)
}

/// TCP keep-alive, so that firewalls do not forget an idle connection, and a broken one is noticed.
fn with_tcp_settings(info: ConnectionInfo) -> ConnectionInfo {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    info.set_tcp_settings(TcpSettings::default().set_nodelay(true).set_keepalive(keepalive))
}

/// The settings without user, password and database, for which this crate sends its own commands.
pub(super) fn without_login(info: &ConnectionInfo) -> ConnectionInfo {
    let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    info.clone().set_redis_settings(settings)
}
