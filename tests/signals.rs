//! Signals from identity providers.

#![cfg(feature = "signals")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/back_channel.rs"]
mod back_channel;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/events.rs"]
mod events;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/fixtures.rs"]
mod fixtures;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "support/limits.rs"]
mod limits;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/poll.rs"]
mod poll;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/push.rs"]
mod push;
#[path = "signals/subjects.rs"]
mod subjects;
mod support;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/transmitter.rs"]
mod transmitter;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#[path = "signals/universal.rs"]
mod universal;
