//! Limits by the client's address, which are checked before a token is read.

mod attempts;
mod connections;
mod error;
mod key;
mod limits;
mod visit;
mod window;

pub use self::{error::AddressLimitError, limits::AddressLimits};

pub(crate) use self::visit::Visit;

use self::{attempts::Attempts, connections::Connections, key::Key};
