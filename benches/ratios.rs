//! What the layer costs to what the check by hand costs, each less the bare router that both have around them; and what
//! a handshake costs where many sessions live.
//!
//! Ratios, in turns: what else the machine does meets all of them. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::time::Instant;

use jsonwebtoken::Algorithm;

use support::{
    by_hand::Answer,
    cases::{self, Case, Check, Sent},
    crowd::{self, Crowd},
    goal::Goal,
    keys::ALGORITHMS,
    spread::Spread,
};

/// So few that they stay in the cache, where a request that was just parsed would be.
const BATCH: u32 = 32;

const BY_HAND: Check = Check::ByHand(Answer::Challenge);
const SAME_ANSWER: Check = Check::ByHand(Answer::Full);

fn main() {
    let is_test = support::is_test();
    println!("| in process, less the bare router | goal | measured |\n| --- | --- | --- |");
    let rows = rows();
    rows.iter().zip(measure(&rows, if is_test { 1 } else { 500 })).for_each(|(row, ratios)| {
        row.goal.row(&row.name(), &Spread::of(ratios));
    });

    let [few, many] = if is_test { [10, 500] } else { [1000, 50_000] };
    println!("\n| handshake over a pipe in memory | goal | measured |\n| --- | --- | --- |");
    let ratios = crowd::compare(&mut Crowd::of(few), &mut Crowd::of(many), if is_test { 1 } else { 100 });
    Goal::AtMost(1.1).row(&format!("with {many} live sessions ÷ with {few}"), &Spread::of(ratios));
}

struct Row {
    ours: Case,
    theirs: Case,
    goal: Goal,
}

impl Row {
    fn name(&self) -> String {
        format!("{} ÷ {}", self.ours.name, self.theirs.name)
    }
}

fn rows() -> Vec<Row> {
    let row = |(ours, algorithm, sent): (Check, Algorithm, Sent), theirs, their_algorithm, goal| Row {
        ours: cases::case(ours, algorithm, sent),
        theirs: cases::case(theirs, their_algorithm, sent),
        goal,
    };
    let good = Sent::Authorization;
    let mut rows = Vec::new();
    for (algorithm, most) in ALGORITHMS.into_iter().zip([0.55, 0.80, 0.95, 0.95]) {
        rows.push(row((Check::Ours, algorithm, good), BY_HAND, algorithm, Goal::AtMost(most)));
    }
    let hs256 = Algorithm::HS256;
    for sent in [Sent::BadSignature, Sent::Malformed, Sent::NoToken] {
        rows.push(row((Check::Ours, hs256, sent), BY_HAND, hs256, Goal::AtMost(0.60)));
    }
    for sent in [Sent::BadSignature, Sent::Malformed, Sent::NoToken] {
        rows.push(row((Check::Ours, hs256, sent), SAME_ANSWER, hs256, Goal::None));
    }
    for algorithm in ALGORITHMS {
        rows.push(row((Check::Remembered, algorithm, good), BY_HAND, hs256, Goal::AtMost(0.30)));
    }
    rows
}

/// Of each row the ratios, one of each round.
fn measure(rows: &[Row], rounds: usize) -> Vec<Vec<f64>> {
    let bare = cases::bare();
    for case in rows.iter().flat_map(|row| [&row.ours, &row.theirs]).chain([&bare]) {
        case.assert_answered();
    }
    let mut ratios = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        // Next to each other, so that the two have the machine in the same state.
        for (row, ratios) in rows.iter().zip(&mut ratios) {
            let [bare, ours, theirs] = [&bare, &row.ours, &row.theirs].map(time);
            ratios.push((ours - bare) / (theirs - bare));
        }
    }
    ratios
}

/// How long a batch takes, in nanoseconds. The requests are made before, and the responses dropped after.
fn time(case: &Case) -> f64 {
    let prepared: Vec<_> = (0..BATCH).map(|_| case.prepare()).collect();
    let mut responses = Vec::with_capacity(prepared.len());
    let start = Instant::now();
    for (app, request) in prepared {
        responses.push(cases::respond(app, request));
    }
    start.elapsed().as_nanos() as f64
}
