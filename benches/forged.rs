//! The processor time of refusing tokens that somebody else has signed. See `benches/README.md`.
//!
//! Processor time, as the kernel counts it for this thread, so that a busy machine matters less. Linux only.

#![allow(clippy::print_stdout, reason = "prints figures")]

mod support;

use std::{fs, io};

use axum_ws_auth::{WsAuthLayer, jwt::JwtVerifier};
use http::StatusCode;

use support::{
    Claims,
    cases::{self, Case, Check, Sent, idle, respond},
    keys::{ALGORITHMS, Key},
};

const ROUNDS: u32 = 50;
const REQUESTS: u32 = 200;
/// As many as are tried for a token that does not say which.
const KEYS: usize = 16;

fn main() -> io::Result<()> {
    let (rounds, requests) = if support::is_test() { (1, 2) } else { (ROUNDS, REQUESTS) };
    println!("| refused | processor time | each second, by one core |\n| --- | --- | --- |");
    for case in cases() {
        case.assert_answered();
        // The kernel counts in steps of milliseconds, so only the sum is exact.
        let mut nanos = 0.0;
        for _ in 0..rounds {
            nanos += time_of(&case, requests)?;
        }
        let micros = nanos / 1e3 / f64::from(rounds * requests);
        println!("| {} | {micros:.1} µs | {:.0} |", case.name, 1e6 / micros);
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = vec![cases::case(Check::Ours, ALGORITHMS[0], Sent::NoToken)];
    for algorithm in ALGORITHMS {
        cases.push(cases::case(Check::Ours, algorithm, Sent::BadSignature));
    }
    // The token has no key id, and neither have the keys.
    for algorithm in ALGORITHMS {
        let forged = cases::case(Check::Ours, algorithm, Sent::BadSignature);
        let keys = (0..KEYS).fold(JwtVerifier::<Claims>::builder().insecure_any_audience(), |builder, _| {
            builder.key(Key::of(algorithm).public)
        });
        let app = idle().layer(WsAuthLayer::new(keys.build().expect("keys and a backend")));
        cases.push(Case::new(format!("{}, {KEYS} keys", forged.name), app, forged.request, StatusCode::UNAUTHORIZED));
    }
    cases.push(cases::case(Check::Remembered, ALGORITHMS[2], Sent::BadSignature));
    cases
}

/// Nanoseconds for this many refusals.
fn time_of(case: &Case, requests: u32) -> io::Result<f64> {
    let prepared: Vec<_> = (0..requests).map(|_| case.prepare()).collect();
    let begin = processor_time()?;
    for (app, request) in prepared {
        drop(respond(app, request));
    }
    Ok(processor_time()? - begin)
}

/// Nanoseconds that this thread has had a processor.
fn processor_time() -> io::Result<f64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat")?;
    let time = times.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    time.ok_or_else(|| io::Error::other("the kernel does not count it"))
}
