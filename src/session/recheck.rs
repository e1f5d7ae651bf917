//! Verifies the token of a live session again.

use std::{
    error::Error,
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{timeout, timeout_at},
};

use super::{
    AdmissionError, End, EndReason, RefreshError, RefreshErrorKind, Session, SessionCore,
    core::{NewRecheck, NextRecheck, RecheckBy},
    deadline::Timestamp,
};
use crate::{
    lock::lock,
    telemetry,
    time::from_now,
    token::Token,
    verify::{IsRecheck, Verified, VerifyError, VerifyErrorKind, VerifyInput},
};

/// How many sessions of a layer are rechecked at the same time.
#[derive(Debug)]
pub(crate) struct RecheckLimit {
    permits: Semaphore,
    /// The verifier did not answer last time.
    is_unavailable: AtomicBool,
}

const DEFAULT_LIMIT: usize = 32;
/// When to ask again if there was no answer and nobody says when.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl RecheckLimit {
    /// `None` if it is zero.
    pub(crate) fn new(rechecks: usize) -> Option<Self> {
        let permits = Semaphore::new(rechecks.min(Semaphore::MAX_PERMITS));
        (rechecks > 0).then_some(Self { permits, is_unavailable: AtomicBool::new(false) })
    }
}

impl Default for RecheckLimit {
    fn default() -> Self {
        Self { permits: Semaphore::new(DEFAULT_LIMIT), is_unavailable: AtomicBool::new(false) }
    }
}

impl NewRecheck {
    /// `None` if the verifier wants no recheck.
    pub(super) fn of<C>(verified: &Verified<C>, token: impl FnOnce() -> Token) -> Option<Self> {
        let period = verified.recheck_in?;
        Some(Self { by: RecheckBy::of(verified, token), period })
    }
}

impl RecheckBy {
    /// The token is kept only if the verifier needs it.
    pub(super) fn of<C>(verified: &Verified<C>, token: impl FnOnce() -> Token) -> Arc<Self> {
        #[cfg(feature = "dpop")]
        // The client proved that it holds the token's key. It is not asked again, and its proof is used up.
        let token = || token().for_recheck();
        Arc::new(verified.check.clone().map_or_else(|| Self::Token(token()), Self::Check))
    }
}

impl SessionCore {
    /// Has a task recheck the session from now on, if its verifier wants that. Call it when the session is that of a
    /// connection, as often as you like.
    pub(crate) fn start_recheck(self: &Arc<Self>) {
        // Without a runtime there is no connection either.
        if self.has_recheck()
            && let Ok(runtime) = Handle::try_current()
            && self.needs_recheck_task()
        {
            runtime.spawn(Arc::clone(self).run_rechecks());
        }
    }

    /// Holds the session like a watcher: it does not keep it from ending.
    async fn run_rechecks(self: Arc<Self>) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.next_recheck() {
                NextRecheck::Wait(None) => changed.await,
                NextRecheck::Wait(Some(time)) => {
                    let _ = timeout(time, changed).await;
                }
                NextRecheck::Ask(by, within) => {
                    let recheck = async {
                        let recheck = self.recheck(&by);
                        match within {
                            Some(time) => timeout_at(from_now(time), recheck).await.unwrap_or_default(),
                            None => recheck.await,
                        }
                    };
                    until(self.recheck_is_obsolete(&by), recheck).await;
                }
                NextRecheck::Stop => return,
            }
        }
    }

    /// Waits for its turn, asks, and applies the answer.
    async fn recheck(&self, by: &Arc<RecheckBy>) {
        let limit = &self.config.recheck_limit;
        let _permit = limit.permits.acquire().await;
        let Some(now) = self.begin_recheck(by) else { return };
        let time = self.config.refresh_timeout;
        let answer = timeout(time, catch_panic(self.ask(by, now))).await;
        match answer.unwrap_or_else(|_| Err(RefreshError::not_verified(VerifyError::unavailable(time)))) {
            Ok(()) => telemetry::session_rechecked(self.id()),
            Err(error) => {
                let reason = match error.kind() {
                    RefreshErrorKind::SessionEnded => return,
                    RefreshErrorKind::NotVerified(VerifyErrorKind::Unavailable) => {
                        let is_first = !limit.is_unavailable.swap(true, Ordering::Relaxed);
                        telemetry::recheck_unavailable(self.id(), error.source().unwrap_or(&error), is_first);
                        return self.recheck_failed(by, error.retry_after());
                    }
                    RefreshErrorKind::NotVerified(VerifyErrorKind::Expired) => EndReason::TokenExpired,
                    RefreshErrorKind::NotVerified(VerifyErrorKind::InsufficientUserAuthentication) => {
                        EndReason::InsufficientUserAuthentication
                    }
                    _ => EndReason::Revoked,
                };
                if self.end_by_recheck(by, End { reason, code: None }) {
                    telemetry::recheck_refused(self.id(), error.reason(), error.source());
                }
            }
        }
        limit.is_unavailable.store(false, Ordering::Relaxed);
    }

    async fn ask(&self, by: &Arc<RecheckBy>, now: Timestamp) -> Result<(), RefreshError> {
        match &**by {
            RecheckBy::Token(_) => match self.any() {
                Some(session) => session.recheck(Arc::clone(by), now).await,
                // Something keeps the connection, but not its session, which has the verifier.
                None => Err(RefreshError::not_verified(VerifyError::unavailable(RETRY_AFTER))),
            },
            RecheckBy::Check(check) => {
                let recheck = check.run().await.map_err(RefreshError::not_verified)?;
                self.check_not_known_revoked()?;
                self.confirm_by_check(by, (now, recheck.expires_at), recheck.recheck_in);
                Ok(())
            }
        }
    }

    /// Unlike a handshake, a live session goes on while revocations are stale.
    fn check_not_known_revoked(&self) -> Result<(), RefreshError> {
        match self.check_revoked(&self.token()) {
            Err(AdmissionError::Revoked) => Err(RefreshError::of(RefreshErrorKind::Revoked)),
            _ => Ok(()),
        }
    }
}

impl<C: Send + Sync + 'static> Session<C> {
    /// See [`AnySession::recheck`](super::any::AnySession::recheck).
    pub(super) fn recheck_token(
        self,
        by: Arc<RecheckBy>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), RefreshError>> + Send + use<C> {
        let verifier = Arc::clone(&self.0.verifier);
        let head = self.0.head.to_parts();
        let (session, config) = (Arc::downgrade(&self.0), Arc::clone(&self.core().config));
        drop(self);
        async move {
            let RecheckBy::Token(token) = &*by else { return Ok(()) };
            let mut head = head.ok_or_else(|| RefreshError::not_verified(VerifyError::invalid()))?;
            head.extensions.insert(IsRecheck);
            let input = VerifyInput::new(token, &head, now.wall);
            let verified = verifier.verify_boxed(input).await;
            config.meter.verified(verifier.verifier_name(), Some(now.monotonic));
            let verified = verified.map_err(RefreshError::not_verified)?;
            let ended = || RefreshError::of(RefreshErrorKind::SessionEnded);
            let session = Self(session.upgrade().ok_or_else(ended)?);
            session.confirm(verified, &by, now)
        }
    }

    fn confirm(&self, verified: Verified<C>, by: &Arc<RecheckBy>, now: Timestamp) -> Result<(), RefreshError> {
        let core = self.core();
        self.check_same_subject(&verified)?;
        core.check_not_known_revoked()?;
        let Verified { claims, expires_at, recheck_in, check, .. } = verified;
        let by_next = check.map_or_else(|| Arc::clone(by), |check| Arc::new(RecheckBy::Check(check)));
        let next = recheck_in.map(|period| NewRecheck { by: by_next, period });
        let claims = Arc::new(claims);
        // The old claims are dropped after the lock is released: their `Drop` may block or re-enter.
        let _old = core
            .confirm(by, (now, expires_at), next, || mem::replace(&mut *lock(&self.0.claims), claims))
            .ok_or_else(|| RefreshError::of(RefreshErrorKind::SessionEnded))?;
        Ok(())
    }
}

/// A verifier that panics cannot decide.
async fn catch_panic(recheck: impl Future<Output = Result<(), RefreshError>>) -> Result<(), RefreshError> {
    let mut recheck = pin!(recheck);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| recheck.as_mut().poll(cx))).unwrap_or_else(|_| {
            let error = VerifyError::unavailable(RETRY_AFTER).with_source("the verifier panicked");
            Poll::Ready(Err(RefreshError::not_verified(error)))
        })
    })
    .await
}

/// Runs the second future, and drops it when the first one completes.
async fn until(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let mut first = pin!(first);
    let mut second = pin!(second);
    poll_fn(|cx| match second.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => first.as_mut().poll(cx),
    })
    .await;
}
