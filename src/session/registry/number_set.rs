use std::collections::BTreeSet;

/// An ordered set of session numbers.
///
/// Usually there are few, in a vector that takes little memory. With many, it is a tree, and no operation gets slow.
pub(super) enum NumberSet {
    Few(Vec<u64>),
    Many(BTreeSet<u64>),
}

const MAX_FEW: usize = 64;

impl NumberSet {
    /// Returns whether the number is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        match self {
            Self::Few(numbers) if numbers.len() < MAX_FEW => match numbers.binary_search(&number) {
                Ok(_) => false,
                Err(at) => {
                    // Most subjects have one session.
                    if numbers.is_empty() {
                        numbers.reserve_exact(1);
                    }
                    numbers.insert(at, number);
                    true
                }
            },
            Self::Few(numbers) => {
                let mut many: BTreeSet<u64> = numbers.drain(..).collect();
                let is_new = many.insert(number);
                *self = Self::Many(many);
                is_new
            }
            Self::Many(numbers) => numbers.insert(number),
        }
    }

    /// Returns whether the number was in the set.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::Few(numbers) => numbers.binary_search(&number).map(|at| numbers.remove(at)).is_ok(),
            Self::Many(numbers) => numbers.remove(&number),
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        match self {
            Self::Few(numbers) => numbers.binary_search(&number).is_ok(),
            Self::Many(numbers) => numbers.contains(&number),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(numbers) => numbers.len(),
            Self::Many(numbers) => numbers.len(),
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        match self {
            Self::Few(numbers) => numbers.first().copied(),
            Self::Many(numbers) => numbers.first().copied(),
        }
    }

    /// The first `max` numbers that are at least `from`.
    pub(super) fn batch(&self, from: u64, max: usize) -> Vec<u64> {
        match self {
            Self::Few(numbers) => numbers.iter().copied().skip_while(|&number| number < from).take(max).collect(),
            Self::Many(numbers) => numbers.range(from..).copied().take(max).collect(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (few, many) = match self {
            Self::Few(numbers) => (Some(numbers), None),
            Self::Many(numbers) => (None, Some(numbers)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }
}

impl Default for NumberSet {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MAX_FEW, NumberSet};

    #[test]
    fn many_numbers_are_a_tree() {
        let mut numbers = NumberSet::default();
        for (number, is_tree) in (0_u64..).zip((0..=MAX_FEW).map(|before| before == MAX_FEW)) {
            numbers.insert(number);
            assert_eq!(matches!(numbers, NumberSet::Many(_)), is_tree, "{number}");
        }
    }

    #[test]
    fn few_and_many_behave_alike() {
        let mut numbers = NumberSet::default();
        let mut expected = BTreeSet::new();
        // Inserts and removes in a scrambled order.
        for step in 0..1000_u64 {
            let number = step * 7919 % 500;
            let (actual, right) = if step % 500 < 250 {
                (numbers.insert(number), expected.insert(number))
            } else {
                (numbers.remove(number), expected.remove(&number))
            };
            assert_eq!(actual, right, "{step}");
            assert_eq!(numbers.len(), expected.len());
            assert_eq!(numbers.first(), expected.first().copied());
            assert_eq!(numbers.contains(number), expected.contains(&number));
            assert!(numbers.iter().eq(expected.iter().copied()));
            assert!(numbers.batch(number, 3).into_iter().eq(expected.range(number..).take(3).copied()));
        }
    }
}
