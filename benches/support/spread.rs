use std::fmt;

/// Median and quartiles of the values of several rounds.
pub(crate) struct Spread {
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |quarter: usize| values.get(last * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { lower: at(1), median: at(2), upper: at(3) }
    }
}

/// The median, with the quartiles in parentheses.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.lower, self.upper)
    }
}
