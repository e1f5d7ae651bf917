//! Origins and hosts: if a page may send its cookie, the `url` crate finds the same host and the same port in both. If
//! it finds them in the form that browsers write, the page may.
//!
//! The input is the origin, a line break, and the host.
#![no_main]

use std::{future::ready, sync::LazyLock};

use axum_ws_auth::{TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer};
use axum_ws_auth_fuzz::handshake::{handshake, send};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use url::Url;

static LAYER: LazyLock<WsAuthLayer> = LazyLock::new(|| {
    let verifier = |_: VerifyInput<'_>| ready(Ok::<_, VerifyError>(Verified::new(())));
    WsAuthLayer::new(verifier).sources([TokenSource::cookie("session")]).expect("valid sources")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some((origin, host)) = text.split_once('\n') else { return };
    let Some(mut request) = handshake("/") else { return };
    let headers = request.headers_mut();
    for (name, value) in [("origin", origin), ("host", host), ("cookie", "session=t")] {
        let Ok(value) = HeaderValue::from_str(value) else { return };
        headers.insert(name, value);
    }
    let is_accepted = send(&LAYER, request).1.is_some();
    let trimmed = (origin.trim_ascii(), host.trim_ascii());
    if trimmed != (origin, host) {
        return;
    }

    let Ok(page) = Url::parse(origin) else { return };
    let is_web = matches!(page.scheme(), "http" | "https");
    let Some(target) = Url::parse(&format!("{}://{host}", page.scheme())).ok().filter(|_| is_web) else {
        assert!(is_web || !is_accepted, "accepted a page of {}", page.scheme());
        return;
    };
    let is_same =
        page.host_str() == target.host_str() && page.port_or_known_default() == target.port_or_known_default();
    assert!(is_same || !is_accepted, "accepted {origin} at {host}");
    // As a browser writes them.
    let is_canonical = page.origin().ascii_serialization() == origin
        && target.origin().ascii_serialization().ends_with(&format!("://{host}"));
    assert!(!is_canonical || !is_same || is_accepted, "refused {origin} at {host}");
});
