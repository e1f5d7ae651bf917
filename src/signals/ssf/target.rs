//! Which sessions an event is about.

use std::sync::Arc;

use super::{
    error::SecurityEventError,
    event::{Kind, SecurityEvent},
    receiver::Receiver,
};
use crate::{
    id::ScopedId,
    signals::{ComplexSubject, SubjectId},
    store::Revocation,
};

/// What Keycloak sends in place of a session's id if all sessions of the user are over.
const ALL_SESSIONS: &str = "ALL";

/// What an event is about.
pub(super) enum Target {
    User(ScopedId),
    /// A session of the provider, or a token.
    Other(Revocation),
}

impl Receiver {
    /// `None` if the crate cannot tell.
    pub(super) async fn target(&self, event: &SecurityEvent) -> Result<Option<Target>, SecurityEventError> {
        match event.subject() {
            None => Ok(None),
            Some(SubjectId::Complex(subject)) => self.complex_target(event, subject).await,
            Some(subject) => self.simple_target(event, subject).await,
        }
    }

    async fn complex_target(
        &self,
        event: &SecurityEvent,
        subject: &ComplexSubject,
    ) -> Result<Option<Target>, SecurityEventError> {
        let (user, session) = (subject.get("user"), subject.get("session"));
        // Other events are about the user, whatever session they happened in.
        let session = session.filter(|_| user.is_none() || event.kind() == Kind::SessionRevoked && !self.ends_users);
        match session {
            Some(SubjectId::Opaque { id }) if &**id != ALL_SESSIONS => {
                let issuer = match user {
                    Some(SubjectId::IssSub { iss, .. }) => iss,
                    _ => event.issuer(),
                };
                Ok(Some(self.session(issuer, id)))
            }
            Some(SubjectId::IssSub { iss, sub }) => Ok(Some(self.session(iss, sub))),
            Some(SubjectId::JwtId { iss, jti }) => Ok(Some(self.token(iss, jti))),
            _ => match user {
                Some(user) => Ok(self.user(user).await?.map(Target::User)),
                None => Ok(None),
            },
        }
    }

    async fn simple_target(
        &self,
        event: &SecurityEvent,
        subject: &SubjectId,
    ) -> Result<Option<Target>, SecurityEventError> {
        if let SubjectId::JwtId { iss, jti } = subject {
            return Ok(Some(self.token(iss, jti)));
        }
        Ok(match (self.user(subject).await?, subject) {
            (Some(user), _) => Some(Target::User(user)),
            // CAEP 1.0 §3.1: an opaque subject of this event is a session.
            (None, SubjectId::Opaque { id }) if event.kind() == Kind::SessionRevoked => {
                Some(self.session(event.issuer(), id))
            }
            _ => None,
        })
    }

    async fn user(&self, subject: &SubjectId) -> Result<Option<ScopedId>, SecurityEventError> {
        self.users.find(subject).await.map_err(|error| SecurityEventError::unavailable().with_source(error))
    }

    fn session(&self, issuer: &Arc<str>, id: &Arc<str>) -> Target {
        let id = ScopedId::of(self.users.token_issuer(issuer), Arc::clone(id));
        Target::Other(Revocation::ProviderSession(id))
    }

    fn token(&self, issuer: &Arc<str>, id: &Arc<str>) -> Target {
        let id = ScopedId::of(self.users.token_issuer(issuer), Arc::clone(id));
        Target::Other(Revocation::Token(id))
    }
}
