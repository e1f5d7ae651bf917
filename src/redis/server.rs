//! One server, and the one connection to it on which all commands are sent.
//!
//! A connection is opened when it is first needed and again when it broke, by one task at a time, however many wait for it
//! and whether or not they go on waiting. What is known to be down is not waited for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Cmd, ConnectionInfo, RedisError, Value, aio::MultiplexedConnection, pipe};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Failed,
    connect::{Setup, address_of, connect},
    failed::Cure,
    sentinel::Sentinels,
};
use crate::lock::lock;

/// Attempts to connect begin so far apart.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection is waited for where the last attempt has failed.
const PATIENCE: Duration = Duration::from_millis(300);
/// How old a connection is before it is given up because the server says that it is no primary. It may still be the one to
/// which the name leads.
const SETTLED: Duration = Duration::from_millis(500);

/// Where a server is.
#[derive(Clone)]
pub(super) enum Target {
    At(Box<ConnectionInfo>),
    /// Wherever sentinels say.
    Primary(Arc<Sentinels>),
}

pub(super) struct Server {
    target: Target,
    setup: Setup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempt: Option<Attempt>,
    /// How often it was begun to connect, and when last.
    generation: u64,
    begun: Option<Instant>,
    /// Why the last attempt failed, if it did.
    failed: Option<Failed>,
}

/// Nothing as long as it is under way.
type Attempt = watch::Receiver<Option<Result<Open, Failed>>>;

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    address: Arc<str>,
    generation: u64,
    since: Instant,
    /// When something was last answered on it.
    answered: Arc<Mutex<Instant>>,
}

/// A command that was not carried out, as far as is known.
pub(super) struct Undone {
    pub(super) failed: Failed,
    /// Whether another attempt would be on another connection.
    pub(super) may_be_repeated: bool,
}

impl Target {
    pub(super) async fn resolve(&self, setup: &Setup) -> Result<ConnectionInfo, Failed> {
        match self {
            Self::At(info) => Ok(ConnectionInfo::clone(info)),
            Self::Primary(sentinels) => sentinels.primary(setup.limit).await,
        }
    }
}

impl Server {
    pub(super) fn new(target: Target, setup: Setup) -> Self {
        Self { target, setup, state: Mutex::default() }
    }

    /// A connection of its own.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Failed> {
        let info = self.target.resolve(&self.setup).await?;
        connect(&info, &self.setup).await
    }

    pub(super) async fn resolve(&self) -> Result<ConnectionInfo, Failed> {
        self.target.resolve(&self.setup).await
    }

    /// Changes whenever a connection is opened anew.
    pub(super) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        let state = lock(&self.state);
        state.attempt.as_ref().is_some_and(|attempt| matches!(*attempt.borrow(), Some(Ok(_))))
    }

    /// Sends a command and waits for the answer, until then. With `asking`, to one that is about to have the key.
    pub(super) async fn ask(
        &self,
        command: &Cmd,
        asking: bool,
        until: Instant,
        limit: Duration,
    ) -> Result<Value, Undone> {
        let open = self.open(until).await.map_err(|failed| Undone { failed, may_be_repeated: false })?;
        let sent = Instant::now();
        match timeout_at(until, open.send(command, asking)).await {
            Ok(Ok(value)) => {
                *lock(&open.answered) = Instant::now();
                Ok(value)
            }
            Ok(Err(error)) => {
                let failed = Failed::Redis { address: Arc::clone(&open.address), error };
                let may_be_repeated = match failed.cure() {
                    Cure::None | Cure::Moved(_) | Cure::Ask(_) => {
                        *lock(&open.answered) = Instant::now();
                        false
                    }
                    Cure::Reconnect => self.give_up(&open),
                    Cure::Elsewhere => open.since.elapsed() >= SETTLED && self.give_up(&open),
                };
                Err(Undone { failed, may_be_repeated })
            }
            Err(_) => {
                // It may be broken without anybody having said so; but not if others were answered meanwhile.
                if *lock(&open.answered) <= sent {
                    self.give_up(&open);
                }
                let failed = Failed::TimedOut { address: open.address, limit };
                Err(Undone { failed, may_be_repeated: false })
            }
        }
    }

    /// Has the next command sent on a new connection, if this one is still in use.
    fn give_up(&self, open: &Open) -> bool {
        let mut state = lock(&self.state);
        let is_this = |attempt: &Attempt| matches!(&*attempt.borrow(), Some(Ok(current)) if current.generation == open.generation);
        if state.attempt.as_ref().is_some_and(is_this) {
            state.attempt = None;
        }
        true
    }

    async fn open(&self, until: Instant) -> Result<Open, Failed> {
        let (mut attempt, known) = self.attempt();
        let until = if known.is_some() { until.min(Instant::now() + PATIENCE) } else { until };
        match timeout_at(until, attempt.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(interrupted())),
            Ok(Err(_)) => Err(interrupted()),
            Err(_) => Err(known.unwrap_or_else(|| {
                Failed::unreachable(format!("{} was not connected to in time", self.target.name()))
            })),
        }
    }

    /// The one that is under way or has succeeded, or a new one; and why the last one failed, if it did.
    fn attempt(&self) -> (Attempt, Option<Failed>) {
        let mut state = lock(&self.state);
        if let Some(attempt) = &state.attempt {
            let outcome = match &*attempt.borrow() {
                Some(Ok(_)) => Some(None),
                Some(Err(failed)) => Some(Some(failed.clone())),
                // Its task is gone: with its runtime, or by a panic.
                None if attempt.has_changed().is_err() => Some(Some(interrupted())),
                None => None,
            };
            match outcome {
                None => return (attempt.clone(), state.failed.clone()),
                Some(None) => {
                    let attempt = attempt.clone();
                    state.failed = None;
                    return (attempt, None);
                }
                Some(failed) => state.failed = failed,
            }
        }
        let begin = Instant::now().max(state.begun.map_or_else(Instant::now, |begun| begun + PAUSE));
        state.generation += 1;
        state.begun = Some(begin);
        let (outcome, attempt) = watch::channel(None);
        let (target, setup, generation) = (self.target.clone(), self.setup.clone(), state.generation);
        // Not ended with who asks: or one who has little time would keep all others from ever being connected.
        tokio::spawn(async move {
            sleep_until(begin).await;
            let opened = Open::new(&target, &setup, generation).await;
            let _ = outcome.send(Some(opened));
        });
        state.attempt = Some(attempt.clone());
        (attempt, state.failed.clone())
    }
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::At(info) => format!("redis at {}", address_of(info)),
            Self::Primary(sentinels) => sentinels.name(),
        }
    }
}

impl Open {
    async fn new(target: &Target, setup: &Setup, generation: u64) -> Result<Self, Failed> {
        let info = target.resolve(setup).await?;
        let connection = connect(&info, setup).await?;
        let now = Instant::now();
        let answered = Arc::new(Mutex::new(now));
        Ok(Self { connection, address: address_of(&info), generation, since: now, answered })
    }

    async fn send(&self, command: &Cmd, asking: bool) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        if asking {
            let mut both = pipe();
            both.cmd("ASKING").ignore().add_command(command.clone());
            let [value]: [Value; 1] = both.query_async(&mut connection).await?;
            return Ok(value);
        }
        command.query_async(&mut connection).await
    }
}

fn interrupted() -> Failed {
    Failed::unreachable("connecting to redis was interrupted: its task panicked, or its runtime has ended")
}
