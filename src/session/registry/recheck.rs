//! Rechecks the sessions of a subject.

use super::{Filter, Sessions};
use crate::id::ScopedId;

impl Sessions {
    /// Has the verifier verify the tokens of this subject's connections again now, for example because the subject's
    /// permissions have changed. Returns how many sessions it will be asked about.
    ///
    /// The answers come later, and are applied as described at [`Verified::recheck_in`](crate::Verified::recheck_in()). Only
    /// sessions whose verifier asked to be asked again can be rechecked. A verifier that wants it on demand alone says
    /// `recheck_in(Duration::MAX)`. All other sessions stay as they are, and are not counted:
    /// [`end_subject`](Self::end_subject) ends them.
    ///
    /// A [`ScopedId`] names the issuer too; a string means this subject of any issuer. Each layer asks about
    /// [32 sessions](crate::WsAuthLayer::max_concurrent_rechecks) at a time. It does not count as an attempt to
    /// [refresh](crate::WsAuthLayer::refresh_limit). Sessions on other nodes are not rechecked: call it there too.
    ///
    /// # Example
    ///
    /// ```
    /// use std::{sync::{Arc, atomic::{AtomicBool, Ordering}}, time::Duration};
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, Token, Verified, VerifyError, WsAuthLayer, verifier_fn};
    /// use axum_ws_auth::test_util::{self, handshake};
    /// use futures_util::StreamExt;
    /// use tokio_tungstenite::tungstenite::Message;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<()>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // In place of a database.
    /// let alice_may_chat = Arc::new(AtomicBool::new(true));
    /// let verifier = verifier_fn({
    ///     let alice_may_chat = Arc::clone(&alice_may_chat);
    ///     async move |token: Token| match token.expose() {
    ///         "key-of-alice" if alice_may_chat.load(Ordering::Relaxed) => {
    ///             Ok(Verified::new(()).with_subject("alice").recheck_in(Duration::MAX))
    ///         }
    ///         _ => Err(VerifyError::forbidden()),
    ///     }
    /// });
    /// let sessions = Sessions::new();
    /// let app = Router::new().route("/", any(chat)).layer(WsAuthLayer::new(verifier).sessions(&sessions));
    /// let (mut socket, _) = test_util::connect(app, handshake().bearer_subprotocol("key-of-alice").build()).await?;
    ///
    /// // Yes: she still may.
    /// assert_eq!(sessions.recheck_subject("alice"), 1);
    /// # for _ in 0..100 { tokio::task::yield_now().await }
    /// assert_eq!(sessions.iter().count(), 1);
    ///
    /// // No.
    /// alice_may_chat.store(false, Ordering::Relaxed);
    /// assert_eq!(sessions.recheck_subject("alice"), 1);
    /// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    /// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    /// # Ok(()) }
    /// ```
    pub fn recheck_subject(&self, subject: impl Into<ScopedId>) -> usize {
        self.0.scan(Filter::Subject(subject.into())).filter(|session| session.recheck_now()).count()
    }
}
