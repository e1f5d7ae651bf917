//! Who a client behind proxies is, and what it calls this server: `X-Forwarded-*` and `Forwarded` (RFC 7239). Depends
//! on `http`, not on axum.

mod client_addr;
mod external;
mod network;
mod node;
mod rfc7239;
mod trusted_proxies;
mod x_forwarded;

pub use self::{client_addr::ClientAddr, trusted_proxies::TrustedProxies};

pub(crate) use self::{
    external::{External, Malformed, UNKNOWN},
    trusted_proxies::Sender,
};

/// The most proxies between a client and this server.
const MAX_HOPS: usize = 64;
