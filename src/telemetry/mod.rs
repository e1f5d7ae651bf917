//! Events, spans and metrics. The crate docs list them.
//!
//! They take primitive values, so that every module can emit its own. Without the features `tracing` and `metrics` they
//! compile to nothing.

#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(unused_variables, reason = "no event and no metric takes them")
)]

/// The target of all events and spans, so that one directive of a filter finds them.
#[cfg(feature = "tracing")]
const TARGET: &str = "axum_ws_auth";

/// An event of `tracing`, or nothing.
macro_rules! event {
    ($level:ident, $($fields:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: crate::telemetry::TARGET, $($fields)*);
    };
}

/// Adds one to a counter of `metrics`, or nothing. The names and labels stand in `crate::metrics`.
macro_rules! count {
    ($name:ident, $($label:literal => $value:expr),+ $(,)?) => {
        #[cfg(feature = "metrics")]
        metrics::counter!(crate::metrics::$name, $($label => $value),+).increment(1);
    };
}

/// Sets a gauge of `metrics` to a time in Unix seconds, or nothing.
macro_rules! set_timestamp {
    ($name:ident, $at:expr $(, $label:literal => $value:expr)* $(,)?) => {
        #[cfg(feature = "metrics")]
        {
            let since_epoch = $at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            metrics::gauge!(crate::metrics::$name $(, $label => $value)*).set(since_epoch);
        }
    };
}

/// Whether somebody listens to events of this level. It costs one comparison if nobody does.
macro_rules! is_enabled {
    ($level:ident) => {{
        #[cfg(feature = "tracing")]
        let is_enabled = tracing::enabled!(target: crate::telemetry::TARGET, tracing::Level::$level);
        #[cfg(not(feature = "tracing"))]
        let is_enabled = false;
        is_enabled
    }};
}

mod handshake;
#[cfg(feature = "introspection")]
mod introspection;
#[cfg(feature = "jwks")]
mod keys;
mod meter;
mod session;
#[cfg(feature = "signals")]
mod signals;
mod span;
mod store;
mod subject;
mod throttle;

use std::error::Error;

#[cfg(feature = "introspection")]
pub(crate) use self::introspection::*;
#[cfg(feature = "jwks")]
pub(crate) use self::keys::*;
#[cfg(feature = "signals")]
pub(crate) use self::signals::*;
pub use self::subject::LogSubject;
pub(crate) use self::{
    handshake::*,
    meter::{LiveSession, Meter, Outcome},
    session::*,
    span::SessionSpan,
    store::*,
    throttle::Throttle,
};

/// The cause of an error, for logs.
type Cause<'a> = &'a (dyn Error + 'static);

fn cause_of_failure(error: Cause<'_>) {
    if let Some(cause) = error.source() {
        event!(debug, %cause, "cause of the failure");
    }
}
