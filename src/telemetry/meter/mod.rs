//! Metrics that each handshake and session needs. The others are counted beside their events, by `count!`.
//!
//! A [`Meter`] keeps the handles of its layer: to look one up takes longer than all that a handshake may cost.
//! Without the feature `metrics`, all of this compiles to nothing, and no clock is read.

#![cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self, reason = "nothing is counted"))]

#[cfg(feature = "metrics")]
mod handles;
mod live;
#[cfg(feature = "metrics")]
mod series;

use std::fmt;
#[cfg(feature = "metrics")]
use std::sync::{Arc, OnceLock};

use http::Version;
use tokio::time::Instant;

#[cfg(feature = "metrics")]
use self::handles::Handles;
pub(crate) use self::live::LiveSession;

/// The metrics of one layer.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    #[cfg(feature = "metrics")]
    handles: OnceLock<Arc<Handles>>,
}

/// What became of a request.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Accepted,
    /// It has no token, and needs none.
    Anonymous,
    /// For this reason.
    Refused(&'static str),
}

impl Meter {
    /// Counts a request. `kind` and `source` are labels.
    pub(crate) fn handshake(&self, kind: &'static str, source: &'static str, version: Version, outcome: Outcome) {
        let (outcome, reason) = outcome.labels();
        #[cfg(feature = "metrics")]
        if let Some(handles) = self.handles() {
            handles.handshake([kind, outcome, reason, source, name_of(version)]);
        }
    }

    /// The time, if anything is measured.
    pub(crate) fn now(&self) -> Option<Instant> {
        #[cfg(feature = "metrics")]
        return self.handles().map(|_| Instant::now());
        #[cfg(not(feature = "metrics"))]
        None
    }

    /// Measures a verifier that was asked at `begin` and has just answered. Returns the time.
    pub(crate) fn verified(&self, verifier: &'static str, begin: Option<Instant>) -> Option<Instant> {
        let now = self.now()?;
        #[cfg(feature = "metrics")]
        if let (Some(handles), Some(begin)) = (self.handles(), begin) {
            handles.verified(verifier, now.saturating_duration_since(begin));
        }
        Some(now)
    }

    /// Measures what followed from `begin` until `now` for the token of a request.
    pub(crate) fn decided(&self, begin: Instant, now: Option<Instant>, is_accepted: bool) {
        #[cfg(feature = "metrics")]
        if let Some(now) = now
            && let Some(handles) = self.handles()
        {
            let outcome = if is_accepted { "accepted" } else { "refused" };
            handles.decided(outcome, now.saturating_duration_since(begin));
        }
    }

    /// Counts a session of this kind, which began at `since`, until the end of what this returns.
    pub(crate) fn session(&self, kind: &'static str, since: Instant) -> LiveSession {
        #[cfg(feature = "metrics")]
        return self.handles().map(|handles| LiveSession::begin(handles, kind, since)).unwrap_or_default();
        #[cfg(not(feature = "metrics"))]
        LiveSession::default()
    }

    /// The handles, unless no recorder is installed. They are taken at the first use that finds one, because those that
    /// are taken earlier stay without effect when a recorder follows.
    #[cfg(feature = "metrics")]
    fn handles(&self) -> Option<&Arc<Handles>> {
        match self.handles.get() {
            Some(handles) => Some(handles),
            None if has_recorder() => Some(self.handles.get_or_init(Arc::default)),
            None => None,
        }
    }
}

impl Outcome {
    /// The labels `outcome` and `reason`.
    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => ("accepted", "none"),
            Self::Anonymous => ("anonymous", "none"),
            Self::Refused(reason) => ("refused", reason),
        }
    }
}

/// The no-op recorder, which is there before another one is installed, is the one that has no size.
#[cfg(feature = "metrics")]
fn has_recorder() -> bool {
    metrics::with_recorder(|recorder| size_of_val(recorder) > 0)
}

#[cfg(feature = "metrics")]
const fn name_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_3 => "3",
        _ => "2",
    }
}

// By hand: handles have nothing to show.
impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}
