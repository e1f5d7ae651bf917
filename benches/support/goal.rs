//! Measured figures and their goals, as rows of a markdown table.

use std::fmt;

use super::spread::Spread;

/// The goal for a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Printed without a verdict.
    None,
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }

    /// The figure as text, marked if it misses the goal.
    pub(crate) fn judge(self, value: f64, text: &str) -> String {
        if self.is_met(value) { text.to_owned() } else { format!("{text}, **missed**") }
    }

    /// Prints a row with median and quartiles.
    pub(crate) fn row(self, name: &str, spread: &Spread) {
        println!("| {name} | {self} | {} |", self.judge(spread.median, &spread.to_string()));
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::None => Ok(()),
        }
    }
}
