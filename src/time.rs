//! The clock that deadlines are measured by, and how time is told.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Tells the layer what time it is.
///
/// Verifiers get the time from the layer and never ask the system themselves, so that a test can stand at any
/// moment it likes:
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
    /// A clock of one's own. The default is the system's wall clock.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(now)))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Custom(now) => now(),
        }
    }
}

/// So long from now, or as long as a clock can tell.
pub(crate) fn from_now(duration: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FOR_EVER)
}

/// How long a client is told to wait, in whole seconds: rounded up, and never "at once".
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
