//! The registry of live sessions.

mod bulk_end;
mod info;
mod inner;
mod leases;
mod number_set;
mod of_subject;
mod permit;
mod recheck;
mod remote;
mod revoke;
mod scan;
mod sessions;
mod shard;
#[cfg(test)]
mod tests;

pub use info::SessionInfo;
pub use of_subject::{OfSubject, SessionPage};
pub use sessions::Sessions;

pub(crate) use inner::Registry;
pub(crate) use permit::Permit;

pub(super) use permit::Registration;

use scan::Filter;
