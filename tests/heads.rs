//! Large request heads: how much of them a session keeps, and the cost of searching them.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, ConfigError, FirstMessage, RejectionKind, Sessions, TokenSource, Verified, VerifyError,
    VerifyInput, WsAuthLayer,
    test_util::{HandshakeBuilder, handshake},
};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use support::*;
use tower::{Layer, ServiceExt, service_fn};

const KIB: usize = 1024;

/// Adds this many bytes of padding to the head, in this place.
fn padded(request: HandshakeBuilder, place: &str, bytes: usize) -> HandshakeBuilder {
    let padding = "p".repeat(bytes);
    match place {
        "path" => request.path(format!("/{padding}")),
        "query" => request.path(format!("/?{padding}")),
        // A session keeps 100 bytes of each: name, value, and three bytes more.
        "many headers" => {
            (0..bytes / 100).fold(request, |request, n| request.header(format!("x-{n:03}"), &*"p".repeat(92)))
        }
        place => request.header(place, padding),
    }
}

const PLACES: [&str; 6] = ["x-padding", "cookie", "path", "query", "many headers", "sec-websocket-protocol"];

#[tokio::test]
async fn head_that_a_session_keeps_is_limited() {
    let verified = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&verified);
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(move |input: VerifyInput<'_>| {
        count.fetch_add(1, Ordering::Relaxed);
        opaque(input)
    });
    let layer = layer.sessions(&sessions);
    for place in PLACES {
        for (layer, bytes, expected) in [
            (layer.clone(), 15 * KIB, None),
            (layer.clone(), 17 * KIB, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
            (layer.clone(), 390 * KIB, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
            (layer.clone().max_head_len(KIB).unwrap(), 2 * KIB, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
            (layer.clone().max_head_len(1024 * KIB).unwrap(), 390 * KIB, None),
        ] {
            // axum's second copy of the URI counts, too.
            let bytes = if matches!(place, "path" | "query") { (bytes / 2).min(60 * KIB) } else { bytes };
            for request in [handshake(), handshake().http2()] {
                let what = format!("{place}, {bytes}");
                let before = verified.load(Ordering::Relaxed);
                let request = padded(request.authorization(TOKEN), place, bytes).build();
                let response = answer(&echo_behind(layer.clone()), request).await;
                match expected {
                    None => assert_eq!(refusal(&response), None, "{what}"),
                    Some(status) => {
                        assert_eq!(refusal(&response), Some((RejectionKind::HeadTooLarge, "head_too_large")), "{what}");
                        assert_eq!(response.status(), status, "{what}");
                        assert_eq!(verified.load(Ordering::Relaxed), before, "{what}: not verified");
                        assert_eq!(sessions.count(), 0, "{what}");
                        let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
                        assert_eq!(
                            (&body["status"], &body["error"]),
                            (&431.into(), &"head_too_large".into()),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
    assert_eq!(opaque_layer().max_head_len(0).map(|_| ()), Err(ConfigError::ZeroLimit("the head of a request")));
}

#[tokio::test]
async fn head_of_a_client_that_has_not_authenticated_is_limited() {
    async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    let app = Router::new()
        .route("/", any(idle))
        .fallback(idle)
        .layer(opaque_layer().first_message(FirstMessage::home_assistant()));
    for place in PLACES {
        for (bytes, fits) in [(7 * KIB, true), (17 * KIB, false)] {
            let request = padded(handshake(), place, bytes).build();
            let status = answer(&app, request).await.status();
            let expected =
                if fits { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE };
            assert_eq!(status, expected, "{place}, {bytes}");
        }
    }
}

/// The token and the headers of the upgrade are not kept. Without a session, nothing is.
#[tokio::test]
async fn parts_of_the_head_that_are_not_kept_do_not_count() {
    let sources = [TokenSource::authorization(), TokenSource::query("t"), TokenSource::cookie("s")];
    let long = "t".repeat(8 * KIB);
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(String::new())));
    let layer = WsAuthLayer::new(any).sources(sources).unwrap().max_head_len(KIB).unwrap();
    for (name, request) in [
        ("header", handshake().authorization(&long)),
        ("query", handshake().path(format!("/?t={long}"))),
        ("cookie", handshake().cookie("s", &long).origin("https://localhost")),
        ("extensions", padded(handshake().authorization(TOKEN), "sec-websocket-extensions", 8 * KIB)),
    ] {
        let response = answer(&echo_behind(layer.clone()), request.build()).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{name}: {:?}", refusal(&response));
    }
    let large = || padded(handshake(), "x-padding", 300 * KIB).build();
    let response = answer(&echo_behind(layer.clone()), large()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = answer(&echo_behind(layer.optional()), large()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
}

/// Counts the allocations while a layer answers a request.
fn allocations(layer: &WsAuthLayer, request: Request<Body>) -> (u64, StatusCode) {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::empty())));
    let service = layer.layer(inner);
    let mut status = None;
    let counted = allocation_counter::measure(|| {
        let response = service.oneshot(request).now_or_never().expect("no waiting").unwrap();
        status = Some(response.status());
    });
    (counted.count_total, status.unwrap())
}

/// 100,000 entries take no more allocations than ten.
#[test]
fn search_allocates_nothing_for_other_names() {
    type Make = Box<dyn Fn(usize) -> HandshakeBuilder>;
    let list = |name: &'static str, one: &'static str, separator: &'static str, last: String| -> Make {
        Box::new(move |n| {
            let mut all = vec![one; n];
            all.extend((!last.is_empty()).then_some(last.as_str()));
            handshake().header(name, all.join(separator)).origin("https://localhost")
        })
    };
    let query = |one: &'static str, last: String| -> Make {
        // A URI is shorter than 64 KiB.
        Box::new(move |n| handshake().path(format!("/?{}{last}", format!("{one}&").repeat(n.min(15_000)))))
    };
    let cookie = |one, last: String| list("cookie", one, "; ", last);
    let names = |one, last: String| list("sec-websocket-protocol", one, ", ", last);
    let mut sources = all_presets();
    sources.extend([TokenSource::cookie("session"), TokenSource::cookie("s2"), TokenSource::query("token")]);
    let layer = opaque_layer().sources(sources).unwrap().max_head_len(8 * KIB * KIB).unwrap();
    for (name, make) in [
        ("cookies", cookie("a=b", String::new())),
        ("cookies of a similar name", cookie("session2=b", String::new())),
        ("cookies without a value", cookie("session", String::new())),
        ("cookies that are not ASCII", cookie("é=b", String::new())),
        ("cookies and a token", cookie("a=b", format!("session={TOKEN}"))),
        ("cookies and an empty one", cookie("a=b", "session=".to_owned())),
        ("parameters", query("a=b", String::new())),
        ("parameters that begin alike", query("tok", String::new())),
        ("parameters that are encoded", query("%74", String::new())),
        ("parameters and a token", query("a=b", format!("token={TOKEN}"))),
        ("names", names("a", String::new())),
        ("names that begin alike", names("bearer", String::new())),
        ("names and a token", names("a", format!("bearer, {TOKEN}"))),
        ("names and a token behind a prefix", names("a", format!("bearer.{TOKEN}"))),
    ] {
        for (optional, layer) in [(false, layer.clone()), (true, layer.clone().optional())] {
            let (few, status) = allocations(&layer, make(10).build());
            let (many, same) = allocations(&layer, make(100_000).build());
            assert_eq!(status, same, "{name}, {optional}");
            assert!(many <= few, "{name}, {optional}: {many} allocations instead of {few}");
        }
    }
}
