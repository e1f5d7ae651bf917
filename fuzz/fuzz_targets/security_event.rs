//! Security events that are signed by the right key, with any header and any claims. The receiver takes those that keep
//! the rules of RFC 8417 and Shared Signals Framework 1.0 §4.1, as `serde_json` reads them, and no others. Each ends
//! what its type and its subject say, or goes to the fallback, and its answer never repeats it.
//!
//! The input is a byte of settings, the header, a zero byte, and the claims.
#![no_main]

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum_ws_auth::{
    Revocation, ScopedId, TimeSource,
    jwks::IssuerKeys,
    signals::{CredentialChange, SecurityEvent, SharedSignals, SubjectId},
};
use axum_ws_auth_fuzz::{
    documents::{
        refused::{Outcome, refused, rule},
        revocations::{Recorder, post},
        runtime::block_on,
        split,
        subject::Subject,
        token::{Claims, ISSUER, SECRET_SET, now, token_type},
    },
    jwt::sign,
};
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
/// The issuer of access tokens, if it is another.
const TOKEN_ISSUER: &str = "https://id.example.com/tokens";

#[derive(Clone, Copy)]
struct Settings {
    credential_change: CredentialChange,
    ends_users: bool,
    has_token_issuer: bool,
    has_resolver: bool,
    has_critical_member: bool,
}

#[derive(Debug, PartialEq)]
enum Effect {
    None,
    Revoked(Revocation),
    /// The fallback gets the event with this type, these members as JSON and this time.
    FellBack(String, String, SystemTime),
}

struct Event {
    name: String,
    members: Map<String, Value>,
    subject: Option<Subject>,
    time: SystemTime,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some((header, claims)) = split(data) else { return };
    let settings = Settings {
        credential_change: match settings & 3 {
            0 => CredentialChange::Ignore,
            1 => CredentialChange::EndUnlessCreated,
            _ => CredentialChange::End,
        },
        ends_users: settings & 4 != 0,
        has_token_issuer: settings & 8 != 0,
        has_resolver: settings & 16 != 0,
        has_critical_member: settings & 32 != 0,
    };
    let token = sign(header, claims);
    let (status, answer, effect) = receive(settings, &token);
    assert!(!answer.contains(&token));
    match expected(settings, header, claims) {
        Ok(expected) => assert_eq!((status, effect), (StatusCode::ACCEPTED, expected), "{answer}"),
        Err(why) => {
            assert_eq!((status, effect), (StatusCode::BAD_REQUEST, Effect::None), "{why:?}");
            let answer: BTreeMap<String, String> = serde_json::from_str(&answer).expect("RFC 8935 §2.3");
            assert!(answer.contains_key("err"), "{answer:?}");
        }
    }
});

fn receive(settings: Settings, token: &str) -> (StatusCode, String, Effect) {
    let recorder = Recorder::default();
    let fallen: Arc<Mutex<Option<SecurityEvent>>> = Arc::default();
    let (status, answer) = block_on(async {
        let keys = IssuerKeys::jwks(ISSUER, serde_json::from_str(SECRET_SET).expect("a set"));
        let mut signals = SharedSignals::with_keys(keys, &recorder.revocations())
            .audience("chat")
            .on_credential_change(settings.credential_change)
            .time_source(TimeSource::new(now));
        if settings.ends_users {
            signals = signals.end_all_of_user();
        }
        if settings.has_token_issuer {
            signals = signals.token_issuer(TOKEN_ISSUER);
        }
        if settings.has_resolver {
            signals = signals.users(|subject| ready(Ok(resolved(&subject))));
        }
        if settings.has_critical_member {
            signals = signals.critical_subject_members(["tenant"]);
        }
        let fallen = Arc::clone(&fallen);
        let signals = signals.fallback(move |event| {
            *fallen.lock().expect("the lock") = Some(event);
            ready(Ok(()))
        });
        let signals = signals.build().expect("a receiver");
        post(signals.push_route(), "application/secevent+jwt", token.to_owned()).await
    });
    let fallen = fallen.lock().expect("the lock").take();
    let effect = match (&*recorder.take(), fallen) {
        ([], None) => Effect::None,
        ([revocation], None) => Effect::Revoked(revocation.clone()),
        // The members are compared as text: `serde_json` rounds a number that it wrote to another one, at times.
        ([], Some(event)) => Effect::FellBack(event.event_type().to_owned(), event.to_json(), event.time()),
        several => panic!("several effects: {several:?}"),
    };
    (status, answer, effect)
}

/// The resolver knows one address.
fn resolved(subject: &SubjectId) -> Option<ScopedId> {
    match subject {
        SubjectId::Email { email } if &**email == "a@b.c" => Some(ScopedId::of(ISSUER, "alice")),
        _ => None,
    }
}

fn expected(settings: Settings, header: &[u8], claims: &[u8]) -> Outcome<Effect> {
    rule(token_type(header)? == "secevent+jwt", "another type")?;
    let claims = Claims::read(claims)?;
    claims.check("chat")?;
    rule(claims.issuer.as_deref() == Some(ISSUER), "of another issuer")?;
    let event = event(&claims)?;
    effect(settings, event)
}

fn event(claims: &Claims<'_>) -> Outcome<Event> {
    rule(claims.members.raw("sub")?.is_none() && claims.members.raw("exp")?.is_none(), "with sub or exp")?;
    rule(claims.token_id.is_some(), "without jti")?;
    let Some(issued_at) = claims.issued_at else { return refused("without iat") };
    let Some(Value::Object(events)) = claims.members.value("events")? else { return refused("without events") };
    let mut events = events.into_iter();
    let (Some((name, Value::Object(members))), None) = (events.next(), events.next()) else {
        return refused("not one event");
    };
    rule(name.len() <= 512, "its type is too long")?;
    let subject = claims.members.value("sub_id")?.filter(|subject| !subject.is_null());
    let subject = subject.as_ref().map(Subject::read).transpose()?;
    let time_of_event = claims.members.value("toe")?;
    let time = |value: &Value| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(value.as_f64()?).ok()?);
    let stated = members.get("event_timestamp").and_then(time).or(time_of_event.as_ref().and_then(time));
    let time = stated.into_iter().chain([issued_at, now()]).min().expect("two times");
    Ok(Event { name, members, subject, time })
}

fn effect(settings: Settings, event: Event) -> Outcome<Effect> {
    let is = |prefix: &str, names: &[&str]| event.name.strip_prefix(prefix).is_some_and(|name| names.contains(&name));
    let is_session_revoked = is(CAEP, &["session-revoked"]);
    let is_credential_change = is(CAEP, &["credential-change"]) || is(RISC, &["credential-compromise"]);
    let is_about_user = is(CAEP, &["token-claims-change"])
        || is(RISC, &["account-disabled", "account-purged", "sessions-revoked"])
        || is_credential_change;
    let text = |name| event.members.get(name).and_then(Value::as_str);
    if is(SSF, &["verification"]) {
        // None was requested.
        return if text("state").is_some() { refused("not requested") } else { Ok(Effect::None) };
    }
    if is(SSF, &["stream-updated"]) {
        return Ok(Effect::None);
    }
    let fallen = |event: Event| {
        let members = serde_json::to_string(&event.members).expect("an object");
        Ok(Effect::FellBack(event.name, members, event.time))
    };
    if !is_session_revoked && !is_about_user {
        return fallen(event);
    }
    let is_ignored = match settings.credential_change {
        CredentialChange::Ignore => is_credential_change,
        CredentialChange::EndUnlessCreated => is_credential_change && text("change_type") == Some("create"),
        _ => false,
    };
    if is_ignored {
        return Ok(Effect::None);
    }
    let Some(subject) = &event.subject else { return refused("without sub_id") };
    if settings.has_critical_member && matches!(subject, Subject::Complex(aspects) if aspects.contains_key("tenant")) {
        return fallen(event);
    }
    match revocation(settings, is_session_revoked, subject, event.time) {
        Some(revocation) => Ok(Effect::Revoked(revocation)),
        None => fallen(event),
    }
}

fn revocation(
    settings: Settings,
    is_session_revoked: bool,
    subject: &Subject,
    until: SystemTime,
) -> Option<Revocation> {
    let of = |iss: &str, id: &str| {
        let is_mapped = settings.has_token_issuer && iss == ISSUER;
        ScopedId::of(if is_mapped { TOKEN_ISSUER } else { iss }, id)
    };
    let user = |subject: &Subject| {
        let user = match subject {
            Subject::IssSub { iss, sub } => of(iss, sub),
            Subject::Email { email } if settings.has_resolver && email == "a@b.c" => ScopedId::of(ISSUER, "alice"),
            _ => return None,
        };
        Some(Revocation::Subject { subject: user, until: until.max(UNIX_EPOCH) })
    };
    match subject {
        Subject::Complex(aspects) => {
            let (named_user, session) = (aspects.get("user"), aspects.get("session"));
            let is_about_session = named_user.is_none() || is_session_revoked && !settings.ends_users;
            let issuer = match named_user {
                Some(Subject::IssSub { iss, .. }) => iss,
                _ => ISSUER,
            };
            match session.filter(|_| is_about_session) {
                Some(Subject::Opaque { id }) if id != "ALL" => Some(Revocation::ProviderSession(of(issuer, id))),
                Some(Subject::IssSub { iss, sub }) => Some(Revocation::ProviderSession(of(iss, sub))),
                Some(Subject::JwtId { iss, jti }) => Some(Revocation::Token(of(iss, jti))),
                _ => named_user.and_then(user),
            }
        }
        Subject::JwtId { iss, jti } => Some(Revocation::Token(of(iss, jti))),
        Subject::Opaque { id } if is_session_revoked => Some(Revocation::ProviderSession(of(ISSUER, id))),
        subject => user(subject),
    }
}
