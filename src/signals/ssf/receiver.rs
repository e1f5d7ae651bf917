//! Receives security events, and acts on them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    error::{SecurityEventError, SecurityEventErrorKind},
    event::{Kind, SecurityEvent, SetClaims},
    status::{Health, StreamState},
    target::Target,
    verification::Verifications,
};
use crate::{
    id::ScopedId,
    revocation::Revocations,
    session::Sessions,
    signals::{
        SubjectId,
        resolve::{BoxError, Users, in_time},
    },
    store::Revocation,
    telemetry::{self, Throttle},
    time::TimeSource,
    token::Token,
    verify::{Verifier, VerifyInput, jwt::JwtVerifier},
};

pub(super) type Fallback =
    dyn Fn(SecurityEvent) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// What ends when a user's credential changes; see
/// [`SharedSignalsBuilder::on_credential_change`](super::SharedSignalsBuilder::on_credential_change).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialChange {
    /// Everything that was issued to the user before the change.
    #[default]
    End,
    /// The same, unless the credential is a new one (`change_type` is `create`).
    EndUnlessCreated,
    /// Nothing.
    Ignore,
}

pub(super) struct Receiver {
    pub(super) verifier: JwtVerifier<SetClaims>,
    pub(super) revocations: Revocations,
    pub(super) users: Users,
    pub(super) on_credential_change: CredentialChange,
    /// Rechecks sessions when claims change. Otherwise they end.
    pub(super) recheck: Option<Sessions>,
    /// Tokens do not name their session at the provider, so that all of the user's sessions end.
    pub(super) ends_users: bool,
    pub(super) critical_members: Vec<String>,
    pub(super) fallback: Option<Box<Fallback>>,
    /// The hash of the expected `Authorization` of a push.
    pub(super) authorization: Option<[u8; 32]>,
    pub(super) verifications: Verifications,
    pub(super) health: Health,
    pub(super) time: TimeSource,
    pub(super) refusals: Arc<Throttle>,
    pub(super) failures: Arc<Throttle>,
}

/// What an event that was acknowledged has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Applied,
    /// Nothing: it is not understood, or not wanted.
    Ignored,
}

/// The longest token in bytes. Real ones have one or two thousand.
pub(super) const MAX_TOKEN_LEN: usize = 64 * 1024;

impl Receiver {
    /// Verifies a token and acts on its event. Returns once the store has confirmed the effect.
    pub(super) async fn receive(&self, token: &str) -> Result<(), SecurityEventError> {
        let mut kind = None;
        let outcome = self.try_receive(token, &mut kind).await;
        let event = kind.map_or("unreadable", Kind::as_str);
        match &outcome {
            Ok(effect) => {
                self.health.note_received();
                telemetry::signal_processed(event, *effect == Effect::Applied);
            }
            Err(error) if error.is_unavailable() => telemetry::signal_not_applied(event, error, &self.failures),
            Err(error) => telemetry::signal_refused(event, error.kind().as_str(), error, &self.refusals),
        }
        outcome.map(|_| ())
    }

    /// Writes down the kind of the event as soon as it is known.
    async fn try_receive(&self, token: &str, kind: &mut Option<Kind>) -> Result<Effect, SecurityEventError> {
        let too_long = SecurityEventError::new(SecurityEventErrorKind::InvalidRequest, "the token is too long");
        let token = Some(token.trim_ascii()).filter(|token| token.len() <= MAX_TOKEN_LEN).ok_or(too_long)?;
        let (token, now) = (Token::new(token), self.time.now());
        let verified = self.verifier.verify(VerifyInput::without_request(&token, now)).await;
        let event = SecurityEvent::of(verified.map_err(SecurityEventError::not_verified)?, now)?;
        telemetry::signal_received(event.issuer(), event.event_type(), event.id());
        *kind = Some(event.kind());
        self.act_on(event).await
    }

    async fn act_on(&self, event: SecurityEvent) -> Result<Effect, SecurityEventError> {
        match event.kind() {
            Kind::Verification => {
                return self.verifications.answered(event.text("state"), &self.health).map(|()| Effect::Applied);
            }
            Kind::StreamUpdated => {
                self.stream_updated(&event);
                return Ok(Effect::Applied);
            }
            Kind::Unknown => return self.fall_back(event, "its type is unknown").await,
            Kind::CredentialChange if self.ignores_credential_change(&event) => return Ok(Effect::Ignored),
            _ => {}
        }
        if event.subject().is_none() {
            return Err(SecurityEventError::new(SecurityEventErrorKind::InvalidRequest, "the claim sub_id is missing"));
        }
        // Shared Signals Framework 1.0 §3.6: such an event is discarded.
        if let Some(SubjectId::Complex(subject)) = event.subject()
            && subject.names().any(|name| self.critical_members.iter().any(|critical| critical == name))
        {
            return self.fall_back(event, "a critical member of its subject is not understood").await;
        }
        match self.target(&event).await? {
            None => return self.fall_back(event, "its subject is unknown").await,
            Some(Target::Other(revocation)) => self.revoke(revocation).await?,
            Some(Target::User(user)) if event.kind() == Kind::ClaimsChange => {
                self.claims_changed(user, event.time()).await?;
            }
            Some(Target::User(subject)) => self.revoke(Revocation::Subject { subject, until: event.time() }).await?,
        }
        Ok(Effect::Applied)
    }

    fn ignores_credential_change(&self, event: &SecurityEvent) -> bool {
        match self.on_credential_change {
            CredentialChange::End => false,
            CredentialChange::EndUnlessCreated => event.text("change_type") == Some("create"),
            CredentialChange::Ignore => true,
        }
    }

    async fn claims_changed(&self, subject: ScopedId, until: SystemTime) -> Result<(), SecurityEventError> {
        // Without an answer about all sessions, some sessions would keep their old claims.
        if let Some(sessions) = &self.recheck
            && sessions.are_all_of(&self.revocations)
            && sessions.recheck_or_end(&subject).await.is_ok()
        {
            return Ok(());
        }
        self.revoke(Revocation::Subject { subject, until }).await
    }

    async fn revoke(&self, revocation: Revocation) -> Result<(), SecurityEventError> {
        self.revocations.revoke(revocation).await.map_err(|error| SecurityEventError::unavailable().with_source(error))
    }

    /// The event is acknowledged all the same: the transmitter could not do anything about it.
    async fn fall_back(&self, event: SecurityEvent, why: &'static str) -> Result<Effect, SecurityEventError> {
        match &self.fallback {
            Some(fallback) => in_time(fallback(event))
                .await
                .map(|()| Effect::Applied)
                .map_err(|error| SecurityEventError::unavailable().with_source(error)),
            None => {
                telemetry::signal_not_acted_on(event.event_type(), why, event.kind() != Kind::Unknown);
                Ok(Effect::Ignored)
            }
        }
    }

    fn stream_updated(&self, event: &SecurityEvent) {
        let state = event.text("status").map(StreamState::of);
        if let Some(state) = state {
            self.health.note_stream(state);
        }
        telemetry::signal_stream_updated(event.issuer(), state.map(StreamState::as_str));
    }
}

/// When the transmitter may send a token again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);
