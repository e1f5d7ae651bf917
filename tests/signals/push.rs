//! Shared Signals: events that are pushed, and their effects. The examples are those of CAEP 1.0, RISC 1.0 and
//! Keycloak.

use std::error::Error;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};
use std::time::Duration;

use axum::response::Response;
use axum_ws_auth::{
    ConfigError, Limits, MemoryRevocations, Revocation, Revocations, ScopedId, Sessions, WsAuthLayer,
    jwks::IssuerKeys,
    signals::{
        CredentialChange, SecurityEvent, SecurityEventErrorKind, SharedSignals, SharedSignalsBuilder, SubjectId,
    },
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
    test_util::{self, MemoryBus},
};
use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::Level;

use crate::{
    events::*,
    limits::MemoryLimits,
    support::{
        answer, closed,
        issuer::{Key, Pair},
        log::{Log, captured},
        settle, text,
    },
};

/// Which of the sockets are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Laptop,
    /// All of alice's.
    Alice,
    None,
}

/// Knows alice's email address.
async fn users(subject: SubjectId) -> Result<Option<ScopedId>, Box<dyn std::error::Error + Send + Sync>> {
    match subject {
        SubjectId::Email { email } if &*email == "alice@example.com" => Ok(Some(ScopedId::of(ISSUER, "alice"))),
        SubjectId::Email { email } if &*email == "down@example.com" => Err("the database is down".into()),
        _ => Ok(None),
    }
}

async fn assert_effect(node: &Node, name: &str, claims: &Value, expected: Closed) {
    let (laptop, phone, bob) = ("alice.laptop.t1", "alice.phone.t2", "bob.laptop-of-bob.t3");
    let (mut on_laptop, mut on_phone, mut bobs) =
        (node.open(laptop).await, node.open(phone).await, node.open(bob).await);
    let response = node.push(claims).await;
    assert_eq!((response.status().as_u16(), text(response).await), (202, String::new()), "{name}");
    let is_closed = [!is_open(&mut on_laptop).await, !is_open(&mut on_phone).await, !is_open(&mut bobs).await];
    let expected = [expected != Closed::None, expected == Closed::Alice, false];
    assert_eq!(is_closed, expected, "{name}");
    for (token, is_refused) in [laptop, phone, bob].into_iter().zip(expected) {
        assert_eq!(node.status(token).await, if is_refused { 401 } else { 101 }, "{name}: {token}");
    }
    assert_eq!(node.status("new-alice.new.t4").await, 101, "{name}: a later sign-in");
}

#[tokio::test]
async fn events_end_what_they_are_about_and_nothing_else() {
    let caep = |name: &str, subject: Value, members: Value| event(&format!("{CAEP}{name}"), &subject, &members);
    let risc = |name: &str, subject: Value| event(&format!("{RISC}{name}"), &subject, &json!({"reason": "hijacking"}));
    let opaque = |id: &str| json!({"format": "opaque", "id": id});
    let email = |email: &str| json!({"format": "email", "email": email});
    let token = json!({"format": "jwt_id", "iss": ISSUER, "jti": "t1"});
    let device = json!({
        "format": "complex", "user": user("alice"), "tenant": opaque("123456789"),
        "device": {"format": "iss_sub", "iss": ISSUER, "sub": "e9297990-14d2-42ec"},
    });
    let password = json!({"change_type": "update", "credential_type": "password", "initiating_entity": "user"});
    let mut of_bob = session_of("alice", "laptop");
    of_bob["user"]["iss"] = "https://other.example.com".into();
    for (name, claims, expected) in [
        (
            "Keycloak: log-out",
            caep("session-revoked", session_of("alice", "laptop"), json!({"reason_admin": {"en": "User logout"}})),
            Closed::Laptop,
        ),
        ("Keycloak: log-out of all", caep("session-revoked", session_of("alice", "ALL"), json!({})), Closed::Alice),
        ("Keycloak: password", caep("credential-change", user("alice"), password.clone()), Closed::Alice),
        (
            "Keycloak: password in a session",
            caep("credential-change", session_of("alice", "laptop"), password),
            Closed::Alice,
        ),
        (
            "CAEP: session",
            caep("session-revoked", opaque("laptop"), json!({"initiating_entity": "policy"})),
            Closed::Laptop,
        ),
        (
            "CAEP: user, device and tenant",
            caep("session-revoked", device, json!({"initiating_entity": "policy"})),
            Closed::Alice,
        ),
        (
            "session without a user",
            caep("session-revoked", json!({"format": "complex", "session": opaque("laptop")}), json!({})),
            Closed::Laptop,
        ),
        (
            "session as issuer and id",
            caep("session-revoked", json!({"format": "complex", "session": user("laptop")}), json!({})),
            Closed::Laptop,
        ),
        (
            "session as token",
            caep("session-revoked", json!({"format": "complex", "session": token, "user": user("alice")}), json!({})),
            Closed::Laptop,
        ),
        (
            "session in another format",
            caep(
                "session-revoked",
                json!({"format": "complex", "session": email("x@y"), "user": user("alice")}),
                json!({}),
            ),
            Closed::Alice,
        ),
        (
            "user by email in a complex subject",
            caep("session-revoked", json!({"format": "complex", "user": email("alice@example.com")}), json!({})),
            Closed::Alice,
        ),
        ("user", caep("session-revoked", user("alice"), json!({})), Closed::Alice),
        ("email", caep("session-revoked", email("alice@example.com"), json!({})), Closed::Alice),
        (
            "CAEP: claims of a token",
            caep("token-claims-change", token.clone(), json!({"claims": {"role": "ro-admin"}})),
            Closed::Laptop,
        ),
        ("claims of a user", caep("token-claims-change", user("alice"), json!({"claims": {}})), Closed::Alice),
        ("RISC: disabled", risc("account-disabled", user("alice")), Closed::Alice),
        ("RISC: purged", risc("account-purged", user("alice")), Closed::Alice),
        ("RISC: sessions", risc("sessions-revoked", user("alice")), Closed::Alice),
        ("RISC: compromise", risc("credential-compromise", user("alice")), Closed::Alice),
        (
            "user of another issuer",
            caep(
                "session-revoked",
                json!({"format": "iss_sub", "iss": "https://x.example", "sub": "alice"}),
                json!({}),
            ),
            Closed::None,
        ),
        ("session of another issuer", caep("session-revoked", of_bob, json!({})), Closed::None),
        ("unknown email", caep("session-revoked", email("eve@example.com"), json!({})), Closed::None),
        ("opaque user", caep("credential-change", opaque("laptop"), json!({})), Closed::None),
        (
            "opaque user in a complex subject",
            caep("session-revoked", json!({"format": "complex", "user": opaque("laptop")}), json!({})),
            Closed::None,
        ),
        (
            "tenant",
            caep("session-revoked", json!({"format": "complex", "tenant": opaque("1")}), json!({})),
            Closed::None,
        ),
        (
            "all sessions of nobody",
            caep("session-revoked", json!({"format": "complex", "session": opaque("ALL")}), json!({})),
            Closed::None,
        ),
        ("RISC: enabled", risc("account-enabled", user("alice")), Closed::None),
        (
            "CAEP: device",
            caep("device-compliance-change", user("alice"), json!({"current_status": "not-compliant"})),
            Closed::None,
        ),
        ("unknown event", event("https://example.com/event/what", &user("alice"), &json!({})), Closed::None),
        ("a longer name", event(&format!("{CAEP}session-revoked2"), &user("alice"), &json!({})), Closed::None),
    ] {
        let node = Node::with(MemoryRevocations::new(), |signals| signals.users(users));
        assert_effect(&node, name, &claims, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn event_ends_sessions_on_all_nodes() {
    let (one, other) = two_nodes();
    let mut socket = other.open("alice.laptop.t1").await;
    assert_eq!(one.push(&revoked(&session_of("alice", "laptop"))).await.status(), 202);
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
    assert_eq!(other.status("alice.laptop.t1").await, 401);
    assert_eq!(other.status("alice.phone.t2").await, 101);
}

struct Refused {
    name: &'static str,
    token: String,
    err: &'static str,
}

#[tokio::test]
async fn bad_events_are_refused_with_the_codes_of_the_specification() {
    let good = revoked(&user("alice"));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims)
    };
    let refused = |name, token, err| Refused { name, token, err };
    let unsigned = format!(
        "{}.{}.",
        test_util::base64url(r#"{"alg":"none","typ":"secevent+jwt"}"#),
        test_util::base64url(good.to_string())
    );
    let event_type = format!("{CAEP}session-revoked");
    let two = json!({&event_type: {}, format!("{CAEP}credential-change"): {}});
    for Refused { name, token, err } in [
        refused("empty", String::new(), "invalid_request"),
        refused("not a token", "hello".to_owned(), "invalid_request"),
        refused("access token", key().sign_as(Some("JWT"), &good.to_string()), "invalid_request"),
        refused("no type", key().sign_as(None, &good.to_string()), "invalid_request"),
        refused("unsigned", unsigned, "invalid_key"),
        refused(
            "other key",
            Key::new(Pair::EdTest1, "set-1").sign_as(Some("secevent+jwt"), &good.to_string()),
            "invalid_key",
        ),
        refused(
            "unknown key",
            Key::new(Pair::EdTest1, "x").sign_as(Some("secevent+jwt"), &good.to_string()),
            "invalid_key",
        ),
        refused("other issuer", with("iss", json!("https://evil.example")), "invalid_issuer"),
        refused("no issuer", without("iss"), "invalid_request"),
        refused("other audience", with("aud", json!("https://mail.example.com")), "invalid_audience"),
        refused("other audiences", with("aud", json!(["a", "b"])), "invalid_audience"),
        refused("no audience", without("aud"), "invalid_request"),
        refused("with exp", with("exp", json!(now() + 60)), "invalid_request"),
        refused("with past exp", with("exp", json!(1)), "invalid_request"),
        refused("with sub", with("sub", json!("alice")), "invalid_request"),
        refused("with null sub", with("sub", json!(null)), "invalid_request"),
        refused("no jti", without("jti"), "invalid_request"),
        refused("empty jti", with("jti", json!("")), "invalid_request"),
        refused("no iat", without("iat"), "invalid_request"),
        refused("no subject", without("sub_id"), "invalid_request"),
        refused("malformed subject", with("sub_id", json!({"format": "iss_sub", "iss": ISSUER})), "invalid_request"),
        refused("text as subject", with("sub_id", json!("alice")), "invalid_request"),
        refused("no events", without("events"), "invalid_request"),
        refused("empty events", with("events", json!({})), "invalid_request"),
        refused("two events", with("events", two), "invalid_request"),
        refused("list of events", with("events", json!([event_type])), "invalid_request"),
        refused("text as event", with("events", json!({&event_type: "now"})), "invalid_request"),
        refused("too long", with("x", json!("x".repeat(64 * 1024))), "invalid_request"),
    ] {
        let node = Node::new();
        let mut socket = node.open("alice.laptop.t1").await;
        assert_refused(node.push_token(token).await, err, name).await;
        assert!(is_open(&mut socket).await, "{name}");
        assert_eq!(node.revocations.status().entries, 0, "{name}");
    }
    let several = with("aud", json!(["https://mail.example.com", AUDIENCE]));
    assert_eq!(Node::new().push_token(several).await.status(), 202);
    assert_eq!(Node::new().push_token(format!("{}\r\n", signed(&good))).await.status(), 202);
}

async fn assert_refused(response: Response, err: &str, name: &str) {
    assert_eq!(response.status(), 400, "{name}");
    let header = |header: &str| response.headers()[header].to_str().unwrap().to_owned();
    assert_eq!(
        [header("content-type"), header("content-language"), header("cache-control")],
        ["application/json", "en", "no-store"],
        "{name}"
    );
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["err"], err, "{name}");
    assert!(body["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
}

#[tokio::test]
async fn push_needs_its_content_type_and_method() {
    let node = Node::new();
    let push = async |content_type: Option<&'static str>| {
        let mut request = Request::post("/signals");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        answer(&node.app, request.body(signed(&revoked(&user("alice"))).into()).unwrap()).await
    };
    for other in [None, Some("application/jwt"), Some("application/json"), Some("application/secevent+jwtx")] {
        assert_refused(push(other).await, "invalid_request", &format!("{other:?}")).await;
    }
    for good in ["application/secevent+jwt", "Application/SecEvent+JWT; charset=utf-8"] {
        assert_eq!(push(Some(good)).await.status(), 202, "{good}");
    }
    let request = Request::get("/signals").body(axum::body::Body::empty()).unwrap();
    assert_eq!(answer(&node.app, request).await.status(), 405);
}

#[tokio::test]
async fn push_needs_the_expected_authorization_and_nobody_sees_it() {
    let secret = HeaderValue::from_static("Bearer 7b1c-secret");
    let node = Node::with(MemoryRevocations::new(), |signals| signals.push_authorization(&secret));
    let push = async |authorizations: &[&'static str]| {
        let mut request = Request::post("/signals").header("content-type", "application/secevent+jwt");
        for authorization in authorizations {
            request = request.header("authorization", *authorization);
        }
        answer(&node.app, request.body(signed(&revoked(&user("alice"))).into()).unwrap()).await
    };
    for wrong in
        [&[][..], &["Bearer 7b1c-secre"], &["bearer 7b1c-secret"], &["Bearer 7b1c-secret", "Bearer 7b1c-secret"]]
    {
        let (response, log) = captured(Level::TRACE, push(wrong)).await;
        assert_refused(response, "authentication_failed", &format!("{wrong:?}")).await;
        assert!(!log.contains("7b1c"), "{log}");
    }
    assert_eq!(push(&["Bearer 7b1c-secret"]).await.status(), 202);
    assert!(!format!("{:?}", node.signals).contains("7b1c"));
    let builder = SharedSignals::with_keys(keys(), &node.revocations).push_authorization(&secret);
    assert!(!format!("{builder:?}").contains("7b1c"));
}

#[tokio::test]
async fn repeated_event_is_answered_alike_and_ends_nothing_newer() {
    let node = Node::new();
    for subject in [user("alice"), session_of("alice", "laptop"), session_of("alice", "ALL")] {
        let mut claims = revoked(&subject);
        claims["iat"] = (now() - 30).into();
        claims["events"][format!("{CAEP}session-revoked")]["event_timestamp"] = (now() - 30).into();
        assert_eq!(node.push(&claims).await.status(), 202);
        let mut socket = node.open("new-alice.desk.t9").await;
        for _ in 0..3 {
            assert_eq!(node.push(&claims).await.status(), 202);
        }
        assert!(is_open(&mut socket).await, "{subject}");
        assert_eq!(node.status("new-alice.desk.t9").await, 101, "{subject}");
        assert_eq!(node.status("alice.laptop.t1").await, 401, "{subject}");
    }
}

/// A token that was issued 60 seconds ago is revoked only if the event is later than that.
#[tokio::test]
async fn time_of_an_event_is_the_earliest_that_makes_sense() {
    let name = format!("{CAEP}session-revoked");
    let (before, after) = (now() - 3600, now() - 10);
    for (case, timestamp, toe, iat, is_revoked) in [
        ("event_timestamp", json!(before), json!(after), after, false),
        ("event_timestamp with a fraction", json!(before as f64 + 0.5), json!(after), after, false),
        ("toe", json!(null), json!(before), after, false),
        ("iat", json!(null), json!(null), before, false),
        ("iat is late enough", json!(null), json!(null), after, true),
        ("milliseconds are later than iat", json!(after * 1000), json!(null), before, false),
        ("text is ignored", json!("yesterday"), json!(null), after, true),
        ("negative is ignored", json!(-5), json!(null), after, true),
        ("huge is ignored", json!(1e300), json!(null), after, true),
        ("the future is now", json!(now() + 3600), json!(null), now() + 3600, true),
    ] {
        let node = Node::new();
        let mut claims = revoked(&user("alice"));
        claims["events"][&name]["event_timestamp"] = timestamp;
        (claims["toe"], claims["iat"]) = (toe, iat.into());
        assert_eq!(node.push(&claims).await.status(), 202, "{case}");
        assert_eq!(node.status("alice.laptop.t1").await, if is_revoked { 401 } else { 101 }, "{case}");
    }
}

/// Confirms nothing while it is down.
#[derive(Clone, Default)]
pub(crate) struct FlakyStore(Arc<(MemoryRevocations, AtomicBool)>);

impl FlakyStore {
    pub(crate) fn fail(&self, fails: bool) {
        self.0.1.store(fails, SeqCst);
    }
}

impl RevocationStore for FlakyStore {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        if self.0.1.load(SeqCst) { Err(StoreError::unavailable()) } else { self.0.0.add(revocation, keep_for).await }
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.0.0.load().await
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        self.0.0.next(after).await
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_store_has_it() {
    let store = FlakyStore::default();
    store.fail(true);
    let node = Node::with(store.clone(), |signals| signals.users(users));
    let claims = revoked(&user("alice"));
    let (response, log) = captured(Level::WARN, node.push(&claims)).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"5"[..]));
    if cfg!(feature = "tracing") {
        assert!(log.contains("signal not applied"), "{log}");
    }
    assert_eq!(node.status("alice.laptop.t1").await, 401, "it is in effect here");
    assert_eq!(node.signals.status().last_signal, None);
    store.fail(false);
    assert_eq!(node.push(&claims).await.status(), 202);
    assert!(node.signals.status().last_signal.is_some());

    // A user database that is down is no reason to forget the event either.
    let email = json!({"format": "email", "email": "down@example.com"});
    assert_eq!(node.push(&revoked(&email)).await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_unavailable_are_no_reason_to_refuse_an_event() {
    let keys = IssuerKeys::jwks_url(ISSUER, "https://id.example.com/keys").fetch(|_| async { Err("no route".into()) });
    let node = Node::with_layer(MemoryRevocations::new(), WsAuthLayer::new(access_token), |revocations| {
        SharedSignals::with_keys(keys, revocations).audience(AUDIENCE)
    });
    assert_eq!(node.push(&revoked(&user("alice"))).await.status(), 503);
}

#[tokio::test]
async fn credential_changes_end_what_is_configured() {
    let change =
        |change: &str| event(&format!("{CAEP}credential-change"), &user("alice"), &json!({"change_type": change}));
    for (setting, change_type, is_revoked) in [
        (CredentialChange::End, "create", true),
        (CredentialChange::End, "", true),
        (CredentialChange::EndUnlessCreated, "create", false),
        (CredentialChange::EndUnlessCreated, "update", true),
        (CredentialChange::EndUnlessCreated, "delete", true),
        (CredentialChange::EndUnlessCreated, "new", true),
        (CredentialChange::Ignore, "update", false),
    ] {
        let node = Node::with(MemoryRevocations::new(), |signals| signals.on_credential_change(setting));
        assert_eq!(node.push(&change(change_type)).await.status(), 202);
        let expected = if is_revoked { 401 } else { 101 };
        assert_eq!(node.status("alice.laptop.t1").await, expected, "{setting:?} {change_type}");
    }
}

#[tokio::test]
async fn tokens_without_a_session_end_by_user_if_that_is_configured() {
    let node = Node::with(MemoryRevocations::new(), SharedSignalsBuilder::end_all_of_user);
    assert_effect(&node, "a session", &revoked(&session_of("alice", "desk")), Closed::Alice).await;
    let node = Node::with(MemoryRevocations::new(), SharedSignalsBuilder::end_all_of_user);
    let of_nobody = json!({"format": "complex", "session": {"format": "opaque", "id": "laptop"}});
    assert_effect(&node, "a session without a user", &revoked(&of_nobody), Closed::Laptop).await;
}

#[tokio::test]
async fn transmitter_may_have_another_issuer_than_the_tokens() {
    // The access tokens are those of `ISSUER`.
    let node = || {
        Node::with_layer(MemoryRevocations::new(), WsAuthLayer::new(access_token), |revocations| {
            let set = crate::support::issuer::set(&[key()]);
            let keys = IssuerKeys::jwks("https://org.okta.com", serde_json::from_value(set).unwrap());
            SharedSignals::with_keys(keys, revocations).audience(AUDIENCE).token_issuer(ISSUER)
        })
    };
    let of_org = |subject: &Value| {
        let text = revoked(subject).to_string().replace(ISSUER, "https://org.okta.com");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_effect(&node(), "user", &of_org(&user("alice")), Closed::Alice).await;
    assert_effect(&node(), "session", &of_org(&session_of("alice", "laptop")), Closed::Laptop).await;
    assert_effect(&node(), "opaque", &of_org(&json!({"format": "opaque", "id": "laptop"})), Closed::Laptop).await;
    let mut other = of_org(&user("alice"));
    other["sub_id"]["iss"] = "https://third.example.com".into();
    assert_effect(&node(), "third issuer", &other, Closed::None).await;
}

#[tokio::test]
async fn critical_members_that_are_not_understood_discard_the_event() {
    let mut subject = session_of("alice", "laptop");
    subject["tenant"] = json!({"format": "opaque", "id": "1"});
    let critical = |members: &'static [&'static str]| {
        Node::with(MemoryRevocations::new(), |signals| signals.critical_subject_members(members.iter().copied()))
    };
    let discards = critical(&["tenant", "user"]);
    let (_, log) = captured(Level::WARN, assert_effect(&discards, "tenant", &revoked(&subject), Closed::None)).await;
    if cfg!(feature = "tracing") {
        assert!(log.contains("critical member"), "{log}");
    }
    assert_effect(&critical(&["user", "session"]), "understood", &revoked(&subject), Closed::Laptop).await;
    subject["tenant"] = json!("malformed");
    assert_effect(&critical(&["tenant"]), "malformed", &revoked(&subject), Closed::None).await;
    subject.as_object_mut().unwrap().remove("tenant");
    assert_effect(&critical(&["tenant"]), "absent", &revoked(&subject), Closed::Laptop).await;
}

#[tokio::test(start_paused = true)]
async fn resolver_or_fallback_that_hangs_gets_the_event_again() {
    let email = json!({"format": "email", "email": "alice@example.com"});
    let compliance = event(&format!("{CAEP}device-compliance-change"), &user("alice"), &json!({}));
    let fallback = Node::with(MemoryRevocations::new(), |signals| signals.fallback(|_| std::future::pending()));
    let resolver = Node::with(MemoryRevocations::new(), |signals| {
        signals.users(|_| std::future::pending::<Result<Option<ScopedId>, Box<dyn Error + Send + Sync>>>())
    });
    for (node, claims) in [(fallback, compliance), (resolver, revoked(&email))] {
        let begin = Instant::now();
        assert_eq!(node.push(&claims).await.status(), 503, "{claims}");
        assert_eq!(begin.elapsed().as_secs(), 10, "{claims}");
    }
}

#[tokio::test]
async fn fallback_gets_what_has_no_effect_of_its_own() {
    let seen: Arc<Mutex<Vec<SecurityEvent>>> = Arc::default();
    let fails = Arc::new(AtomicBool::new(false));
    let node = Node::with(MemoryRevocations::new(), |signals| {
        let (seen, fails) = (Arc::clone(&seen), Arc::clone(&fails));
        signals.fallback(move |event| {
            let (seen, fails) = (Arc::clone(&seen), Arc::clone(&fails));
            async move {
                if fails.load(SeqCst) {
                    return Err("not now".into());
                }
                seen.lock().unwrap().push(event);
                Ok(())
            }
        })
    });
    let tenant = json!({"format": "complex", "tenant": {"format": "opaque", "id": "acme"}});
    let compliance = json!({"current_status": "not-compliant", "previous_status": "compliant"});
    let compliance = event(&format!("{CAEP}device-compliance-change"), &user("alice"), &compliance);
    fails.store(true, SeqCst);
    assert_eq!(node.push(&compliance).await.status(), 503);
    fails.store(false, SeqCst);
    for claims in [&compliance, &revoked(&tenant), &revoked(&user("alice"))] {
        assert_eq!(node.push(claims).await.status(), 202);
    }
    let seen = seen.lock().unwrap();
    let [compliance, tenant] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(compliance.event_type(), format!("{CAEP}device-compliance-change"));
    assert_eq!((compliance.text("current_status"), &**compliance.issuer()), (Some("not-compliant"), ISSUER));
    assert!(compliance.to_json().contains(r#""previous_status":"compliant""#), "{}", compliance.to_json());
    assert!(matches!(compliance.subject(), Some(SubjectId::IssSub { .. })));
    assert_eq!(compliance.id(), "756E69717565206964656E746966696572");
    assert!(matches!(tenant.subject(), Some(SubjectId::Complex(subject)) if subject.get("tenant").is_some()));
}

#[tokio::test(start_paused = true)]
async fn claims_change_asks_the_verifier_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let sessions = Sessions::new();
    let verifier = {
        let asked = Arc::clone(&asked);
        axum_ws_auth::verifier_fn(move |input: axum_ws_auth::OwnedVerifyInput| {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, SeqCst);
                let verified = access_token(input.as_input()).await?;
                // The phone's token is one of a kind that cannot be asked about.
                let can_recheck = verified.provider_session.as_deref() != Some("phone");
                Ok(if can_recheck { verified.recheck_in(Duration::MAX) } else { verified })
            }
        })
    };
    let layer = WsAuthLayer::new(verifier).sessions(&sessions);
    let node = Node::with_layer(MemoryRevocations::new(), layer, |revocations| {
        let signals = SharedSignals::with_keys(keys(), revocations).audience(AUDIENCE);
        signals.recheck_on_claims_change(&sessions)
    });
    let (mut laptop, mut phone) = (node.open("alice.laptop.t1").await, node.open("alice.phone.t2").await);
    let mut bob = node.open("bob.laptop.t3").await;
    assert_eq!(asked.load(SeqCst), 3);
    let change =
        |subject: &Value| event(&format!("{CAEP}token-claims-change"), subject, &json!({"claims": {"role": "x"}}));
    assert_eq!(node.push(&change(&user("alice"))).await.status(), 202);
    assert_eq!(closed(&mut phone).await, (3000, "revoked".to_owned()));
    assert!(is_open(&mut laptop).await && is_open(&mut bob).await);
    assert_eq!((asked.load(SeqCst), node.revocations.status().entries), (4, 0));
    // A token alone cannot be asked about.
    let token = json!({"format": "jwt_id", "iss": ISSUER, "jti": "t1"});
    assert_eq!(node.push(&change(&token)).await.status(), 202);
    assert_eq!(closed(&mut laptop).await.1, "revoked");
    assert!(is_open(&mut bob).await);
}

#[tokio::test]
async fn changes_of_the_stream_are_alarms() {
    let node = Node::new();
    let stream = json!({"format": "opaque", "id": "stream-1"});
    for (status, expected) in [("paused", "WARN"), ("disabled", "ERROR"), ("enabled", "INFO"), ("odd", "ERROR")] {
        let claims =
            event(&format!("{SSF}stream-updated"), &stream, &json!({"status": status, "reason": "License expired"}));
        let (response, log) = captured(Level::INFO, node.push(&claims)).await;
        assert_eq!(response.status(), 202, "{status}");
        if cfg!(feature = "tracing") {
            assert!(log.contains(expected) && log.contains("signal stream"), "{status}: {log}");
        }
        let noted = node.signals.status().stream.map(axum_ws_auth::signals::StreamState::as_str);
        assert_eq!(noted, Some(if status == "odd" { "unknown" } else { status }));
    }
}

#[tokio::test]
async fn events_and_refusals_are_logged_without_the_token() {
    let node = Node::new();
    let good = signed(&revoked(&user("alice")));
    let bad = key().sign_as(Some("JWT"), &revoked(&user("alice")).to_string());
    let pushes = async {
        settle().await;
        node.push_token(good.clone()).await;
        node.push_token(bad.clone()).await;
    };
    let ((), log) = captured(Level::TRACE, pushes).await;
    if cfg!(feature = "tracing") {
        for expected in ["signal received", "signal refused", "invalid_request", "session-revoked"] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
    }
    for part in good.split('.').chain(bad.split('.')) {
        assert!(!log.contains(part), "{log}");
    }
}

/// Anybody can send something to the route.
#[tokio::test(start_paused = true)]
async fn flood_of_bad_events_is_a_handful_of_log_events() {
    let log = Log::default();
    let _logging = log.capture(Level::INFO);
    let node = Node::new();
    for _ in 0..25 {
        // Refused after the body is read, and before.
        assert_eq!(node.push_token("x".to_owned()).await.status(), 400);
        assert_eq!(node.push_token("x".repeat(65 * 1024)).await.status(), 400);
    }
    sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.lines().filter(|line| line.contains("signal refused")).count(), 10, "{log}");
        assert!(log.ends_with("signals refused suppressed=40\n"), "{log}");
    }
}

/// Anybody can name a key that has to be fetched.
#[tokio::test(start_paused = true)]
async fn flood_of_events_that_cannot_be_verified_now_is_a_handful_of_log_events() {
    let log = Log::default();
    let _logging = log.capture(Level::WARN);
    let keys = IssuerKeys::jwks_url(ISSUER, "https://id.example.com/keys").fetch(|_| async { Err("no route".into()) });
    let node = Node::with_layer(MemoryRevocations::new(), WsAuthLayer::new(access_token), |revocations| {
        SharedSignals::with_keys(keys, revocations).audience(AUDIENCE)
    });
    // The first one waits for the keys.
    assert_eq!(node.push(&revoked(&user("alice"))).await.status(), 503);
    for _ in 0..25 {
        assert_eq!(node.push(&revoked(&user("alice"))).await.status(), 503);
    }
    sleep(Duration::from_secs(3)).await;
    if cfg!(feature = "tracing") {
        let log = log.text();
        assert_eq!(log.lines().filter(|line| line.contains("signal not applied")).count(), 10, "{log}");
        assert!(log.contains("signals not applied suppressed=16\n"), "{log}");
    }
}

#[tokio::test]
async fn events_can_arrive_in_another_way() {
    let node = Node::new();
    let mut socket = node.open("alice.laptop.t1").await;
    let error = node.signals.receive("nonsense").await.unwrap_err();
    assert_eq!(error.kind(), SecurityEventErrorKind::InvalidRequest);
    node.signals.receive(&signed(&revoked(&user("alice")))).await.unwrap();
    assert_eq!(closed(&mut socket).await.1, "revoked");
}

#[tokio::test]
async fn receiver_needs_an_audience() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let error = SharedSignals::with_keys(keys(), &revocations).build().unwrap_err();
    assert_eq!(error, ConfigError::Empty("list of audiences"));
    assert!(SharedSignals::with_keys(keys(), &revocations).audience("").build().is_err());
    let error = SharedSignals::discover("http://id.example.com", &revocations).audience("a").build().unwrap_err();
    assert!(matches!(error, ConfigError::InvalidUrl { .. }), "{error}");
    let error = SharedSignals::discover("not a url", &revocations).audience("a").build().unwrap_err();
    assert!(matches!(error, ConfigError::InvalidUrl { .. }), "{error}");
}

/// The sessions of this node were verified again, and those of the other one kept their claims.
#[tokio::test(start_paused = true)]
async fn claims_change_ends_all_if_the_sessions_of_other_nodes_are_not_known() {
    let store = FlakyStore::default();
    let nodes = [(); 2].map(|()| {
        let sessions = Sessions::new();
        let rechecked = async |token: axum_ws_auth::OwnedVerifyInput| {
            access_token(token.as_input()).await.map(|verified| verified.recheck_in(Duration::MAX))
        };
        let layer = WsAuthLayer::new(axum_ws_auth::verifier_fn(rechecked)).sessions(&sessions);
        Node::with_layer(store.clone(), layer, |revocations| {
            let signals = SharedSignals::with_keys(keys(), revocations).audience(AUDIENCE);
            signals.recheck_on_claims_change(&sessions)
        })
    });
    let (mut on_here, mut on_there) = (nodes[0].open("alice.laptop.t1").await, nodes[1].open("alice.phone.t2").await);
    let change = event(&format!("{CAEP}token-claims-change"), &user("alice"), &json!({"claims": {"role": "x"}}));
    assert_eq!(nodes[0].push(&change).await.status(), 202);
    assert!(!is_open(&mut on_here).await && !is_open(&mut on_there).await);
}

/// The sessions of the given registry were verified again, and those of another layer kept their claims.
#[tokio::test(start_paused = true)]
async fn claims_change_ends_all_if_a_layer_has_other_sessions() {
    let sessions = Sessions::new();
    let rechecked = async |token: axum_ws_auth::OwnedVerifyInput| {
        access_token(token.as_input()).await.map(|verified| verified.recheck_in(Duration::MAX))
    };
    let layer = WsAuthLayer::new(axum_ws_auth::verifier_fn(rechecked)).sessions(&sessions);
    let mut other = None;
    let node = Node::with_layer(MemoryRevocations::new(), layer, |revocations| {
        let layer = WsAuthLayer::new(access_token).revocations(revocations);
        other = Some(crate::support::behind(layer, async |mut socket| while let Some(Ok(_)) = socket.recv().await {}));
        SharedSignals::with_keys(keys(), revocations).audience(AUDIENCE).recheck_on_claims_change(&sessions)
    });
    let mut here = node.open("alice.laptop.t1").await;
    let mut there = crate::support::connected(&other.unwrap(), "alice.phone.t2").await;
    let change = event(&format!("{CAEP}token-claims-change"), &user("alice"), &json!({"claims": {"role": "x"}}));
    assert_eq!(node.push(&change).await.status(), 202);
    assert_eq!((is_open(&mut here).await, is_open(&mut there).await), (false, false));
}

#[tokio::test(start_paused = true)]
async fn claims_change_ends_what_a_node_does_not_answer_for() {
    for can_answer in [true, false] {
        let (store, limits, bus) = (Arc::new(MemoryRevocations::new()), MemoryLimits::new(), MemoryBus::default());
        let sessions = || Sessions::with_limits(Limits::new().across_nodes(limits.clone()));
        let here = sessions().reachable_through(bus.clone());
        let there = if can_answer { sessions().reachable_through(bus.clone()) } else { sessions() };
        let [here, there] = [here, there].map(|sessions| {
            let rechecked = async |token: axum_ws_auth::OwnedVerifyInput| {
                access_token(token.as_input()).await.map(|verified| verified.recheck_in(Duration::MAX))
            };
            let layer = WsAuthLayer::new(axum_ws_auth::verifier_fn(rechecked)).sessions(&sessions);
            Node::with_layer(Arc::clone(&store), layer, |revocations| {
                let signals = SharedSignals::with_keys(keys(), revocations).audience(AUDIENCE);
                signals.recheck_on_claims_change(&sessions)
            })
        });
        let (mut on_here, mut on_there) = (here.open("alice.laptop.t1").await, there.open("alice.phone.t2").await);
        let change = event(&format!("{CAEP}token-claims-change"), &user("alice"), &json!({"claims": {"role": "x"}}));
        assert_eq!(here.push(&change).await.status(), 202);
        assert_eq!(is_open(&mut on_here).await, can_answer);
        assert_eq!(is_open(&mut on_there).await, can_answer);
        assert_eq!(here.status("alice.laptop.t1").await, if can_answer { 101 } else { 401 });
    }
}
