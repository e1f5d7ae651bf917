//! What a store must do: for authors of stores. Applications use [`Redis`](crate::Redis), or the stores in memory.
//!
//! | to keep | implement | test with |
//! | --- | --- | --- |
//! | tickets | [`TicketStore`] | [`conformance::tickets`](crate::test_util::conformance::tickets) |
//! | revocations | [`RevocationStore`] | [`conformance::revocations`](crate::test_util::conformance::revocations) |
//! | limits that several nodes share | [`LimitStore`] | [`conformance::limits`](crate::test_util::conformance::limits) |
//!
//! Each trait lists its safety rules: which mistakes are unsafe, and which only slow.

mod error;
pub(crate) mod lease;
mod limits;
pub(crate) mod revocations;
mod tickets;

pub use error::{StoreError, StoreErrorKind};
pub use lease::{Acquire, Acquired, SessionLease};
pub use limits::LimitStore;
pub use revocations::{Cursor, RevocationBatch, RevocationStore};
pub use tickets::{TicketCapacity, TicketKey, TicketStore};

pub(crate) use lease::AtLimit;
pub(crate) use limits::DynLimitStore;
pub(crate) use revocations::{DynRevocationStore, Revocation};
pub(crate) use tickets::DynTicketStore;
