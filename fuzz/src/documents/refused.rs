//! What a reference says of an input.

/// Why the reference refuses an input, for the message of a finding.
#[derive(Debug, PartialEq)]
pub struct Refused(pub &'static str);

pub type Outcome<T> = Result<T, Refused>;

pub fn refused<T>(why: &'static str) -> Outcome<T> {
    Err(Refused(why))
}

/// Refuses unless the rule holds.
pub fn rule(holds: bool, why: &'static str) -> Outcome<()> {
    if holds { Ok(()) } else { refused(why) }
}
