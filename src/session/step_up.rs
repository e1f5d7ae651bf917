//! What a handler requires of the user during a session.

use std::time::SystemTime;

use tokio::time::timeout_at;

use super::{End, EndReason, Session};
use crate::{
    telemetry,
    verify::{StepUp, VerifyError},
};

/// Why [`Session::require`] failed. The handler must then not do what it required the sign-in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepUpError {
    /// The client sent no sufficient token in time. The session has ended, unless the requirement was to
    /// [keep](StepUp::keep_session) it.
    #[error("the client sent no sufficient token in time")]
    TimedOut,
    /// The session ended before, or the client closes the connection ([`EndReason::Closed`]).
    #[error("the session has ended: {0}")]
    Ended(EndReason),
}

impl<C: Send + Sync + 'static> Session<C> {
    /// Requires that the user has signed in as `step_up` says, and has the client send a better token otherwise.
    ///
    /// `check` looks at the claims of the session's token, usually by [`StepUp::check`]. It gets the time as well. If
    /// it finds them sufficient, this returns at once. Otherwise the client is sent a message by the layer's
    /// [`RefreshProtocol::json`](crate::RefreshProtocol::json), with those members that `step_up` has:
    ///
    /// ```json
    /// {"type":"auth.required","acr_values":"urn:example:mfa","max_age":300,"scope":"transfer","within":120}
    /// ```
    ///
    /// The client signs the user in once more, and [refreshes](crate::RefreshProtocol) the session with the new token
    /// within so many seconds. A refresh of any kind will do, such as by a [route](crate::WsAuthLayer::refresh_route).
    /// If it does not satisfy `check`, the client is sent the message again.
    ///
    /// The handler need not receive in the meantime: its socket is read ahead for it, by up to 16 messages or 64 KiB.
    /// If clients send more than that without being answered, it should receive too, or the new token waits behind
    /// these messages. Without a protocol that has the message
    /// ([`RefreshProtocol::require_with`](crate::RefreshProtocol::require_with)), and on a connection that is no
    /// [`AuthenticatedSocket`](crate::AuthenticatedSocket), tell the client by other means.
    ///
    /// # Errors
    ///
    /// [`StepUpError::TimedOut`] if no sufficient token comes [in time](StepUp::within). The session then ends with
    /// [`EndReason::InsufficientUserAuthentication`], unless the requirement is to [keep it](StepUp::keep_session).
    /// [`StepUpError::Ended`] if the session ends before this returns, also if that is just after a sufficient token, or
    /// if the client leaves.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is required any more: the session does not end, and a later token is a refresh
    /// like any other.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, RefreshProtocol, StepUp, WsAuthLayer};
    /// use axum_ws_auth::test_util::{self, TestToken, handshake};
    /// use futures_util::{SinkExt, StreamExt};
    /// use serde_json::{Value, json};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Claims {
    ///     acr: Option<String>,
    /// }
    ///
    /// async fn bank(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| {
    ///         let mfa = StepUp::new().acr_values(["urn:example:mfa"]).expect("a class");
    ///         while let Some(Ok(_transfer)) = socket.recv().await {
    ///             let required = socket.session().require(&mfa, |claims, now| mfa.check(claims.acr.as_deref(), None, now));
    ///             match required.await {
    ///                 Ok(()) => drop(socket.send("done".into()).await),
    ///                 Err(error) => return println!("{error}"),
    ///             }
    ///         }
    ///     })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::time::pause();
    /// let layer = WsAuthLayer::new(test_util::verifier::<Claims>()).refresh_protocol(RefreshProtocol::json());
    /// let app = Router::new().route("/", any(bank)).layer(layer);
    /// let request = || handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
    ///
    /// // Yes: the client sends a token of a sign-in with a second factor.
    /// let (mut socket, _) = test_util::connect(app.clone(), request()).await?;
    /// socket.send("transfer".into()).await?;
    /// let message = socket.next().await.expect("a message")?;
    /// assert_eq!(
    ///     serde_json::from_str::<Value>(message.to_text()?)?,
    ///     json!({ "type": "auth.required", "acr_values": "urn:example:mfa", "within": 120 }),
    /// );
    /// let token = TestToken::new("alice").claim("acr", "urn:example:mfa").sign();
    /// socket.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await?;
    /// assert!(socket.next().await.expect("a message")?.to_text()?.contains("auth.refreshed"));
    /// assert_eq!(socket.next().await.expect("a message")?.to_text()?, "done");
    ///
    /// // No: it does nothing.
    /// let (mut socket, _) = test_util::connect(app, request()).await?;
    /// socket.send("transfer".into()).await?;
    /// assert!(socket.next().await.expect("a message")?.to_text()?.contains("auth.required"));
    /// let close = socket.next().await.expect("a close frame")?;
    /// assert!(close.to_string().contains("insufficient_user_authentication"), "{close}");
    /// # Ok(()) }
    /// ```
    pub async fn require<F>(&self, step_up: &StepUp, check: F) -> Result<(), StepUpError>
    where
        F: Fn(&C, SystemTime) -> Result<(), VerifyError> + Send + Sync,
    {
        let core = self.core();
        let is_met = || {
            let is_met = check(&self.claims(), core.config.time.now()).is_ok();
            // After the look at the claims: they may be those of a token that ended the session at once.
            core.end_reason().map_or(Ok(is_met), |reason| Err(StepUpError::Ended(reason)))
        };
        // Before the look at the claims: no refresh is missed.
        let mut seen = core.refresh_count();
        if is_met()? {
            return Ok(());
        }
        let demanded = core.demand(step_up);
        loop {
            match timeout_at(demanded.until(), demanded.answered(&mut seen)).await {
                Ok(Ok(())) if is_met()? => return Ok(()),
                Ok(Ok(())) => demanded.repeat(),
                Ok(Err(reason)) => return Err(StepUpError::Ended(reason)),
                Err(_) => break,
            }
        }
        telemetry::step_up_missed(self.id());
        if !step_up.keeps_session() {
            core.end(End { reason: EndReason::InsufficientUserAuthentication, code: None });
        }
        Err(StepUpError::TimedOut)
    }
}
