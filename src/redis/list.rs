//! Lists the leases of a subject.
//!
//! The members of a set do not stand in the order of lists, so a page reads all members of the subject, which Redis
//! copies in a single pass, and sorts them here. Only the leases of the page are then looked at one by one.

use futures_util::future::join_all;
use redis::{Cmd, cmd};

use super::{Redis, failure::Failure, issuers::with_issuer, limits::MAX_TIMEOUT, scripts::LIMITS};
use crate::{
    id::{ScopedId, SessionCursor},
    store::{LeaseQuery, SessionLease},
};

/// How many leases a script looks at.
const BATCH: usize = 200;

impl Redis {
    pub(super) async fn list_leases(&self, query: LeaseQuery<'_>) -> Result<Vec<SessionLease>, Failure> {
        let subjects = self.subjects(query.subject).await?;
        let members = join_all(subjects.iter().map(|subject| self.members(subject))).await;
        let mut places: Vec<(SessionCursor, &ScopedId)> = Vec::new();
        for (subject, members) in subjects.iter().zip(members) {
            let members = members?.into_iter().filter(|member| query.after.is_none_or(|after| *member > after));
            places.extend(members.map(|member| (member, subject)));
        }
        places.sort_by_key(|(member, _)| *member);
        let mut leases = Vec::new();
        for places in places.chunks(query.max.clamp(1, BATCH)) {
            leases.extend(self.leases_at(places, &subjects).await?);
            if leases.len() >= query.max {
                leases.truncate(query.max);
                break;
            }
        }
        Ok(leases)
    }

    /// The subjects that this one matches and that may have leases.
    async fn subjects(&self, subject: &ScopedId) -> Result<Vec<ScopedId>, Failure> {
        if !subject.is_any_issuer() {
            return Ok(vec![subject.clone()]);
        }
        let issuers: Vec<Vec<u8>> = self.run(&all_of(&self.issuers_key())).await?;
        Ok(issuers.iter().filter_map(|issuer| with_issuer(str::from_utf8(issuer).ok()?, subject.id())).collect())
    }

    /// The leases of a subject, including some that have expired.
    async fn members(&self, subject: &ScopedId) -> Result<Vec<SessionCursor>, Failure> {
        let [leases, _] = self.lease_keys(subject);
        let members: Vec<Vec<u8>> = self.run(&all_of(&leases)).await?;
        Ok(members.iter().filter_map(|member| str::from_utf8(member).ok()?.parse().ok()).collect())
    }

    /// The leases at these places that have not expired, in the same order.
    async fn leases_at(
        &self,
        places: &[(SessionCursor, &ScopedId)],
        subjects: &[ScopedId],
    ) -> Result<Vec<SessionLease>, Failure> {
        let mut leases = Vec::new();
        for subject in subjects {
            let mut args = Cmd::new();
            args.arg(&self.lease_keys(subject));
            let places: Vec<_> = places.iter().filter(|(_, other)| *other == subject).map(|(place, _)| place).collect();
            if places.is_empty() {
                continue;
            }
            for place in &places {
                args.arg(place.to_string());
            }
            let found: Vec<Option<Vec<u8>>> =
                self.run_script(&LIMITS.details, &args, self.timeout.min(MAX_TIMEOUT)).await?;
            let found = places.into_iter().zip(found).filter_map(|(place, details)| Some((place, details?)));
            leases.extend(found.map(|(place, details)| {
                let lease = SessionLease::new(subject, place.session(), place.accepted());
                lease.with_details(String::from_utf8(details).unwrap_or_default())
            }));
        }
        leases.sort_by_key(SessionLease::cursor);
        Ok(leases)
    }
}

/// The members of a sorted set, without evicted leases.
fn all_of(key: &str) -> Cmd {
    let mut command = cmd("ZRANGEBYSCORE");
    command.arg(key).arg(0).arg("+inf");
    command
}
