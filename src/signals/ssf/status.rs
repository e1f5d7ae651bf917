use std::time::Duration;

use tokio::time::Instant;

use crate::{
    lock::{Mutex, lock},
    verify::jwks::IssuerStatus,
};

/// The state of a receiver, for health endpoints; see [`SharedSignals::status`](super::SharedSignals::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignalsStatus {
    /// The transmitter's keys.
    pub keys: Option<IssuerStatus>,
    /// The time since the last security event that was accepted.
    pub last_signal: Option<Duration>,
    /// The time since the last [verification](super::SharedSignals::verify_stream) of the stream.
    pub last_verification: Option<Duration>,
    /// The time since the last successful poll.
    pub last_poll: Option<Duration>,
    /// What the transmitter last said of the stream.
    pub stream: Option<StreamState>,
}

/// The state of a stream (Shared Signals Framework 1.0 §8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// The transmitter sends events.
    Enabled,
    /// The transmitter keeps events for later.
    Paused,
    /// The transmitter sends no events, and keeps none.
    Disabled,
    /// A state with another name.
    Unknown,
}

/// What a receiver notes about its stream.
#[derive(Default)]
pub(super) struct Health(Mutex<Notes>);

#[derive(Clone, Copy, Default)]
struct Notes {
    signal: Option<Instant>,
    verification: Option<Instant>,
    poll: Option<Instant>,
    stream: Option<StreamState>,
}

impl Health {
    pub(super) fn note_received(&self) {
        lock(&self.0).signal = Some(Instant::now());
    }

    pub(super) fn note_verified(&self) {
        lock(&self.0).verification = Some(Instant::now());
    }

    pub(super) fn note_polled(&self) {
        lock(&self.0).poll = Some(Instant::now());
    }

    pub(super) fn note_stream(&self, state: StreamState) {
        lock(&self.0).stream = Some(state);
    }

    pub(super) fn status(&self, keys: Option<IssuerStatus>) -> SignalsStatus {
        let Notes { signal, verification, poll, stream } = *lock(&self.0);
        let ago = |time: Option<Instant>| time.map(|time| time.elapsed());
        SignalsStatus {
            keys,
            last_signal: ago(signal),
            last_verification: ago(verification),
            last_poll: ago(poll),
            stream,
        }
    }
}

impl StreamState {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "enabled" => Self::Enabled,
            "paused" => Self::Paused,
            "disabled" => Self::Disabled,
            _ => Self::Unknown,
        }
    }

    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Unknown => "unknown",
        }
    }
}
