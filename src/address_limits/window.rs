/// How many periods are remembered.
const PERIODS: usize = 9;

/// Counts events in a window that slides by an eighth of its length, which is a period.
///
/// It remembers the latest period and the eight before it, at a fixed size. So an event counts for at least the length
/// of the window, and for an eighth longer at most. A limit holds for every window of that length, wherever it begins.
#[derive(Debug)]
pub(super) struct Window {
    latest: u64,
    /// Each at the number of its period, modulo [`PERIODS`].
    counts: [u32; PERIODS],
}

impl Window {
    pub(super) const PERIODS_IN_LENGTH: u32 = 8;

    pub(super) const fn new(period: u64) -> Self {
        Self { latest: period, counts: [0; PERIODS] }
    }

    /// Forgets what is too old in this period.
    pub(super) fn advance(&mut self, period: u64) {
        for later in (self.latest.saturating_add(1)..=period).take(self.counts.len()) {
            *self.count_of(later) = 0;
        }
        self.latest = self.latest.max(period);
    }

    /// Counts an event in the latest period.
    pub(super) fn add(&mut self) {
        let count = self.count_of(self.latest);
        *count = count.saturating_add(1);
    }

    pub(super) fn sum(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }

    /// The period from which on the sum is below this maximum, if nothing is added.
    pub(super) fn below(&mut self, max: u64) -> u64 {
        let mut rest = self.sum();
        let oldest = self.latest.saturating_sub(PERIODS as u64 - 1);
        let leaving = (oldest..=self.latest).find(|&period| {
            rest -= u64::from(*self.count_of(period));
            rest < max
        });
        leaving.unwrap_or(self.latest).saturating_add(PERIODS as u64)
    }

    fn count_of(&mut self, period: u64) -> &mut u32 {
        let index = usize::try_from(period % PERIODS as u64).unwrap_or_default();
        self.counts.get_mut(index).expect("an index of a period")
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// Compared with a list of all events.
        #[test]
        fn an_event_counts_in_its_period_and_in_the_next_eight(steps in vec(0..12_u64, 1..60), max in 1..20_u64) {
            let (mut now, mut events) = (100, Vec::new());
            let mut window = Window::new(now);
            for step in steps {
                now += step;
                window.advance(now);
                window.add();
                events.push(now);
                let at = |period: u64| events.iter().filter(|&&event| event + 8 >= period).count() as u64;
                prop_assert_eq!(window.sum(), at(now));
                if window.sum() >= max {
                    let below = window.below(max);
                    prop_assert!(at(below) < max && at(below - 1) >= max);
                }
            }
        }
    }
}
