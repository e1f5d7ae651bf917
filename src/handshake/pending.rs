//! A handshake whose client is to authenticate by its first message.

use std::sync::Arc;

use http::{Version, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{
    config::Config,
    request::RequestKind,
    strip::check_head,
    summary::{RequestSummary, log_late_refusal},
    upgrade::withhold,
};
use crate::{
    address_limits::Visit,
    lock::{Mutex, lock},
    rejection::Rejection,
    session::{Head, SessionMeta},
    socket::PendingPermit,
};

/// An upgrade that only the handler can take that waits for the first message.
pub(crate) struct PendingUpgrade {
    pub(crate) version: Version,
    summary: Option<Box<RequestSummary>>,
    withheld: Mutex<Option<WithheldUpgrade>>,
}

/// The connection, and what is needed to begin a session on it.
pub(crate) struct WithheldUpgrade {
    pub(crate) connection: OnUpgrade,
    pub(crate) head: Head,
    pub(crate) meta: SessionMeta,
    pub(crate) visit: Option<Box<Visit>>,
    /// Held until the client has authenticated, or is gone.
    pub(crate) permit: PendingPermit,
}

impl PendingUpgrade {
    /// Withholds the connection from everybody else. `None` if the layer waits for no first message, or the request is
    /// no well-formed handshake.
    pub(super) fn withhold(
        config: &Config,
        kind: RequestKind,
        parts: &mut Parts,
    ) -> Result<Option<Arc<Self>>, Rejection> {
        let Some(first_message) = config.first_message() else { return Ok(None) };
        if kind == RequestKind::Plain {
            return Ok(None);
        }
        check_head(config, parts)?;
        let Some(connection) = withhold(parts) else { return Ok(None) };
        let permit = match config.session.check_capacity().and_then(|()| first_message.acquire_permit(parts)) {
            Ok(permit) => permit,
            Err(error) => {
                // `accept_then_close` answers on it.
                parts.extensions.insert(connection);
                return Err(Rejection::admission(error, &config.challenges, parts.version));
            }
        };
        // Now, because the head that is kept has few extensions.
        let meta = config.session_meta(parts);
        let withheld = WithheldUpgrade { connection, head: Head::from_parts(parts), meta, visit: None, permit };
        let (version, summary) = (parts.version, RequestSummary::kept(parts));
        Ok(Some(Arc::new(Self { version, summary, withheld: Mutex::new(Some(withheld)) })))
    }

    /// Logs the refusal of its client.
    pub(crate) fn log_refusal(&self, config: &Config, rejection: &Rejection) {
        log_late_refusal(config, rejection, self.summary.as_deref());
    }

    pub(crate) fn take(&self) -> Option<WithheldUpgrade> {
        lock(&self.withheld).take()
    }

    /// Keeps the client's place among the connections of its address.
    pub(super) fn keep_place(&self, visit: Option<Box<Visit>>) {
        if let Some(withheld) = &mut *lock(&self.withheld) {
            withheld.visit = visit;
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        lock(&self.withheld).is_none()
    }
}
