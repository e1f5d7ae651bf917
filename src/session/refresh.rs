//! Replaces the token of a live session.

use std::{error::Error, mem, sync::Arc};

use tokio::{task::coop::consume_budget, time::timeout};

use super::{
    AdmissionError, End, RefreshError, RefreshErrorKind, RefreshReply, Session, TokenInfo,
    core::{RecheckBy, RefreshStart},
};
use crate::{
    id::ScopedId,
    lock::lock,
    telemetry,
    token::{Token, check},
    verify::{Verified, VerifyError, VerifyInput},
};

impl<C: Send + Sync + 'static> Session<C> {
    /// Replaces the token: verifies the new one, replaces the claims, and moves the deadline.
    ///
    /// The verifier sees the [head of the handshake](crate::VerifyInput::parts) again. The new token must have the same
    /// subject and the same issuer, and be bound to the same [key](crate::Dpop), if any. A refresh does not extend the
    /// session beyond [`max_lifetime`](crate::WsAuthLayer::max_lifetime). An [`Arc`](std::sync::Arc) of the old claims
    /// stays valid.
    ///
    /// # Errors
    ///
    /// If the verifier refuses the token, or takes longer than
    /// [`refresh_timeout`](crate::WsAuthLayer::refresh_timeout); if the token is empty or too long, or contains white
    /// space or control characters (the verifier is not asked then); if another refresh is in progress, or there were
    /// too many; or if the session ends before the token is verified. The session then keeps its token, claims and
    /// deadline.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session is either refreshed or unchanged.
    pub async fn refresh(&self, token: Token) -> Result<(), RefreshError> {
        let outcome = self.try_refresh(token).await;
        match &outcome {
            Ok(()) => telemetry::session_refreshed(self.id()),
            Err(error) => self.log_refusal(error),
        }
        outcome
    }

    async fn try_refresh(&self, token: Token) -> Result<(), RefreshError> {
        // Most refusals are found without waiting, and a handler may retry in a loop.
        consume_budget().await;
        let _attempt = self.core().begin_refresh()?;
        let (verified, start) = self.verify_again(&token).await?;
        self.replace_token(token, verified, start)
    }

    /// Refreshes the session with a token from a client that may be a stranger. `sender` is the subject of the token,
    /// according to another verifier.
    ///
    /// Only a valid token of the session's own subject counts as an attempt, or learns anything of the session.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session is either refreshed or unchanged.
    pub(super) async fn refresh_for(&self, token: Token, sender: Option<ScopedId>) -> RefreshReply {
        match self.try_refresh_for(token).await {
            Ok(()) => {
                telemetry::session_refreshed(self.id());
                RefreshReply::Refreshed { expires_in: self.core().time_left() }
            }
            Err(error) => {
                self.log_refusal(&error);
                let is_own = sender.is_some() && sender == self.scoped_subject();
                RefreshReply::refused(&error, is_own)
            }
        }
    }

    async fn try_refresh_for(&self, token: Token) -> Result<(), RefreshError> {
        let core = self.core();
        if core.end_reason().is_some() {
            return Err(RefreshError::of(RefreshErrorKind::SessionEnded));
        }
        let refreshes = core.refresh_count();
        let (verified, start) = self.verify_again(&token).await?;
        let _attempt = core.begin_refresh()?;
        // Another token came first, while this one was being verified. It may be the newer one.
        if refreshes != core.refresh_count() {
            return Err(RefreshError::of(RefreshErrorKind::InProgress));
        }
        self.replace_token(token, verified, start)
    }

    /// Verifies a token for the same subject, and returns when that began.
    async fn verify_again(&self, token: &Token) -> Result<(Verified<C>, RefreshStart), RefreshError> {
        let core = self.core();
        if token.expose().len() > core.config.max_token_len {
            return Err(RefreshError::of(RefreshErrorKind::TokenTooLarge));
        }
        check(token).map_err(|_| RefreshError::of(RefreshErrorKind::Malformed))?;
        let start = core.refresh_start();
        let head = self.0.head.to_parts().ok_or_else(|| RefreshError::not_verified(VerifyError::invalid()))?;
        let input = VerifyInput::new(token, &head, start.at.wall);
        // Unlike in a handshake, this future is not dropped when the client disconnects: it needs a timeout.
        let limit = core.config.refresh_timeout;
        let verified = timeout(limit, self.0.verifier.verify_boxed(input))
            .await
            .unwrap_or_else(|_| Err(VerifyError::unavailable(limit)));
        core.config.meter.verified(self.0.verifier.verifier_name(), Some(start.at.monotonic));
        let verified = verified.map_err(RefreshError::not_verified)?;
        self.check_has_subject(&verified)?;
        self.check_same_subject(&verified)?;
        Ok((verified, start))
    }

    /// Replaces the token by this one. Call it within an attempt.
    fn replace_token(&self, token: Token, verified: Verified<C>, start: RefreshStart) -> Result<(), RefreshError> {
        let core = self.core();
        let recheck_by = RecheckBy::of(&verified, || token);
        let token = TokenInfo::of(&verified, start.at.wall);
        let Verified { claims, expires_at, recheck_in, .. } = verified;
        let pending = core.set_pending_token(&token);
        core.check_revoked(&token).map_err(RefreshError::not_admitted)?;
        let claims = Arc::new(claims);
        // A token that expired while it was being verified ends the session at once, as it should. The old claims are
        // dropped after the lock is released: their `Drop` may block or re-enter.
        let new = (token.clone(), recheck_by, recheck_in);
        let _old = core.renew(expires_at, new, start, || mem::replace(&mut *lock(&self.0.claims), claims))?;
        pending.commit();
        core.start_recheck();
        // A revocation that arrived in between was compared with the old token.
        if let Err(AdmissionError::Revoked) = core.check_revoked(&token) {
            core.end(End::REVOKED);
            return Err(RefreshError::of(RefreshErrorKind::Revoked));
        }
        Ok(())
    }

    /// Counts a request without a token as an attempt, and returns why it is refused.
    pub(crate) fn refuse_malformed(&self) -> RefreshError {
        let error = match self.core().begin_refresh() {
            Ok(_) => RefreshError::of(RefreshErrorKind::Malformed),
            Err(error) => error,
        };
        self.log_refusal(&error);
        error
    }

    fn log_refusal(&self, error: &RefreshError) {
        if error.kind() == RefreshErrorKind::TooManyAttempts {
            telemetry::refresh_throttled(self.id(), error.reason());
        } else {
            let throttle = &self.core().config.refused_refreshes;
            telemetry::refresh_refused(self.id(), error.reason(), error.source(), throttle);
        }
    }

    fn check_has_subject(&self, verified: &Verified<C>) -> Result<(), RefreshError> {
        match (&self.core().subject, &verified.subject) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(RefreshError::of(RefreshErrorKind::NoSubject)),
        }
    }

    pub(super) fn check_same_subject(&self, verified: &Verified<C>) -> Result<(), RefreshError> {
        let core = self.core();
        if core.subject.as_deref() != verified.subject.as_deref() {
            return Err(RefreshError::of(RefreshErrorKind::OtherSubject));
        }
        if core.issuer.as_deref() != verified.issuer.as_deref() {
            return Err(RefreshError::of(RefreshErrorKind::OtherIssuer));
        }
        if core.confirmation != verified.confirmation {
            return Err(RefreshError::of(RefreshErrorKind::OtherKey));
        }
        Ok(())
    }
}
