use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{End, EndReason, SessionCore, Sessions, close::CLOSE_TIMEOUT};
use crate::{error::ConfigError, time::from_now};

/// How [`Sessions::drain`] closes the sessions of a server that shuts down.
///
/// It closes them in random batches, with pauses in between that vary by up to half in both directions. So the clients
/// do not all reconnect at the same moment.
///
/// ```
/// use std::time::Duration;
/// use axum_ws_auth::{Drain, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), axum_ws_auth::ConfigError> {
/// let sessions = Sessions::new();
/// let drain = Drain::service_restart().batch(500)?.every(Duration::from_millis(100)).within(Duration::from_secs(20));
/// let drained = sessions.drain(drain).await;
/// assert_eq!((drained.closed, drained.remaining), (0, 0));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Drain {
    code: u16,
    batch: NonZeroUsize,
    every: Duration,
    within: Duration,
}

/// The result of [`Sessions::drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many connections were closed.
    pub closed: usize,
    /// How many were still open when the time was up.
    pub remaining: usize,
}

/// RFC 6455 §7.4.1, and the IANA registry.
const GOING_AWAY: u16 = 1001;
const SERVICE_RESTART: u16 = 1012;
/// How long to wait for the release of leases. Leases that are not released expire.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

impl Drain {
    /// Closes with 1012 "service restart": the client may reconnect, to this server or to another.
    pub const fn service_restart() -> Self {
        Self::with_code(SERVICE_RESTART)
    }

    /// Closes with 1001 "going away": the server does not return.
    pub const fn going_away() -> Self {
        Self::with_code(GOING_AWAY)
    }

    const fn with_code(code: u16) -> Self {
        let batch = NonZeroUsize::new(100).expect("it is not zero");
        Self { code, batch, every: Duration::from_millis(100), within: Duration::from_secs(25) }
    }

    /// Sets how many sessions are closed at a time. Defaults to 100, which with the default [pause](Self::every) closes
    /// a thousand a second.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn batch(self, sessions: usize) -> Result<Self, ConfigError> {
        let batch = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions of a batch"))?;
        Ok(Self { batch, ..self })
    }

    /// Sets the average pause between two batches. Defaults to 100 milliseconds.
    pub const fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// Sets how long the drain may take. Defaults to 25 seconds, because most process supervisors kill after 30. If
    /// that is too short for all batches, the pauses become shorter.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The pause after each of this many batches, so that all of them fit into the time.
    fn pause(&self, batches: usize) -> Duration {
        let batches = u32::try_from(batches).unwrap_or(u32::MAX).max(1);
        self.every.min(self.within.saturating_sub(CLOSE_TIMEOUT) / batches)
    }
}

impl Sessions {
    /// Stops admitting sessions, closes all of them in batches with [`EndReason::Shutdown`], and waits until they are
    /// gone or the time is up.
    ///
    /// From the first poll on, handshakes and streams are answered with 503, even if the future is dropped. A client
    /// has two seconds to answer the close frame before its connection is dropped.
    ///
    /// If limits are shared [across nodes](crate::Limits::across_nodes), the drain also waits until the leases of its
    /// sessions are released: for up to two seconds, within the same time.
    ///
    /// axum's graceful shutdown waits for requests, but not for WebSockets. `examples/shutdown.rs` combines the two.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the sessions that are not closed yet stay. Another call continues with them.
    pub async fn drain(&self, drain: Drain) -> Drained {
        let registry = &self.0;
        let until = from_now(drain.within);
        // The remaining sessions are closed at this moment, so that their clients have time to answer.
        let last_close = until.checked_sub(CLOSE_TIMEOUT).unwrap_or(until);
        registry.start_drain();
        let before = registry.connection_count();
        let end = End { reason: EndReason::Shutdown, code: Some(drain.code) };

        let random = RandomState::new();
        let mut sessions = registry.collect(|session| !session.has_ended() && session.is_counted()).await;
        let pause = drain.pause(sessions.len().div_ceil(drain.batch.get()));
        for round in 0_u64.. {
            if sessions.is_empty() {
                break;
            }
            let len = drain.batch.get().min(sessions.len());
            let batch: Vec<_> = (0..len).map(|at| remove_any(&mut sessions, random.hash_one((round, at)))).collect();
            end.apply_yielding(batch.into_iter().flatten()).await;
            let next = from_now(jittered(pause, random.hash_one(round)));
            if self.no_connections_by(next.min(last_close)).await || Instant::now() >= last_close {
                break;
            }
        }
        // The remaining sessions: the ones registered since then, and the ones that are not connections.
        end.apply_yielding(registry.collect(|session| !session.has_ended()).await).await;
        self.no_connections_by(until).await;
        // A lease that is not released may keep the client out on other nodes.
        let _ = timeout_at(until.min(from_now(RELEASE_TIMEOUT)), registry.leases_released()).await;
        let remaining = registry.connection_count();
        Drained { closed: before.saturating_sub(remaining), remaining }
    }

    /// Waits until there are no connections, or until this time. Returns whether there are none.
    async fn no_connections_by(&self, until: Instant) -> bool {
        loop {
            let mut idle = pin!(self.0.idle.notified());
            // From here on no notification is missed.
            idle.as_mut().enable();
            if self.0.connection_count() == 0 {
                return true;
            }
            if timeout_at(until, idle).await.is_err() {
                return self.0.connection_count() == 0;
            }
        }
    }
}

fn remove_any(sessions: &mut Vec<Arc<SessionCore>>, random: u64) -> Option<Arc<SessionCore>> {
    let at = usize::try_from(random.checked_rem(sessions.len() as u64)?).ok()?;
    Some(sessions.swap_remove(at))
}

/// Varies the pause by up to half in both directions.
fn jittered(pause: Duration, random: u64) -> Duration {
    let share = u32::try_from(random % 1024).unwrap_or_default();
    (pause / 2).saturating_add((pause / 1024).saturating_mul(share))
}
