//! Takes times.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::{Attempt, Subject, control, subjects};

/// How long a batch takes at least: long to the clock, and short to the slices of a scheduler.
const BATCH: Duration = Duration::from_micros(20);
const BATCHES: usize = 500;
/// What counts as no difference.
const TOLERANCE: f64 = 0.03;
/// Noise differs each time, and a leak does not.
const ROUNDS: u8 = 20;

/// By how much longer a guess takes of which all but the last byte is right, to one of which nothing is.
///
/// Both alternate. Whatever else the machine does makes some batches longer and none shorter, so of each the tenth
/// part that is fastest is compared.
fn difference(subject: &Subject, round: u8) -> f64 {
    let attempts = [0, subject.secret.len() - 1].map(|matching| subject.attempt(matching, round));
    let time = |attempt: &Attempt, repeats: u32| {
        let begin = Instant::now();
        for _ in 0..repeats {
            black_box(attempt());
        }
        begin.elapsed()
    };
    let mut repeats = 1;
    while time(&attempts[0], repeats) < BATCH {
        repeats *= 2;
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..BATCHES {
        for (attempt, times) in attempts.iter().zip(&mut times) {
            times.push(time(attempt, repeats));
        }
    }
    let [nothing, most] = times.map(|mut times| {
        times.sort_unstable();
        times[BATCHES / 10].as_secs_f64()
    });
    most / nothing - 1.0
}

#[test]
fn a_refusal_takes_as_long_however_much_of_a_secret_is_right() {
    for subject in subjects() {
        let mut differences = Vec::new();
        let found_none = (0..ROUNDS).any(|round| {
            differences.push(difference(&subject, round));
            differences.last().is_some_and(|difference| difference.abs() < TOLERANCE)
        });
        assert!(found_none, "{}: {differences:?}", subject.name);
    }
}

#[test]
fn the_time_of_a_comparison_that_stops_early_is_found() {
    for round in 0..ROUNDS {
        let difference = difference(&control(), round);
        assert!(difference > 3.0 * TOLERANCE, "{difference}");
    }
}
