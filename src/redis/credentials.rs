use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use zeroize::Zeroizing;

use super::failure::Failure;

/// The user and password for a connection to Redis; see [`Redis::credentials`](super::Redis::credentials). `Debug` does
/// not show the password, and its memory is overwritten on drop. The crate `redis` makes copies of it that are not.
#[derive(Clone)]
pub struct RedisCredentials {
    username: Option<String>,
    password: Zeroizing<String>,
}

impl RedisCredentials {
    /// A user with a password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: Zeroizing::new(password.into()) }
    }

    /// The password of the user `default` (`requirepass`).
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: Zeroizing::new(password.into()) }
    }

    pub(super) fn parts(&self) -> (Option<&str>, &str) {
        (self.username.as_deref(), &self.password)
    }
}

// By hand: the password is not shown.
impl fmt::Debug for RedisCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

type Provided = Pin<Box<dyn Future<Output = Result<RedisCredentials, Failure>> + Send>>;

/// Provides the credentials for each new connection.
#[derive(Clone)]
pub(super) struct Provider(Arc<dyn Fn() -> Provided + Send + Sync>);

impl Provider {
    pub(super) fn new<F, Fut, E>(provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<RedisCredentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Arc::new(move || {
            let provided = provider();
            Box::pin(async move {
                provided.await.map_err(|error| {
                    let error: Box<dyn Error + Send + Sync> = error.into();
                    Failure::unreachable(format!("no credentials for redis: {error}"))
                })
            })
        }))
    }

    pub(super) async fn provide(&self) -> Result<RedisCredentials, Failure> {
        (self.0)().await
    }
}
