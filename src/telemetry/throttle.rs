use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    time::{Duration, Instant, sleep},
};

/// Bounds how many events of one kind are written, because anybody can cause them: ten at once, and then one a second.
///
/// It never waits, and holds three numbers.
pub(crate) struct Throttle {
    start: Instant,
    /// When all ten may be written again, in milliseconds since `start`.
    recovered_at: AtomicU64,
    /// How many events were written.
    written: AtomicU64,
    /// How many events were left out since.
    left_out: AtomicU64,
}

/// So that a developer who makes a few mistakes in a row sees all of them.
const AT_ONCE: u64 = 10;
const INTERVAL_MILLIS: u64 = 1000;
/// In a flood, the next event says how many were left out. If none comes for this long, the flood is over.
const END_OF_FLOOD: Duration = Duration::from_millis(2 * INTERVAL_MILLIS);

impl Throttle {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { start: Instant::now(), recovered_at: zero(), written: zero(), left_out: zero() }
    }

    /// Whether the event is to be written, and how many were left out since the last one, if any.
    ///
    /// `report` writes the number of those that were left out if no event follows.
    pub(super) fn admit(self: &Arc<Self>, report: impl FnOnce(u64) + Send + 'static) -> Option<Option<u64>> {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        let next = |recovered_at: u64| {
            let next = recovered_at.max(now) + INTERVAL_MILLIS;
            (next - now <= AT_ONCE * INTERVAL_MILLIS).then_some(next)
        };
        if self.recovered_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            self.written.fetch_add(1, Ordering::SeqCst);
            let left_out = self.left_out.swap(0, Ordering::SeqCst);
            return Some((left_out > 0).then_some(left_out));
        }
        if self.left_out.fetch_add(1, Ordering::SeqCst) == 0
            && let Ok(runtime) = Handle::try_current()
        {
            let written = self.written.load(Ordering::SeqCst);
            runtime.spawn(Arc::clone(self).report_later(written, report));
        }
        None
    }

    async fn report_later(self: Arc<Self>, written: u64, report: impl FnOnce(u64)) {
        sleep(END_OF_FLOOD).await;
        // An event that was written since has reported those before it, and began a count of its own.
        if self.written.load(Ordering::SeqCst) == written {
            match self.left_out.swap(0, Ordering::SeqCst) {
                0 => {}
                left_out => report(left_out),
            }
        }
    }
}

// By hand: the numbers mean little.
impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}
