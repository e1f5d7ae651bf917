use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::series::Series;
use crate::metrics as names;

/// Handles of a recorder, each taken at its first use.
#[derive(Default)]
pub(super) struct Handles {
    handshakes: Series<Counter, 5>,
    handshake_durations: Series<Histogram, 1>,
    verify_durations: Series<Histogram, 1>,
    sessions: Series<Gauge, 1>,
    session_durations: Series<Histogram, 2>,
}

impl Handles {
    pub(super) fn handshake(&self, labels: [&'static str; 5]) {
        let register = |[kind, outcome, reason, source, http]: [&'static str; 5]| {
            counter!(
                names::HANDSHAKES_TOTAL,
                "kind" => kind, "outcome" => outcome, "reason" => reason, "source" => source, "http" => http,
            )
        };
        self.handshakes.with(labels, register, |handshakes| handshakes.increment(1));
    }

    pub(super) fn verified(&self, verifier: &'static str, took: Duration) {
        let register =
            |[verifier]: [&'static str; 1]| histogram!(names::VERIFY_DURATION_SECONDS, "verifier" => verifier);
        self.verify_durations.with([verifier], register, |durations| durations.record(took));
    }

    pub(super) fn decided(&self, outcome: &'static str, took: Duration) {
        let register =
            |[outcome]: [&'static str; 1]| histogram!(names::HANDSHAKE_DURATION_SECONDS, "outcome" => outcome);
        self.handshake_durations.with([outcome], register, |durations| durations.record(took));
    }

    /// Adds to the live sessions of a kind.
    pub(super) fn sessions(&self, kind: &'static str, difference: f64) {
        let register = |[kind]: [&'static str; 1]| gauge!(names::SESSIONS, "kind" => kind);
        self.sessions.with([kind], register, |sessions| sessions.increment(difference));
    }

    pub(super) fn session_ended(&self, kind: &'static str, end_reason: &'static str, lasted: Duration) {
        let register = |[kind, end_reason]: [&'static str; 2]| histogram!(names::SESSION_DURATION_SECONDS, "kind" => kind, "end_reason" => end_reason);
        self.session_durations.with([kind, end_reason], register, |durations| durations.record(lasted));
    }
}
