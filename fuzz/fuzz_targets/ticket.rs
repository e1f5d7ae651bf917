//! Tickets:
//!
//! - Whatever a store returns for a ticket, its claims are accepted only if `serde_json` reads the same ones, before
//!   they expire, and at the path and the origin that it names.
//! - Whatever a client sends as its ticket, the store is asked only for the 32 bytes of which that is the one encoding.
//! - A ticket that was issued is redeemed once, with the same claims, exactly at the path and the origin that it is
//!   bound to. `Debug` does not show it.
//!
//! The input is the kind of the three, and its text. That of the last is a line for each path, origin and claims.
#![no_main]

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    MemoryTickets, TicketOptions, Tickets, Token, Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput,
    store::{StoreError, TicketKey, TicketStore},
};
use axum_ws_auth_fuzz::handshake::{block_on, handshake};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, request::Parts};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::Url;

const PATH: &str = "/chat";
const ORIGIN: &str = "https://chat.example";

thread_local! {
    /// What the store was asked for.
    static ASKED: RefCell<Vec<TicketKey>> = const { RefCell::new(Vec::new()) };
}

/// Returns one content for every ticket.
struct Store(Vec<u8>);

impl TicketStore for Store {
    async fn put(&self, _: TicketKey, _: Vec<u8>, _: Duration) -> Result<(), StoreError> {
        Err(StoreError::full())
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        ASKED.with_borrow_mut(|asked| asked.push(key));
        Ok(Some(self.0.clone()))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, text)) = data.split_first() else { return };
    match kind % 3 {
        0 => redeem_content(text),
        1 => redeem_ticket(text),
        _ => _ = issue(text),
    }
});

fn redeem(tickets: &Tickets<Value>, ticket: &str, parts: &Parts) -> Result<Verified<Value>, VerifyError> {
    let token = Token::new(ticket);
    block_on(tickets.verifier().verify(VerifyInput::new(&token, parts, SystemTime::now())))
}

fn parts(path: &str, origin: &str) -> Option<Parts> {
    let (mut parts, _) = handshake(path)?.into_parts();
    parts.headers.insert("origin", HeaderValue::from_str(origin).ok()?);
    Some(parts)
}

fn redeem_content(content: &[u8]) {
    ASKED.take();
    let tickets = Tickets::new(Store(content.to_vec()));
    let parts = parts(PATH, ORIGIN).expect("a request");
    match redeem(&tickets, &"A".repeat(43), &parts) {
        Ok(verified) => check(content, &verified),
        Err(error) => {
            let kinds =
                [VerifyErrorKind::UnexpectedClaims, VerifyErrorKind::TicketForElsewhere, VerifyErrorKind::Expired];
            assert!(kinds.contains(&error.kind()), "{error:?}");
        }
    }
}

/// Checks what was accepted. A struct may also be an array of its members, and what is ignored need not be UTF-8.
fn check(content: &[u8], verified: &Verified<Value>) {
    let Ok(Value::Object(content)) = serde_json::from_str(&String::from_utf8_lossy(content)) else { return };
    assert_eq!(content["claims"], verified.claims);
    let is = |name, own: &str| match content.get(name) {
        None | Some(Value::Null) => true,
        Some(text) => text.as_str().is_some_and(|text| text.eq_ignore_ascii_case(own)),
    };
    assert!(is("path", PATH) && is("origin", ORIGIN), "for elsewhere");
    let Value::Object(token) = &content["token"] else { return };
    let text = |name: &str| token.get(name).and_then(Value::as_str);
    assert_eq!(verified.subject.as_deref(), text("subject"));
    assert_eq!(verified.issuer.as_deref(), text("issuer"));
    assert_eq!(verified.token_id.as_deref(), text("token_id"));
    assert_eq!(verified.provider_session.as_deref(), text("provider_session"));
    let expires_at = verified.expires_at;
    assert_eq!(expires_at.is_some(), token.get("expires_at").is_some_and(|time| !time.is_null()));
    assert!(expires_at.is_none_or(|expires_at| SystemTime::now() - Duration::from_secs(20) < expires_at), "expired");
}

fn redeem_ticket(ticket: &[u8]) {
    let Ok(ticket) = str::from_utf8(ticket) else { return };
    ASKED.take();
    let content = br#"{"claims":1,"token":{},"path":null,"origin":null}"#.to_vec();
    let parts = parts(PATH, ORIGIN).expect("a request");
    let outcome = redeem(&Tickets::new(Store(content)), ticket, &parts);
    let bytes: Option<[u8; 32]> = URL_SAFE_NO_PAD.decode(ticket).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.filter(|bytes| URL_SAFE_NO_PAD.encode(bytes) == ticket);
    assert_eq!(ASKED.take(), bytes.iter().map(TicketKey::of).collect::<Vec<_>>());
    assert_eq!(outcome.is_ok(), bytes.is_some());
}

fn issue(text: &[u8]) -> Option<()> {
    let text = str::from_utf8(text).ok()?;
    let mut lines = text.splitn(5, '\n');
    let mut next = || lines.next();
    let (path, origin, own_path, own_origin, claims) = (next()?, next()?, next()?, next()?, next()?);
    let parts = parts(own_path, own_origin)?;
    let claims: Value = serde_json::from_str(claims).ok()?;
    // Not every number is the same after it was written and read.
    if serde_json::from_str::<Value>(&claims.to_string()).ok()? != claims {
        return None;
    }
    let mut options = TicketOptions::new();
    if !path.is_empty() {
        options = options.path(path).ok()?;
    }
    if !origin.is_empty() {
        options = options.origin(origin).ok()?;
    }
    let tickets = Tickets::new(MemoryTickets::new());
    let subject = claims["sub"].as_str().unwrap_or("alice");
    let verified = Verified::new(claims.clone()).with_subject(subject);
    let ticket = block_on(tickets.issue_for(&verified, &options)).expect("the store has room");
    let text = ticket.token().expose();
    assert!(!format!("{ticket:?} {tickets:?}").contains(text), "`Debug` shows the ticket");
    assert_eq!(serde_json::to_value(&ticket).expect("JSON")["ticket"], text);

    let is_for_elsewhere = !path.is_empty() && path != parts.uri.path();
    let redeemed = redeem(&tickets, text, &parts);
    assert!(!format!("{:?}", redeemed.as_ref().err()).contains(text), "the error shows the ticket");
    match &redeemed {
        Ok(redeemed) => assert_eq!((&redeemed.claims, redeemed.subject.as_deref()), (&claims, Some(subject))),
        Err(error) => assert_eq!(error.kind(), VerifyErrorKind::TicketForElsewhere),
    }
    // A browser never writes a default port.
    let is_by_browser = ![":443", ":80"].iter().any(|port| own_origin.ends_with(port));
    let is_from = |origin: &str| origin.is_empty() || origin.eq_ignore_ascii_case(own_origin);
    assert!(redeemed.is_ok() || is_for_elsewhere || !is_by_browser || !is_from(origin), "not redeemed");
    assert!(redeemed.is_err() || !is_for_elsewhere, "redeemed elsewhere");
    assert!(redeemed.is_err() || is_from(origin) || same(origin, own_origin), "redeemed from elsewhere");
    let again = redeem(&tickets, text, &parts).expect_err("redeemed twice");
    assert_eq!(again.kind(), VerifyErrorKind::UnknownTicket);
    Some(())
}

fn same(origin: &str, other: &str) -> bool {
    let parse = |origin| Url::parse(origin).map(|url| url.origin());
    parse(origin).is_ok_and(|origin| parse(other).is_ok_and(|other| origin == other))
}
