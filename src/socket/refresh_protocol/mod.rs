//! Refreshes that a client requests by messages.

mod centrifugo;
mod json;
mod protocol;
mod request;

pub use protocol::RefreshProtocol;
pub use request::RefreshRequest;

pub(super) use protocol::Asking;
pub(super) use request::ReceivedRefresh;
