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

/// How [`Sessions::drain`] closes the sessions of a server that goes down.
///
/// In batches that are drawn by lot, with pauses between them that are longer or shorter by up to a half: so the clients
/// do not all come back at the same moment.
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

/// What came of a [`Drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many connections are gone.
    pub closed: usize,
    /// How many were still held when the time was up.
    pub remaining: usize,
}

/// RFC 6455 §7.4.1, and the IANA registry.
const GOING_AWAY: u16 = 1001;
const SERVICE_RESTART: u16 = 1012;
/// How long is waited for other nodes to know, of which there is no need.
const TELLING: Duration = Duration::from_secs(2);

impl Drain {
    /// Closes with 1012 "service restart": come back, here or elsewhere.
    pub const fn service_restart() -> Self {
        Self::with_code(SERVICE_RESTART)
    }

    /// Closes with 1001 "going away": the server is not coming back.
    pub const fn going_away() -> Self {
        Self::with_code(GOING_AWAY)
    }

    const fn with_code(code: u16) -> Self {
        let batch = NonZeroUsize::new(100).expect("it is not zero");
        Self { code, batch, every: Duration::from_millis(100), within: Duration::from_secs(25) }
    }

    /// Sets how many sessions are closed at a time. Defaults to 100.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn batch(self, sessions: usize) -> Result<Self, ConfigError> {
        let batch = NonZeroUsize::new(sessions).ok_or(ConfigError::ZeroLimit("sessions of a batch"))?;
        Ok(Self { batch, ..self })
    }

    /// Sets the pause between two batches. Defaults to 100 milliseconds: a thousand sessions a second.
    pub const fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// Sets how long all of it may take. Defaults to 25 seconds, because most supervisors of processes kill after 30.
    /// If that is too short for all the batches, the pauses become shorter.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The pause between this many batches, such that there is one for each.
    fn pause(&self, batches: usize) -> Duration {
        let batches = u32::try_from(batches).unwrap_or(u32::MAX).max(1);
        self.every.min(self.within.saturating_sub(CLOSE_TIMEOUT) / batches)
    }
}

impl Sessions {
    /// Admits nobody any more, closes all sessions in batches with [`EndReason::Shutdown`], and waits until they are
    /// gone or the time is up.
    ///
    /// Handshakes are answered with 503 from here on, also if the future is dropped. A client has two seconds to answer
    /// the close frame before its connection is dropped.
    ///
    /// Where sessions are counted [on all nodes](crate::Limits::across_nodes), it waits for up to two seconds of that time until
    /// the others know that these are over.
    ///
    /// axum's graceful shutdown waits for requests, but not for WebSockets; `examples/shutdown.rs` shows how the two go
    /// together.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the sessions that no batch came to live on. Another call goes on with them.
    pub async fn drain(&self, drain: Drain) -> Drained {
        let registry = &self.0;
        let until = from_now(drain.within);
        // The rest is told then, so that it has the time to answer.
        let last_call = until.checked_sub(CLOSE_TIMEOUT).unwrap_or(until);
        registry.close();
        let before = registry.held();
        let end = End { reason: EndReason::Shutdown, code: Some(drain.code) };

        let lottery = RandomState::new();
        let mut lives = registry.collect(|core| !core.has_ended() && core.is_counted()).await;
        let pause = drain.pause(lives.len().div_ceil(drain.batch.get()));
        for number in 0_u64.. {
            if lives.is_empty() {
                break;
            }
            let most = drain.batch.get().min(lives.len());
            let batch: Vec<_> = (0..most).map(|lot| draw(&mut lives, lottery.hash_one((number, lot)))).collect();
            end.apply_slowly(batch.into_iter().flatten()).await;
            let next = from_now(jittered(pause, lottery.hash_one(number)));
            if self.vacated_by(next.min(last_call)).await || Instant::now() >= last_call {
                break;
            }
        }
        // Those that came meanwhile, and those that are no connections.
        end.apply_slowly(registry.collect(|core| !core.has_ended()).await).await;
        self.vacated_by(until).await;
        // Who was closed here is not to be kept out elsewhere for it.
        let _ = timeout_at(until.min(from_now(TELLING)), registry.told()).await;
        let remaining = registry.held();
        Drained { closed: before.saturating_sub(remaining), remaining }
    }

    /// Waits until no connection is held, or the time has come. Whether none is held.
    async fn vacated_by(&self, until: Instant) -> bool {
        loop {
            let mut vacated = pin!(self.0.vacated.notified());
            // From here on it is not missed.
            vacated.as_mut().enable();
            if self.0.held() == 0 {
                return true;
            }
            if timeout_at(until, vacated).await.is_err() {
                return self.0.held() == 0;
            }
        }
    }
}

/// Draws one of them by lot.
fn draw(lives: &mut Vec<Arc<SessionCore>>, lot: u64) -> Option<Arc<SessionCore>> {
    let at = usize::try_from(lot.checked_rem(lives.len() as u64)?).ok()?;
    Some(lives.swap_remove(at))
}

/// Longer or shorter by up to a half.
fn jittered(pause: Duration, lot: u64) -> Duration {
    let share = u32::try_from(lot % 1024).unwrap_or_default();
    (pause / 2).saturating_add((pause / 1024).saturating_mul(share))
}
