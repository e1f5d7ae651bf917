use std::{future::Future, pin::Pin, sync::Arc};

use super::{RefreshError, Session, SessionCore, handle::Inner};
use crate::token::Token;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A session, whatever the type of its claims. The registry reaches it by [`SessionCore::any`](super::SessionCore::any).
pub(crate) trait AnySession: Send + Sync {
    fn core(&self) -> &Arc<SessionCore>;

    /// See [`Session::refresh`].
    fn refresh(self: Arc<Self>, token: Token) -> BoxFuture<Result<(), RefreshError>>;
}

impl<C: Send + Sync + 'static> AnySession for Inner<C> {
    fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    fn refresh(self: Arc<Self>, token: Token) -> BoxFuture<Result<(), RefreshError>> {
        Box::pin(async move { Session(self).refresh(token).await })
    }
}
