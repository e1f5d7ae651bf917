//! Tokens anywhere in a handshake: the inner service sees no trace of the one that was found, literal, percent-encoded
//! or in base64, and neither the response nor `Debug` shows it. A second pass finds no token. What is selected was
//! offered and is no token.
//!
//! The input is the configuration, the query, and a header in each further line, whose first byte selects the name.
//! Control characters stand for a token in several spellings.
#![no_main]

use std::{cell::RefCell, future::ready, sync::LazyLock};

use axum::{body::Body, extract::OriginalUri, response::Response};
use axum_ws_auth::{Rejection, RejectionKind, Session, TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer};
use axum_ws_auth_fuzz::{
    handshake::{block_on, call, handshake},
    trace::is_in,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header::SEC_WEBSOCKET_PROTOCOL, request::Parts,
};
use libfuzzer_sys::fuzz_target;

/// In the form of a JWT.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2VjcmV0LXNpZ25hdHVyZQ";

/// The last two are no headers: the original URI of a nested router, and what the inner service selects.
const NAMES: [&str; 10] = [
    "authorization",
    "sec-websocket-protocol",
    "cookie",
    "x-auth-token",
    "referer",
    "x-original-uri",
    "forwarded",
    "x-other",
    ORIGINAL_URI,
    SELECTED,
];
const ORIGINAL_URI: &str = "original-uri";
const SELECTED: &str = "selected";

/// Markers of pairs. They stay in the list, because they are selected.
const MARKERS: [&str; 2] = ["bearer", "access_token"];

static LAYERS: LazyLock<[WsAuthLayer; 3]> = LazyLock::new(|| {
    let every = vec![
        TokenSource::authorization(),
        TokenSource::bearer_subprotocol(),
        TokenSource::subprotocol_pair("access_token"),
        TokenSource::subprotocol_prefix("bearer."),
        TokenSource::kubernetes(),
        TokenSource::phoenix(),
        TokenSource::quarkus(),
        TokenSource::jupyter(),
        TokenSource::openai_realtime(),
        TokenSource::appsync_events(),
        TokenSource::header("x-auth-token"),
        TokenSource::query("access_token"),
        TokenSource::ticket(),
        TokenSource::cookie("session"),
        TokenSource::cookie("__Host-session"),
    ];
    // With few sources, most tokens are copies elsewhere.
    let ambient = vec![TokenSource::query("access_token"), TokenSource::cookie("session")];
    let explicit = vec![TokenSource::authorization(), TokenSource::header("x-auth-token")];
    [every, ambient, explicit].map(|sources| {
        let verifier = |input: VerifyInput<'_>| {
            FOUND.with_borrow_mut(|found| found.push(input.token.expose().to_owned()));
            ready(Ok::<_, VerifyError>(Verified::new(())))
        };
        WsAuthLayer::new(verifier).sources(sources).expect("valid sources")
    })
});

thread_local! {
    /// The tokens that reached the verifier.
    static FOUND: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some(Handshake { request, selected }) = Handshake::parse(data) else { return };
    let layer = &LAYERS[usize::from(settings) % LAYERS.len()];
    let offered = names(request.headers());
    let (response, seen) = block_on(call(layer, request, selected));
    let found = FOUND.take();
    assert!(found.len() <= 1, "verified {} tokens", found.len());
    let Some(seen) = seen else {
        let rejection = response.extensions().get::<Rejection>().expect("neither refused nor accepted");
        assert_ne!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(!is_in(TOKEN, format!("{rejection:?} {rejection}").as_bytes()), "the refusal shows the token");
        assert!(
            response.headers().values().all(|value| !is_in(TOKEN, value.as_bytes())),
            "the response repeats the token"
        );
        assert!(!response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
        return;
    };
    let token = &found[0];
    check_request(token, &seen);
    check_response(token, &offered, &response);
    check_second_pass(layer, seen);
});

struct Handshake {
    request: Request<Body>,
    /// By the inner service.
    selected: Option<HeaderValue>,
}

impl Handshake {
    fn parse(data: &[u8]) -> Option<Self> {
        let mut lines = data.split(|byte| *byte == b'\n');
        let query = filled(lines.next()?);
        let mut request = handshake(&format!("/?{}", str::from_utf8(&query).ok()?))?;
        let mut chosen = None;
        for line in lines {
            let (selector, value) = line.split_first()?;
            let value = filled(value);
            match NAMES[usize::from(*selector) % NAMES.len()] {
                ORIGINAL_URI => {
                    let uri: Uri = format!("/outer?{}", str::from_utf8(&value).ok()?).parse().ok()?;
                    request.extensions_mut().insert(OriginalUri(uri));
                }
                SELECTED => chosen = Some(HeaderValue::from_bytes(&value).ok()?),
                name => {
                    let value = HeaderValue::from_bytes(&value).ok()?;
                    request.headers_mut().append(HeaderName::from_static(name), value);
                }
            }
        }
        Some(Self { request, selected: chosen })
    }
}

/// The text with the token in place of control characters.
fn filled(text: &[u8]) -> Vec<u8> {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut filled = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            1 => filled.extend_from_slice(TOKEN.as_bytes()),
            2 => filled.extend_from_slice(URL_SAFE_NO_PAD.encode(TOKEN).as_bytes()),
            3 => filled.extend_from_slice(STANDARD.encode(TOKEN).as_bytes()),
            4 => filled.extend_from_slice(escaped(TOKEN).as_bytes()),
            5 => filled.extend_from_slice(TOKEN.replace('.', "%2E").as_bytes()),
            6 => {
                let json = format!(r#"{{"Authorization":"{TOKEN}"}}"#);
                filled.extend_from_slice(URL_SAFE_NO_PAD.encode(json).as_bytes());
            }
            7 => filled.extend_from_slice(escaped(TOKEN).replace('%', "%25").as_bytes()),
            byte => filled.push(*byte),
        }
    }
    filled
}

/// The names in all lines.
fn names(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.map(|name| name.trim_ascii().to_vec()).filter(|name| !name.is_empty()).collect()
}

fn check_request(token: &str, seen: &Parts) {
    let original = seen.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri);
    for uri in [Some(&seen.uri), original].into_iter().flatten() {
        assert!(!is_in(token, uri.query().unwrap_or_default().as_bytes()), "{token:?} in {uri}");
    }
    for (name, value) in seen.headers.iter().filter(|(name, _)| NAMES.contains(&name.as_str())) {
        // A list has no whole value: a short token in it may be chance.
        let is_short = name == SEC_WEBSOCKET_PROTOCOL && token.len() < 16;
        assert!(is_short || !is_in(token, value.as_bytes()), "{token:?} in {name}: {value:?}");
    }
    let session = seen.extensions.get::<Session<()>>().expect("a session");
    // libFuzzer learns the session's id from comparisons, and makes a token of it.
    let shown = format!("{session:?}").replace(&session.id().to_string(), "");
    assert!(!is_in(token, shown.as_bytes()), "`Debug` shows the token");
}

fn check_response(token: &str, offered: &[Vec<u8>], response: &Response) {
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let selected: Vec<_> = response.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
    assert!(selected.len() <= 1, "{selected:?}");
    for selected in selected {
        assert!(offered.iter().any(|name| name == selected.as_bytes()), "{selected:?} was not offered");
        assert!(token.len() < 16 || !is_in(token, selected.as_bytes()), "the token is selected");
    }
}

/// What the inner service saw holds no token at all, not even another one.
fn check_second_pass(layer: &WsAuthLayer, seen: Parts) {
    let Parts { mut headers, uri, .. } = seen;
    let rest: Vec<_> = names(&headers).into_iter().filter(|name| !is_marker(name)).collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    headers.extend(rest.iter().map(|name| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_bytes(name).expect("a name"))));
    let mut again = Request::new(Body::empty());
    (*again.headers_mut(), *again.uri_mut()) = (headers.clone(), uri.clone());
    let (response, _) = block_on(call(layer, again, None));
    let again = FOUND.take();
    let rejection = response.extensions().get::<Rejection>();
    assert_eq!(again, Vec::<String>::new(), "a second token in {uri} {headers:?}");
    assert_eq!(rejection.map(Rejection::kind), Some(RejectionKind::MissingToken), "in {uri} {headers:?}");
}

fn is_marker(name: &[u8]) -> bool {
    MARKERS.iter().any(|marker| name.eq_ignore_ascii_case(marker.as_bytes()))
}
