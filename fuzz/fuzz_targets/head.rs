//! Heads of requests: the verifier sees the same head when the session is refreshed as when it began, without the
//! headers of the upgrade. A session keeps the head in packed form.
//!
//! The input is the client's address, the method, the target, and a header in each further line, whose first byte
//! selects the name. Its highest bit marks the value as sensitive, and the next one repeats it, as long values have
//! longer lengths.
#![no_main]

use std::{cell::RefCell, convert::Infallible, future::ready, net::SocketAddr, sync::LazyLock};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, OriginalUri},
    response::{IntoResponse, Response},
    routing::any_service,
};
use axum_ws_auth::{ClientAddr, PathParams, Session, Token, Verified, VerifyError, VerifyInput, WsAuthLayer};
use axum_ws_auth_fuzz::handshake::block_on;
use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};
use libfuzzer_sys::fuzz_target;
use tower::{ServiceExt, service_fn};

const NAMES: [&str; 16] = [
    "host",
    "user-agent",
    "origin",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "pragma",
    "sec-websocket-protocol",
    "cookie",
    "x-a",
    "x-forwarded-for",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];
const VERSIONS: [Version; 5] = [Version::HTTP_11, Version::HTTP_10, Version::HTTP_09, Version::HTTP_2, Version::HTTP_3];

thread_local! {
    static HEADS: RefCell<Vec<Parts>> = const { RefCell::new(Vec::new()) };
    static SESSION: RefCell<Option<Session<()>>> = const { RefCell::new(None) };
}

static APP: LazyLock<Router> = LazyLock::new(|| {
    let verifier = |input: VerifyInput<'_>| {
        HEADS.with_borrow_mut(|heads| heads.push(input.parts.clone()));
        ready(Ok::<_, VerifyError>(Verified::new(()).with_subject("alice")))
    };
    let inner = service_fn(|request: Request<Body>| {
        SESSION.set(request.extensions().get().cloned());
        ready(Ok::<_, Infallible>(StatusCode::SWITCHING_PROTOCOLS.into_response()))
    });
    let inner = any_service(inner);
    let routes =
        Router::new().route("/{room}", inner.clone()).route("/{room}/{*rest}", inner.clone()).fallback_service(inner);
    let routes = routes.layer(WsAuthLayer::new(verifier));
    routes.clone().nest("/outer/{tenant}", routes)
});

fuzz_target!(|data: &[u8]| {
    let Some(request) = request(data) else { return };
    let response: Result<Response, Infallible> = block_on(APP.clone().oneshot(request));
    let Ok(response) = response;
    drop(response);
    let (Some(session), [first]) = (SESSION.take(), &*HEADS.take()) else { return };
    block_on(session.refresh(Token::new("t"))).expect("the verifier accepts it");
    let again = HEADS.take();
    let [again] = &*again else { panic!("verified {} times", again.len()) };
    assert_eq!((&first.method, &first.uri, first.version), (&again.method, &again.uri, again.version));
    assert_eq!(headers(first), headers(again));
    assert_eq!(original(first), original(again));
    assert_eq!(first.extensions.get::<ClientAddr>(), again.extensions.get());
    assert_eq!(params(first), params(again));
    assert!(!again.headers.contains_key("authorization"), "the head has the token");
});

fn request(data: &[u8]) -> Option<Request<Body>> {
    let (&settings, data) = data.split_first()?;
    let mut lines = data.split(|byte| *byte == b'\n');
    let client = str::from_utf8(lines.next()?).ok()?.parse().ok();
    let mut request = Request::new(Body::empty());
    *request.version_mut() = VERSIONS[usize::from(settings) % VERSIONS.len()];
    *request.method_mut() = Method::from_bytes(lines.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(lines.next()?).ok()?;
    if let Some(client) = client {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, 80)));
    }
    let headers = request.headers_mut();
    headers.insert("authorization", HeaderValue::from_static("Bearer t"));
    for line in lines {
        let (selector, value) = line.split_first()?;
        let times = if selector & 0x40 != 0 { 300 } else { 1 };
        let mut value = HeaderValue::from_bytes(&value.repeat(times)).ok()?;
        value.set_sensitive(selector & 0x80 != 0);
        headers.append(HeaderName::from_static(NAMES[usize::from(*selector) % NAMES.len()]), value);
    }
    Some(request)
}

/// Each name with its values in order, and whether they are sensitive.
fn headers(parts: &Parts) -> Vec<(&str, &[u8], bool)> {
    let of_upgrade = [CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE];
    let kept = parts.headers.iter().filter(|(name, _)| !of_upgrade.contains(name));
    let mut headers: Vec<_> =
        kept.map(|(name, value)| (name.as_str(), value.as_bytes(), value.is_sensitive())).collect();
    // A stable sort keeps the order of the values.
    headers.sort_by_key(|(name, ..)| *name);
    headers
}

fn original(parts: &Parts) -> Option<&Uri> {
    parts.extensions.get().map(|OriginalUri(uri)| uri)
}

fn params(parts: &Parts) -> Vec<(String, String)> {
    PathParams::of(parts).iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
