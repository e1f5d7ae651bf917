//! What a URL of Redis may be, and what is wrong with any other text. Nothing of the text is repeated: where a password is
//! not percent-encoded, any part of it may be the password.

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
const LISTENING: &str = "0.0.0.0 and :: are addresses to listen at, and none to connect to";
const NO_TLS: &str = "TLS needs the feature `redis-tls` of axum-ws-auth";

/// The error that names the problem.
pub(super) fn invalid(problem: &'static str) -> ConfigError {
    ConfigError::InvalidUrl { url: "redis://…".to_owned(), problem }
}

/// A server by its URL.
pub(super) fn server(text: &str) -> Result<ConnectionInfo, ConfigError> {
    read(text).map_err(invalid)
}

/// A server by the settings of a client.
pub(super) fn server_of(client: &Client) -> Result<ConnectionInfo, ConfigError> {
    let info = client.get_connection_info().clone();
    check(&info).map_err(invalid)?;
    Ok(of_our_kind(info))
}

/// The nodes of a cluster, which differ in their hosts and ports alone.
pub(super) fn same_but_for_address(nodes: Vec<ConnectionInfo>) -> Result<Vec<ConnectionInfo>, ConfigError> {
    let Some(first) = nodes.first() else { return Err(invalid("there is none")) };
    let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    for node in &nodes {
        let (settings, wanted) = (node.redis_settings(), first.redis_settings());
        if matches!(node.addr(), ConnectionAddr::Unix(_)) {
            return Err(invalid("a cluster is not reached by a unix socket"));
        }
        if settings.db() != 0 {
            return Err(invalid("a cluster has the database 0 only"));
        }
        if (settings.username(), settings.password()) != (wanted.username(), wanted.password()) {
            return Err(invalid("the nodes of one cluster have different users or passwords"));
        }
        if is_tls(node) != is_tls(first) {
            return Err(invalid("some nodes of one cluster have TLS and others do not"));
        }
    }
    Ok(nodes)
}

/// The name of a service that sentinels watch: it stands where other URLs have a host.
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

fn read(text: &str) -> Result<ConnectionInfo, &'static str> {
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
    // Ours are the better words, for the same and more.
    let info = url.into_connection_info().map_err(|_| "it is not the URL of a Redis server")?;
    check(&info)?;
    Ok(of_our_kind(with_tcp_settings(info)))
}

fn tcp(url: &Url) -> Result<(), &'static str> {
    let is_tls = matches!(url.scheme(), "rediss" | "valkeys");
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_HOST)?;
    if matches!(host, "0.0.0.0" | "[::]") {
        return Err(LISTENING);
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
            Err(LISTENING)
        }
        ConnectionAddr::TcpTls { .. } if !cfg!(feature = "redis-tls") => Err(NO_TLS),
        ConnectionAddr::TcpTls { insecure: true, .. } => Err(INSECURE),
        _ => Ok(()),
    }
}

/// RESP2, and no words about the library: what the ACL of a user with the fewest rights allows.
fn of_our_kind(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    info.set_redis_settings(settings)
}

/// An idle connection is kept in the tables of what is on the way, or is known to be broken.
fn with_tcp_settings(info: ConnectionInfo) -> ConnectionInfo {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    info.set_tcp_settings(TcpSettings::default().set_nodelay(true).set_keepalive(keepalive))
}

/// The settings without what is sent by our own commands.
pub(super) fn without_login(info: &ConnectionInfo) -> ConnectionInfo {
    let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    info.clone().set_redis_settings(settings)
}
