use std::time::{Duration, SystemTime};

use crate::id::{Scope, SessionId};

/// What a session stands on, as far as revocations are about it.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) session: SessionId,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) issued_at: Option<SystemTime>,
    /// When the session began to depend on its token.
    pub(crate) since: SystemTime,
}

impl<'a> Target<'a> {
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
