//! URLs, credentials and rights, and the errors that name what is wrong with them.

use std::{
    net::TcpListener,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    AtLimit, ConfigError, Limits, Redis, RedisCredentials, Revocation,
    store::{Acquire, Acquired, LimitStore, NodeBus, NodeId, RevocationStore, SessionLease, TicketKey, TicketStore},
    test_util::conformance,
};

use crate::{
    limited_node,
    nodes::{eventually, status},
    redis::RedisServer,
    support::log::captured,
};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The error of a command.
pub(crate) async fn error_of(store: &Redis) -> String {
    store.put(TicketKey::of(&[1; 32]), b"content".to_vec(), MINUTE).await.expect_err("the command fails").to_string()
}

/// Stores and redeems a ticket.
pub(crate) async fn store_works(store: &Redis) {
    let key = TicketKey::of(&[2; 32]);
    store.put(key, b"content".to_vec(), MINUTE).await.unwrap();
    assert_eq!(store.redeem(key).await.unwrap().unwrap(), b"content");
}

pub(crate) fn lease(number: u32) -> SessionLease {
    SessionLease::new("alice", format!("{number:032x}").parse().unwrap(), SystemTime::now())
}

/// Stores a ticket, a lease and a revocation.
pub(crate) async fn store_one_of_each(store: &Redis) {
    store.put(TicketKey::of(&[3; 32]), vec![], MINUTE).await.unwrap();
    let lease = lease(7);
    store.acquire(Acquire::new(&lease, NonZeroUsize::MIN, AtLimit::EvictOldest, MINUTE)).await.unwrap();
    assert!(store.renew(&[lease], MINUTE).await.unwrap().is_empty());
    store.add(&Revocation::Token("1".into()), MINUTE).await.unwrap();
    store.load().await.unwrap();
}

/// The command in the documentation that begins like this.
fn documented(beginning: &str) -> String {
    let documentation = include_str!("../../src/redis/mod.rs");
    let mut lines = documentation.lines().map(|line| line.trim_start_matches("///").trim());
    let mut command = lines.find(|line| line.starts_with(beginning)).expect("the command is documented").to_owned();
    while let Some(rest) = command.strip_suffix('\\') {
        command = format!("{rest}{}", lines.next().unwrap());
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_sufficient() {
    let server = RedisServer::start();
    server.run(&documented("ACL SETUSER chat"));
    let store = || Redis::new(&format!("redis://chat:secret@127.0.0.1:{}", server.port())).unwrap();
    conformance::tickets(store()).await;
    conformance::limits(store(), store()).await;
    conformance::revocations(store(), store()).await;
    conformance::bus(store(), store()).await;
    let denied = server.query("ACL LOG");
    assert!(denied.starts_with("*0"), "no other command was sent: {denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_and_channel_begins_with_the_prefix() {
    let server = RedisServer::start();
    let store = || server.store().prefix("a prefix").unwrap();
    let subscriber = store();
    let waiting = tokio::spawn(async move { subscriber.evicted().await });
    eventually("it subscribes", async || server.query("PUBSUB CHANNELS *").contains("a prefix:evicted")).await;
    waiting.abort();
    let node = NodeId::random();
    let inbox = store().listen(node).await.unwrap();
    assert!(server.query("PUBSUB CHANNELS *").contains(&format!("a prefix:node:{node}")));
    drop(inbox);
    store_one_of_each(&store()).await;
    let keys = server.query("KEYS *");
    let keys: Vec<&str> = keys.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.is_empty()).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("a prefix:"), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_work_without_rights_to_the_channel() {
    let server = RedisServer::start();
    server.run(&documented("ACL SETUSER chat"));
    server.run("ACL SETUSER chat resetchannels");
    let store = Redis::new(&format!("redis://chat:secret@127.0.0.1:{}", server.port())).unwrap();
    let (old, new) = (lease(1), lease(2));
    let acquire = |lease| Acquire::new(lease, NonZeroUsize::MIN, AtLimit::EvictOldest, MINUTE);
    store.acquire(acquire(&old)).await.unwrap();
    assert_eq!(store.acquire(acquire(&new)).await.unwrap(), Acquired::Taken { evicted: vec![old.session] });
    // The node of the evicted session learns of it by the renewal.
    assert_eq!(store.renew(&[old.clone(), new], MINUTE).await.unwrap(), [old.session]);
    let error = store.evicted().await.unwrap_err().to_string();
    assert!(error.contains("NOPERM") && error.contains("channel"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_errors_name_the_cause() {
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
        let (text, events) = captured(tracing::Level::WARN, async {
            let store = Redis::new(&url).unwrap();
            let error = error_of(&store).await;
            // The next command fails with the same error.
            let again = error_of(&store).await;
            assert!(again.contains(expected), "{url}: {error}, and again: {again}");
            let limits = Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap().across_nodes(store);
            assert_eq!(status(&limited_node(limits), "alice.1").await, 101, "the node counts alone");
            error
        })
        .await;
        assert!(text.contains(expected), "{url}: {text}");
        assert!(events.contains("limit store unavailable") && events.contains(expected), "{url}: {events}");
        assert!(!text.contains("secret") && !events.contains("secret"), "{url}: {text} {events}");
        let address = url.trim_end_matches("/99").rsplit(['@', '/']).next().unwrap();
        assert!(text.contains(address), "{url}: {text}");
    }
    store_works(&Redis::new(&format!("redis://:secret-of-the-server@127.0.0.1:{port}")).unwrap()).await;
}

#[tokio::test]
async fn url_errors_name_the_problem_and_not_the_password() {
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
        // The same for a node of a cluster and a sentinel.
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
async fn invalid_clusters_and_services_are_refused() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "there is none"),
        (&["redis://a/1"], "the database 0 only"),
        (&["unix:///run/redis.sock"], "unix socket"),
        (&["redis://u:secret@a", "redis://u:other@b"], "different users or passwords"),
        (&["redis://u:secret@a", "redis://b"], "different users or passwords"),
        // Without the feature `redis-tls`, because of that.
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
async fn credentials_are_requested_for_each_connection() {
    let server = RedisServer::start();
    server.run("ACL SETUSER chat on >first ~* &* +@all");
    let current = Arc::new(Mutex::new(Some("first")));
    let shared = Arc::clone(&current);
    let provider = move || {
        let current = *shared.lock().unwrap();
        async move { current.map(|password| RedisCredentials::new("chat", password)).ok_or("the vault is sealed") }
    };
    let store = Redis::new(&server.url()).unwrap().credentials(provider);
    store_works(&store).await;
    conformance::limits(store.clone(), store.clone()).await;
    // The password changes, and connections are closed.
    server.run("ACL SETUSER chat resetpass >second");
    *current.lock().unwrap() = Some("second");
    server.query("CLIENT KILL USER chat");
    store_works(&store).await;
    server.query("CLIENT KILL USER chat");
    *current.lock().unwrap() = None;
    let error = error_of(&store).await;
    assert!(error.contains("no credentials for redis: the vault is sealed"), "{error}");
    *current.lock().unwrap() = Some("wrong");
    eventually("the password is rejected", async || error_of(&store).await.contains("WRONGPASS")).await;
    let shown = format!("{:?} {:?}", RedisCredentials::new("chat", "secret"), RedisCredentials::password("secret"));
    assert!(shown.contains("chat") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn tls_without_its_feature_is_an_error_that_names_the_feature() {
    let url = "rediss://localhost";
    let refused = Redis::new(url).err().map(|error| error.to_string());
    assert_eq!(refused.is_none(), cfg!(feature = "redis-tls"), "{refused:?}");
    assert!(refused.is_none_or(|error| error.contains("the feature `redis-tls`")));
}
