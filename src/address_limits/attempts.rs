//! Counts the failed attempts of each address, in bounded memory.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use super::{Key, window::Window};
use crate::lock::{Mutex, MutexGuard, lock};

/// A hash decides on the bucket of an address. It is keyed, so that nobody can choose addresses of one bucket.
///
/// Each bucket holds a few addresses. A full bucket replaces the address with the fewest failures. So an address that
/// has reached the limit is replaced only if all others in its bucket have reached it too, and no address is limited
/// for what another did.
pub(super) struct Attempts {
    max: u64,
    /// The length of a period of the windows.
    period: Duration,
    epoch: Instant,
    hasher: RandomState,
    buckets: Box<[Mutex<Vec<Entry>>]>,
}

struct Entry {
    key: Key,
    window: Window,
}

/// How many addresses fit in a bucket: enough that few buckets are full before most are, and few enough to search.
const BUCKET_LEN: usize = 16;

impl Attempts {
    pub(super) fn new(max: u32, per: Duration, capacity: usize) -> Self {
        Self {
            max: max.into(),
            // Rounded up, so that the window is not shorter.
            period: (per / Window::PERIODS_IN_LENGTH).saturating_add(Duration::from_nanos(1)),
            epoch: Instant::now(),
            hasher: RandomState::new(),
            buckets: (0..capacity.div_ceil(BUCKET_LEN)).map(|_| Mutex::default()).collect(),
        }
    }

    /// When to try again, if the address has reached the limit.
    pub(super) fn check(&self, key: Key) -> Result<(), Duration> {
        let mut bucket = self.bucket(key);
        let Some(Entry { window, .. }) = bucket.iter_mut().find(|entry| entry.key == key) else { return Ok(()) };
        let (now, since) = self.now();
        window.advance(now);
        if window.sum() < self.max {
            return Ok(());
        }
        let periods = u32::try_from(window.below(self.max).saturating_sub(now)).unwrap_or(u32::MAX);
        Err(self.period.saturating_mul(periods).saturating_sub(since))
    }

    pub(super) fn add(&self, key: Key) {
        let (now, _) = self.now();
        let mut bucket = self.bucket(key);
        bucket.iter_mut().for_each(|entry| entry.window.advance(now));
        if let Some(entry) = bucket.iter_mut().find(|entry| entry.key == key) {
            return entry.window.add();
        }
        let mut entry = Entry { key, window: Window::new(now) };
        entry.window.add();
        if bucket.len() < BUCKET_LEN {
            bucket.push(entry);
        } else if let Some(fewest) = bucket.iter_mut().min_by_key(|entry| entry.window.sum()) {
            *fewest = entry;
        }
    }

    /// The current period, and the time since it began.
    fn now(&self) -> (u64, Duration) {
        let (now, period) = (self.epoch.elapsed().as_nanos(), self.period.as_nanos());
        let number = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
        (number(now / period), Duration::from_nanos(number(now % period)))
    }

    fn bucket(&self, key: Key) -> MutexGuard<'_, Vec<Entry>> {
        let buckets = self.buckets.len() as u64;
        let index = usize::try_from(self.hasher.hash_one(key) % buckets).unwrap_or_default();
        lock(self.buckets.get(index).expect("an index of a bucket"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn v4(number: u32) -> Key {
        Key::new(IpAddr::V4(Ipv4Addr::from_bits(number)), 64)
    }

    fn len(attempts: &Attempts) -> usize {
        attempts.buckets.iter().map(|bucket| lock(bucket).len()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_times_as_many_addresses_take_no_more_memory_than_the_capacity_and_free_nobody() {
        let attempts = Attempts::new(5, MINUTE, 4096);
        let blocked: Vec<_> = (0..100).map(|number| Key::new(Ipv4Addr::from_bits(number).into(), 64)).collect();
        for key in &blocked {
            (0..5).for_each(|_| attempts.add(*key));
        }
        for number in 0..20 * 4096_u32 {
            let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number) << 64);
            let key = Key::new(address.into(), 64);
            attempts.add(key);
            if number % 64 == 0 {
                assert!(attempts.check(key).is_ok(), "nobody pays for the others");
            }
        }
        assert_eq!(len(&attempts), 4096, "all buckets are full");
        let capacity: usize = attempts.buckets.iter().map(|bucket| lock(bucket).capacity()).sum();
        assert_eq!(capacity, 4096, "and no larger than that");
        assert!(blocked.iter().all(|key| attempts.check(*key).is_err()), "the counts of others stay");
        // What is too old makes room.
        tokio::time::advance(2 * MINUTE).await;
        assert!(blocked.iter().all(|key| attempts.check(*key).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_than_the_limit_and_the_wait_is_exact() {
        let attempts = Attempts::new(10, MINUTE, 16);
        let mut times = Vec::new();
        for _ in 0..2_000 {
            if let Err(wait) = attempts.check(v4(1)) {
                tokio::time::advance(wait - Duration::from_millis(1)).await;
                assert!(attempts.check(v4(1)).is_err());
                tokio::time::advance(Duration::from_millis(1)).await;
                assert_eq!(attempts.check(v4(1)), Ok(()), "after the time that it was told");
            }
            attempts.add(v4(1));
            times.push(Instant::now());
            tokio::time::advance(Duration::from_millis(1_237)).await;
        }
        for (oldest, newest) in times.iter().zip(times.iter().skip(10)) {
            assert!(newest.duration_since(*oldest) >= MINUTE, "11 in a minute");
            assert!(newest.duration_since(*oldest) < 2 * MINUTE, "the limit is used");
        }
    }

    #[test]
    fn sizes_are_as_the_docs_say() {
        assert_eq!(size_of::<Entry>(), 64);
    }
}
