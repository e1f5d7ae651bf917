use std::{future::Future, pin::Pin, sync::Arc};

use super::{RefreshError, RefreshReply, Session, SessionCore, core::RecheckBy, deadline::Timestamp, handle::Inner};
use crate::{id::ScopedId, token::Token};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A session, whatever the type of its claims. The registry reaches it by
/// [`SessionCore::any`](super::SessionCore::any).
pub(crate) trait AnySession: Send + Sync {
    fn core(&self) -> &Arc<SessionCore>;

    /// See [`Session::refresh_for`].
    fn refresh_for(self: Arc<Self>, token: Token, sender: Option<ScopedId>) -> BoxFuture<RefreshReply>;

    /// Has the verifier verify the token of the session again, and applies its answer. The future does not hold the
    /// session: it must end with its connection, whatever the verifier waits for.
    fn recheck(self: Arc<Self>, by: Arc<RecheckBy>, now: Timestamp) -> BoxFuture<Result<(), RefreshError>>;
}

impl<C: Send + Sync + 'static> AnySession for Inner<C> {
    fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    fn refresh_for(self: Arc<Self>, token: Token, sender: Option<ScopedId>) -> BoxFuture<RefreshReply> {
        Box::pin(async move { Session(self).refresh_for(token, sender).await })
    }

    fn recheck(self: Arc<Self>, by: Arc<RecheckBy>, now: Timestamp) -> BoxFuture<Result<(), RefreshError>> {
        Box::pin(Session(self).recheck_token(by, now))
    }
}
