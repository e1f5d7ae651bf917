use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{
    SessionId,
    scoped_id::{Scope, ScopedId},
};

/// What is revoked: live sessions end, and handshakes and refreshes are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Revocation {
    /// The tokens with this id (`jti`), and their sessions.
    Token(ScopedId),
    /// One session. Its token stays good for another one.
    Session(SessionId),
    /// What was issued to a subject (`sub`) by this moment, to the second. A token that does not say when it was issued
    /// (`iat`) is taken for one of these.
    Subject {
        /// The subject.
        subject: ScopedId,
        /// The moment.
        until: SystemTime,
    },
    /// What was issued to anybody by this moment.
    IssuedUntil(SystemTime),
}

impl Revocation {
    /// Nothing was issued before 1970, and no store need be able to write such a time.
    pub(super) fn since_epoch(self) -> Self {
        match self {
            Self::Subject { subject, until } => Self::Subject { subject, until: until.max(SystemTime::UNIX_EPOCH) },
            Self::IssuedUntil(moment) => Self::IssuedUntil(moment.max(SystemTime::UNIX_EPOCH)),
            other => other,
        }
    }
}

/// What a session stands on, as far as revocations are about it.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) session: SessionId,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) issued_at: Option<SystemTime>,
}

impl<'a> Standing<'a> {
    /// Both ways in which an order may name an id of this issuer.
    pub(super) fn named(&self, id: &'a str) -> [(Scope<'a>, &'a str); 2] {
        [(Scope::stated(self.issuer), id), (Scope::Any, id)]
    }

    pub(crate) fn was_issued_by(&self, moment: SystemTime) -> bool {
        self.issued_at.is_none_or(|issued_at| issued_at <= moment)
    }
}
