//! What is left when nobody is connected: nothing.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep};

use crate::{
    node::{LEASE, Node},
    servers::Servers,
    stage::Stage,
};

/// How long leases may take to be released after the last session: a failed release is repeated at the next renewal.
/// What was left behind in the last minute has not expired by then.
const RELEASE: Duration = Duration::from_secs(LEASE.as_secs() / 3 + 10);

/// What the servers hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    connections: usize,
    sessions: usize,
    leases: usize,
}

fn held(stage: &Stage, servers: &Servers) -> Held {
    let running = || stage.nodes.iter().filter_map(Node::running);
    Held {
        connections: running().map(|node| node.sessions.count()).sum(),
        sessions: running().map(|node| node.sessions.iter().count()).sum(),
        leases: servers.leases(),
    }
}

/// Waits until the servers hold nothing for clients that are gone.
///
/// # Panics
///
/// If something is left.
pub(crate) async fn nothing_is_held(stage: &Stage, servers: &Servers) {
    let begin = Instant::now();
    loop {
        let held = held(stage, servers);
        if matches!(held, Held { connections: 0, sessions: 0, leases: 0 }) {
            return;
        }
        assert!(begin.elapsed() < RELEASE, "left behind: {held:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a number is as small as expected.
///
/// # Panics
///
/// If it stays larger.
pub(crate) async fn no_more_than(expected: usize, what: &str, actual: impl Fn() -> usize) {
    let begin = Instant::now();
    while actual() > expected {
        assert!(begin.elapsed() < RELEASE, "{} {what}, expected at most {expected}", actual());
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn tasks(runtime: &Handle) -> usize {
    runtime.metrics().num_alive_tasks()
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// The resident memory of this process, in KiB.
pub(crate) fn resident() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
