/// How the values of several rounds lie.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |quarter: usize| values.get(last * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { least: at(0), lower: at(1), median: at(2), upper: at(3), most: at(4) }
    }
}
