//! The clock that deadlines are measured by.

use std::{fmt, sync::Arc, time::SystemTime};

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

// By hand: a closure has no `Debug`.
impl fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "TimeSource(System)",
            Source::Custom(_) => "TimeSource(<fn>)",
        })
    }
}
