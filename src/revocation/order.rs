use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::SessionId;

/// What is revoked: live sessions end, and handshakes and refreshes are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Revocation {
    /// The tokens with this id (`jti`), and what stands on them.
    Token(String),
    /// One session. Its token stays good for another one.
    Session(SessionId),
    /// What was issued to a subject (`sub`) by this moment, to the second. A token that does not say when it was issued
    /// (`iat`) is taken for one of these.
    Subject {
        /// The subject.
        subject: String,
        /// The moment.
        until: SystemTime,
    },
    /// What was issued to anybody by this moment.
    IssuedUntil(SystemTime),
}

/// What a session stands on, as far as revocations are about it.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) session: SessionId,
    pub(crate) subject: Option<&'a str>,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) issued_at: Option<SystemTime>,
}

impl Standing<'_> {
    pub(crate) fn was_issued_by(&self, moment: SystemTime) -> bool {
        self.issued_at.is_none_or(|issued_at| issued_at <= moment)
    }
}
