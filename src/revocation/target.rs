use std::time::{Duration, SystemTime};

use crate::id::{Scope, SessionId};

/// The properties of a session that revocations are matched against.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) session: SessionId,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) provider_session: Option<&'a str>,
    pub(crate) issued_at: Option<SystemTime>,
    /// When the session began to use its current token.
    pub(crate) since: SystemTime,
}

impl<'a> Target<'a> {
    /// The two ways in which a revocation can name an id of this issuer: with the issuer, or for every issuer.
    pub(super) fn scoped(&self, id: &'a str) -> [(Scope<'a>, &'a str); 2] {
        [(Scope::from_claim(self.issuer), id), (Scope::Any, id)]
    }

    /// Whether the token was issued by this time. The issuer's clock may be ahead by the skew. A token that was in use
    /// by then was issued before, whatever the issuer's clock says.
    pub(crate) fn was_issued_by(&self, time: SystemTime, clock_skew: Duration) -> bool {
        let latest = time.checked_add(clock_skew).unwrap_or(time);
        self.since <= time || self.issued_at.is_none_or(|issued_at| issued_at <= latest)
    }
}
