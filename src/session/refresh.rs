//! A new token for a session that lives.

use std::{error::Error, fmt, mem, sync::Arc, time::Duration};

use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout},
};

use super::{End, Session, core::TokenFacts};
use crate::{
    id::SessionId,
    lock::lock,
    session::AdmissionError,
    telemetry,
    token::{Token, check},
    verify::{Verified, VerifyError, VerifyErrorKind, VerifyInput},
};

/// Why a session was not refreshed. Nothing about it has changed. It never holds the token.
#[derive(Clone, Debug)]
pub struct RefreshError {
    kind: RefreshErrorKind,
    retry_after: Option<Duration>,
    source: Option<VerifyError>,
}

/// What kept a session from being refreshed; see [`RefreshError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshErrorKind {
    /// The session has ended, perhaps just now.
    SessionEnded,
    /// Another refresh of the session is under way.
    InProgress,
    /// There were too many attempts; see [`WsAuthLayer::refresh_limit`](crate::WsAuthLayer::refresh_limit).
    TooManyAttempts,
    /// The token is longer than [`WsAuthLayer::max_token_len`](crate::WsAuthLayer::max_token_len).
    TokenTooLarge,
    /// What should hold the token does not, or the token is empty or holds white space or control characters.
    Malformed,
    /// The verifier did not accept the token; the [`source`](Error::source) says why.
    NotVerified(VerifyErrorKind),
    /// The token, or the session, does not name a subject: it cannot be told whether it is the same one.
    NoSubject,
    /// The token speaks of somebody else.
    OtherSubject,
    /// The token was issued by somebody else.
    OtherIssuer,
    /// The token, its subject or the session was [revoked](crate::Revocations).
    Revoked,
    /// It cannot be told now whether the token was revoked.
    Unavailable,
}

impl RefreshError {
    pub(crate) const fn of(kind: RefreshErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    fn not_verified(error: VerifyError) -> Self {
        let kind = RefreshErrorKind::NotVerified(error.kind());
        Self { kind, retry_after: error.retry_after(), source: Some(error) }
    }

    fn not_admitted(error: AdmissionError) -> Self {
        let kind = match error {
            AdmissionError::Revoked => RefreshErrorKind::Revoked,
            _ => RefreshErrorKind::Unavailable,
        };
        Self { kind, retry_after: error.retry_after(), source: None }
    }

    /// What the reason is.
    #[must_use]
    pub const fn kind(&self) -> RefreshErrorKind {
        self.kind
    }

    /// A stable name for the reason, for logs, metrics and clients.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            RefreshErrorKind::SessionEnded => "session_ended",
            RefreshErrorKind::InProgress => "refresh_in_progress",
            RefreshErrorKind::TooManyAttempts => "too_many_attempts",
            RefreshErrorKind::TokenTooLarge => "token_too_large",
            RefreshErrorKind::Malformed => "malformed_message",
            RefreshErrorKind::NotVerified(kind) => kind.as_str(),
            RefreshErrorKind::NoSubject => "no_subject",
            RefreshErrorKind::OtherSubject => "other_subject",
            RefreshErrorKind::OtherIssuer => "other_issuer",
            RefreshErrorKind::Revoked => "revoked",
            RefreshErrorKind::Unavailable => "revocations_stale",
        }
    }

    fn log(&self, session: SessionId) {
        if self.kind == RefreshErrorKind::TooManyAttempts {
            telemetry::refresh_throttled(session, self.reason());
        } else {
            telemetry::refresh_refused(session, self.reason(), self.source());
        }
    }

    /// When to try again, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RefreshErrorKind::SessionEnded => "the session has ended",
            RefreshErrorKind::InProgress => "another refresh is under way",
            RefreshErrorKind::TooManyAttempts => "there were too many attempts to refresh the session",
            RefreshErrorKind::TokenTooLarge => "the new token is too long",
            RefreshErrorKind::Malformed => "the message holds no well-formed token",
            RefreshErrorKind::NotVerified(_) => "the new token was not accepted",
            RefreshErrorKind::NoSubject => "the session or the new token names no subject",
            RefreshErrorKind::OtherSubject => "the new token speaks of another subject",
            RefreshErrorKind::OtherIssuer => "the new token was issued by another issuer",
            RefreshErrorKind::Revoked => "the new token was revoked",
            RefreshErrorKind::Unavailable => "it cannot be told now what was revoked",
        })
    }
}

impl Error for RefreshError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl<C: Send + Sync + 'static> Session<C> {
    /// Has the session stand on a new token: the claims are replaced and the deadline moves.
    ///
    /// The token is verified as the first one was, with the [head of the handshake](crate::VerifyInput::parts). It must speak of the same subject, and
    /// have the same issuer. A session never becomes older
    /// than [`max_lifetime`](crate::WsAuthLayer::max_lifetime) by it. Handles to the old claims stay what they are.
    ///
    /// # Errors
    ///
    /// If the token is not accepted, or is empty, or holds white space or control characters (then no verifier is asked);
    /// if another refresh is under way, or there were too many; if the verifier takes longer than
    /// [`refresh_timeout`](crate::WsAuthLayer::refresh_timeout); or if the session ends before the token is verified.
    /// Whatever the reason, nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session is refreshed or it is not.
    pub async fn refresh(&self, token: Token) -> Result<(), RefreshError> {
        let outcome = self.try_refresh(token).await;
        match &outcome {
            Ok(()) => telemetry::session_refreshed(self.id()),
            Err(error) => error.log(self.id()),
        }
        outcome
    }

    async fn try_refresh(&self, token: Token) -> Result<(), RefreshError> {
        // Most reasons to refuse are found without waiting, and a handler may try in a loop.
        consume_budget().await;
        let core = &self.0.core;
        let _one_at_a_time = core.begin_refresh()?;
        if token.expose().len() > core.config.max_token_len {
            return Err(RefreshError::of(RefreshErrorKind::TokenTooLarge));
        }
        check(&token).map_err(|_| RefreshError::of(RefreshErrorKind::Malformed))?;
        let now = core.config.now();
        let head = self.0.head.to_parts().ok_or_else(|| RefreshError::not_verified(VerifyError::invalid()))?;
        let input = VerifyInput::new(&token, &head, now.wall);
        // No client's departure drops this future, as it does in a handshake, so it needs a limit of its own.
        let limit = core.config.refresh_timeout;
        let verified = timeout(limit, self.0.verifier.verify_boxed(input))
            .await
            .unwrap_or_else(|_| Err(VerifyError::unavailable(limit)))
            .map_err(RefreshError::not_verified)?;
        self.check_holder(&verified)?;

        let Verified { claims, expires_at, token_id, issued_at, .. } = verified;
        let facts = TokenFacts { id: token_id.clone(), issued_at, since: now.wall };
        let token_id = token_id.as_deref();
        let next = core.note_next_token(token_id);
        core.check_revoked(token_id, issued_at, now.wall).map_err(RefreshError::not_admitted)?;
        let claims = Arc::new(claims);
        // A token that expired while it was being verified ends the session at once, and that is right. The old claims
        // are dropped out here, for nobody knows what that does.
        let _old = core.renew(expires_at, facts, now, || mem::replace(&mut *lock(&self.0.claims), claims))?;
        next.take();
        // An order that came in between has looked at the old token.
        if let Err(AdmissionError::Revoked) = core.check_revoked(token_id, issued_at, now.wall) {
            core.end(End::REVOKED);
            return Err(RefreshError::of(RefreshErrorKind::Revoked));
        }
        Ok(())
    }

    /// Counts a request without a token as an attempt, and says why it is refused.
    pub(crate) fn refuse_malformed(&self) -> RefreshError {
        let error = match self.0.core.begin_refresh() {
            Ok(_) => RefreshError::of(RefreshErrorKind::Malformed),
            Err(error) => error,
        };
        error.log(self.id());
        error
    }

    fn check_holder(&self, verified: &Verified<C>) -> Result<(), RefreshError> {
        let core = &self.0.core;
        match (core.subject.as_deref(), verified.subject.as_deref()) {
            (Some(own), Some(new)) if own == new => {}
            (Some(_), Some(_)) => return Err(RefreshError::of(RefreshErrorKind::OtherSubject)),
            _ => return Err(RefreshError::of(RefreshErrorKind::NoSubject)),
        }
        if core.issuer.as_deref() != verified.issuer.as_deref() {
            return Err(RefreshError::of(RefreshErrorKind::OtherIssuer));
        }
        Ok(())
    }
}

/// Counts how often a refresh was tried in the present stretch of time.
pub(super) struct Attempts {
    under_way: bool,
    since: Option<Instant>,
    count: u32,
}

impl Attempts {
    pub(super) const fn new() -> Self {
        Self { under_way: false, since: None, count: 0 }
    }

    pub(super) fn begin(&mut self, (most, per): (u32, Duration)) -> Result<(), RefreshError> {
        if self.under_way {
            return Err(RefreshError::of(RefreshErrorKind::InProgress));
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let left = per.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() {
            self.since = Some(now);
            self.count = 0;
        }
        if self.count >= most {
            let retry_after = (most > 0).then_some(left);
            return Err(RefreshError { retry_after, ..RefreshError::of(RefreshErrorKind::TooManyAttempts) });
        }
        self.count += 1;
        self.under_way = true;
        Ok(())
    }

    pub(super) const fn finish(&mut self) {
        self.under_way = false;
    }
}
