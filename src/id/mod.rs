//! The identifiers that sessions, limits, and revocations are keyed by.

mod cursor;
mod node;
mod scoped;
mod session;

pub use cursor::{ParseSessionCursorError, SessionCursor};
pub use node::{NodeId, ParseNodeIdError};
pub use scoped::ScopedId;
pub use session::{ParseSessionIdError, SessionId};

pub(crate) use scoped::{Scope, Scoped};
