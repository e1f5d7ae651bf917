//! Sends commands, and repeats those whose connection broke.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::{Redis, failure::Failure, scripts::Script, slots::key_of};

/// How many times a command is redirected to another server of a cluster. A redirected command has not run.
const MAX_REDIRECTS: usize = 4;

impl Redis {
    /// Runs a command. It may be sent twice.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.send(command, self.timeout).await.and_then(decode)
    }

    /// Runs a script by its hash, or by its text if the server does not know the hash. It may be sent twice.
    pub(super) async fn run_script<T: FromRedisValue>(
        &self,
        script: &Script,
        args: &Cmd,
        limit: Duration,
    ) -> Result<T, Failure> {
        let begin = Instant::now();
        match self.send(&script.by_hash(args), limit).await {
            Err(failure) if failure.code() == Some("NOSCRIPT") => {
                let remaining = limit.saturating_sub(begin.elapsed());
                self.send(&script.by_text(args), remaining).await.and_then(decode)
            }
            outcome => outcome.and_then(decode),
        }
    }

    async fn send(&self, command: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.send_with_retry(command, command, limit).await.map(|(value, _)| value)
    }

    /// Sends a command. If the connection breaks before the answer, sends `retry` on another one: the first command has
    /// run, or not. Returns whether it was the retry that was answered.
    pub(super) async fn send_with_retry(
        &self,
        command: &Cmd,
        retry: &Cmd,
        limit: Duration,
    ) -> Result<(Value, bool), Failure> {
        let until = Instant::now() + limit;
        let mut destination = self.servers.destination(&key_of(command), until).await?;
        let (mut redirects, mut is_retry) = (0, false);
        loop {
            let next = if is_retry { retry } else { command };
            let error = match destination.server.send(next, destination.asking, until, limit).await {
                Ok(value) => return Ok((value, is_retry)),
                Err(error) => error,
            };
            if let Some(redirected) = self.servers.redirect(&error.failure.recovery())
                && redirects < MAX_REDIRECTS
            {
                destination = redirected;
                redirects += 1;
                continue;
            }
            if error.failure.server_may_be_down() {
                self.servers.refresh_soon();
            }
            if is_retry || !error.can_retry || Instant::now() >= until {
                return Err(error.failure);
            }
            is_retry = true;
        }
    }

    /// A connection to the server that has the revocations, for commands that wait.
    pub(super) async fn new_log_connection(&self) -> Result<MultiplexedConnection, Failure> {
        let key = self.revocations_key("");
        self.servers.new_connection(key.as_bytes(), Instant::now() + self.timeout).await
    }
}

pub(super) fn decode<T: FromRedisValue>(value: Value) -> Result<T, Failure> {
    T::from_redis_value(value).map_err(|error| Failure::from(RedisError::from(error)))
}

/// At most as many as a script can count with, which is a few thousand years.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    const MAX: u64 = 100_000_000_000_000;
    u64::try_from(duration.as_millis()).unwrap_or(MAX).min(MAX)
}
