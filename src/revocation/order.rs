use std::time::{Duration, SystemTime};

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
    /// What was issued to a subject (`sub`) by this moment, and what was in use by then. A token whose issue time (`iat`) is
    /// later by no more than the [clock skew](super::RevocationOptions::clock_skew) counts as issued by this moment, and so
    /// does one without an issue time.
    Subject {
        /// The subject.
        subject: ScopedId,
        /// The moment.
        until: SystemTime,
    },
    /// What was issued to anybody by this moment, reckoned in the same way.
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
    /// When the session began to depend on its token.
    pub(crate) since: SystemTime,
}

impl<'a> Standing<'a> {
    /// Both ways in which an order may name an id of this issuer.
    pub(super) fn named(&self, id: &'a str) -> [(Scope<'a>, &'a str); 2] {
        [(Scope::stated(self.issuer), id), (Scope::Any, id)]
    }

    /// Whether the token was issued by this moment. The clock of its issuer may be ahead by the skew. A token that was in use
    /// by then was issued before, whatever its issuer's clock says.
    pub(crate) fn was_issued_by(&self, moment: SystemTime, clock_skew: Duration) -> bool {
        let latest = moment.checked_add(clock_skew).unwrap_or(moment);
        self.since <= moment || self.issued_at.is_none_or(|issued_at| issued_at <= latest)
    }
}
