//! Signals from identity providers.

#![cfg(feature = "signals")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "signals/subjects.rs"]
mod subjects;
