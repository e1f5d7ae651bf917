//! Starts the task that follows the store, and replaces it when it has stopped.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::AbortHandle, time::Instant};

use super::{
    follow::{HEARTBEAT_TIMEOUT, follow},
    node::Node,
};
use crate::lock::{Mutex, lock};

/// How long a handshake waits for the first load.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// A task that was not polled for this long is on a runtime that nobody drives.
const STALLED_AFTER: Duration = Duration::from_secs(12);

/// A node and the task that follows its store, which ends when this is dropped.
pub(super) struct Follower {
    pub(super) node: Arc<Node>,
    task: Mutex<Option<Task>>,
}

struct Task {
    handle: AbortHandle,
    started: Instant,
}

impl Follower {
    pub(super) fn new(node: Node) -> Self {
        Self { node: Arc::new(node), task: Mutex::new(None) }
    }

    /// Whether nothing has come from the store for longer than its heartbeat allows.
    pub(super) fn is_silent(&self) -> bool {
        self.node.freshness.age().is_none_or(|age| age > HEARTBEAT_TIMEOUT)
    }

    pub(super) fn restart_if_silent(&self) {
        if self.is_silent() {
            self.ensure_running();
        }
    }

    /// Starts the task, on the runtime of the caller, unless one is running. One whose runtime has ended, or is no
    /// longer driven, is not running.
    pub(super) fn ensure_running(&self) {
        let mut task = lock(&self.task);
        let is_alive = task.as_ref().is_some_and(|task| !task.handle.is_finished());
        if is_alive && self.node.since_polled() < STALLED_AFTER {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            if let Some(old) = task.take() {
                old.handle.abort();
            }
            self.node.note_polled();
            let handle = runtime.spawn(follow(Arc::clone(&self.node))).abort_handle();
            *task = Some(Task { handle, started: Instant::now() });
        }
    }

    pub(super) async fn catch_up(&self) {
        self.restart_if_silent();
        let freshness = &self.node.freshness;
        if freshness.is_current() {
            return;
        }
        let limit = match freshness.age() {
            None => CATCH_UP_TIMEOUT,
            // A task that has run for a while without success is not worth waiting for.
            Some(_) => CATCH_UP_TIMEOUT.saturating_sub(self.since_started()),
        };
        freshness.wait_until_current(limit).await;
    }

    fn since_started(&self) -> Duration {
        lock(&self.task).as_ref().map_or(Duration::MAX, |task| task.started.elapsed())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.handle.abort();
        }
    }
}
