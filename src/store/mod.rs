//! Traits for authors of stores. Applications use [`Redis`](crate::Redis), or the stores in memory.
//!
//! | to store | implement | test with |
//! | --- | --- | --- |
//! | tickets | [`TicketStore`] | [`conformance::tickets`](crate::test_util::conformance::tickets) |
//! | revocations | [`RevocationStore`] | [`conformance::revocations`](crate::test_util::conformance::revocations) |
//! | limits that several nodes share | [`LimitStore`] | [`conformance::limits`](crate::test_util::conformance::limits) |
//! | nothing: it tells whether a store answers, for a [health report](crate::Health) | [`Ping`] | |
//! | nothing: it carries messages between nodes | [`NodeBus`] | [`conformance::bus`](crate::test_util::conformance::bus) |
//!
//! Each trait lists its safety rules: which mistakes are unsafe, and which only slow. The conformance tests check them.
//!
//! # Example
//!
//! The smallest correct store of tickets, and a typical mistake: a `redeem` that reads a ticket in one step and deletes
//! it in another, so that two handshakes get in with one ticket.
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex, time::Duration};
//!
//! use axum_ws_auth::{store::{StoreError, TicketKey, TicketStore}, test_util::conformance};
//! use tokio::time::Instant;
//!
//! type Ticket = (Vec<u8>, Instant);
//!
//! fn valid(ticket: Option<Ticket>) -> Option<Vec<u8>> {
//!     ticket.filter(|(_, expires_at)| Instant::now() < *expires_at).map(|(content, _)| content)
//! }
//!
//! #[derive(Default)]
//! struct MapStore(Mutex<HashMap<TicketKey, Ticket>>);
//!
//! impl TicketStore for MapStore {
//!     async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
//!         let mut tickets = self.0.lock().expect("no panic");
//!         tickets.retain(|_, (_, expires_at)| Instant::now() < *expires_at);
//!         if tickets.contains_key(&key) {
//!             return Err(StoreError::unavailable().with_source("the key exists"));
//!         }
//!         tickets.insert(key, (content, Instant::now() + lifetime));
//!         Ok(())
//!     }
//!
//!     async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
//!         // Reads and deletes in one step.
//!         Ok(valid(self.0.lock().expect("no panic").remove(&key)))
//!     }
//! }
//!
//! #[derive(Default)]
//! struct ReadThenDelete(MapStore);
//!
//! impl TicketStore for ReadThenDelete {
//!     async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
//!         self.0.put(key, content, lifetime).await
//!     }
//!
//!     async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
//!         let ticket = self.0.0.lock().expect("no panic").get(&key).cloned();
//!         tokio::task::yield_now().await; // Where a store on another machine waits for its first answer.
//!         self.0.0.lock().expect("no panic").remove(&key);
//!         Ok(valid(ticket))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # tokio::time::pause();
//! // Yes.
//! conformance::tickets(MapStore::default()).await;
//!
//! // No: the test panics, and names the rule.
//! let error = tokio::spawn(conformance::tickets(ReadThenDelete::default())).await.expect_err("a panic");
//! let message = error.into_panic().downcast::<String>().expect("a message");
//! assert!(message.contains("exactly one of many concurrent calls redeems the ticket"));
//! # }
//! ```

mod bus;
mod error;
pub(crate) mod lease;
mod limits;
mod ping;
pub(crate) mod revocations;
mod tickets;

use std::{future::Future, pin::Pin};

pub use bus::{Delivery, NodeBus, NodeInbox};
pub use error::{StoreError, StoreErrorKind};
pub use lease::{Acquire, Acquired, LeaseQuery, SessionLease};
pub use limits::LimitStore;
pub use ping::Ping;
pub use revocations::{Cursor, RevocationBatch, RevocationStore};
pub use tickets::{TicketCapacity, TicketKey, TicketStore};

pub use crate::id::{NodeId, ParseNodeIdError};

pub(crate) use bus::{DynNodeBus, DynNodeInbox};
pub(crate) use lease::AtLimit;
pub(crate) use limits::DynLimitStore;
pub(crate) use revocations::{DynRevocationStore, Revocation};
pub(crate) use tickets::DynTicketStore;

/// What the object-safe twins of the traits return.
type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;
