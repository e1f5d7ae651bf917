//! Opens the socket of a client that authenticates by its first message.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    Error,
    extract::ws::{Message, OnFailedUpgrade},
};
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    handshake::{PendingSession, Refusal, WithheldUpgrade},
    rejection::Rejection,
    session::{ConnectionGuard, Head, Session, SessionKind, SessionMeta, SessionStart, Status},
    socket::{FirstToken, FirstTokenError, SocketParts, UnauthenticatedSocket, close},
    telemetry::Outcome,
    time::from_now,
    token::{Token, TokenErrorKind, check},
    verify::{VerifyError, VerifyInput},
    websocket::Limits,
};

/// The handler's settings for the socket.
pub(super) struct SocketSettings<F> {
    pub(super) limits: Limits,
    pub(super) subprotocol: Option<HeaderValue>,
    pub(super) on_failed_upgrade: F,
}

/// Opens the socket, and begins its session once the client has authenticated. `None` if the client was refused or is
/// gone.
pub(super) async fn open<C, F>(
    pending: PendingSession<C>,
    withheld: WithheldUpgrade,
    settings: SocketSettings<F>,
) -> Option<(SocketParts, Session<C>, ConnectionGuard)>
where
    C: Send + Sync + 'static,
    F: OnFailedUpgrade,
{
    let WithheldUpgrade { connection, head, meta, visit, permit: _permit } = withheld;
    let protocol = pending.config.first_message()?.clone();
    let limit = protocol.time_limit();
    let until = from_now(limit);
    let upgraded = match timeout_at(until, connection).await.map_err(Error::new) {
        Ok(upgraded) => upgraded.map_err(Error::new),
        Err(late) => Err(late),
    };
    let upgraded = match upgraded {
        Ok(upgraded) => upgraded,
        Err(error) => {
            settings.on_failed_upgrade.call(error);
            return None;
        }
    };
    let mut socket = UnauthenticatedSocket::new(upgraded, protocol);
    let (session, replay) = match pending.begin(&mut socket, (until, limit), (head, meta)).await {
        Ok(begun) => begun,
        Err(None) => return None,
        Err(Some(rejection)) => {
            pending.count(Outcome::Refused(rejection.reason()));
            if let Some(visit) = &visit
                && rejection.is_failed_attempt()
            {
                visit.failed();
            }
            pending.upgrade.log_refusal(&pending.config, &rejection);
            socket.refuse(&rejection, rejection.close_code(&pending.config.session.close_codes)).await;
            return None;
        }
    };
    pending.count(Outcome::Accepted);
    if let Some(visit) = visit {
        session.core().keep_place(visit);
    }
    let guard = session.guard();
    // A client that does not read must not keep its session from ending.
    match unless(session.ended(), socket.send_accepted()).await {
        Ok(sent) => {
            sent.ok()?;
            let transport = socket.into_transport(settings.limits);
            Some((SocketParts { transport, subprotocol: settings.subprotocol, replay }, session, guard))
        }
        Err(_) => {
            if let Status::Ended(end) = session.core().status(None).0 {
                close(socket.into_transport(settings.limits), session.core().close_code(end), end.reason.as_str())
                    .await;
            }
            None
        }
    }
}

impl<C: Send + Sync + 'static> PendingSession<C> {
    /// Begins the session. `Err(None)` if the client is gone.
    async fn begin(
        &self,
        socket: &mut UnauthenticatedSocket,
        (until, limit): (Instant, Duration),
        (head, meta): (Head, SessionMeta),
    ) -> Result<(Session<C>, Option<Message>), Option<Rejection>> {
        let session = &self.config.session;
        let FirstToken { token, replay } = self.receive_token(socket, until).await?;
        if token.expose().len() > session.max_token_len {
            return Err(self.token_rejection(FirstTokenError::Malformed(TokenErrorKind::TooLong)));
        }
        check(&token).map_err(|kind| self.token_rejection(FirstTokenError::Malformed(kind)))?;
        if let Some(revocations) = &session.revocations {
            revocations.catch_up().await;
        }
        let start = SessionStart::now(session);
        let begin = start.monotonic();
        let admitted = self.admit(&token, start, limit, (head, meta)).await;
        session.meter.decided(begin, session.meter.now(), admitted.is_ok());
        let session = admitted.map_err(|refusal| Some(refusal.rejection(&self.config, self.upgrade.version)))?;
        session.core().admit_handshake();
        session.core().count_live(SessionKind::WebSocket);
        session.core().start_recheck();
        Ok((session, replay))
    }

    /// Verifies the token, and begins the session.
    async fn admit(
        &self,
        token: &Token,
        start: SessionStart,
        limit: Duration,
        (head, meta): (Head, SessionMeta),
    ) -> Result<Session<C>, Refusal> {
        let session = &self.config.session;
        let parts = head.to_parts().ok_or_else(|| Refusal::Verify(VerifyError::invalid()))?;
        let verification = self.verifier.verify_boxed(VerifyInput::new(token, &parts, start.wall()));
        // Nothing shows whether the client is still there, so this needs a timeout.
        let verified = match unless(session.draining(), timeout(limit, verification)).await {
            Err(draining) => return Err(Refusal::Admission(draining)),
            Ok(Err(_)) => Err(VerifyError::unavailable(limit)),
            Ok(Ok(verified)) => verified,
        };
        session.meter.verified(self.verifier.verifier_name(), Some(start.monotonic()));
        let verified = verified.map_err(Refusal::Verify)?;
        let session = session
            .counted_permit()
            .and_then(|place| {
                start.begin((token, verified), Arc::clone(&self.verifier), (SessionKind::WebSocket, head, meta), place)
            })
            .map_err(Refusal::Admission)?;
        session.acquire_lease().await.map_err(Refusal::Admission)
    }

    /// Counts what became of the client.
    fn count(&self, outcome: Outcome) {
        let meter = &self.config.session.meter;
        meter.handshake(SessionKind::WebSocket.as_str(), "first_message", self.upgrade.version, outcome);
    }

    /// Waits for the token, until the timeout or a shutdown.
    async fn receive_token(
        &self,
        socket: &mut UnauthenticatedSocket,
        until: Instant,
    ) -> Result<FirstToken, Option<Rejection>> {
        let (challenges, version) = (&self.config.challenges, self.upgrade.version);
        match unless(self.config.session.draining(), timeout_at(until, socket.receive_token())).await {
            Ok(Ok(token)) => token.map_err(|error| self.token_rejection(error)),
            Ok(Err(_)) => Err(Some(Rejection::timed_out(challenges, version))),
            Err(draining) => Err(Some(Rejection::admission(draining, challenges, version))),
        }
    }

    fn token_rejection(&self, error: FirstTokenError) -> Option<Rejection> {
        let (challenges, version) = (&self.config.challenges, self.upgrade.version);
        match error {
            FirstTokenError::Disconnected => None,
            FirstTokenError::Missing => Some(Rejection::missing_token(challenges, version)),
            FirstTokenError::Malformed(kind) => Some(Rejection::token(kind.into(), challenges, version)),
        }
    }
}

/// The output of the second future, unless the first one completes before it.
async fn unless<T, U>(first: impl Future<Output = T>, second: impl Future<Output = U>) -> Result<U, T> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    poll_fn(|cx| match second.as_mut().poll(cx) {
        Poll::Ready(second) => Poll::Ready(Ok(second)),
        Poll::Pending => first.as_mut().poll(cx).map(Err),
    })
    .await
}
