//! What a check has compared, for logs.

#[cfg(feature = "jwt")]
use crate::telemetry;

/// What a check has expected, and what it has found in the token. Never the token, but parts of it, which anybody can
/// write.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    pub(super) expected: String,
    pub(super) found: String,
}

#[cfg(feature = "jwt")]
impl Compared {
    /// `None` if no log shows it. It costs nothing then.
    pub(super) fn note(values: impl FnOnce() -> (String, String)) -> Option<Self> {
        telemetry::are_comparisons_logged().then(|| {
            let (expected, found) = values();
            Self { expected: bounded(expected), found: bounded(found) }
        })
    }
}

/// The beginning of a text.
#[cfg(feature = "jwt")]
fn bounded(text: String) -> String {
    const MAX_LEN: usize = 256;
    if text.len() <= MAX_LEN { text } else { text.chars().take(MAX_LEN).collect() }
}
