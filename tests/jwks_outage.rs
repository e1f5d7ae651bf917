//! Issuers that are slow, broken, malicious or unavailable: the errors, and the effect on tokens.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]

mod support;

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use axum::response::Response;
use axum_ws_auth::{
    CachedVerifier, Token, Verifier, VerifyErrorKind as Kind, VerifyInput, WsAuthLayer,
    jwks::{FetchJwks, IssuerKeys, KeysError, KeysErrorKind, StartError},
    jwt::JwtVerifier,
    test_util::handshake,
};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use support::{
    answer, echo_behind,
    issuer::{
        EXP, Gate, KEYS, Key, METADATA, NOW, Pair, Reply, TestIssuer, claims, forged, set, status, verifier, verify,
        verify_at,
    },
    log::Log,
    settle,
};
use tokio::{
    runtime::Handle,
    time::{Instant, advance, timeout},
};

const A: &str = "https://a.example";
const DAY: Duration = Duration::from_secs(24 * 3600);
const MIB: usize = 1024 * 1024;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ed(id: &str) -> Key {
    Key::new(Pair::Ed25519, id)
}

async fn outcome(verifier: &JwtVerifier<Value>, token: &str) -> Result<(), Kind> {
    verify(verifier, token).await.map_err(|error| error.kind())
}

/// The outcome, unless it must be waited for.
fn outcome_now(verifier: &JwtVerifier<Value>, token: &str) -> Option<Result<(), Kind>> {
    outcome(verifier, token).now_or_never()
}

fn last_error(verifier: &JwtVerifier<Value>) -> Option<KeysErrorKind> {
    status(verifier).last_error().map(KeysError::kind)
}

fn start_error(built: Result<JwtVerifier<Value>, StartError>) -> Option<KeysErrorKind> {
    match built {
        Ok(_) => None,
        Err(StartError::Keys { source, .. }) => Some(source.kind()),
        Err(error) => panic!("{error}"),
    }
}

async fn shake_hands(verifier: &JwtVerifier<Value>, token: &str) -> Response {
    answer(&echo_behind(WsAuthLayer::new(verifier.clone())), handshake().bearer_subprotocol(token).build()).await
}

fn retry_after(response: &Response) -> u64 {
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

/// A valid set, padded to this length.
fn padded(len: usize) -> Vec<u8> {
    let mut body = set(&[ed("1"), ed("2")]).to_string().into_bytes();
    body.resize(len, b' ');
    body
}

// ---- One fetch.

#[tokio::test]
async fn a_bad_response_is_reported_and_replaces_no_keys() {
    struct Case {
        name: &'static str,
        reply: Reply,
        expected: Option<KeysErrorKind>,
    }

    let error = |status| KeysErrorKind::Status(StatusCode::from_u16(status).unwrap());
    let bad = |name, reply, expected| Case { name, reply, expected: Some(expected) };
    let good = |name, reply| Case { name, reply, expected: None };
    let ok = |body: &str| Reply::raw(200, body);
    let ok_bytes = |body: &[u8]| Reply::raw(200, body);
    let many = |count: usize| Reply::keys(&(1..=count).map(|id| ed(&id.to_string())).collect::<Vec<_>>());
    let silent = Gate::closed();
    for Case { name, reply, expected } in [
        bad("slow", Reply::keys(&[ed("2")]).held_by(&silent), KeysErrorKind::TimedOut),
        bad("500", Reply::raw(500, set(&[ed("2")]).to_string()), error(500)),
        bad("404", Reply::raw(404, "nothing"), error(404)),
        bad("204", Reply::raw(204, ""), error(204)),
        bad("203", Reply::raw(203, set(&[ed("2")]).to_string()), error(203)),
        bad("304 to an unconditional request", Reply::raw(304, ""), error(304)),
        bad("HTML", ok("<!doctype html><title>Sign in</title>"), KeysErrorKind::Malformed),
        bad("empty body", ok(""), KeysErrorKind::Malformed),
        bad("another JSON", ok(r#"{"error":"none"}"#), KeysErrorKind::Malformed),
        bad("list of keys", ok(&set(&[ed("2")])["keys"].to_string()), KeysErrorKind::Malformed),
        bad("half a set", ok(&set(&[ed("2")]).to_string()[..40]), KeysErrorKind::Malformed),
        bad("a list that is null", ok(r#"{"keys":null}"#), KeysErrorKind::Malformed),
        bad("no list", ok("{}"), KeysErrorKind::Malformed),
        bad("a list of other values", ok(r#"{"keys":[null,7,{},{"kty":7}]}"#), KeysErrorKind::Malformed),
        bad("not UTF-8", ok_bytes(b"{\"keys\":[],\"x\":\"\xff\"}"), KeysErrorKind::Malformed),
        good(
            "a byte order mark",
            ok_bytes(&[b"\xef\xbb\xbf", set(&[ed("1"), ed("2")]).to_string().as_bytes()].concat()),
        ),
        bad("no keys", ok(r#"{"keys":[]}"#), KeysErrorKind::NoUsableKey),
        bad("no key of a known type", ok(r#"{"keys":[{"kty":"?","kid":"2"}]}"#), KeysErrorKind::NoUsableKey),
        bad("10 MiB", Reply::raw(200, padded(10 * MIB)), KeysErrorKind::TooLarge),
        bad("a byte too long", Reply::raw(200, padded(MIB + 1)), KeysErrorKind::TooLarge),
        good("the maximum length", Reply::raw(200, padded(MIB))),
        bad("101 keys", many(101), KeysErrorKind::TooLarge),
        good("100 keys", many(100)),
        bad("redirect to itself", Reply::redirect(302, KEYS), KeysErrorKind::Redirects),
        bad("redirect without a location", Reply::raw(302, ""), KeysErrorKind::Redirects),
        bad("redirect to an invalid URL", Reply::redirect(302, "http://[/"), KeysErrorKind::Redirects),
        bad("multiple choices", Reply::redirect(300, "/fine"), error(300)),
        good("301", Reply::redirect(301, "/fine")),
        good("302", Reply::redirect(302, "/fine")),
        good("303", Reply::redirect(303, "/fine")),
        good("307", Reply::redirect(307, "fine")),
        good("308", Reply::redirect(308, "./fine?a=b")),
        good("three redirects", Reply::redirect(302, "/two-more")),
        bad("four redirects", Reply::redirect(302, "/three-more"), KeysErrorKind::Redirects),
        // Reserved for documentation (RFC 5737): a request would time out.
        bad("redirect to plain http", Reply::redirect(302, "http://192.0.2.1/keys"), KeysErrorKind::InsecureUrl),
        bad("redirect to another host", Reply::redirect(302, "//id.example.com/keys"), KeysErrorKind::InsecureUrl),
        bad("redirect to a file", Reply::redirect(302, "file:///fine"), KeysErrorKind::InsecureUrl),
    ] {
        let issuer = TestIssuer::over_tcp(&[ed("1")]).await;
        let fine = Reply::keys(&[ed("1"), ed("2")]);
        for (path, reply) in [
            ("/fine", fine.clone()),
            ("/one-more", Reply::redirect(302, "/fine")),
            ("/two-more", Reply::redirect(302, "/one-more")),
            ("/three-more", Reply::redirect(302, "/two-more")),
        ] {
            issuer.reply(path, reply);
        }
        let keys = || {
            let keys = IssuerKeys::jwks_url(issuer.name(), issuer.url(KEYS));
            if name == "slow" { keys.timeout(Duration::from_millis(200)) } else { keys }
        };
        let before = verifier([keys()]).await.unwrap();
        let known = ed("1").token(issuer.name());
        assert_eq!(outcome_now(&before, &known), Some(Ok(())), "{name}");

        issuer.reply(KEYS, reply);
        assert_eq!(start_error(verifier([keys()]).await), expected, "{name}, first");
        let unknown = forged(issuer.name(), "?");
        let refused = if expected.is_some() { Kind::Unavailable } else { Kind::UnknownKey };
        assert_eq!(outcome(&before, &unknown).await, Err(refused), "{name}");
        assert_eq!(last_error(&before), expected, "{name}, then");
        let added = outcome_now(&before, &ed("2").token(issuer.name()));
        assert_eq!(added == Some(Ok(())), expected.is_none(), "{name}: {added:?}");
        assert_eq!(outcome_now(&before, &known), Some(Ok(())), "{name}");
        assert!(status(&before).is_usable(), "{name}");
    }
}

#[tokio::test]
async fn a_bad_discovery_document_is_reported_and_not_trusted() {
    let document = |issuer: &str, uri: &str| Reply::json(&json!({"issuer": issuer, "jwks_uri": uri}));
    type Make = fn(&TestIssuer, &dyn Fn(&str, &str) -> Reply) -> Reply;
    let cases: [(&str, Make, KeysErrorKind); 10] = [
        (
            "wrong issuer",
            |issuer, document| document("https://b.example", &issuer.url(KEYS)),
            KeysErrorKind::WrongIssuer,
        ),
        (
            "a trailing slash",
            |issuer, document| document(&format!("{}/", issuer.name()), &issuer.url(KEYS)),
            KeysErrorKind::WrongIssuer,
        ),
        (
            "plain http to another host",
            |issuer, document| document(issuer.name(), "http://192.0.2.1/keys"),
            KeysErrorKind::InsecureUrl,
        ),
        ("a file", |issuer, document| document(issuer.name(), "file:///keys"), KeysErrorKind::InsecureUrl),
        ("relative URL", |issuer, document| document(issuer.name(), KEYS), KeysErrorKind::Malformed),
        ("no jwks_uri", |issuer, _| Reply::json(&json!({"issuer": issuer.name()})), KeysErrorKind::Malformed),
        ("the key set", |_, _| Reply::keys(&[ed("1")]), KeysErrorKind::Malformed),
        ("HTML", |_, _| Reply::raw(200, "<!doctype html>"), KeysErrorKind::Malformed),
        ("10 MiB", |_, _| Reply::raw(200, vec![b' '; 10 * MIB]), KeysErrorKind::TooLarge),
        ("404", |_, _| Reply::raw(404, ""), KeysErrorKind::Status(StatusCode::NOT_FOUND)),
    ];
    for (name, make, expected) in cases {
        let issuer = TestIssuer::over_tcp(&[ed("1")]).await;
        issuer.reply(METADATA, make(&issuer, &document));
        let keys = IssuerKeys::discover(issuer.name()).timeout(seconds(5));
        assert_eq!(start_error(verifier([keys]).await), Some(expected), "{name}");
        assert_eq!(issuer.fetches(), 0, "{name}");
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_listen_or_support_tls_is_unreachable() {
    let issuer = TestIssuer::over_tcp(&[ed("1")]).await;
    let plain = issuer.url(KEYS);
    let known = ed("1").token(issuer.name());
    let before = verifier([IssuerKeys::jwks_url(issuer.name(), &plain)]).await.unwrap();
    assert_eq!(outcome_now(&before, &known), Some(Ok(())));

    let tls = plain.replace("http://", "https://");
    assert_eq!(start_error(verifier([IssuerKeys::jwks_url(A, tls)]).await), Some(KeysErrorKind::Unreachable));

    issuer.stop();
    settle().await;
    let gone = verifier([IssuerKeys::jwks_url(issuer.name(), &plain)]).await;
    let Err(StartError::Keys { source, .. }) = &gone else { panic!("{gone:?}") };
    assert!(std::error::Error::source(source).is_some(), "the source describes the connection error");
    assert_eq!(start_error(gone), Some(KeysErrorKind::Unreachable));
    assert_eq!(outcome(&before, &forged(issuer.name(), "?")).await, Err(Kind::Unavailable));
    assert_eq!(last_error(&before), Some(KeysErrorKind::Unreachable));
    assert_eq!(outcome_now(&before, &known), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn the_task_survives_a_client_that_panics_or_fails() {
    for (name, panics) in [("called", 0), ("polled", 1), ("failing", 2)] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        let calls = Arc::new(AtomicUsize::new(0));
        let good = Arc::new(issuer.client());
        let client = {
            let calls = Arc::clone(&calls);
            move |request: Request<()>| {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                assert!(call > 0 || panics != 0, "an intended panic");
                let good = Arc::clone(&good);
                async move {
                    assert!(call > 0 || panics != 1, "an intended panic");
                    if call == 0 {
                        return Err("an intended error".into());
                    }
                    good.fetch(request).await
                }
            }
        };
        let verifier = verifier([issuer.keys().fetch(client)]).build().unwrap();
        settle().await;
        assert_eq!(last_error(&verifier), Some(KeysErrorKind::Unreachable), "{name}");
        assert!(!status(&verifier).is_usable());
        verifier.ready().await.unwrap();
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())), "{name}");
        assert_eq!(last_error(&verifier), None, "{name}");
        assert_eq!(calls.load(Ordering::Relaxed), 2, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_covers_the_whole_fetch() {
    for (name, set_to, expected) in [("default", None, 10), ("set", Some(seconds(3)), 3)] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        issuer.reply(KEYS, Reply::keys(&[ed("1")]).held_by(&Gate::closed()));
        let slow = Arc::new(issuer.client());
        // Each response takes less than the timeout, but all of them together take longer.
        let client = move |request: Request<()>| {
            let slow = Arc::clone(&slow);
            async move {
                tokio::time::sleep(seconds(2)).await;
                slow.fetch(request).await
            }
        };
        let keys = issuer.discovered().fetch(client);
        let keys = set_to.map_or_else(|| keys.clone(), |timeout| keys.clone().timeout(timeout));
        let start = Instant::now();
        assert_eq!(start_error(verifier([keys]).await), Some(KeysErrorKind::TimedOut), "{name}");
        assert_eq!(start.elapsed().as_secs(), expected, "{name}");
    }
}

// ---- The next fetch.

#[tokio::test(start_paused = true)]
async fn freshness_follows_the_headers_within_bounds() {
    struct Case {
        name: &'static str,
        headers: &'static [(&'static str, &'static str)],
        interval: Option<RangeInclusive<u64>>,
        expected: u64,
    }

    const DATE: (&str, &str) = ("date", "Wed, 15 Nov 2023 10:00:00 GMT");
    let case = |name, headers, expected| Case { name, headers, interval: None, expected };
    let within = |interval, name, headers, expected| Case { name, headers, interval: Some(interval), expected };
    for Case { name, headers, interval, expected } in [
        case("no headers", &[], 300),
        case("max-age", &[("cache-control", "max-age=1000")], 1000),
        case("private", &[("cache-control", "private, max-age=1000")], 1000),
        case("s-maxage for shared caches", &[("cache-control", "max-age=1000, s-maxage=2000")], 1000),
        case("stale-while-revalidate", &[("cache-control", "max-age=1000, stale-while-revalidate=3000")], 1000),
        case("age below max-age", &[("cache-control", "max-age=1000"), ("age", "400")], 600),
        case("age above max-age", &[("cache-control", "max-age=1000"), ("age", "4000")], 300),
        case("too short", &[("cache-control", "max-age=10")], 300),
        case("too long", &[("cache-control", "max-age=86400")], 3600),
        case("more than 32 bits", &[("cache-control", "max-age=4294967396")], 3600),
        case("no-store", &[("cache-control", "no-store")], 300),
        case("no-cache with max-age", &[("cache-control", "no-cache, max-age=1000")], 300),
        case("invalid max-age", &[("cache-control", "max-age=soon")], 300),
        case("expires", &[DATE, ("expires", "Wed, 15 Nov 2023 10:16:40 GMT")], 1000),
        case("expired", &[DATE, ("expires", "Wed, 15 Nov 2023 09:00:00 GMT")], 300),
        case("expires at zero", &[("expires", "0")], 300),
        case("both", &[DATE, ("expires", "Wed, 15 Nov 2023 10:16:40 GMT"), ("cache-control", "max-age=2000")], 2000),
        within(60..=120, "minimum", &[], 60),
        within(60..=120, "between", &[("cache-control", "max-age=90")], 90),
        within(60..=120, "maximum", &[("cache-control", "max-age=900")], 120),
        within(60..=60, "fixed", &[("cache-control", "max-age=900")], 60),
    ] {
        let issuer = TestIssuer::in_process(A, &[]);
        let reply = headers.iter().fold(Reply::keys(&[ed("1")]), |reply, (name, value)| reply.header(name, *value));
        issuer.reply(KEYS, reply);
        let mut seen = Vec::new();
        for _ in 0..10 {
            let keys = match &interval {
                Some(interval) => issuer.keys().refresh_interval(seconds(*interval.start())..=seconds(*interval.end())),
                None => issuer.keys(),
            };
            let next = status(&verifier([keys]).await.unwrap()).next_refresh().unwrap();
            let expected = seconds(expected);
            assert!((expected.mul_f64(0.75)..=expected.mul_f64(0.95)).contains(&next), "{name}: {next:?}");
            seen.push(next);
        }
        assert!(seen.iter().any(|next| next != &seen[0]), "{name}: without jitter, all nodes fetch at once: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_not_modified_response_revalidates_the_keys() {
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.reply(METADATA, Reply::json(&issuer.metadata()).etag("\"document\""));
    issuer.reply(KEYS, Reply::keys(&[ed("1")]).etag("\"one\"").header("cache-control", "max-age=600"));
    let verifier = verifier([issuer.discovered().max_stale(seconds(3600))]).await.unwrap();
    let sent = |path, index: usize| issuer.requests_for(path)[index].get("if-none-match").cloned();
    assert_eq!((sent(METADATA, 0), sent(KEYS, 0)), (None, None));

    // Longer than `max_stale` without revalidation.
    for round in 1..=10 {
        advance(seconds(600)).await;
        settle().await;
        assert_eq!(issuer.fetches(), 1 + round);
        assert_eq!(sent(KEYS, round).unwrap(), "\"one\"");
        assert_eq!(sent(METADATA, round).unwrap(), "\"document\"");
        assert_eq!((status(&verifier).age(), last_error(&verifier)), (Some(Duration::ZERO), None));
        let next = status(&verifier).next_refresh().unwrap();
        assert!((seconds(450)..=seconds(570)).contains(&next), "{next:?}");
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
    }

    // Only the current keys can be revalidated, so the tag of a refused response is not sent.
    issuer.reply(KEYS, Reply::json(&json!({"keys": []})).etag("\"two\""));
    advance(seconds(600)).await;
    settle().await;
    assert_eq!(last_error(&verifier), Some(KeysErrorKind::NoUsableKey));
    advance(seconds(1)).await;
    settle().await;
    assert_eq!(issuer.fetches(), 13);
    assert_eq!(sent(KEYS, 12).unwrap(), "\"one\"");

    // The tag is not sent to another URL.
    issuer.reply("/moved", Reply::keys(&[ed("2")]));
    issuer.reply(METADATA, Reply::json(&json!({"issuer": A, "jwks_uri": issuer.url("/moved")})));
    advance(seconds(60)).await;
    settle().await;
    assert_eq!(sent("/moved", 0), None);
    assert_eq!(outcome_now(&verifier, &ed("2").token(A)), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn the_discovery_document_is_read_again_when_stale_or_after_a_failure() {
    let issuer = TestIssuer::in_process(A, &[]);
    let cacheable = |document: Value| Reply::json(&document).header("cache-control", "max-age=3600");
    issuer.reply(METADATA, cacheable(issuer.metadata()));
    issuer.reply(KEYS, Reply::keys(&[ed("1")]).header("cache-control", "max-age=600"));
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    for _ in 0..3 {
        advance(seconds(600)).await;
        settle().await;
    }
    assert_eq!((issuer.fetches_of(METADATA), issuer.fetches()), (1, 4));
    for _ in 0..3 {
        advance(seconds(600)).await;
        settle().await;
    }
    assert_eq!((issuer.fetches_of(METADATA), issuer.fetches()), (2, 7));

    // The keys have moved.
    issuer.reply(KEYS, Reply::raw(404, ""));
    issuer.reply("/moved", Reply::keys(&[ed("2")]));
    issuer.reply(METADATA, cacheable(json!({"issuer": A, "jwks_uri": issuer.url("/moved")})));
    advance(seconds(600)).await;
    settle().await;
    assert_eq!(last_error(&verifier), Some(KeysErrorKind::Status(StatusCode::NOT_FOUND)));
    advance(seconds(1)).await;
    settle().await;
    assert_eq!(issuer.fetches_of(METADATA), 3);
    assert_eq!(outcome_now(&verifier, &ed("2").token(A)), Some(Ok(())));

    // If the document is unavailable, the previous one is used. An invalid document is not followed.
    for document in [
        Reply::raw(500, ""),
        Reply::json(&json!({"issuer": "https://b.example", "jwks_uri": issuer.url(KEYS)})),
        Reply::json(&json!({"issuer": A, "jwks_uri": "http://192.0.2.1/keys"})),
    ] {
        issuer.publish(&[ed("of an attacker")]);
        let before = (issuer.fetches_of(METADATA), issuer.fetches());
        issuer.reply(METADATA, document);
        advance(seconds(3600)).await;
        settle().await;
        assert!(issuer.fetches_of(METADATA) > before.0);
        assert_eq!(issuer.fetches(), before.1);
        assert_eq!(outcome_now(&verifier, &ed("2").token(A)), Some(Ok(())));
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_exponential_backoff() {
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.reply(KEYS, Reply::raw(500, ""));
    let verifier = verifier([issuer.keys()]).build().unwrap();
    settle().await;
    for (failures, backoff) in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().enumerate() {
        assert_eq!(issuer.fetches(), failures + 1);
        let next = status(&verifier).next_refresh().unwrap();
        let backoff = seconds(backoff);
        assert!((backoff / 2..=backoff).contains(&next), "{failures}: {next:?}");
        let error = verify(&verifier, &ed("1").token(A)).now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(next)));
        // Timers have a resolution of one millisecond.
        advance(next + Duration::from_millis(1)).await;
        settle().await;
    }
    issuer.publish(&[ed("1")]);
    verifier.ready().await.unwrap();
    issuer.reply(KEYS, Reply::raw(500, ""));
    assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::Unavailable));
    assert!(status(&verifier).next_refresh().unwrap() <= seconds(1), "the backoff starts over");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected_up_to_five_minutes() {
    struct Case {
        retry_after: &'static str,
        expected: RangeInclusive<Duration>,
    }

    let backoff = || Duration::from_millis(500)..=seconds(1);
    for Case { retry_after, expected } in [
        Case { retry_after: "120", expected: seconds(120)..=seconds(120) },
        Case { retry_after: "0", expected: backoff() },
        Case { retry_after: "301", expected: seconds(300)..=seconds(300) },
        Case { retry_after: "18446744073709551615", expected: seconds(300)..=seconds(300) },
        Case { retry_after: "99999999999999999999", expected: backoff() },
        Case { retry_after: "-1", expected: backoff() },
        Case { retry_after: "soon", expected: backoff() },
    ] {
        let issuer = TestIssuer::in_process(A, &[]);
        issuer.reply(KEYS, Reply::raw(503, "").header("retry-after", retry_after));
        let verifier = verifier([issuer.keys()]).build().unwrap();
        settle().await;
        let next = status(&verifier).next_refresh().unwrap();
        assert!(expected.contains(&next), "{retry_after}: {next:?}");
        let response = shake_hands(&verifier, &ed("1").token(A)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let rounded_up = next.as_secs() + u64::from(next.subsec_nanos() > 0);
        assert_eq!(self::retry_after(&response), rounded_up, "{retry_after}");
        assert_eq!(issuer.fetches(), 1, "{retry_after}: no fetch before that");
    }
}

// ---- Outages.

#[tokio::test(start_paused = true)]
async fn the_last_keys_stay_in_use_until_they_are_too_old() {
    for max_stale in [None, Some(seconds(5400))] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        let keys = max_stale.map_or_else(|| issuer.keys(), |max_stale| issuer.keys().max_stale(max_stale));
        let max_stale = max_stale.unwrap_or(DAY);
        let verifier = verifier([keys]).await.unwrap();
        issuer.reply(KEYS, Reply::raw(500, ""));
        let token = ed("1").token(A);
        advance(max_stale - seconds(1)).await;
        settle().await;
        assert!(issuer.fetches() > 1);
        assert!(status(&verifier).is_usable());
        assert_eq!(shake_hands(&verifier, &token).await.status(), StatusCode::SWITCHING_PROTOCOLS);

        advance(seconds(1)).await;
        settle().await;
        let stale = status(&verifier);
        assert!(!stale.is_usable());
        assert_eq!(stale.key_ids().collect::<Vec<_>>(), [Some("1")], "the status still shows the last keys");
        assert!(stale.age().unwrap() >= max_stale);
        for token in [&token, &ed("2").token(A), &Key::without_id(Pair::Rsa).token(A)] {
            let response = shake_hands(&verifier, token).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!((1..=60).contains(&retry_after(&response)));
        }
        // Tokens that no key could make valid are still invalid.
        let with = |name: &str, value: Value| {
            let mut claims = claims(A);
            claims[name] = value;
            ed("1").sign(&claims)
        };
        for token in [
            with("exp", 1_000_000_000.into()),
            with("aud", "mail".into()),
            with("iss", "https://b.example".into()),
            "a.b.c".to_owned(),
        ] {
            assert_eq!(shake_hands(&verifier, &token).await.status(), StatusCode::UNAUTHORIZED);
        }

        issuer.publish(&[ed("1")]);
        verifier.ready().await.unwrap();
        assert_eq!(shake_hands(&verifier, &token).await.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(last_error(&verifier), None);
    }
}

// ---- Withdrawal of all keys.

#[tokio::test(start_paused = true)]
async fn the_second_set_without_a_usable_key_withdraws_all_keys() {
    let x25519 = json!({"kty": "OKP", "crv": "X25519", "kid": "enc", "use": "enc", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"});
    let exposed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "d": "AQAB", "x": ed("1").jwk()["x"]});
    for (name, keys, unusable) in [
        ("empty set", json!([]), &[][..]),
        ("encryption key", json!([x25519]), &["enc"]),
        ("published private key", json!([exposed]), &["1"]),
    ] {
        let issuer = TestIssuer::in_process(A, &[]);
        issuer.reply(KEYS, Reply::keys(&[ed("1")]).etag("\"1\""));
        let verifier = verifier([issuer.keys()]).await.unwrap();
        let cached = CachedVerifier::new(verifier.clone());
        let token = ed("1").token(A);
        let cached_error = async || {
            let (parts, _) = handshake().build().into_parts();
            let now = UNIX_EPOCH + seconds(NOW);
            cached
                .verify(VerifyInput::new(&Token::new(token.as_str()), &parts, now))
                .await
                .map_err(|error| error.kind())
                .err()
        };
        assert_eq!(cached_error().await, None, "{name}");

        // The first set may be a mistake. An outage between the two sets makes no difference.
        issuer.reply(KEYS, Reply::json(&json!({ "keys": keys })).etag("\"2\""));
        assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::Unavailable), "{name}");
        assert_eq!(last_error(&verifier), Some(KeysErrorKind::NoUsableKey), "{name}");
        assert_eq!(outcome_now(&verifier, &token), Some(Ok(())), "{name}");
        assert_eq!(cached_error().await, None, "{name}");
        let next = status(&verifier).next_refresh().unwrap();
        assert!(next <= seconds(1), "{name}: {next:?}");
        let reply = Reply::json(&json!({ "keys": keys })).etag("\"2\"");
        issuer.reply(KEYS, Reply::raw(500, ""));
        advance(seconds(1)).await;
        settle().await;
        assert_eq!(last_error(&verifier).map(KeysErrorKind::as_str), Some("status"), "{name}");
        assert_eq!(outcome_now(&verifier, &token), Some(Ok(())), "{name}");
        issuer.reply(KEYS, reply);
        advance(seconds(2)).await;
        settle().await;

        let withdrawn = status(&verifier);
        assert_eq!(withdrawn.last_error().map(KeysError::kind), Some(KeysErrorKind::NoUsableKey), "{name}");
        assert!(!withdrawn.is_usable(), "{name}");
        assert_eq!(withdrawn.key_ids().count(), 0, "{name}");
        assert_eq!(
            withdrawn.unusable().iter().map(|key| key.key_id().unwrap()).collect::<Vec<_>>(),
            unusable,
            "{name}"
        );
        for _ in 0..3 {
            for token in [&token, &forged(A, "?"), &ed("2").token(A)] {
                let response = shake_hands(&verifier, token).await;
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{name}");
                assert!((0..=60).contains(&retry_after(&response)), "{name}");
            }
            assert_eq!(cached_error().await, Some(Kind::Unavailable), "{name}");
            advance(seconds(70)).await;
            settle().await;
        }

        // The original set with the same tag restores the keys.
        issuer.reply(KEYS, Reply::keys(&[ed("1")]).etag("\"1\""));
        verifier.ready().await.unwrap();
        assert_eq!(outcome_now(&verifier, &token), Some(Ok(())), "{name}");
        assert_eq!(cached_error().await, None, "{name}");
        assert_eq!(last_error(&verifier), None, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn withdrawn_keys_are_logged_once_as_an_error() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let log = Log::default();
    let _capture = log.capture(tracing::Level::ERROR);

    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    issuer.reply(KEYS, Reply::raw(200, r#"{"keys":[]}"#));
    assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::Unavailable));
    assert_eq!(log.text(), "");
    advance(seconds(3600)).await;
    settle().await;
    advance(seconds(3600)).await;
    settle().await;
    let errors = log.text();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("ERROR") && errors.contains("keys withdrawn") && errors.contains(A), "{errors}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_between_two_valid_ones_changes_nothing() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    for _ in 0..3 {
        advance(seconds(20)).await;
        issuer.reply(KEYS, Reply::raw(200, r#"{"keys":[]}"#));
        assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::Unavailable));
        assert_eq!(last_error(&verifier), Some(KeysErrorKind::NoUsableKey));
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
        issuer.publish(&[ed("1")]);
        advance(seconds(1)).await;
        settle().await;
        assert_eq!(last_error(&verifier), None);
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_set_without_a_usable_key_is_read_again_soon_after_any_failures() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let (down, empty) = (Reply::raw(500, ""), Reply::raw(200, r#"{"keys":[]}"#));
    // The shortest and the longest time until the next request.
    for (reply, least, most) in
        [(&down, 0, 1), (&down, 1, 2), (&down, 2, 4), (&down, 4, 8), (&empty, 0, 1), (&down, 16, 32), (&empty, 30, 60)]
    {
        issuer.reply(KEYS, reply.clone());
        advance(status(&verifier).next_refresh().unwrap() + Duration::from_millis(1)).await;
        settle().await;
        let next = status(&verifier).next_refresh().unwrap();
        assert!((seconds(least)..=seconds(most)).contains(&next), "{next:?} after {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_sets_do_not_withdraw_keys() {
    for body in [r#"{"keys":null}"#, "{}", "[]", r#"{"keys":[7]}"#, r#"{"keys":[{}]}"#, "<html>", ""] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        let verifier = verifier([issuer.keys()]).await.unwrap();
        issuer.reply(KEYS, Reply::raw(200, body));
        advance(DAY - seconds(1)).await;
        settle().await;
        assert!(issuer.fetches() > 1, "{body}");
        assert_eq!(last_error(&verifier), Some(KeysErrorKind::Malformed), "{body}");
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn awaiting_the_builder_fails_on_the_first_failed_fetch() {
    let good = TestIssuer::in_process("https://good.example", &[ed("1")]);
    let bad = TestIssuer::in_process(A, &[]);
    bad.reply(KEYS, Reply::raw(500, ""));
    let start = Instant::now();
    let built = verifier([good.keys(), bad.keys()]).await;
    let Err(StartError::Keys { issuer, source }) = built else { panic!("{built:?}") };
    assert_eq!(issuer, A);
    assert_eq!(source.kind(), KeysErrorKind::Status(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(start.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "the background task has ended");

    let wrong = verifier([bad.keys().timeout(Duration::ZERO)]).await;
    assert!(matches!(wrong, Err(StartError::Config(_))), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn tokens_wait_for_the_first_keys() {
    let issuer = TestIssuer::in_process(A, &[]);
    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("1"), Key::new(Pair::Rsa, "2")]).held_by(&gate));
    let verifier = verifier([issuer.keys()]).build().unwrap();
    let fresh = status(&verifier);
    assert_eq!((fresh.is_usable(), fresh.age(), fresh.key_ids().count()), (false, None, 0));

    let tokens = [ed("1").token(A), Key::without_id(Pair::Rsa).token(A), forged(A, "?"), forged(A, "??")];
    let [with_id, without_id, early, late] = tokens.each_ref();
    let mut early = Box::pin(outcome(&verifier, early));
    assert_eq!((&mut early).now_or_never(), None);
    settle().await;
    let mut with_id = Box::pin(outcome(&verifier, with_id));
    let mut without_id = Box::pin(outcome(&verifier, without_id));
    let mut late = Box::pin(outcome(&verifier, late));
    for waiting in [&mut with_id, &mut without_id, &mut late] {
        assert_eq!(waiting.now_or_never(), None);
    }
    gate.open();
    assert_eq!(with_id.await, Ok(()));
    assert_eq!(without_id.await, Ok(()));
    assert_eq!(early.await, Err(Kind::UnknownKey), "the token arrived before the fetch began");
    assert_eq!(issuer.fetches(), 1);
    // This key may have been published after the fetch began.
    assert_eq!(late.await, Err(Kind::UnknownKey));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_start_without_keys_recovers_by_itself() {
    let (one, two) = (TestIssuer::in_process(A, &[]), TestIssuer::in_process("https://b.example", &[ed("b")]));
    one.reply(KEYS, Reply::raw(503, ""));
    let verifier = verifier([one.keys(), two.discovered()]).build().unwrap();
    let first = outcome(&verifier, &ed("1").token(A)).await;
    assert_eq!(first, Err(Kind::Unavailable), "the token waits for the first fetch only");
    assert_eq!(one.fetches(), 1);
    assert_eq!(
        outcome_now(&verifier, &ed("b").token("https://b.example")),
        Some(Ok(())),
        "one issuer does not delay the other"
    );

    let mut ready = Box::pin(verifier.ready());
    assert!((&mut ready).now_or_never().is_none());
    advance(seconds(100)).await;
    settle().await;
    assert!((&mut ready).now_or_never().is_none());
    assert!(one.fetches() > 1);
    one.publish(&[ed("1")]);
    let start = Instant::now();
    ready.await.unwrap();
    assert!(start.elapsed() <= seconds(60), "{:?}", start.elapsed());
    assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
}

// ---- Lifecycle.

#[tokio::test(start_paused = true)]
async fn dropping_the_last_verifier_ends_the_task() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    for hangs in [false, true] {
        let (one, two) =
            (TestIssuer::in_process(A, &[ed("1")]), TestIssuer::in_process("https://b.example", &[ed("2")]));
        let verifier = verifier([one.discovered(), two.keys()]).await.unwrap();
        settle().await;
        assert_eq!(alive(), 1, "one task for all issuers");
        if hangs {
            one.reply(KEYS, Reply::keys(&[ed("1")]).held_by(&Gate::closed()));
            assert_eq!(outcome_now(&verifier, &forged(A, "?")), None);
            settle().await;
            assert_eq!(alive(), 2, "a fetch is in progress");
        }
        let clone = verifier.clone();
        drop(verifier);
        let layer = WsAuthLayer::new(clone.clone());
        drop(clone);
        settle().await;
        assert_eq!(alive(), 1 + usize::from(hangs), "the layer holds a clone");
        drop(layer);
        settle().await;
        assert_eq!(alive(), 0);
        let requests = one.request_count() + two.request_count();
        advance(DAY).await;
        settle().await;
        assert_eq!(one.request_count() + two.request_count(), requests);
    }
}

#[test]
fn a_verifier_outlives_the_runtime_it_was_built_in() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let first = runtime();
    let verifier = first.block_on(async { verifier([issuer.keys()]).await }).unwrap();
    drop(first);
    runtime().block_on(async {
        let now = UNIX_EPOCH + seconds(EXP - 1);
        assert!(verify_at(&verifier, &ed("1").token(A), now).await.is_ok());
        // The task is gone, so an unknown key is not waited for.
        let unknown = timeout(seconds(60), outcome(&verifier, &forged(A, "?"))).await;
        assert_eq!(unknown.unwrap(), Err(Kind::Unavailable));
    });
}

#[tokio::test(start_paused = true)]
async fn a_hanging_discovery_document_leaves_time_for_the_keys() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    issuer.reply(METADATA, Reply::raw(200, "").held_by(&Gate::closed()));
    issuer.publish(&[ed("2")]);
    advance(seconds(2 * 3600)).await;
    tokio::time::sleep(seconds(60)).await;
    assert!(outcome(&verifier, &ed("2").token(A)).await.is_ok());
    // The error is still reported.
    assert_eq!(last_error(&verifier), Some(KeysErrorKind::TimedOut));

    // A document that names another issuer is not ignored.
    let other = json!({"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"});
    issuer.reply(METADATA, Reply::raw(200, other.to_string()));
    let before = issuer.fetches();
    tokio::time::sleep(seconds(2 * 3600)).await;
    assert_eq!(last_error(&verifier), Some(KeysErrorKind::WrongIssuer));
    assert_eq!(issuer.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn an_unreliable_issuer_is_fetched_no_more_often_than_the_cool_down_allows() {
    for failures in [1, 2] {
        let fetches = Arc::new(AtomicUsize::new(0));
        let fetch = {
            let fetches = Arc::clone(&fetches);
            move |_: Request<()>| {
                let is_broken = !fetches.fetch_add(1, Ordering::SeqCst).is_multiple_of(failures + 1);
                async move {
                    if is_broken {
                        Err("unavailable".into())
                    } else {
                        Ok(http::Response::new(set(&[ed("1")]).to_string().into_bytes()))
                    }
                }
            }
        };
        let verifier = verifier([IssuerKeys::jwks_url(A, "https://a.example/keys").fetch(fetch)]).await.unwrap();
        let start = Instant::now();
        for number in 0.. {
            let refused = outcome(&verifier, &forged(A, &format!("unknown {number}"))).await;
            assert!(matches!(refused, Err(Kind::UnknownKey | Kind::Unavailable)), "{number}: {refused:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            if start.elapsed() > seconds(600) {
                break;
            }
        }
        // Sixty requested fetches, and a retry after each failure.
        let fetches = fetches.load(Ordering::SeqCst);
        let max = 60 * (failures + 1);
        assert!((60..=max + 15).contains(&fetches), "{failures}: {fetches}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entity_tag_is_valid_for_its_url_only() {
    // A redirect alternates between two URLs with the same tag but different keys.
    let (first, second) = (ed("1"), ed("2"));
    let moved = Arc::new(AtomicBool::new(false));
    let fetch = {
        let moved = Arc::clone(&moved);
        move |request: Request<()>| {
            let moved = moved.load(Ordering::SeqCst);
            let path = request.uri().path().to_owned();
            let response = match path.as_str() {
                "/keys" => http::Response::builder()
                    .status(302)
                    .header("location", if moved { "/two" } else { "/one" })
                    .body(Vec::new()),
                _ if request.headers().contains_key("if-none-match") => {
                    http::Response::builder().status(304).body(Vec::new())
                }
                _ => {
                    let key = if path == "/one" { &first } else { &second };
                    let set = json!({"keys": [key.jwk()]}).to_string();
                    http::Response::builder().header("etag", "\"1\"").body(set.into_bytes())
                }
            };
            async move { Ok(response?) }
        }
    };
    let verifier = verifier([IssuerKeys::jwks_url(A, "https://a.example/keys").fetch(fetch)]).await.unwrap();
    assert_eq!(status(&verifier).key_ids().collect::<Vec<_>>(), [Some("1")]);
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(status(&verifier).key_ids().collect::<Vec<_>>(), [Some("1")], "revalidated");
    moved.store(true, Ordering::SeqCst);
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(status(&verifier).key_ids().collect::<Vec<_>>(), [Some("2")]);
}

#[test]
fn waiting_for_a_stalled_runtime_times_out() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let stalled = runtime();
    let keys = issuer.keys().timeout(Duration::from_millis(200));
    let verifier = stalled.block_on(async { verifier([keys]).await }).unwrap();
    let waits = async { timeout(seconds(20), outcome(&verifier, &forged(A, "?"))).await };
    assert_eq!(runtime().block_on(waits).unwrap(), Err(Kind::Unavailable));

    drop(stalled);
    let error = last_error(&verifier);
    assert_eq!(error, Some(KeysErrorKind::Abandoned));
    let ready = runtime().block_on(verifier.ready());
    assert!(ready.is_ok(), "the last keys are usable");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_while_waiting_for_its_key_is_refused() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).leeway(Duration::ZERO).await.unwrap();
    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("2")]).held_by(&gate));
    let token = ed("2").token(A);
    let now = UNIX_EPOCH + seconds(EXP - 2);
    let (outcome, ()) = tokio::join!(verify_at(&verifier, &token, now), async {
        tokio::time::sleep(seconds(3)).await;
        gate.open();
    });
    assert_eq!(outcome.unwrap_err().kind(), Kind::Expired);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_set_with_huge_invalid_keys_is_small() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    issuer.reply(KEYS, Reply::raw(200, json!({"keys": vec![0; 101]}).to_string()));
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(last_error(&verifier), Some(KeysErrorKind::TooLarge));
    let mut keys = vec![json!({"kty": "x".repeat(100_000), "kid": "y".repeat(100_000)}); 5];
    keys.push(ed("1").jwk());
    issuer.reply(KEYS, Reply::raw(200, json!({ "keys": keys }).to_string()));
    tokio::time::sleep(seconds(3600)).await;
    let status = serde_json::to_string(&verifier.status()).unwrap();
    assert!(last_error(&verifier).is_none() && status.len() < 5000, "{}", status.len());
}
