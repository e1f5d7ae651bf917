//! Tickets: issuing, redeeming, binding, limits, and failing stores.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, ConfigError, MemoryTickets, Session, TicketErrorKind, TicketOptions, Tickets, TokenSource,
    Verified, Verifier, WsAuthLayer,
    store::{StoreError, StoreErrorKind, TicketCapacity, TicketKey, TicketStore},
    test_util::{self, HandshakeBuilder, TestToken, conformance, handshake},
};
use http::Request;
use serde_json::{Value, json};
use support::{answer, closed, completed, is_refused_with, text};
use tokio_tungstenite::tungstenite::Message;

fn tickets() -> Tickets<Value> {
    Tickets::new(MemoryTickets::new())
}

/// Issues tickets at `/ticket`, and redeems them on all other paths.
fn app(tickets: &Tickets<Value>, options: TicketOptions) -> Router {
    async fn who(upgrade: AuthenticatedUpgrade<Value>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            let session = socket.session();
            let who = json!({"claims": *socket.claims(), "subject": session.subject(), "ends": session.expires_at()});
            let _ = socket.send(who.to_string().into()).await;
            while let Some(Ok(_)) = socket.recv().await {}
        })
    }
    let redeeming = WsAuthLayer::new(tickets.verifier())
        .sources([TokenSource::ticket(), TokenSource::bearer_subprotocol()])
        .unwrap();
    let routes = Router::new()
        .route("/chat", any(who))
        .route("/other", any(who))
        .nest("/nested", Router::new().route("/chat", any(who)));
    Router::new()
        .route("/ticket", tickets.route(options))
        .layer(WsAuthLayer::new(test_util::verifier::<Value>()))
        .merge(routes.layer(redeeming))
}

fn ticket_request(token: &str) -> Request<Body> {
    Request::post("/ticket").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

async fn issued(app: &Router, request: Request<Body>) -> String {
    let response = answer(app, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let ticket: Value = serde_json::from_str(&text(response).await).unwrap();
    ticket["ticket"].as_str().unwrap().to_owned()
}

fn with_ticket(path: &str, ticket: &str) -> HandshakeBuilder {
    handshake().path(format!("{path}?ticket={ticket}"))
}

async fn status(app: &Router, request: HandshakeBuilder) -> u16 {
    answer(app, request.build()).await.status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_one_session_with_the_claims_and_the_deadline_of_its_token() {
    let app = app(&tickets(), TicketOptions::new());
    let token = TestToken::new("alice").claim("room", "blue").expires_in(Duration::from_secs(600)).sign();
    let ticket = issued(&app, ticket_request(&token)).await;
    assert_eq!(ticket.len(), 43, "256 bits in base64url");

    let (mut socket, _) = test_util::connect(app.clone(), with_ticket("/chat", &ticket).build()).await.unwrap();
    let Some(Ok(Message::Text(who))) = futures_util::StreamExt::next(&mut socket).await else { panic!("a greeting") };
    let who: Value = serde_json::from_str(&who).unwrap();
    assert_eq!((&who["claims"]["room"], &who["subject"]), (&json!("blue"), &json!("alice")));
    // The leeway of the verifier is half a minute.
    let exp = who["claims"]["exp"].as_u64().unwrap() + 30;
    assert_eq!(who["ends"]["secs_since_epoch"].as_u64(), Some(exp));

    let again = answer(&app, with_ticket("/chat", &ticket).build()).await;
    assert!(is_refused_with(&again, http::StatusCode::UNAUTHORIZED, "unknown_ticket"));
    // The session ends with the token, not with the ticket.
    let begin = tokio::time::Instant::now();
    assert_eq!(closed(&mut socket).await, (3000, "token_expired".to_owned()));
    assert!((620..=630).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_ticket_keeps_the_metadata_of_its_token() {
    let tickets = tickets();
    let issued_at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 250_000_000);
    let verified = Verified::new(json!({"a": 1}))
        .with_subject("alice")
        .with_issuer("https://id.example.com")
        .with_token_id("id of the token")
        .with_provider_session("id of the provider's session")
        .with_issued_at(issued_at)
        .with_expires_at(SystemTime::now() + Duration::from_secs(10));
    let ticket = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap();
    assert!((9..=10).contains(&ticket.expires_in().as_secs()), "a ticket does not outlive its token");

    let (parts, _) = handshake().build().into_parts();
    let input = axum_ws_auth::VerifyInput::new(ticket.token(), &parts, SystemTime::now());
    assert_eq!(tickets.verifier().verify(input).await.unwrap(), verified);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_expires() {
    let app = app(&tickets(), TicketOptions::new().lifetime(Duration::from_secs(10)).unwrap());
    let [early, late] =
        [issued(&app, ticket_request(&support::token())).await, issued(&app, ticket_request(&support::token())).await];
    tokio::time::sleep(Duration::from_millis(9_999)).await;
    assert_eq!(status(&app, with_ticket("/chat", &early)).await, 101);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(status(&app, with_ticket("/chat", &late)).await, 401);

    assert!(TicketOptions::new().lifetime(Duration::from_secs(30)).is_ok());
    let over = Duration::from_millis(30_001);
    assert_eq!(TicketOptions::new().lifetime(over).err(), Some(ConfigError::LongTicket(over)));
    assert!(TicketOptions::new().lifetime(Duration::ZERO).is_err());
    for path in ["", "chat", "/chat?room=blue", "/chat#top"] {
        assert_eq!(TicketOptions::new().path(path).err(), Some(ConfigError::InvalidPath(path.to_owned())));
    }
    for origin in ["", "app.example.com", "https://app.example.com/", "https://app.example.com/chat"] {
        assert!(TicketOptions::new().origin(origin).is_err(), "{origin}");
    }
}

#[tokio::test]
async fn an_expired_token_gets_and_redeems_no_ticket() {
    let clock = Arc::new(Mutex::new(SystemTime::now()));
    let now = Arc::clone(&clock);
    let time = axum_ws_auth::TimeSource::new(move || *now.lock().unwrap());
    let tickets = tickets().time_source(time.clone());
    let expires_at = *clock.lock().unwrap() + Duration::from_secs(20);
    let verified = Verified::new(json!({})).with_expires_at(expires_at);
    let options = TicketOptions::new();
    let ticket = tickets.issue_for(&verified, &options).await.unwrap();
    let layer = WsAuthLayer::new(tickets.verifier()).time_source(time).sources([TokenSource::ticket()]).unwrap();
    let app = support::echo_behind(layer);

    *clock.lock().unwrap() = expires_at;
    let response = answer(&app, with_ticket("/", ticket.token().expose()).build()).await;
    assert!(is_refused_with(&response, http::StatusCode::UNAUTHORIZED, "token_expired"));
    assert_eq!(tickets.issue_for(&verified, &options).await.unwrap_err().kind(), TicketErrorKind::Expired);
}

#[tokio::test]
async fn a_ticket_is_valid_only_where_it_is_bound() {
    struct Case {
        name: &'static str,
        options: TicketOptions,
        path: &'static str,
        origin: Option<&'static str>,
        expected: u16,
    }
    let case = |name, options, path, origin, expected| Case { name, options, path, origin, expected };
    let new = TicketOptions::new;
    const APP: &str = "https://app.example.com";
    for Case { name, options, path, origin, expected } in [
        case("bound to nothing", new(), "/other", None, 101),
        case("its path", new().path("/chat").unwrap(), "/chat", None, 101),
        case("another path", new().path("/chat").unwrap(), "/other", None, 401),
        case("the path with its prefix", new().path("/nested/chat").unwrap(), "/nested/chat", None, 101),
        case("the path without its prefix", new().path("/chat").unwrap(), "/nested/chat", None, 401),
        case("its origin", new().origin(APP).unwrap(), "/chat", Some(APP), 101),
        case("its origin in another case", new().origin(APP).unwrap(), "/chat", Some("https://APP.example.com"), 101),
        case("another origin", new().origin(APP).unwrap(), "/chat", Some("https://evil.example"), 401),
        case("no origin", new().origin(APP).unwrap(), "/chat", None, 401),
        case("the origin of the request", new().asking_origin(), "/chat", Some(APP), 101),
        case("another than that of the request", new().asking_origin(), "/chat", Some("https://evil.example"), 401),
        case("both", new().path("/chat").unwrap().origin(APP).unwrap(), "/other", Some(APP), 401),
    ] {
        let app = app(&tickets(), options);
        let mut request = ticket_request(&support::token());
        request.headers_mut().insert("origin", APP.parse().unwrap());
        let mut handshake = with_ticket(path, &issued(&app, request).await);
        if let Some(origin) = origin {
            handshake = handshake.origin(origin);
        }
        let response = answer(&app, handshake.build()).await;
        assert_eq!(response.status(), expected, "{name}");
        let elsewhere = is_refused_with(&response, http::StatusCode::UNAUTHORIZED, "ticket_for_elsewhere");
        assert_eq!(elsewhere, expected == 401, "{name}");
    }

    // A ticket that is offered elsewhere is used up, because somebody else may have it.
    let app = app(&tickets(), new().path("/chat").unwrap());
    let ticket = issued(&app, ticket_request(&support::token())).await;
    assert_eq!(status(&app, with_ticket("/other", &ticket)).await, 401);
    assert_eq!(status(&app, with_ticket("/chat", &ticket)).await, 401);
}

#[tokio::test]
async fn the_route_issues_tickets_to_authenticated_requests_only() {
    let app = app(&tickets(), TicketOptions::new().asking_origin());
    for (name, request, expected) in [
        ("no token", Request::post("/ticket").body(Body::empty()).unwrap(), 401),
        ("a bad token", ticket_request("bad"), 401),
        (
            "not a POST",
            Request::get("/ticket")
                .header("authorization", format!("Bearer {}", support::token()))
                .body(Body::empty())
                .unwrap(),
            405,
        ),
        ("no origin to bind the ticket to", ticket_request(&support::token()), 403),
    ] {
        let response = answer(&app, request).await;
        assert_eq!(response.status(), expected, "{name}");
        assert!(!text(response).await.contains("\"ticket\""), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_thousand_concurrent_handshakes_redeems_a_ticket() {
    let app = app(&tickets(), TicketOptions::new());
    for _ in 0..5 {
        let ticket = issued(&app, ticket_request(&support::token())).await;
        let handshakes: Vec<_> = (0..1000)
            .map(|_| {
                let (app, request) = (app.clone(), with_ticket("/chat", &ticket));
                tokio::spawn(async move { status(&app, request).await })
            })
            .collect();
        assert_eq!(completed(handshakes).await, 1);
    }
}

type Put = (TicketKey, Vec<u8>);

/// A store that can be made to fail, and records what it is given.
#[derive(Clone, Default)]
struct Spy {
    inner: Arc<MemoryTickets>,
    fails: Arc<Mutex<Option<StoreError>>>,
    put: Arc<Mutex<Vec<Put>>>,
    asked: Arc<AtomicUsize>,
}

impl TicketStore for Spy {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.put.lock().unwrap().push((key, content.clone()));
        self.inner.put(key, content, lifetime).await
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked.fetch_add(1, Relaxed);
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.inner.redeem(key).await
    }
}

#[tokio::test]
async fn a_full_or_unavailable_store_is_a_503() {
    let spy = Spy::default();
    let tickets = Tickets::<Value>::new(spy.clone());
    let app = app(&tickets, TicketOptions::new());
    let ticket = issued(&app, ticket_request(&support::token())).await;

    for (error, kind) in
        [(StoreError::unavailable(), StoreErrorKind::Unavailable), (StoreError::full(), StoreErrorKind::Full)]
    {
        *spy.fails.lock().unwrap() = Some(error.with_source("the secret of the store"));
        let response = answer(&app, ticket_request(&support::token())).await;
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"5".parse().unwrap()));
        assert!(!text(response).await.contains("secret"));
        let verified = Verified::new(json!({}));
        let error = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), TicketErrorKind::Store(kind));

        let response = answer(&app, with_ticket("/chat", &ticket).build()).await;
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    }
    *spy.fails.lock().unwrap() = None;
    assert_eq!(status(&app, with_ticket("/chat", &ticket)).await, 101);
}

#[tokio::test(start_paused = true)]
async fn flood_while_the_store_is_unavailable_is_a_handful_of_log_events() {
    let log = support::log::Log::default();
    let _logging = log.capture(tracing::Level::INFO);
    let spy = Spy::default();
    let app = app(&Tickets::new(spy.clone()), TicketOptions::new());
    *spy.fails.lock().unwrap() = Some(StoreError::unavailable());
    for _ in 0..25 {
        assert_eq!(status(&app, with_ticket("/chat", &"A".repeat(43))).await, 503);
        assert_eq!(answer(&app, ticket_request(&support::token())).await.status(), 503);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        for (one, more) in [
            ("ticket not redeemed", "WARN axum_ws_auth: tickets not redeemed suppressed=15\n"),
            ("ticket not issued", "INFO axum_ws_auth: tickets not issued suppressed=15\n"),
        ] {
            assert_eq!(log.lines().filter(|line| line.contains(one)).count(), 10, "{log}");
            assert!(log.contains(more), "{log}");
        }
    }
}

#[tokio::test]
async fn the_store_sees_hashes_only_and_is_not_asked_for_malformed_tickets() {
    let spy = Spy::default();
    let app = app(&Tickets::new(spy.clone()), TicketOptions::new());
    let ticket = issued(&app, ticket_request(&support::token())).await;
    let (key, content) = spy.put.lock().unwrap()[0].clone();
    assert!(!format!("{key} {key:?}").contains(&ticket));
    assert!(!String::from_utf8(content).unwrap().contains(&ticket));

    let mut padded = ticket.clone();
    padded.push('=');
    let other_last = format!("{}{}", &ticket[..42], if ticket.ends_with('B') { 'C' } else { 'B' });
    for wrong in [&support::token(), "x", &ticket[1..], &format!("{ticket}A"), &padded, &other_last] {
        assert_eq!(status(&app, handshake().path("/chat").bearer_subprotocol(wrong)).await, 401, "{wrong}");
    }
    assert_eq!(spy.asked.load(Relaxed), 0);
    assert_eq!(
        status(&app, handshake().path("/chat").bearer_subprotocol(&ticket)).await,
        101,
        "any source is accepted"
    );
}

#[tokio::test]
async fn debug_output_shows_no_ticket() {
    let tickets = tickets();
    let verified = Verified::new(json!({"secret": "claim"}));
    let ticket = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap();
    let printed = format!("{ticket:?} {tickets:?} {:?}", tickets.verifier());
    assert!(!printed.contains(ticket.token().expose()) && !printed.contains("claim"), "{printed}");
    let expected = json!({"ticket": ticket.token().expose(), "expires_in": 30});
    assert_eq!(serde_json::to_value(&ticket).unwrap(), expected);
    let store = MemoryTickets::new();
    store.put(TicketKey::of(&[7; 32]), b"claims".to_vec(), Duration::from_secs(1)).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryTickets { tickets: 1, capacity: 100000 }");
}

#[tokio::test]
async fn an_ended_session_gets_no_ticket() {
    let tickets = tickets();
    let (sender, receiver) = tokio::sync::oneshot::channel::<Session<Value>>();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let handler = async move |upgrade: AuthenticatedUpgrade<Value>| {
        let _ = sender.lock().unwrap().take().unwrap().send(upgrade.session().unwrap().clone());
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let app = Router::new().route("/", any(handler)).layer(support::jwt_layer());
    let request = handshake().bearer_subprotocol(&support::token()).build();
    let _socket = test_util::connect(app, request).await.unwrap();
    let session = receiver.await.unwrap();

    assert!(tickets.issue(&session, &TicketOptions::new()).await.is_ok());
    session.end();
    let error = tickets.issue(&session, &TicketOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), TicketErrorKind::Expired);
}

#[tokio::test]
async fn tickets_can_be_accepted_beside_other_tokens() {
    let tickets = tickets();
    let layer = WsAuthLayer::new(test_util::verifier::<Value>().or(tickets.verifier()));
    let app = support::echo_behind(layer);
    let ticket = tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await.unwrap();
    for token in [ticket.token().expose(), &support::token()] {
        assert_eq!(status(&app, handshake().bearer_subprotocol(token)).await, 101);
    }
    assert_eq!(status(&app, handshake().bearer_subprotocol(ticket.token().expose())).await, 401);
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_is_bounded_and_removes_expired_tickets() {
    let store = MemoryTickets::new().capacity(3).unwrap();
    let put = async |n: u8, seconds| store.put(TicketKey::of(&[n; 32]), vec![n], Duration::from_secs(seconds)).await;
    for n in 0..3 {
        put(n, 10).await.unwrap();
    }
    assert_eq!(put(3, 10).await.unwrap_err().kind(), StoreErrorKind::Full);
    tokio::time::sleep(Duration::from_secs(10)).await;
    put(3, 10).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryTickets { tickets: 1, capacity: 3 }");
    assert_eq!(MemoryTickets::new().capacity(0).err(), Some(ConfigError::ZeroLimit("tickets")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_passes_the_conformance_test() {
    conformance::tickets(MemoryTickets::new()).await;
}

/// How many tickets are issued in a row, up to this maximum.
async fn count_issued(max: usize, mut issue: impl AsyncFnMut() -> bool) -> usize {
    for number in 0..max {
        if !issue().await {
            return number;
        }
    }
    max
}

#[tokio::test(start_paused = true)]
async fn one_subject_cannot_fill_the_store() {
    struct Case {
        name: &'static str,
        tickets: Tickets<Value>,
        limit: usize,
    }
    let case = |name, tickets, limit| Case { name, tickets, limit };
    let with_capacity = |tickets| Tickets::<Value>::new(MemoryTickets::new().capacity(tickets).unwrap());
    for Case { name, tickets, limit } in [
        case("by default", tickets(), 100),
        case("a small store", with_capacity(200), 20),
        case("a tiny store", with_capacity(2), 1),
        case("as set", tickets().max_per_subject(7).unwrap(), 7),
        case("another store", Tickets::new(Spy::default()), 100),
    ] {
        let app = app(&tickets, TicketOptions::new());
        let request = async |subject: &str| answer(&app, ticket_request(&TestToken::new(subject).sign())).await;
        let mallory = count_issued(300, async || request("mallory").await.status() == 200).await;
        assert_eq!(mallory, limit, "{name}");
        let refusal = request("mallory").await;
        assert_eq!(
            (refusal.status().as_u16(), &refusal.headers()["retry-after"]),
            (429, &"5".parse().unwrap()),
            "{name}"
        );
        assert!(text(refusal).await.contains("too_many_tickets"), "{name}");
        let ticket = issued(&app, ticket_request(&TestToken::new("alice").sign())).await;
        assert_eq!(status(&app, with_ticket("/chat", &ticket)).await, 101, "{name}");

        // Redeemed and expired tickets no longer count.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let ticket = issued(&app, ticket_request(&TestToken::new("mallory").sign())).await;
        assert_eq!(count_issued(300, async || request("mallory").await.status() == 200).await, limit - 1, "{name}");
        assert_eq!(status(&app, with_ticket("/chat", &ticket)).await, 101, "{name}");
        assert_eq!(count_issued(300, async || request("mallory").await.status() == 200).await, 1, "{name}");
    }
    assert_eq!(tickets().max_per_subject(0).err(), Some(ConfigError::ZeroLimit("tickets of a subject")));
}

#[tokio::test]
async fn the_same_sub_at_two_issuers_is_two_subjects() {
    let tickets = tickets().max_per_subject(3).unwrap();
    let verified = |issuer: Option<&str>, subject: &str| {
        let verified = Verified::new(json!({})).with_subject(subject);
        issuer.map_or(verified.clone(), |issuer| verified.with_issuer(issuer))
    };
    for (issuer, subject) in
        [(Some("a"), "bc"), (Some("ab"), "c"), (Some("b"), "bc"), (None, "bc"), (None, "abc"), (Some(""), "abc")]
    {
        let verified = verified(issuer, subject);
        let count = count_issued(9, async || tickets.issue_for(&verified, &TicketOptions::new()).await.is_ok()).await;
        assert_eq!(count, 3, "{issuer:?} {subject}");
        let error = tickets.clone().issue_for(&verified, &TicketOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), TicketErrorKind::TooMany);
    }
}

#[tokio::test]
async fn the_size_of_tickets_is_bounded() {
    let large = |subject: &str, len: usize| Verified::new(json!({"a": "x".repeat(len)})).with_subject(subject);
    // A subject may have a megabyte of claims, however few tickets that is.
    let tickets = tickets();
    let new = TicketOptions::new();
    for (len, expected) in [(2_000_000, 0), (400_000, 2), (100_000, 10), (10, 100)] {
        let verified = large(&format!("mallory{len}"), len);
        assert_eq!(
            count_issued(200, async || tickets.issue_for(&verified, &new).await.is_ok()).await,
            expected,
            "{len}"
        );
    }
    // All subjects together are limited by the store, and so are tickets without a subject.
    let store = Arc::new(MemoryTickets::new().max_bytes(100_000).unwrap());
    let tickets = Tickets::<Value>::new(Shared(Arc::clone(&store)));
    let verified = large("mallory", 4000);
    assert_eq!(count_issued(200, async || tickets.issue_for(&verified, &new).await.is_ok()).await, 2, "a tenth");
    let nobody = Verified::new(json!({"a": "x".repeat(4000)}));
    let mut last = None;
    let count = count_issued(200, async || {
        let outcome = tickets.issue_for(&nobody, &new).await;
        last = outcome.as_ref().ok().cloned().or(last.take());
        outcome.is_ok()
    })
    .await;
    assert!((18..23).contains(&count), "{count}");
    let error = tickets.issue_for(&nobody, &new).await.unwrap_err();
    assert_eq!(error.kind(), TicketErrorKind::Store(StoreErrorKind::Full));
    // A redeemed ticket frees its bytes.
    let (parts, _) = handshake().build().into_parts();
    let input = axum_ws_auth::VerifyInput::new(last.as_ref().unwrap().token(), &parts, SystemTime::now());
    tickets.verifier().verify(input).await.unwrap();
    assert!(tickets.issue_for(&nobody, &new).await.is_ok());
    assert!(tickets.issue_for(&nobody, &new).await.is_err());
    assert_eq!(MemoryTickets::new().max_bytes(0).err(), Some(ConfigError::ZeroLimit("bytes of tickets")));
}

/// A store that is also used directly.
struct Shared(Arc<MemoryTickets>);

impl TicketStore for Shared {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        self.0.put(key, content, lifetime).await
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.redeem(key).await
    }

    fn total_capacity(&self) -> TicketCapacity {
        self.0.total_capacity()
    }
}

#[tokio::test]
async fn tickets_are_limited_by_a_key_of_the_application() {
    let peer = |parts: &http::request::Parts| parts.headers.get("peer").cloned();
    let options = TicketOptions::new().max_per_key(3, peer).unwrap();
    assert!(format!("{options:?}").contains("KeyQuota"));
    let app = app(&tickets(), options);
    let mut number = 0;
    let mut request = async |peer: Option<&'static str>| {
        // A new subject each time.
        number += 1;
        let mut request = ticket_request(&TestToken::new(&format!("user{number}")).sign());
        if let Some(peer) = peer {
            request.headers_mut().insert("peer", peer.parse().unwrap());
        }
        answer(&app, request).await
    };
    for peer in [Some("10.0.0.1"), Some("10.0.0.2"), None] {
        assert_eq!(count_issued(9, async || request(peer).await.status() == 200).await, 3, "{peer:?}");
        assert_eq!(request(peer).await.status(), 429, "{peer:?}");
    }
    let zero = TicketOptions::new().max_per_key(0, peer).err();
    assert_eq!(zero, Some(ConfigError::ZeroLimit("tickets with the same key")));
}

#[tokio::test]
async fn a_failed_put_does_not_count() {
    let spy = Spy::default();
    let tickets = Tickets::<Value>::new(spy.clone()).max_per_subject(2).unwrap();
    let verified = Verified::new(json!({})).with_subject("alice");
    *spy.fails.lock().unwrap() = Some(StoreError::unavailable());
    for _ in 0..5 {
        let error = tickets.issue_for(&verified, &TicketOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), TicketErrorKind::Store(StoreErrorKind::Unavailable));
    }
    *spy.fails.lock().unwrap() = None;
    let count = count_issued(9, async || tickets.issue_for(&verified, &TicketOptions::new()).await.is_ok()).await;
    assert_eq!(count, 2);
}
