//! Parses the input of the targets.

/// Splits the input into the lengths at its start, whose number is in the first byte, and the rest.
pub fn lens(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(count % 16))
}

/// Cycles through these lengths, or returns `usize::MAX` if there are none. No length is zero, and some are long. After
/// a thousand, returns `usize::MAX`, so a run stays short.
pub fn cycle(lens: &[u8]) -> impl FnMut() -> usize + use<> {
    let mut lens = lens.to_vec().into_iter().cycle().take(1000);
    move || match lens.next() {
        None => usize::MAX,
        Some(len @ 0..200) => usize::from(len) + 1,
        Some(len) => (usize::from(len) - 199) * 211,
    }
}
