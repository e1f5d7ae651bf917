//! The state that all parts of one session share, whatever the type of its claims.

mod demands;
mod guard;
mod lifecycle;
mod place;
mod recheck;
mod refresh;
mod revoked;
mod state;
mod wait;

use std::time::Duration;

pub(crate) use demands::Demand;
pub(crate) use guard::ConnectionGuard;
pub(crate) use lifecycle::Status;
pub(crate) use state::SessionCore;

pub(super) use recheck::{NextRecheck, RecheckBy};
pub(super) use refresh::RefreshStart;
pub(super) use state::{NewRecheck, NewSession, TokenInfo};

/// The longest time between two reads of the wall clock: it may be set, and the machine may sleep.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(60);
