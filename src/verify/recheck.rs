use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::VerifyError;

/// What a check of [`Verified::recheck_with`](super::Verified::recheck_with) says of a session that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recheck {
    /// When the token expires now. `None` if that has not changed.
    pub expires_at: Option<SystemTime>,
    /// When to check again. `None` for the same period as before.
    pub recheck_in: Option<Duration>,
}

type Checking = Pin<Box<dyn Future<Output = Result<Recheck, VerifyError>> + Send>>;

/// A check, whatever its type.
#[derive(Clone)]
pub(crate) struct Check(Arc<dyn Fn() -> Checking + Send + Sync>);

impl Recheck {
    /// The token is still valid. Nothing has changed.
    #[must_use]
    pub const fn unchanged() -> Self {
        Self { expires_at: None, recheck_in: None }
    }

    /// Sets when the token expires now.
    #[must_use]
    pub const fn with_expires_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets when to check again; see [`Verified::recheck_in`](super::Verified::recheck_in).
    #[must_use]
    pub const fn recheck_in(mut self, after: Duration) -> Self {
        self.recheck_in = Some(after);
        self
    }
}

impl Check {
    pub(super) fn new<F, Fut>(check: F) -> Self
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Recheck, VerifyError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(check.clone()())))
    }

    pub(crate) fn run(&self) -> impl Future<Output = Result<Recheck, VerifyError>> + Send + use<> {
        (self.0)()
    }
}

/// Whether they are the same check: closures cannot be compared.
impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Check {}

// By hand: a closure has no `Debug`, and may have captured a secret.
impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<fn>")
    }
}
