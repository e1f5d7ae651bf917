//! What operators read: events and spans.

#![cfg(all(feature = "jwks", feature = "tracing"))]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "logs/ends.rs"]
mod ends;
#[path = "logs/floods.rs"]
mod floods;
#[path = "logs/handshakes.rs"]
mod handshakes;
#[path = "support/limits.rs"]
mod limits;
#[path = "logs/refusals.rs"]
mod refusals;
#[path = "logs/spans.rs"]
mod spans;

use support::log::Log;
use tracing::Level;

/// Captures the events of this thread while the future runs: also those of the tasks that it spawns.
async fn captured<T>(level: Level, future: impl Future<Output = T>) -> (T, String) {
    let log = Log::default();
    let _logging = log.capture(level);
    let output = future.await;
    (output, log.text())
}
