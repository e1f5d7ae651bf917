use std::time::Duration;

use super::{Filter, Registry};
use crate::{
    revocation::{LiveSessions, Target},
    session::End,
    store::Revocation,
};

impl LiveSessions for Registry {
    fn end_revoked(&self, revocation: &Revocation, clock_skew: Duration) {
        match revocation {
            Revocation::Token(id) => End::REVOKED.apply(self.scan(Filter::Token(id.clone()))),
            Revocation::ProviderSession(id) => End::REVOKED.apply(self.scan(Filter::ProviderSession(id.clone()))),
            Revocation::Session(id) => End::REVOKED.apply(self.get(*id)),
            Revocation::Subject { subject, until } => {
                let is_revoked = |target: Target<'_>| target.was_issued_by(*until, clock_skew);
                let sessions = self.scan(Filter::Subject(subject.clone()));
                End::REVOKED.apply(sessions.filter(|session| session.matches(&is_revoked)))
            }
            Revocation::IssuedUntil(moment) => {
                let is_revoked = |target: Target<'_>| target.was_issued_by(*moment, clock_skew);
                End::REVOKED.apply(self.scan(Filter::All).filter(|session| session.matches(&is_revoked)))
            }
        };
    }

    fn end_matching(&self, is_revoked: &dyn Fn(Target<'_>) -> bool) {
        End::REVOKED.apply(self.scan(Filter::All).filter(|session| session.matches(is_revoked)));
    }
}
