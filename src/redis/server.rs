//! One server, and the connection that all commands to it share.
//!
//! The connection is opened when it is first needed, and again when it broke. One task at a time does so, however many
//! callers wait for it, and even if all of them stop waiting. A server that is known to be down is not waited for long.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ConnectionInfo, RedisError, Value, aio::MultiplexedConnection, pipe};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    connect::{ConnectOptions, address_of, connect},
    endpoint::Endpoint,
    failure::{Failure, Recovery},
};
use crate::lock::{Mutex, lock};

/// The least time between two attempts to connect.
const CONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for a connection if the last attempt has failed.
const TIMEOUT_WHEN_DOWN: Duration = Duration::from_millis(300);
/// A connection to a server that is not a primary is replaced once it is this old. The name of a younger one may still
/// lead to the same server.
const MIN_AGE: Duration = Duration::from_millis(500);

pub(super) struct Server {
    endpoint: Endpoint,
    options: ConnectOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempt: Option<Attempt>,
    /// The number of the last attempt, and when it began.
    generation: u64,
    begun: Option<Instant>,
    /// Why the last attempt failed, if it did.
    failure: Option<Failure>,
}

/// An attempt to connect. `None` while it is pending.
type Attempt = watch::Receiver<Option<Result<Connection, Failure>>>;

#[derive(Clone)]
struct Connection {
    inner: MultiplexedConnection,
    address: Arc<str>,
    generation: u64,
    opened: Instant,
    last_answer: Arc<Mutex<Instant>>,
}

/// Why a command was not answered. It may have run.
pub(super) struct CommandError {
    pub(super) failure: Failure,
    /// Whether the next command gets another connection.
    pub(super) can_retry: bool,
}

impl Server {
    pub(super) fn new(endpoint: Endpoint, options: ConnectOptions) -> Self {
        Self { endpoint, options, state: Mutex::default() }
    }

    /// A new connection, which is not shared.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let info = self.resolve().await?;
        connect(&info, &self.options).await
    }

    pub(super) async fn resolve(&self) -> Result<ConnectionInfo, Failure> {
        self.endpoint.resolve(&self.options).await
    }

    /// Changes with each attempt to connect.
    pub(super) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    pub(super) fn is_connected(&self) -> bool {
        let state = lock(&self.state);
        state.attempt.as_ref().is_some_and(|attempt| matches!(*attempt.borrow(), Some(Ok(_))))
    }

    /// Sends a command and waits for the answer. With `asking`, the server is about to receive the slot of the key.
    pub(super) async fn send(
        &self,
        command: &Cmd,
        asking: bool,
        until: Instant,
        limit: Duration,
    ) -> Result<Value, CommandError> {
        let connection = self.connection(until).await.map_err(|failure| CommandError { failure, can_retry: false })?;
        let sent = Instant::now();
        match timeout_at(until, connection.send(command, asking)).await {
            Ok(Ok(value)) => {
                *lock(&connection.last_answer) = Instant::now();
                Ok(value)
            }
            Ok(Err(error)) => {
                let failure = Failure::Redis { address: Arc::clone(&connection.address), error };
                let can_retry = match failure.recovery() {
                    Recovery::None | Recovery::Moved(_) | Recovery::Ask(_) => {
                        *lock(&connection.last_answer) = Instant::now();
                        false
                    }
                    Recovery::Reconnect => self.discard(&connection),
                    Recovery::FindPrimary => connection.opened.elapsed() >= MIN_AGE && self.discard(&connection),
                };
                Err(CommandError { failure, can_retry })
            }
            Err(_) => {
                // The connection may be broken without an error, unless other commands were answered meanwhile.
                if *lock(&connection.last_answer) <= sent {
                    self.discard(&connection);
                }
                let failure = Failure::TimedOut { address: connection.address, limit };
                Err(CommandError { failure, can_retry: false })
            }
        }
    }

    /// Stops using this connection. Returns true, because the next command gets another one.
    fn discard(&self, connection: &Connection) -> bool {
        let mut state = lock(&self.state);
        let is_this = |attempt: &Attempt| matches!(&*attempt.borrow(), Some(Ok(current)) if current.generation == connection.generation);
        if state.attempt.as_ref().is_some_and(is_this) {
            state.attempt = None;
        }
        true
    }

    async fn connection(&self, until: Instant) -> Result<Connection, Failure> {
        let (mut attempt, last_failure) = self.attempt();
        let until = if last_failure.is_some() { until.min(Instant::now() + TIMEOUT_WHEN_DOWN) } else { until };
        match timeout_at(until, attempt.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(interrupted())),
            Ok(Err(_)) => Err(interrupted()),
            Err(_) => Err(last_failure.unwrap_or_else(|| {
                Failure::unreachable(format!("connecting to {} took too long", self.endpoint.name()))
            })),
        }
    }

    /// The attempt that is pending or has succeeded, or a new one; and why the last one failed, if it did.
    fn attempt(&self) -> (Attempt, Option<Failure>) {
        let mut state = lock(&self.state);
        if let Some(attempt) = &state.attempt {
            let outcome = match &*attempt.borrow() {
                Some(Ok(_)) => Some(None),
                Some(Err(failure)) => Some(Some(failure.clone())),
                // Its task has panicked, or its runtime has ended.
                None if attempt.has_changed().is_err() => Some(Some(interrupted())),
                None => None,
            };
            match outcome {
                None => return (attempt.clone(), state.failure.clone()),
                Some(None) => {
                    let attempt = attempt.clone();
                    state.failure = None;
                    return (attempt, None);
                }
                Some(failure) => state.failure = failure,
            }
        }
        let begin = Instant::now().max(state.begun.map_or_else(Instant::now, |begun| begun + CONNECT_INTERVAL));
        state.generation += 1;
        state.begun = Some(begin);
        let (outcome, attempt) = watch::channel(None);
        let (endpoint, options, generation) = (self.endpoint.clone(), self.options.clone(), state.generation);
        // A task of its own, because a caller with a short timeout would abort the attempt that others wait for.
        tokio::spawn(async move {
            sleep_until(begin).await;
            let opened = Connection::open(&endpoint, &options, generation).await;
            let _ = outcome.send(Some(opened));
        });
        state.attempt = Some(attempt.clone());
        (attempt, state.failure.clone())
    }
}

impl Connection {
    async fn open(endpoint: &Endpoint, options: &ConnectOptions, generation: u64) -> Result<Self, Failure> {
        let info = endpoint.resolve(options).await?;
        let inner = connect(&info, options).await?;
        let opened = Instant::now();
        let last_answer = Arc::new(Mutex::new(opened));
        Ok(Self { inner, address: address_of(&info), generation, opened, last_answer })
    }

    async fn send(&self, command: &Cmd, asking: bool) -> Result<Value, RedisError> {
        let mut connection = self.inner.clone();
        if asking {
            let mut commands = pipe();
            commands.cmd("ASKING").ignore().add_command(command.clone());
            let [value]: [Value; 1] = commands.query_async(&mut connection).await?;
            return Ok(value);
        }
        command.query_async(&mut connection).await
    }
}

fn interrupted() -> Failure {
    Failure::unreachable("connecting to redis was interrupted: its task panicked, or its runtime has ended")
}
