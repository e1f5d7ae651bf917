//! Nothing that a client sent becomes a label.

use axum_ws_auth::metrics::{HANDSHAKES_TOTAL, KEYS_REFRESH_TOTAL};

use crate::{exercise, scrape::Recording};

#[tokio::test(start_paused = true)]
async fn no_label_holds_what_a_client_sent() {
    let recording = Recording::start();
    let marker = "Zq7hostileXw";
    exercise::hostile(marker).await;
    let text = recording.text();
    assert!(recording.sum(HANDSHAKES_TOTAL, &[]) >= 20.0, "{text}");
    assert!(recording.sum(HANDSHAKES_TOTAL, &[("outcome", "accepted")]) >= 4.0, "{text}");
    // An issuer that a token has named is one too.
    assert_eq!(recording.sum(KEYS_REFRESH_TOTAL, &[("issuer", "rule"), ("outcome", "changed")]), 3.0, "{text}");
    assert!(!text.to_lowercase().contains(&marker.to_lowercase()), "{text}");
    for sample in recording.samples() {
        for (label, value) in sample.labels {
            let is_name = value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
            assert!(is_name || label == "le", "{label}={value}");
        }
    }
}
