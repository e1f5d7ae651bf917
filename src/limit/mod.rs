//! Limits that several nodes keep together: leases in a store that all of them ask.

mod lease;
mod store;

pub use lease::{Acquire, Acquired, SessionLease};
pub use store::LimitStore;

pub(crate) use store::AnyStore;
