use super::EndReason;

/// The session has ended, so nothing more is sent: by a socket, or as the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: {reason}")]
pub struct SessionEnded {
    reason: EndReason,
}

impl SessionEnded {
    pub(crate) const fn new(reason: EndReason) -> Self {
        Self { reason }
    }

    /// Why the session ended.
    #[must_use]
    pub const fn reason(self) -> EndReason {
        self.reason
    }
}
