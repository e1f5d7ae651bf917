//! How the targets read their input.

/// The lengths at the start of the input, and what follows them. The first byte says how many there are.
pub fn lens(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(count % 16))
}

/// These lengths again and again, or one that is never reached if there are none. None is zero, and some are long. A thousand are
/// enough: what follows comes at once, so that a run does not take long.
pub fn cycle(lens: &[u8]) -> impl FnMut() -> usize + use<> {
    let mut lens = lens.to_vec().into_iter().cycle().take(1000);
    move || match lens.next() {
        None => usize::MAX,
        Some(len @ 0..200) => usize::from(len) + 1,
        Some(len) => (usize::from(len) - 199) * 211,
    }
}
