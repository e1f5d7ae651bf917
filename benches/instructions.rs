//! Instructions for one request in process, counted by callgrind, beside those that are on record.
//!
//! Unlike a time, a count says the same on a busy machine, so that a check can stand on it. It is no measure of time, and
//! the less so for signatures: valgrind's processor has no SHA instructions, so that aws-lc hashes without them.
//!
//! `-- --check` fails where a count is not what is on record, `-- --record` writes the record. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    env,
    hint::black_box,
    io,
    process::{Command, ExitCode},
};

use axum::{Router, body::Body, response::Response};
use http::Request;
use jsonwebtoken::Algorithm;

use support::{
    by_hand::Answer,
    cases::{self, Case, Check, REFUSED, Sent},
    record::{Record, rustc},
};

/// The argument by which this program is the one that is counted.
const COUNT: &str = "count";
/// Two runs differ by no more than one instruction in a thousand, which the random seeds of hash tables decide; a build of
/// other code by one in a hundred. The size of the environment makes no difference.
const REQUESTS: u64 = 100;
/// By how many percent a count may differ from that on record.
const TOLERANCE: f64 = 5.0;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let mut cases = cases();
    if has(COUNT) {
        let counted = cases.iter().find(|case| has(&case.name)).expect("a case by its name");
        count_in_here(counted);
        return Ok(ExitCode::SUCCESS);
    }
    if support::is_test() {
        // Each start under callgrind takes a second, so that one must do.
        cases.iter().for_each(Case::assert_answered);
        cases.truncate(1);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("not counted: valgrind is missing; `apt-get install valgrind` brings it");
        return Ok(if has("--check") { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let mut counts = Vec::new();
    for case in &cases {
        counts.push((case.name.as_str(), count(&case.name)?));
    }
    if has("--record") {
        return Record::write(&counts).map(|()| ExitCode::SUCCESS);
    }
    let record = Record::read()?;
    let misses = report(&counts, &record);
    if has("--check") && !misses.is_empty() {
        println!("\n{}", misses.join("\n"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of the algorithms whose signatures are the same in every run.
fn cases() -> Vec<Case> {
    let by_hand = Check::ByHand(Answer::Challenge);
    let mut cases = vec![
        cases::bare(),
        cases::case(by_hand, Algorithm::HS256, Sent::Authorization),
        cases::case(Check::Ours, Algorithm::HS256, Sent::Authorization),
        cases::case(Check::Ours, Algorithm::HS256, Sent::Pair),
        cases::case(Check::Remembered, Algorithm::HS256, Sent::Authorization),
        cases::case(Check::Ours, Algorithm::RS256, Sent::Authorization),
    ];
    for check in [by_hand, Check::Ours] {
        cases.extend(REFUSED.map(|sent| cases::case(check, Algorithm::HS256, sent)));
    }
    cases
}

/// Is counted, by callgrind around this process.
fn count_in_here(case: &Case) {
    for _ in 0..10 {
        case.assert_answered();
    }
    for _ in 0..REQUESTS {
        let (app, request) = case.prepare();
        drop(black_box(counted(app, request)));
    }
}

/// Callgrind counts in here and nowhere else: a function of this name must be there.
#[inline(never)]
fn counted(app: Router, request: Request<Body>) -> Response {
    cases::respond(app, request)
}

/// Starts this program once more, under callgrind. Returns the instructions for each request.
fn count(name: &str) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::counted*", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([COUNT, name])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse::<u64>().ok()) {
        Some(number) if number > 0 && output.status.success() => Ok(number / REQUESTS),
        _ => Err(io::Error::other(format!("{name}: callgrind counted nothing:\n{said}"))),
    }
}

/// Prints the counts, and returns a line for each of ours that is not what is on record.
fn report(counts: &[(&str, u64)], record: &Record) -> Vec<String> {
    println!("| instructions for one request | counted | on record | change |\n| --- | --- | --- | --- |");
    let mut misses = Vec::new();
    for (name, count) in counts {
        let Some(recorded) = record.count(name) else {
            println!("| {name} | {count} | | |");
            misses.push(format!("{name}: nothing is on record; `--record` it"));
            continue;
        };
        let change = (*count as f64 / recorded as f64 - 1.0) * 100.0;
        println!("| {name} | {count} | {recorded} | {change:+.1} % |");
        // The others change with their crates, which is nothing to refuse.
        if !name.starts_with(Check::Ours.name()) || change.abs() <= TOLERANCE {
            continue;
        }
        let what = if change > 0.0 { "has grown" } else { "has shrunk: `--record` it" };
        misses.push(format!("{name}: {count} instructions, {change:+.1} % to the {recorded} on record: it {what}"));
    }
    if !record.is_of_this_compiler() {
        println!("\nOn record are counts of {}; here is {}.", record.made_by, rustc());
    }
    misses
}
