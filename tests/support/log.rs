//! Captures events, for assertions.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Dispatch, Level, Subscriber,
    dispatcher::with_default,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Captures the events of this thread until it is dropped.
pub(crate) struct Capture {
    _guard: DefaultGuard,
    _second: Dispatch,
}

/// Runs a future, on whatever thread, and captures its events of this level and more severe ones.
pub(crate) async fn captured<T>(level: Level, future: impl Future<Output = T>) -> (T, String) {
    let log = Log::default();
    let (dispatch, _second) = (Dispatch::new(log.subscriber(level)), second_dispatch());
    let mut future = pin!(future);
    let output = poll_fn(|cx| with_default(&dispatch, || future.as_mut().poll(cx))).await;
    (output, log.text())
}

/// With a single dispatcher, tracing caches whether the thread that first met an event has a subscriber, for all
/// threads. With two, it asks each of them.
fn second_dispatch() -> Dispatch {
    Dispatch::new(NoSubscriber::new())
}

impl Log {
    /// Captures all events of this thread.
    pub(crate) fn everything(&self) -> Capture {
        self.capture(Level::TRACE)
    }

    /// Captures the events of this thread of this level and more severe ones.
    pub(crate) fn capture(&self, level: Level) -> Capture {
        Capture { _guard: tracing::subscriber::set_default(self.subscriber(level)), _second: second_dispatch() }
    }

    /// Captures the events of all tests in this process, down to info.
    pub(crate) fn of_process() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let install = || {
            let log = Self::default();
            tracing::subscriber::set_global_default(log.subscriber(Level::INFO)).unwrap();
            log
        };
        LOG.get_or_init(install).clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn has(&self, level: &str, message: &str) -> bool {
        self.text().lines().any(|line| line.contains(level) && line.contains(message))
    }

    fn subscriber(&self, level: Level) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(self.clone()).finish()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
