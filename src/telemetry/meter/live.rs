#[cfg(feature = "metrics")]
use std::sync::Arc;

#[cfg(feature = "metrics")]
use tokio::time::Instant;

#[cfg(feature = "metrics")]
use super::handles::Handles;

/// Counts one session among the live ones, until it is dropped at the latest. By default it counts nothing.
#[derive(Default)]
pub(crate) struct LiveSession {
    #[cfg(feature = "metrics")]
    counted: Option<Counted>,
}

/// It holds the handles that counted it, so that a recorder that is installed later never sees an end without a begin.
#[cfg(feature = "metrics")]
struct Counted {
    handles: Arc<Handles>,
    kind: &'static str,
    since: Instant,
}

#[cfg(feature = "metrics")]
impl LiveSession {
    pub(super) fn begin(handles: &Arc<Handles>, kind: &'static str, since: Instant) -> Self {
        handles.sessions(kind, 1.0);
        Self { counted: Some(Counted { handles: Arc::clone(handles), kind, since }) }
    }
}

impl LiveSession {
    /// It is one of another kind from here on.
    #[cfg(feature = "streams")]
    pub(crate) fn change_kind(&mut self, kind: &'static str) {
        #[cfg(feature = "metrics")]
        if let Some(counted) = &mut self.counted {
            counted.handles.sessions(kind, 1.0);
            counted.handles.sessions(counted.kind, -1.0);
            counted.kind = kind;
        }
    }

    /// The session has ended, for this reason.
    #[cfg_attr(not(feature = "metrics"), allow(clippy::needless_pass_by_value, reason = "there is no value"))]
    pub(crate) fn end(mut self, reason: &'static str) {
        self.finish(reason);
    }

    fn finish(&mut self, reason: &'static str) {
        #[cfg(feature = "metrics")]
        if let Some(Counted { handles, kind, since }) = self.counted.take() {
            handles.sessions(kind, -1.0);
            handles.session_ended(kind, reason, since.elapsed());
        }
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        // Nothing watched the session, so nothing said how it ended: with its request.
        self.finish("closed");
    }
}
