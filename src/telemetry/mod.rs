//! Events. The crate docs list them.
//!
//! They take primitive values, so that every module can emit its own. Without the feature `tracing` they compile to nothing.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "no event takes them"))]

/// An event of `tracing`, or nothing.
macro_rules! event {
    ($level:ident, $($fields:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($fields)*);
    };
}

mod handshake;
#[cfg(feature = "introspection")]
mod introspection;
#[cfg(feature = "jwks")]
mod keys;
mod session;
#[cfg(feature = "signals")]
mod signals;
mod store;

use std::error::Error;

#[cfg(feature = "introspection")]
pub(crate) use self::introspection::*;
#[cfg(feature = "jwks")]
pub(crate) use self::keys::*;
#[cfg(feature = "signals")]
pub(crate) use self::signals::*;
pub(crate) use self::{handshake::*, session::*, store::*};

/// The cause of an error, for logs.
type Cause<'a> = &'a (dyn Error + 'static);

fn cause_of_failure(error: Cause<'_>) {
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of the failure");
    }
}
