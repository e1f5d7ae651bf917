//! Load and faults together: hundreds of clients at once, a third of them hostile, while keys rotate, sessions are
//! revoked, Redis is killed, paused and failed over, and servers drain and restart. Every outcome must be one that the
//! table in `model.rs` allows, and nothing may be left at the end: no session, lease, task, descriptor or memory.
//!
//! ```sh
//! cargo test --test faults --features redis                             # 3,000 handshakes
//! cargo test --test faults --features redis -- --ignored --nocapture    # 50,000
//! ```
//!
//! The run prints its seed. `FAULTS_SEED=…` repeats the plan: which client does what, on which node, and which fault
//! comes when. What the machine makes of it differs a little each time. Needs `redis-server` on the path.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may panic, and shares its servers with others"
)]

mod checks;
mod clients;
mod hostile;
mod model;
mod node;
mod plan;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/redis.rs"]
mod redis;
mod report;
mod run;
mod saboteur;
mod servers;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod weather;
mod wire;

use plan::Fault::{FailOver, Kill, LongOutage, Pause, Restart};
use run::Form;

/// How many clients there are at the same time.
const CONCURRENCY: usize = 500;

#[test]
fn handshakes_under_faults_are_as_the_model_says() {
    run::run(&Form {
        handshakes: 3_000,
        rounds: vec![vec![Kill, Restart(0)], vec![Pause, FailOver, Restart(1)]],
        max_growth: 24 * 1024,
    });
}

#[test]
#[ignore = "takes minutes"]
fn fifty_thousand_handshakes_under_faults_are_as_the_model_says() {
    let all = vec![Kill, Pause, FailOver, Restart(0), Pause, Restart(1), Kill, LongOutage, FailOver];
    run::run(&Form { handshakes: 50_000, rounds: vec![all; 4], max_growth: 24 * 1024 });
}
