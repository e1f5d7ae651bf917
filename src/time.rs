//! The wall clock of a layer, and helpers for deadlines.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The wall clock of a layer.
///
/// Verifiers get the time from the layer and never read the system clock, so that a test can choose the time:
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use axum_ws_auth::TimeSource;
///
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(TimeSource::new(move || noon).now(), noon);
/// assert!(TimeSource::default().now() > noon);
/// ```
#[derive(Clone, Default)]
pub struct TimeSource(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Custom(Arc<dyn Fn() -> SystemTime + Send + Sync>),
}

impl TimeSource {
    /// A custom clock. The default is the system's wall clock.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(now)))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Custom(now) => now(),
        }
    }
}

/// The instant after this duration. If the clock cannot represent it, one in the far future.
pub(crate) fn from_now(duration: Duration) -> Instant {
    const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR_FUTURE)
}

/// A `Retry-After` in whole seconds: rounded up, and at least one.
pub(crate) fn wait_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

// By hand: a closure has no `Debug`.
impl fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "TimeSource(System)",
            Source::Custom(_) => "TimeSource(<fn>)",
        })
    }
}
