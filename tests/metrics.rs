//! What the metrics say, by the output of a Prometheus exporter.

#![cfg(all(
    feature = "dpop",
    feature = "introspection",
    feature = "metrics",
    feature = "signals",
    feature = "streams"
))]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "metrics/counts.rs"]
mod counts;
#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/exercise.rs"]
mod exercise;
#[path = "metrics/labels.rs"]
mod labels;
#[path = "metrics/recorders.rs"]
mod recorders;
#[path = "metrics/scrape.rs"]
mod scrape;
#[path = "metrics/sessions.rs"]
mod sessions;
mod support;
