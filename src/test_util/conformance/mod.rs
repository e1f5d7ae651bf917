//! Tests for stores. Each panics, and names the rule, if a store breaks a safety rule of its trait.
//!
//! ```
//! use axum_ws_auth::{MemoryTickets, test_util::conformance};
//!
//! # #[tokio::main] async fn main() {
//! conformance::tickets(MemoryTickets::new()).await;
//! # }
//! ```
//!
//! The module [`store`](crate::store) shows a store that fails.

mod bus;
mod limits;
mod revocations;
mod tickets;

use std::time::Duration;

pub use bus::bus;
pub use limits::limits;
pub use revocations::revocations;
pub use tickets::tickets;

use crate::store::TicketKey;

/// Short for a test, and long enough for an answer from a store on another machine.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);
/// The message when an operation fails that has to succeed.
const WORKS: &str = "the store carries out the operation";

/// A key that no store has seen.
fn unused_key() -> TicketKey {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("random numbers");
    TicketKey::of(&secret)
}
