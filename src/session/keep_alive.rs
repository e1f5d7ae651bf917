use std::time::Duration;

use crate::{error::ConfigError, id::SessionId};

/// How often a client hears from the server, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    every: Duration,
    timeout: Duration,
}

impl KeepAlive {
    /// # Errors
    ///
    /// If one of them is zero.
    pub(crate) fn new(every: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        if every.is_zero() {
            return Err(ConfigError::ZeroLimit("the time between keep-alives"));
        }
        if timeout.is_zero() {
            return Err(ConfigError::ZeroLimit("the time to answer a keep-alive"));
        }
        Ok(Self { every, timeout })
    }

    /// How long the client may be silent after it was sent something.
    pub(crate) const fn timeout(self) -> Duration {
        self.timeout
    }

    /// The time between two keep-alives of this session: between four fifths of the set time and all of it. So sessions
    /// that begin at the same moment, as after a restart, spread.
    pub(crate) fn interval(self, session: SessionId) -> Duration {
        // Multiples of this fraction of the golden ratio spread evenly (Knuth, TAOCP 3, 6.4).
        let spread = session.number().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
        let share = u32::try_from(spread).unwrap_or_default();
        self.every - (self.every / 5 / (1 << 16)).saturating_mul(share)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::KeepAlive;
    use crate::id::SessionId;

    #[test]
    fn intervals_spread_between_four_fifths_and_all_of_the_time() {
        let keep_alive = KeepAlive { every: Duration::from_secs(30), timeout: Duration::from_secs(20) };
        let mut per_second = [0; 6];
        for _ in 0..600 {
            let interval = keep_alive.interval(SessionId::next());
            let second = interval.saturating_sub(Duration::from_millis(24_001)).as_secs();
            assert!(interval > Duration::from_secs(24) && interval <= Duration::from_secs(30), "{interval:?}");
            if let Some(count) = usize::try_from(second).ok().and_then(|second| per_second.get_mut(second)) {
                *count += 1;
            }
        }
        assert!(per_second.iter().all(|count| (95..=105).contains(count)), "{per_second:?}");
    }
}
