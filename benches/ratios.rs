//! The cost of the layer to that of the check by hand, each minus the bare router that both use; and the cost of a
//! handshake with many live sessions.
//!
//! The sides of each ratio alternate, so other load on the machine affects both. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "prints figures")]

mod support;

use std::time::Instant;

use jsonwebtoken::Algorithm;

use support::{
    by_hand::Answer,
    cases::{self, Case, Check, Sent, case},
    goal::Goal,
    keys::ALGORITHMS,
    live_sessions::{self, LiveSessions},
    spread::Spread,
};

/// Few enough to stay in the CPU cache, as a request that was just parsed does.
const BATCH: u32 = 32;

const BY_HAND: Check = Check::ByHand(Answer::Challenge);
const SAME_ANSWER: Check = Check::ByHand(Answer::Full);

fn main() {
    let is_test = support::is_test();
    let rows = rows();
    let ratios = measure(&rows, if is_test { 1 } else { 500 });
    println!("| in process, minus the bare router | goal | measured |\n| --- | --- | --- |");
    for (row, ratios) in rows.iter().zip(ratios) {
        row.goal.row(&format!("{} ÷ {}", row.ours.name, row.theirs.name), &Spread::of(ratios));
    }

    let [few, many] = if is_test { [10, 500] } else { [1000, 50_000] };
    let ratios = live_sessions::compare(
        &mut LiveSessions::open(few),
        &mut LiveSessions::open(many),
        if is_test { 1 } else { 100 },
    );
    println!("\n| handshake over a pipe in memory | goal | measured |\n| --- | --- | --- |");
    Goal::AtMost(1.1).row(&format!("with {many} live sessions ÷ with {few}"), &Spread::of(ratios));
}

struct Row {
    ours: Case,
    theirs: Case,
    goal: Goal,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let good = |check, algorithm| case(check, algorithm, Sent::Authorization);
    for (algorithm, most) in ALGORITHMS.into_iter().zip([0.55, 0.80, 0.95, 0.95]) {
        let (ours, theirs) = (good(Check::Ours, algorithm), good(BY_HAND, algorithm));
        rows.push(Row { ours, theirs, goal: Goal::AtMost(most) });
    }
    for (by_hand, goal) in [(BY_HAND, Goal::AtMost(0.60)), (SAME_ANSWER, Goal::None)] {
        for sent in [Sent::BadSignature, Sent::Malformed, Sent::NoToken] {
            let [ours, theirs] = [Check::Ours, by_hand].map(|check| case(check, Algorithm::HS256, sent));
            if by_hand == SAME_ANSWER {
                assert_eq!(cases::answer(&ours), cases::answer(&theirs), "{}", theirs.name);
            }
            rows.push(Row { ours, theirs, goal });
        }
    }
    for algorithm in ALGORITHMS {
        let (ours, theirs) = (good(Check::Remembered, algorithm), good(BY_HAND, Algorithm::HS256));
        rows.push(Row { ours, theirs, goal: Goal::AtMost(0.30) });
    }
    rows
}

/// Returns the ratios of each row, one for each round.
fn measure(rows: &[Row], rounds: usize) -> Vec<Vec<f64>> {
    let bare = cases::bare();
    for case in rows.iter().flat_map(|row| [&row.ours, &row.theirs]).chain([&bare]) {
        case.assert_answered();
    }
    let mut ratios = vec![Vec::new(); rows.len()];
    for round in 0..rounds {
        for (row, ratios) in rows.iter().zip(&mut ratios) {
            // One right after the other, so the machine is in the same state. The order alternates.
            let [bare, ours, theirs] = if round % 2 == 0 {
                [&bare, &row.ours, &row.theirs].map(time)
            } else {
                let [theirs, ours, bare] = [&row.theirs, &row.ours, &bare].map(time);
                [bare, ours, theirs]
            };
            ratios.push((ours - bare) / (theirs - bare));
        }
    }
    ratios
}

/// The time of a batch, in nanoseconds. Building the requests and dropping the responses is not counted.
fn time(case: &Case) -> f64 {
    let prepared: Vec<_> = (0..BATCH).map(|_| case.prepare()).collect();
    let mut responses = Vec::with_capacity(prepared.len());
    let start = Instant::now();
    for (app, request) in prepared {
        responses.push(cases::respond(app, request));
    }
    start.elapsed().as_nanos() as f64
}
