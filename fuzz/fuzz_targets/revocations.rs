//! Revocations from a store that others may write to: a node refuses a token, and ends a session, exactly if one of
//! them revokes it, as a plain search of the list finds. What is written as JSON is read as the same.
//!
//! The input is the claims of a token, and a revocation in each line, with how many seconds to keep it. Behind an empty
//! line are those that come after the handshake, in which a control character stands for the session's id.
#![no_main]

use std::{
    future::{pending, ready},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum_ws_auth::{
    Rejection, Revocation, Revocations, ScopedId, Session, SessionId, TimeSource, Verified, VerifyError, VerifyInput,
    WsAuthLayer,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError},
};
use axum_ws_auth_fuzz::handshake::{call, handshake, runtime};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::{sync::Notify, task::yield_now};

const NOW: u64 = 1_700_000_000;
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// What is kept for less may expire meanwhile.
const MIN_KEEP: Duration = Duration::from_secs(60);
const MAX_REVOCATIONS: usize = 48;

type Entries = Vec<(Revocation, Duration)>;

#[derive(Default)]
struct Store {
    at_first: Mutex<Entries>,
    later: Mutex<Option<Entries>>,
    is_later: Notify,
}

impl RevocationStore for Store {
    async fn add(&self, _: &Revocation, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        Ok(RevocationBatch::new(Cursor::default(), self.at_first.lock().expect("no panic").clone()))
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        self.is_later.notified().await;
        let later = self.later.lock().expect("no panic").take();
        match later {
            Some(later) => Ok(RevocationBatch::new(after, later)),
            None => pending().await,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let (claims, lists) = text.split_once('\n').unwrap_or((text, ""));
    let Some(token) = Claims::parse(claims) else { return };
    let (at_first, later) = lists.split_once("\n\n").unwrap_or((lists, ""));
    runtime().block_on(run(&token, at_first, later));
});

async fn run(token: &Claims, at_first: &str, later: &str) {
    let at_first = read(at_first, None);
    let store = Arc::new(Store { at_first: Mutex::new(at_first.clone()), ..Store::default() });
    let revocations = Revocations::new(Arc::clone(&store));
    let verified = token.clone();
    let verifier = move |_: VerifyInput<'_>| ready(Ok::<_, VerifyError>(verified.verified()));
    let clock = TimeSource::new(|| UNIX_EPOCH + Duration::from_secs(NOW));
    let layer = WsAuthLayer::new(verifier).revocations(&revocations).time_source(clock);
    let mut request = handshake("/").expect("a request");
    request.headers_mut().insert("authorization", "Bearer t".parse().expect("a value"));
    let (response, seen) = call(&layer, request, None).await;
    let may_revoke = |revocation: &Revocation, session| token.is_revoked_by(revocation, session);
    let revokes =
        |(revocation, keep): &(Revocation, Duration), session| *keep >= MIN_KEEP && may_revoke(revocation, session);
    let Some(seen) = seen else {
        let rejection = response.extensions().get::<Rejection>().expect("a rejection");
        assert_eq!(rejection.reason(), "revoked");
        // An expired entry may lengthen another one of the same subject.
        assert!(at_first.iter().any(|(revocation, _)| may_revoke(revocation, None)), "refused");
        return;
    };
    assert!(!at_first.iter().any(|entry| revokes(entry, None)), "not refused");

    let session: Session<()> = seen.extensions.get().cloned().expect("a session");
    let later = read(later, Some(session.id()));
    *store.later.lock().expect("no panic") = Some(later.clone());
    store.is_later.notify_one();
    for _ in 0..16 {
        yield_now().await;
    }
    assert!(store.later.lock().expect("no panic").is_none(), "not followed");
    let id = Some(session.id());
    let is_ended = session.end_reason().is_some();
    assert!(is_ended || !later.iter().any(|entry| revokes(entry, id)), "not ended");
    assert!(!is_ended || later.iter().chain(&at_first).any(|(revocation, _)| may_revoke(revocation, id)), "ended");
    assert!(revocations.status().entries <= at_first.len() + later.len());
}

/// Reads lines of `<seconds> <revocation>`.
fn read(lines: &str, session: Option<SessionId>) -> Entries {
    let id = session.map(|session| session.to_string()).unwrap_or_default();
    let entry = |line: &str| {
        let (keep, json) = line.split_once(' ')?;
        let revocation: Revocation = serde_json::from_str(&json.replace('\u{1}', &id)).ok()?;
        let written = serde_json::to_string(&revocation).expect("it can be written");
        assert_eq!(serde_json::from_str::<Revocation>(&written).ok().as_ref(), Some(&revocation), "{written}");
        Some((revocation, Duration::from_secs(keep.parse().ok()?)))
    };
    lines.lines().filter_map(entry).take(MAX_REVOCATIONS).collect()
}

#[derive(Clone)]
struct Claims {
    issuer: Option<String>,
    subject: Option<String>,
    token_id: Option<String>,
    provider_session: Option<String>,
    issued_at: Option<SystemTime>,
}

impl Claims {
    fn parse(json: &str) -> Option<Self> {
        let claims: Value = serde_json::from_str(json).ok()?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            issuer: text("iss"),
            subject: text("sub"),
            token_id: text("jti"),
            provider_session: text("sid"),
            issued_at: claims
                .get("iat")
                .and_then(Value::as_u64)
                .and_then(|iat| UNIX_EPOCH.checked_add(Duration::from_secs(iat))),
        })
    }

    fn verified(&self) -> Verified<()> {
        let mut verified = Verified::new(());
        verified.issuer = self.issuer.as_deref().map(Into::into);
        verified.subject = self.subject.as_deref().map(Into::into);
        verified.token_id = self.token_id.as_deref().map(Into::into);
        verified.provider_session = self.provider_session.as_deref().map(Into::into);
        verified.issued_at = self.issued_at;
        verified
    }

    fn is_revoked_by(&self, revocation: &Revocation, session: Option<SessionId>) -> bool {
        let is = |revoked: &ScopedId, own: &Option<String>| {
            let own = own.as_deref().map(|own| match &self.issuer {
                Some(issuer) => ScopedId::of(issuer.as_str(), own),
                None => ScopedId::without_issuer(own),
            });
            own.is_some_and(|own| revoked.matches(&own))
        };
        // The session begins now.
        let was_issued_by = |time: &SystemTime| {
            let latest = time.checked_add(CLOCK_SKEW).unwrap_or(*time);
            UNIX_EPOCH + Duration::from_secs(NOW) <= *time || self.issued_at.is_none_or(|issued_at| issued_at <= latest)
        };
        match revocation {
            Revocation::Token(id) => is(id, &self.token_id),
            Revocation::Session(id) => session == Some(*id),
            Revocation::ProviderSession(id) => is(id, &self.provider_session),
            Revocation::Subject { subject, until } => is(subject, &self.subject) && was_issued_by(until),
            Revocation::IssuedUntil(until) => was_issued_by(until),
            _ => false,
        }
    }
}
