//! A client that authenticates by its first message.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use axum::{
    Error,
    extract::ws::{Message, OnFailedUpgrade},
};
use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::{
    FirstToken, Rejection, Session, TokenErrorKind, VerifyInput,
    gate::{Deferred, Refusal},
    session::{Beginning, Head, Slot, from_now},
    socket::{Candidate, NoToken, Opened},
    telemetry,
};

/// What the handler has decided about the socket by the time it is opened.
pub(super) struct Plan<F> {
    pub(super) limits: WebSocketConfig,
    pub(super) subprotocol: Option<HeaderValue>,
    pub(super) on_failed_upgrade: F,
}

/// Opens the socket, and begins its session as soon as the client has authenticated. `None` if it has not, and was told
/// so.
pub(super) async fn open<C, F>(
    deferred: Deferred<C>,
    (on_upgrade, head, mut slot): (OnUpgrade, Head, Option<Slot>),
    plan: Plan<F>,
) -> Option<(Opened, Session<C>)>
where
    C: Send + Sync + 'static,
    F: OnFailedUpgrade,
{
    let protocol = deferred.config.first_message()?.clone();
    let until = from_now(protocol.time());
    let upgraded = match timeout_at(until, on_upgrade).await.ok()? {
        Ok(upgraded) => upgraded,
        Err(error) => {
            plan.on_failed_upgrade.call(Error::new(error));
            return None;
        }
    };
    let mut candidate = Candidate::new(upgraded, protocol).await;
    match deferred.begin(&mut candidate, until, head, &mut slot).await {
        Ok((session, replay)) => {
            let transport = candidate.accept(plan.limits).await.ok()?;
            Some((Opened { transport, subprotocol: plan.subprotocol, replay }, session))
        }
        Err(None) => None,
        Err(Some(rejection)) => {
            telemetry::refused(&rejection);
            let kind = rejection.kind();
            candidate.refuse(kind.close_code(&deferred.config.rules.close_codes), kind.as_str()).await;
            None
        }
    }
}

impl<C: Send + Sync + 'static> Deferred<C> {
    /// Begins the session. `Err(None)` if the client is gone.
    async fn begin(
        &self,
        candidate: &mut Candidate,
        until: Instant,
        head: Head,
        slot: &mut Option<Slot>,
    ) -> Result<(Session<C>, Option<Message>), Option<Rejection>> {
        let rules = &self.config.rules;
        let FirstToken { token, replay } = self.token(candidate, until, slot.as_ref()).await?;
        if token.expose().len() > rules.max_token_len {
            return Err(self.no_token(NoToken::Malformed(TokenErrorKind::TooLong)));
        }
        let beginning = Beginning::now(rules);
        let parts = head.to_parts().ok_or(None)?;
        let refused = |refusal: Refusal| Some(refusal.rejection(&self.config, self.unclaimed.version));
        let verified = self
            .verifier
            .verify_boxed(VerifyInput::new(&token, &parts, beginning.wall()))
            .await
            .map_err(|error| refused(Refusal::Verify(error)))?;
        let session = beginning
            .session(verified, Arc::clone(&self.verifier), head, slot.take())
            .map_err(|error| refused(Refusal::Admission(error)))?;
        telemetry::admitted(session.id(), session.subject());
        Ok((session, replay))
    }

    /// Waits for the token, for as long as there is time and the server is not going down.
    async fn token(
        &self,
        candidate: &mut Candidate,
        until: Instant,
        slot: Option<&Slot>,
    ) -> Result<FirstToken, Option<Rejection>> {
        let (challenges, version) = (&self.config.challenges, self.unclaimed.version);
        let mut token = pin!(timeout_at(until, candidate.token()));
        let mut draining = pin!(async {
            match slot {
                Some(slot) => slot.draining().await,
                None => pending().await,
            }
        });
        poll_fn(|cx| {
            if let Poll::Ready(token) = token.as_mut().poll(cx) {
                let timed_out = |_| Some(Rejection::timed_out(challenges, version));
                return Poll::Ready(token.map_err(timed_out)?.map_err(|none| self.no_token(none)));
            }
            draining.as_mut().poll(cx).map(|error| Err(Some(Rejection::admission(error, challenges, version))))
        })
        .await
    }

    fn no_token(&self, none: NoToken) -> Option<Rejection> {
        let (challenges, version) = (&self.config.challenges, self.unclaimed.version);
        match none {
            NoToken::Gone => None,
            NoToken::Missing => Some(Rejection::missing_token(challenges, version)),
            NoToken::Malformed(kind) => Some(Rejection::token(kind.into(), challenges, version)),
        }
    }
}
