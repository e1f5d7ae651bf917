use std::collections::BTreeSet;

/// The numbers of some sessions, in order.
///
/// Nearly always there are few, which take little memory. However many there are, none of the operations gets slow.
pub(super) enum Numbers {
    Few(Vec<u64>),
    Many(BTreeSet<u64>),
}

const FEW: usize = 64;

impl Numbers {
    /// Returns whether it was not there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        match self {
            Self::Few(numbers) if numbers.len() < FEW => match numbers.binary_search(&number) {
                Ok(_) => false,
                Err(at) => {
                    // No more memory than it takes for one.
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

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::Few(numbers) => numbers.binary_search(&number).map(|at| numbers.remove(at)).is_ok(),
            Self::Many(numbers) => numbers.remove(&number),
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
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

    /// At most so many of those that are not less than `from`.
    pub(super) fn some(&self, from: u64, most: usize) -> Vec<u64> {
        match self {
            Self::Few(numbers) => numbers.iter().copied().skip_while(|&number| number < from).take(most).collect(),
            Self::Many(numbers) => numbers.range(from..).copied().take(most).collect(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = u64> + '_ {
        let (few, many) = match self {
            Self::Few(numbers) => (Some(numbers), None),
            Self::Many(numbers) => (None, Some(numbers)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Numbers;

    #[test]
    fn few_and_many_are_alike() {
        let mut numbers = Numbers::default();
        let mut expected = BTreeSet::new();
        // Up and down again, in an order that is neither.
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
            assert_eq!(numbers.has(number), expected.contains(&number));
            assert!(numbers.all().eq(expected.iter().copied()));
            assert!(numbers.some(number, 3).into_iter().eq(expected.range(number..).take(3).copied()));
        }
    }
}
