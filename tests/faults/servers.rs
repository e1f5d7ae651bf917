//! Two Redis servers, of which one is a replica, behind one address.

use std::time::{Duration, Instant};

use tokio::{task::block_in_place, time::sleep};

use crate::{proxy::Proxy, redis::RedisServer};

pub(crate) struct Servers {
    primary: RedisServer,
    replica: RedisServer,
    proxy: Proxy,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let (primary, replica) = (RedisServer::start(), RedisServer::start());
        replica.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        let proxy = Proxy::to(primary.port()).await;
        Self { primary, replica, proxy }
    }

    /// The address that stays the same.
    pub(crate) fn url(&self) -> String {
        self.proxy.url()
    }

    pub(crate) fn address(&self) -> String {
        self.url().trim_start_matches("redis://").to_owned()
    }

    pub(crate) fn kill(&mut self) {
        block_in_place(|| self.primary.kill());
    }

    pub(crate) fn restart(&mut self) {
        block_in_place(|| {
            self.primary.restart();
            self.primary.wait_until_ready();
        });
    }

    pub(crate) fn pause(&self) {
        self.primary.suspend();
    }

    pub(crate) fn resume(&self) {
        self.primary.resume();
    }

    /// The replica takes over without losing anything (`FAILOVER`). Then the address leads to it. Open connections stay
    /// with the old primary, which refuses to write.
    pub(crate) async fn fail_over(&mut self, delay: Duration) {
        self.replica_says("master_link_status:up").await;
        block_in_place(|| self.primary.run(&format!("FAILOVER TO 127.0.0.1 {}", self.replica.port())));
        self.replica_says("role:master").await;
        sleep(delay).await;
        self.proxy.set_target(self.replica.port());
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    async fn replica_says(&self, line: &str) {
        let begin = Instant::now();
        while !block_in_place(|| self.replica.query("INFO replication")).contains(line) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the replica does not say `{line}`");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many leases there are. Marks of leases that were evicted or released have negative scores.
    pub(crate) fn leases(&self) -> usize {
        let script = "local leases = 0 \
            for _, set in ipairs(redis.call('KEYS', '*:sessions:*')) do \
                leases = leases + redis.call('ZCOUNT', set, 0, '+inf') \
            end \
            return leases";
        let answer = block_in_place(|| self.primary.query(&format!("EVAL \"{script}\" 0")));
        answer.trim().strip_prefix(':').and_then(|count| count.parse().ok()).expect("a number")
    }
}
