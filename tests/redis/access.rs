//! How Redis is reached: by TLS or not, as whom, and what a URL may be; and what is said where that fails.

use std::{
    net::TcpListener,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    AtLimit, ConfigError, Redis, RedisCredentials, Revocation,
    store::{Acquire, Acquired, LimitStore, RevocationStore, SessionLease, TicketKey, TicketStore},
    test_util::conformance,
};

use crate::{eventually, redis::RedisServer};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Why nothing can be written there.
pub(crate) async fn problem(store: &Redis) -> String {
    store.put(TicketKey::of(&[1; 32]), b"content".to_vec(), MINUTE).await.expect_err("it fails").to_string()
}

pub(crate) async fn works(store: &Redis) {
    let key = TicketKey::of(&[2; 32]);
    store.put(key, b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key).await.unwrap().unwrap(), b"content");
}

pub(crate) fn lease(number: u32) -> SessionLease {
    SessionLease::new("alice", format!("{number:032x}").parse().unwrap(), SystemTime::now())
}

/// Writes a ticket, a lease and a revocation, and leaves them there.
pub(crate) async fn each_kind(store: &Redis) {
    store.put(TicketKey::of(&[3; 32]), vec![], MINUTE).await.unwrap();
    let lease = lease(7);
    store.acquire(Acquire::new(&lease, NonZeroUsize::MIN, AtLimit::EvictOldest, MINUTE)).await.unwrap();
    assert!(store.renew(&[lease], MINUTE).await.unwrap().is_empty());
    store.add(&Revocation::Token("1".into()), MINUTE).await.unwrap();
    store.load().await.unwrap();
}

/// The commands in a code block of the documentation that begin so.
fn documented(beginning: &str) -> String {
    let documentation = include_str!("../../src/redis/mod.rs");
    let mut lines = documentation.lines().map(|line| line.trim_start_matches("///").trim());
    let mut command = lines.find(|line| line.starts_with(beginning)).expect("it is documented").to_owned();
    while let Some(rest) = command.strip_suffix('\\') {
        command = format!("{rest}{}", lines.next().unwrap());
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rights_and_no_others_can_do_everything() {
    let server = RedisServer::start();
    server.tell(&documented("ACL SETUSER chat"));
    let store = || Redis::new(&format!("redis://chat:secret@127.0.0.1:{}", server.port())).unwrap();
    conformance::tickets(store()).await;
    conformance::limits(store(), store()).await;
    conformance::revocations(store(), store()).await;
    let denied = server.ask("ACL LOG");
    assert!(denied.starts_with("*0"), "nothing else was tried: {denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_and_channel_begins_with_the_prefix() {
    let server = RedisServer::start();
    let store = || server.store().prefix("a prefix").unwrap();
    let listening = store();
    let hears = tokio::spawn(async move { listening.evicted().await });
    eventually("it listens", async || server.ask("PUBSUB CHANNELS *").contains("a prefix:evicted")).await;
    hears.abort();
    each_kind(&store()).await;
    let keys = server.ask("KEYS *");
    let keys: Vec<&str> = keys.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.is_empty()).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("a prefix:"), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_channel_breaks_no_eviction_halfway() {
    let server = RedisServer::start();
    server.tell(&documented("ACL SETUSER chat"));
    server.tell("ACL SETUSER chat resetchannels");
    let store = Redis::new(&format!("redis://chat:secret@127.0.0.1:{}", server.port())).unwrap();
    let (old, new) = (lease(1), lease(2));
    let acquire = |lease| Acquire::new(lease, NonZeroUsize::MIN, AtLimit::EvictOldest, MINUTE);
    store.acquire(acquire(&old)).await.unwrap();
    assert_eq!(store.acquire(acquire(&new)).await.unwrap(), Acquired::Taken { evicted: vec![old.session] });
    // The other node learns of it by the renewal.
    assert_eq!(store.renew(&[old.clone(), new], MINUTE).await.unwrap(), [old.session]);
    let error = store.evicted().await.unwrap_err().to_string();
    assert!(error.contains("NOPERM") && error.contains("channel"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_redis_from_being_reached_is_named() {
    let server = RedisServer::start_with(["--requirepass", "secret-of-the-server"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (open, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.port());
    let silent = open.local_addr().unwrap();
    for (url, expected) in [
        (format!("redis://:wrong-secret@127.0.0.1:{port}"), "WRONGPASS"),
        (format!("redis://nobody:wrong-secret@127.0.0.1:{port}"), "WRONGPASS"),
        (format!("redis://127.0.0.1:{port}"), "requires a password"),
        (format!("redis://:secret-of-the-server@127.0.0.1:{port}/99"), "DB index is out of range"),
        (format!("redis://{closed}"), "Connection refused"),
        ("redis://no-such-host.invalid:6379".to_owned(), "unknown host"),
        (format!("redis://{silent}"), "did not accept a connection and answer within"),
        #[cfg(feature = "redis-tls")]
        (format!("rediss://127.0.0.1:{port}"), "does it speak TLS on this port?"),
        ("unix:///nonexistent/redis.sock".to_owned(), "No such file"),
    ] {
        let (text, events) = crate::captured_events(async {
            let store = Redis::new(&url).unwrap();
            let error = problem(&store).await;
            // And also where it is not the first command.
            let again = problem(&store).await;
            assert!(again.contains(expected), "{url}: {error}, and again: {again}");
            crate::one_handshake_with_limits_in(store).await;
            error
        })
        .await;
        assert!(text.contains(expected), "{url}: {text}");
        assert!(events.contains("limit store unavailable") && events.contains(expected), "{url}: {events}");
        assert!(!text.contains("secret") && !events.contains("secret"), "{url}: {text} {events}");
        let address = url.trim_end_matches("/99").rsplit(['@', '/']).next().unwrap();
        assert!(text.contains(address), "{url}: {text}");
    }
    works(&Redis::new(&format!("redis://:secret-of-the-server@127.0.0.1:{port}")).unwrap()).await;
}

#[tokio::test]
async fn each_way_in_which_a_url_can_be_wrong_is_named_and_the_password_is_not_shown() {
    for (url, expected) in [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("localhost", "does not begin with `redis://`"),
        ("localhost:6379", "does not begin with `redis://`"),
        ("10.0.0.1:6379", "does not begin with `redis://`"),
        ("user:secret@localhost:6379", "does not begin with `redis://`"),
        ("redis:localhost", "does not begin with `redis://`"),
        ("//localhost", "does not begin with `redis://`"),
        ("http://localhost:6379", "its scheme"),
        ("redis-sentinel://localhost:26379/mymaster", "Redis::sentinel"),
        ("redis+cluster://localhost:6379", "Redis::cluster"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:secret@", "names no host"),
        ("redis://:secret@:6379", "names no host"),
        ("redis://0.0.0.0:6379", "addresses to listen on"),
        ("redis://[::]:6379", "addresses to listen on"),
        ("redis://localhost:0", "its port"),
        ("redis://localhost:65536", "its port"),
        ("redis://localhost:port", "its port"),
        ("redis://localhost:6379:6380", "its port"),
        ("redis://localhost:-1", "its port"),
        ("redis://user:sec/ret@localhost", "percent-encoded"),
        ("redis://user:12/secret@localhost", "percent-encoded"),
        ("redis://user:sec?ret@localhost", "percent-encoded"),
        ("redis://user:12?secret@localhost", "percent-encoded"),
        ("redis://user:sec#ret@localhost", "percent-encoded"),
        ("redis://user:12#secret@localhost", "percent-encoded"),
        ("redis://user:%ff@localhost", "UTF-8"),
        ("redis://secret@localhost", "no password"),
        ("redis://secret:@localhost", "no password"),
        ("redis://local host", "a character that no host may hold"),
        ("redis://local%20host", "its host"),
        ("redis://[nowhere", "not an IPv6 address"),
        ("redis://[1:2]", "not an IPv6 address"),
        ("redis://256.1.1.1", "not an IPv4 address"),
        ("redis://10.0.0", "not an IPv4 address"),
        ("redis://one,two", "several hosts"),
        ("redis://one:1,two:2", "its port"),
        ("redis://localhost/name", "the number of a database"),
        ("redis://localhost/-1", "the number of a database"),
        ("redis://localhost/1/2", "the number of a database"),
        ("redis://localhost?db=1", "the database is in the path"),
        ("redis://localhost?ssl=true", "query parameter"),
        ("redis://localhost?protocol=4", "`protocol`"),
        ("redis://localhost#insecure", "a fragment"),
        ("rediss://localhost#insecure", "any server"),
        ("unix://", "no path"),
        ("unix://run/redis.sock", "not absolute"),
        ("unix:///run/redis.sock?db=x", "`db`"),
        ("unix:///run/redis.sock?user=secret", "no password"),
        ("unix:///run/redis.sock?password=secret", "query parameter"),
    ] {
        let error = Redis::new(url).expect_err(url);
        let text = format!("{error} {error:?}");
        assert!(matches!(error, ConfigError::InvalidUrl { .. }), "{url}: {text}");
        assert!(text.contains(expected), "{url}: {text}");
        assert!(!text.contains("secret") && !text.contains("ret@"), "{url}: {text}");
        // As a node of a cluster, and as a sentinel.
        assert_eq!(Redis::cluster([url]).unwrap_err(), error, "{url}");
        assert_eq!(Redis::sentinel([url], "redis://mymaster").unwrap_err(), error, "{url}");
    }
    for url in [
        "redis://localhost",
        "redis://localhost/",
        "redis://localhost:6379/15",
        "redis://:p%40ss%2Fword@localhost",
        "redis://user:secret@[::1]:6379",
        "rediss://localhost:6380",
        "valkey://localhost",
        "valkeys://localhost",
        "redis://localhost?protocol=resp3",
        "redis://my_host.internal",
        "redis://localhost:6379\n",
        "unix:///run/redis.sock?db=1&user=a&pass=b",
    ] {
        if (url.starts_with("rediss") || url.starts_with("valkeys")) && !cfg!(feature = "redis-tls") {
            continue;
        }
        assert!(Redis::new(url).is_ok(), "{url}: {:?}", Redis::new(url));
    }
}

#[tokio::test]
async fn nodes_and_services_that_cannot_be_meant_are_refused() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "there is none"),
        (&["redis://a/1"], "the database 0 only"),
        (&["unix:///run/redis.sock"], "unix socket"),
        (&["redis://u:secret@a", "redis://u:other@b"], "different users or passwords"),
        (&["redis://u:secret@a", "redis://b"], "different users or passwords"),
        // Without the feature, because of that.
        (&["redis://a", "rediss://b"], "TLS"),
    ];
    for (urls, expected) in cases {
        let error = Redis::cluster(urls.iter().copied()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{urls:?}: {error}");
    }
    let cases: [(&[&str], &str, &str); 5] = [
        (&[], "redis://mymaster", "no sentinel"),
        (&["redis://a"], "mymaster", "does not begin with"),
        (&["redis://a"], "redis://mymaster:6379", "has no port"),
        (&["redis://a"], "unix:///mymaster", "not a unix socket"),
        (&["redis://a"], "redis://", "names no host"),
    ];
    for (urls, service, expected) in cases {
        let error = Redis::sentinel(urls.iter().copied(), service).unwrap_err().to_string();
        assert!(error.contains(expected), "{urls:?}, {service}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_rotate_are_asked_for_with_each_connection() {
    let server = RedisServer::start();
    server.tell("ACL SETUSER chat on >first ~* &* +@all");
    let current = Arc::new(Mutex::new(Some("first")));
    let shared = Arc::clone(&current);
    let provider = move || {
        let current = *shared.lock().unwrap();
        async move { current.map(|password| RedisCredentials::new("chat", password)).ok_or("the vault is sealed") }
    };
    let store = Redis::new(&server.url()).unwrap().credentials(provider);
    works(&store).await;
    conformance::limits(store.clone(), store.clone()).await;
    // The password changes, and connections are ended.
    server.tell("ACL SETUSER chat resetpass >second");
    *current.lock().unwrap() = Some("second");
    server.ask("CLIENT KILL USER chat");
    works(&store).await;
    server.ask("CLIENT KILL USER chat");
    *current.lock().unwrap() = None;
    let error = problem(&store).await;
    assert!(error.contains("no credentials for redis: the vault is sealed"), "{error}");
    *current.lock().unwrap() = Some("wrong");
    eventually("refused", async || problem(&store).await.contains("WRONGPASS")).await;
    let shown = format!("{:?} {:?}", RedisCredentials::new("chat", "secret"), RedisCredentials::password("secret"));
    assert!(shown.contains("chat") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn tls_without_its_feature_is_refused_by_name() {
    let url = "rediss://localhost";
    let refused = Redis::new(url).err().map(|error| error.to_string());
    assert_eq!(refused.is_none(), cfg!(feature = "redis-tls"), "{refused:?}");
    assert!(refused.is_none_or(|error| error.contains("the feature `redis-tls`")));
}
