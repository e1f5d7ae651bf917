//! Causes the faults of a plan, one after the other, and notes when they were.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{
    node::{COOL_DOWN, MAX_STALENESS, Node, fails_closed},
    plan::{Fault, Random},
    servers::Servers,
    stage::Stage,
    weather::Condition::{IsStale, MayBeStale, NewKey, RedisAway, Restarts},
};

/// How long a node goes on counting alone after Redis is back: its circuit breaker is open for five seconds.
const COUNTS_ALONE: Duration = Duration::from_secs(7);
/// A node may give up if a few answers take so long. It waits 1.5 seconds for a lease.
const SLOW: Duration = Duration::from_millis(350);
/// How old the copy of a node may be while all is well: twice the heartbeat of Redis.
const HEARTBEATS: Duration = Duration::from_secs(10);
/// How long a fetch of keys takes at most.
const FETCH: Duration = Duration::from_millis(1500);

/// The faults of a round.
pub(crate) async fn run(stage: &Stage, servers: &mut Servers, faults: &[Fault], mut random: Random) {
    for fault in faults {
        sleep(random.millis(500, 1500)).await;
        let begin = Instant::now();
        match fault {
            Fault::Kill => {
                redis_fails(stage);
                servers.kill();
                sleep(random.millis(800, 2000)).await;
                servers.restart();
                recover(stage).await;
            }
            Fault::Pause => {
                redis_fails(stage);
                servers.pause();
                sleep(random.millis(1500, 3000)).await;
                servers.resume();
                recover(stage).await;
            }
            Fault::FailOver => {
                redis_fails(stage);
                servers.fail_over(random.millis(0, 500)).await;
                recover(stage).await;
            }
            Fault::LongOutage => {
                redis_fails(stage);
                stage.weather.begin_after(MAX_STALENESS, IsStale, Some(0));
                servers.kill();
                sleep(MAX_STALENESS + random.millis(3000, 5000)).await;
                stage.weather.end_after(Duration::ZERO, IsStale);
                servers.restart();
                recover(stage).await;
            }
            Fault::Restart(node) => restart(stage, *node).await,
        }
        let at = stage.report.start.elapsed();
        println!("{at:.1?}: {fault:?} is over, after {:.1?}", begin.elapsed());
    }
}

/// Redis fails from now on, and the node that fails closed becomes stale if that takes long.
fn redis_fails(stage: &Stage) {
    stage.weather.begin(RedisAway, None);
    let stale = (0..stage.nodes.len()).filter(|number| fails_closed(*number));
    stale.for_each(|number| stage.weather.begin_after(MAX_STALENESS - HEARTBEATS, MayBeStale, Some(number)));
}

/// Waits until both nodes are in touch with Redis again.
async fn recover(stage: &Stage) {
    let begin = Instant::now();
    for running in stage.nodes.iter().filter_map(Node::running) {
        while running.revocations.status().age.is_none_or(|age| age >= begin.elapsed()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "a node does not find Redis again");
            sleep(Duration::from_millis(20)).await;
        }
    }
    // What Redis has not confirmed is sent again by now.
    sleep(Duration::from_secs(1)).await;
    stage.weather.end_after(COUNTS_ALONE, RedisAway);
    stage.weather.end_after(Duration::ZERO, MayBeStale);
}

async fn restart(stage: &Stage, number: usize) {
    let node = &stage.nodes[number];
    stage.weather.begin(Restarts, Some(number));
    let drained = node.shut_down().await;
    if drained.remaining > 0 {
        stage.report.add_violation(format!("{} connections are left after a drain", drained.remaining));
    }
    node.start_again().await;
    stage.weather.end_after(Duration::ZERO, Restarts);
}

/// Notes when Redis or the nodes are slow, because the machine is. Then a node may find that Redis is away.
pub(crate) async fn watch_redis(stage: &Stage, nodes: &Handle, address: String) {
    loop {
        let (begin, address) = (Instant::now(), address.clone());
        let ask = nodes.spawn(async move {
            let (mut stream, mut answer) = (TcpStream::connect(address).await?, [0; 7]);
            stream.write_all(b"PING\r\n").await?;
            stream.read_exact(&mut answer).await
        });
        let abort = ask.abort_handle();
        if !matches!(timeout(SLOW, ask).await, Ok(Ok(Ok(_)))) {
            abort.abort();
            stage.weather.add(RedisAway, begin, COUNTS_ALONE);
        }
        sleep(SLOW / 4).await;
    }
}

/// Rotates the keys again and again.
pub(crate) async fn rotate_keys(stage: &Stage, mut random: Random) {
    loop {
        sleep(random.millis(4000, 7000)).await;
        stage.weather.begin(NewKey, None);
        stage.tokens.rotate();
        stage.weather.end_after(COOL_DOWN + FETCH, NewKey);
    }
}
