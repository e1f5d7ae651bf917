//! What metrics cost an accepted handshake, and the end of its session: instructions by callgrind, and time.
//!
//! Compared with the same handshake without a recorder. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "prints figures")]

mod support;

use std::{
    env,
    hint::black_box,
    io,
    process::Command,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use http::Request;
use jsonwebtoken::Algorithm;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;

use support::{
    cases::{self, Case, Check, Sent},
    goal::Goal,
    spread::Spread,
};

/// The argument that makes this process the one that is counted.
const COUNT: &str = "count";
const REQUESTS: u64 = 100;
const BATCH: u32 = 32;
const RECORDERS: [&str; 3] = ["none", "no-op", "Prometheus"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, recorder, case] = &arguments[..]
        && first == COUNT
    {
        run_counted(recorder, &cases().into_iter().find(|known| known.name == *case).expect("a case by its name"));
        return Ok(());
    }
    if Command::new("valgrind").arg("--version").output().is_ok() {
        count_all(support::is_test())?;
    } else {
        println!("instructions are not counted: valgrind is missing");
    }
    time_all(if support::is_test() { 1 } else { 2000 });
    Ok(())
}

fn cases() -> Vec<Case> {
    let accept = |check, algorithm| cases::case(check, algorithm, Sent::Authorization);
    vec![
        accept(Check::Ours, Algorithm::HS256),
        accept(Check::Remembered, Algorithm::HS256),
        accept(Check::Ours, Algorithm::RS256),
        cases::case(Check::Ours, Algorithm::HS256, Sent::NoToken),
        cases::case(Check::Ours, Algorithm::HS256, Sent::BadSignature),
    ]
}

/// Runs a case in this process, which callgrind observes.
fn run_counted(recorder: &str, case: &Case) {
    match recorder {
        "none" => {}
        "no-op" => metrics::set_global_recorder(Nothing(0)).expect("it is the first one"),
        _ => drop(PrometheusBuilder::new().install_recorder().expect("it is the first one")),
    }
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

fn count_all(is_test: bool) -> io::Result<()> {
    println!("| instructions | no recorder | no-op recorder | Prometheus |\n| --- | --- | --- | --- |");
    let mut cases = cases();
    if is_test {
        // Each start under callgrind takes a second, so one case must do.
        cases.truncate(1);
    }
    for case in &cases {
        let mut counts = Vec::new();
        for recorder in RECORDERS {
            counts.push(count(recorder, &case.name)?);
        }
        let [none, others @ ..] = &counts[..] else { continue };
        let others = others.iter().map(|count| {
            let more = (*count as f64 / *none as f64 - 1.0) * 100.0;
            format!("{count} ({more:+.1} %)")
        });
        println!("| {} | {none} | {} |", case.name, others.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

/// Starts this program again under callgrind. Returns the instructions for each request.
fn count(recorder: &str, case: &str) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=metrics::counted*", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([COUNT, recorder, case])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse::<u64>().ok()) {
        Some(number) if number > 0 && output.status.success() => Ok(number / REQUESTS),
        _ => Err(io::Error::other(format!("{case}: callgrind counted nothing:\n{log}"))),
    }
}

/// The sides alternate, each with a layer of its own, which keeps the handles of its recorder.
fn time_all(rounds: u32) {
    println!("\n| time, to that without a recorder | goal | measured |\n| --- | --- | --- |");
    let prometheus = PrometheusBuilder::new().build_recorder();
    let handle = prometheus.handle();
    for (name, recorder) in [("no-op", &Nothing(0) as &dyn Recorder), ("Prometheus", &prometheus)] {
        for (plain, measured) in cases().iter().zip(&cases()) {
            metrics::with_local_recorder(recorder, || measured.assert_answered());
            let mut ratios = Vec::new();
            for round in 0..rounds {
                let measured = || metrics::with_local_recorder(recorder, || time(measured));
                let (without, with) = if round % 2 == 0 {
                    (time(plain), measured())
                } else {
                    let with = measured();
                    (time(plain), with)
                };
                ratios.push(with.as_secs_f64() / without.as_secs_f64());
                // As a scrape does, from time to time.
                handle.run_upkeep();
            }
            Goal::None.row(&format!("{name}: {}", plain.name), &Spread::of(ratios));
        }
    }
}

/// The time of a batch. Building the requests and dropping the responses is not counted.
fn time(case: &Case) -> Duration {
    let prepared: Vec<_> = (0..BATCH).map(|_| case.prepare()).collect();
    let mut responses = Vec::with_capacity(prepared.len());
    let start = Instant::now();
    for (app, request) in prepared {
        responses.push(cases::respond(app, request));
    }
    start.elapsed()
}

/// Takes handles, and does nothing with them.
struct Nothing(#[allow(dead_code, reason = "a recorder has a size")] u8);

impl Recorder for Nothing {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
