//! Instructions for one request in process, counted by callgrind and compared with the record.
//!
//! Unlike a time, a count is the same on a busy machine, so CI can check it. It is no measure of time, least of all for
//! signatures: valgrind's processor has no SHA instructions, so aws-lc hashes without them.
//!
//! `-- --check` fails if a count differs from the record, `-- --record` writes the record. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "prints figures")]

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

/// The argument that makes this process the one that is counted.
const COUNT: &str = "count";
/// Two runs differ by at most 0.1 %, because of the random seeds of hash tables, and builds of other code by 1 %. The
/// size of the environment makes no difference.
const REQUESTS: u64 = 100;
/// How much a count may differ from the record, in percent.
const TOLERANCE: f64 = 5.0;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let mut cases = cases();
    if has(COUNT) {
        let counted = cases.iter().find(|case| has(&case.name)).expect("a case by its name");
        run_counted(counted);
        return Ok(ExitCode::SUCCESS);
    }
    if support::is_test() {
        // Each start under callgrind takes a second, so one case must do.
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

/// Only algorithms whose signatures are the same in every run.
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

/// Runs a case in this process, which callgrind observes.
fn run_counted(case: &Case) {
    for _ in 0..10 {
        case.assert_answered();
    }
    for _ in 0..REQUESTS {
        let (app, request) = case.prepare();
        drop(black_box(counted(app, request)));
    }
}

/// Callgrind counts only in this function, which it finds by its name.
#[inline(never)]
fn counted(app: Router, request: Request<Body>) -> Response {
    cases::respond(app, request)
}

/// Starts this program again under callgrind. Returns the instructions for each request.
fn count(name: &str) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::counted*", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([COUNT, name])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse::<u64>().ok()) {
        Some(number) if number > 0 && output.status.success() => Ok(number / REQUESTS),
        _ => Err(io::Error::other(format!("{name}: callgrind counted nothing:\n{log}"))),
    }
}

/// Prints the counts, and returns a line for each count of ours that differs from the record.
fn report(counts: &[(&str, u64)], record: &Record) -> Vec<String> {
    println!("| instructions for one request | counted | on record | change |\n| --- | --- | --- | --- |");
    let mut misses = Vec::new();
    for (name, count) in counts {
        let Some(recorded) = record.count(name) else {
            println!("| {name} | {count} | | |");
            misses.push(format!("{name}: not on record; run `--record`"));
            continue;
        };
        let change = (*count as f64 / recorded as f64 - 1.0) * 100.0;
        println!("| {name} | {count} | {recorded} | {change:+.1} % |");
        // The others change with their crates, so they are not checked.
        if !name.starts_with(Check::Ours.name()) || change.abs() <= TOLERANCE {
            continue;
        }
        let verdict = if change > 0.0 { "it has grown" } else { "it has shrunk: run `--record`" };
        misses.push(format!("{name}: {count} instructions, {change:+.1} % to the {recorded} on record: {verdict}"));
    }
    if !record.is_of_this_compiler() {
        println!("\nThe record was made with {}, this run with {}.", record.made_by, rustc());
    }
    misses
}
