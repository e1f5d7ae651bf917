//! Tokens anywhere in a handshake: the inner service sees no trace of the one that was found, a second pass finds none, and
//! what is selected was offered and is no secret. A refusal repeats no token.
//!
//! The input is text: the query, then a header in each line, whose first byte selects the name. Control characters stand for
//! a token in several spellings.
#![no_main]

use std::{future::ready, sync::LazyLock};

use axum::body::Body;
use axum_ws_auth::{Rejection, Session, TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer};
use axum_ws_auth_fuzz::{
    handshake::{handshake, send},
    trace::is_in,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use libfuzzer_sys::fuzz_target;

/// In the form of a JWT.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2VjcmV0LXNpZ25hdHVyZQ";

const NAMES: [&str; 8] = [
    "authorization",
    "sec-websocket-protocol",
    "cookie",
    "x-auth-token",
    "referer",
    "x-original-uri",
    "forwarded",
    "x-other",
];

static LAYER: LazyLock<WsAuthLayer> = LazyLock::new(|| {
    let verifier = |input: VerifyInput<'_>| ready(Ok::<_, VerifyError>(Verified::new(input.token.expose().to_owned())));
    let sources = [
        TokenSource::authorization(),
        TokenSource::bearer_subprotocol(),
        TokenSource::subprotocol_prefix("bearer."),
        TokenSource::kubernetes(),
        TokenSource::quarkus(),
        TokenSource::jupyter(),
        TokenSource::appsync_events(),
        TokenSource::header("x-auth-token"),
        TokenSource::query("access_token"),
        TokenSource::cookie("session"),
    ];
    WsAuthLayer::new(verifier).sources(sources).expect("valid sources")
});

fuzz_target!(|data: &[u8]| {
    let Some(request) = request(data) else { return };
    let offered = offered(request.headers());
    let (response, seen) = send(&LAYER, request);
    let selected = response.headers().get("sec-websocket-protocol").map(|name| name.as_bytes().to_vec());
    let Some(seen) = seen else {
        assert!(response.extensions().get::<Rejection>().is_some(), "neither refused nor accepted");
        assert_ne!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(response.headers().values().all(|value| !is_in(TOKEN, value.as_bytes())), "the refusal repeats the token");
        assert_eq!(selected, None);
        return;
    };
    let token = seen.extensions.get::<Session<String>>().expect("a session").claims().clone();
    assert!(!is_in(&token, seen.uri.query().unwrap_or_default().as_bytes()), "{token:?} in {}", seen.uri);
    let removed_from: Vec<_> = seen.headers.iter().filter(|(name, _)| NAMES.contains(&name.as_str())).collect();
    for (name, value) in removed_from {
        // A list has no whole value: a short token in it may be chance.
        let is_list = name == "sec-websocket-protocol" && token.len() < 16;
        assert!(is_list || !is_in(&token, value.as_bytes()), "{token:?} in {name}: {value:?}");
    }
    if let Some(selected) = selected {
        assert!(offered.contains(&selected), "{selected:?} was not offered");
        assert!(token.len() < 16 || !is_in(&token, &selected), "the token is selected");
    }
});

fn request(data: &[u8]) -> Option<Request<Body>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = filled(lines.next()?);
    let mut request = handshake(&format!("/?{}", str::from_utf8(&query).ok()?))?;
    for line in lines {
        let (selector, value) = line.split_first()?;
        let name = HeaderName::from_static(NAMES[usize::from(*selector) % NAMES.len()]);
        request.headers_mut().append(name, HeaderValue::from_bytes(&filled(value)).ok()?);
    }
    Some(request)
}

/// The text with the token in place of control characters.
fn filled(text: &[u8]) -> Vec<u8> {
    let escaped = || TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut filled = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            1 => filled.extend_from_slice(TOKEN.as_bytes()),
            2 => filled.extend_from_slice(URL_SAFE_NO_PAD.encode(TOKEN).as_bytes()),
            3 => filled.extend_from_slice(STANDARD.encode(TOKEN).as_bytes()),
            4 => filled.extend_from_slice(escaped().as_bytes()),
            5 => filled.extend_from_slice(TOKEN.replace('.', "%2E").as_bytes()),
            6 => filled.extend_from_slice(URL_SAFE_NO_PAD.encode(format!(r#"{{"Authorization":"{TOKEN}"}}"#)).as_bytes()),
            byte => filled.push(*byte),
        }
    }
    filled
}

/// The names in all lines.
fn offered(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all("sec-websocket-protocol").iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(|name| name.trim_ascii().to_vec()).collect()
}
