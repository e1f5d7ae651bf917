//! What a subscriber writes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{Dispatch, Level, subscriber::DefaultGuard, subscriber::NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Everything on this thread is logged for as long as this is there.
pub(crate) struct Logging {
    _guard: DefaultGuard,
    /// With two dispatchers tracing asks this one, whatever another thread thinks of an event.
    _another: Dispatch,
}

impl Log {
    pub(crate) fn everything(&self) -> Logging {
        let subscriber =
            tracing_subscriber::fmt().with_max_level(Level::TRACE).with_ansi(false).with_writer(self.clone()).finish();
        Logging { _guard: tracing::subscriber::set_default(subscriber), _another: Dispatch::new(NoSubscriber::new()) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
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
