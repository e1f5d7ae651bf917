//! Maps subject identifiers to the subjects of tokens.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::SubjectId;
use crate::id::ScopedId;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
type ResolveFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<ScopedId>, BoxError>> + Send + 'a>>;

/// Finds the user of a subject identifier, in the application's user database for example.
///
/// Identity providers may name a user by email address, or by an id that is not the `sub` of the access tokens.
/// Implement this, or pass a closure `Fn(SubjectId) -> impl Future`.
///
/// ```
/// use axum_ws_auth::{ScopedId, signals::{ResolveSubject, SubjectId}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let users = async |subject: SubjectId| match subject {
///     // In place of a database.
///     SubjectId::Email { email } if &*email == "alice@example.com" => {
///         Ok(Some(ScopedId::of("https://id.example.com", "1001")))
///     }
///     _ => Ok(None),
/// };
///
/// // Yes.
/// let alice = SubjectId::from_bytes(br#"{"format": "email", "email": "alice@example.com"}"#)?;
/// assert_eq!(users.resolve(&alice).await?, Some(ScopedId::of("https://id.example.com", "1001")));
///
/// // No.
/// let eve = SubjectId::from_bytes(br#"{"format": "email", "email": "eve@example.com"}"#)?;
/// assert_eq!(users.resolve(&eve).await?, None);
/// # Ok(()) }
/// ```
pub trait ResolveSubject: Send + Sync + 'static {
    /// Returns the subject of the user's access tokens. `None` if this identifies no known user: then an `iss_sub`
    /// means its own `iss` and `sub`, and any other identifier means nobody.
    ///
    /// # Errors
    ///
    /// If the user cannot be looked up now. The identity provider is then asked to send the signal again. The error is
    /// logged, so it must not contain personal data. An answer that takes longer than 10 seconds counts as an error.
    fn resolve(&self, subject: &SubjectId) -> impl Future<Output = Result<Option<ScopedId>, BoxError>> + Send;
}

impl<F, Fut> ResolveSubject for F
where
    F: Fn(SubjectId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<ScopedId>, BoxError>> + Send,
{
    fn resolve(&self, subject: &SubjectId) -> impl Future<Output = Result<Option<ScopedId>, BoxError>> + Send {
        self(subject.clone())
    }
}

/// The dyn-compatible twin of [`ResolveSubject`].
trait DynResolveSubject: Send + Sync {
    fn resolve_boxed<'a>(&'a self, subject: &'a SubjectId) -> ResolveFuture<'a>;
}

impl<T: ResolveSubject> DynResolveSubject for T {
    fn resolve_boxed<'a>(&'a self, subject: &'a SubjectId) -> ResolveFuture<'a> {
        Box::pin(self.resolve(subject))
    }
}

/// Longer than a database takes that is available. The next signal waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of the application's code, which may hang.
pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err("the application did not answer in time".into()))
}

/// How a receiver of signals finds users.
#[derive(Clone, Default)]
pub(super) struct Users {
    resolver: Option<Arc<dyn DynResolveSubject>>,
    /// An issuer, and the issuer of the access tokens of its users.
    issuer: Option<(Arc<str>, Arc<str>)>,
}

impl Users {
    pub(super) fn set_resolver(&mut self, resolver: impl ResolveSubject) {
        self.resolver = Some(Arc::new(resolver));
    }

    /// Users of the first issuer have access tokens of the second.
    pub(super) fn set_issuer(&mut self, of_users: Arc<str>, of_tokens: Arc<str>) {
        self.issuer = Some((of_users, of_tokens));
    }

    pub(super) const fn has_resolver(&self) -> bool {
        self.resolver.is_some()
    }

    /// The user whom the resolver finds.
    pub(super) async fn resolve(&self, subject: &SubjectId) -> Result<Option<ScopedId>, BoxError> {
        match &self.resolver {
            Some(resolver) => in_time(resolver.resolve_boxed(subject)).await,
            None => Ok(None),
        }
    }

    /// The user with this identifier, which must not be complex. `None` if nobody is known to have it.
    pub(super) async fn find(&self, subject: &SubjectId) -> Result<Option<ScopedId>, BoxError> {
        if let Some(user) = self.resolve(subject).await? {
            return Ok(Some(user));
        }
        Ok(match subject {
            SubjectId::IssSub { iss, sub } => Some(ScopedId::of(self.token_issuer(iss), Arc::clone(sub))),
            _ => None,
        })
    }

    /// The issuer of the access tokens of this issuer's users.
    pub(super) fn token_issuer(&self, issuer: &Arc<str>) -> Arc<str> {
        match &self.issuer {
            Some((of_users, of_tokens)) if of_users == issuer => Arc::clone(of_tokens),
            _ => Arc::clone(issuer),
        }
    }
}

// By hand: a resolver need not be `Debug`.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resolver = self.resolver.as_ref().map(|_| format_args!("<fn>"));
        f.debug_struct("Users").field("resolver", &resolver).field("issuer", &self.issuer).finish()
    }
}
