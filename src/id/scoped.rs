//! Ids that are unique within one issuer only.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// A subject (`sub`) or a token id (`jti`), together with the issuer that assigned it.
///
/// Both are unique within one issuer only (OpenID Connect Core §5.7, RFC 7519 §4.1.7): subject `1001` of one issuer and
/// subject `1001` of another are two users. Limits, evictions and revocations keep them apart.
///
/// | | matches |
/// | --- | --- |
/// | [`ScopedId::of(issuer, id)`](Self::of) | this id of this issuer |
/// | [`ScopedId::without_issuer(id)`](Self::without_issuer) | this id, if the verifier names no issuer |
/// | [`ScopedId::any_issuer(id)`](Self::any_issuer), or a plain string | this id of any issuer |
///
/// A plain string matches *any* issuer, because it is safer to end too many sessions than none.
/// [`Session::scoped_subject`](crate::Session::scoped_subject) returns the id of a session's subject.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{ScopedId, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let sessions = Sessions::new();
/// // The sessions of one user.
/// sessions.end_subject(ScopedId::of("https://id.example.com", "1001"));
/// // The sessions of every subject with this id.
/// sessions.end_subject("1001");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedId {
    id: Arc<str>,
    #[serde(default, skip_serializing_if = "Issuer::is_any")]
    issuer: Issuer,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Issuer {
    #[default]
    Any,
    /// The verifier names no issuer.
    Unnamed,
    Named(Arc<str>),
}

/// The issuers that a [`ScopedId`] matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope<'a> {
    Any,
    Unnamed,
    Named(&'a str),
}

impl ScopedId {
    /// An id that this issuer (`iss`) assigned.
    #[must_use]
    pub fn of(issuer: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), issuer: Issuer::Named(issuer.into()) }
    }

    /// An id from a verifier that names no issuer.
    #[must_use]
    pub fn without_issuer(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), issuer: Issuer::Unnamed }
    }

    /// An id of any issuer.
    #[must_use]
    pub fn any_issuer(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), issuer: Issuer::Any }
    }

    /// The id of a token, with its `iss` if the verifier names one.
    pub(crate) fn from_claims(issuer: Option<Arc<str>>, id: Arc<str>) -> Self {
        Self { id, issuer: issuer.map_or(Issuer::Unnamed, Issuer::Named) }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The issuer, if this is the id of one issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        match self.scope() {
            Scope::Named(issuer) => Some(issuer),
            Scope::Any | Scope::Unnamed => None,
        }
    }

    /// Whether this matches any issuer.
    #[must_use]
    pub const fn is_any_issuer(&self) -> bool {
        self.issuer.is_any()
    }

    /// Whether this matches that id: it is the same id, and of an issuer that this matches.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.id == other.id && (self.is_any_issuer() || self.issuer == other.issuer)
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        match &self.issuer {
            Issuer::Any => Scope::Any,
            Issuer::Unnamed => Scope::Unnamed,
            Issuer::Named(issuer) => Scope::Named(issuer),
        }
    }
}

impl Issuer {
    const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

impl<'a> Scope<'a> {
    /// The scope of a token, by its `iss` if the verifier names one.
    pub(crate) fn from_claim(issuer: Option<&'a str>) -> Self {
        issuer.map_or(Self::Unnamed, Self::Named)
    }
}

/// Matches any issuer.
impl From<&str> for ScopedId {
    fn from(id: &str) -> Self {
        Self::any_issuer(id)
    }
}

/// Matches any issuer.
impl From<String> for ScopedId {
    fn from(id: String) -> Self {
        Self::any_issuer(id)
    }
}

/// Matches any issuer.
impl From<&String> for ScopedId {
    fn from(id: &String) -> Self {
        Self::any_issuer(id.as_str())
    }
}

/// Matches any issuer.
impl From<Arc<str>> for ScopedId {
    fn from(id: Arc<str>) -> Self {
        Self::any_issuer(id)
    }
}

impl From<&Self> for ScopedId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl fmt::Display for ScopedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope() {
            Scope::Any => write!(f, "`{}` of any issuer", self.id),
            Scope::Unnamed => write!(f, "`{}` without an issuer", self.id),
            Scope::Named(issuer) => write!(f, "`{}` of `{issuer}`", self.id),
        }
    }
}

/// An owned or borrowed [`ScopedId`], for look-ups without an allocation.
pub(crate) trait Scoped {
    fn scope(&self) -> Scope<'_>;
    fn id(&self) -> &str;
}

impl Scoped for ScopedId {
    fn scope(&self) -> Scope<'_> {
        self.scope()
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Scoped for (Scope<'_>, &str) {
    fn scope(&self) -> Scope<'_> {
        self.0
    }

    fn id(&self) -> &str {
        self.1
    }
}

impl Hash for dyn Scoped + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scope().hash(state);
        self.id().hash(state);
    }
}

impl PartialEq for dyn Scoped + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && self.scope() == other.scope()
    }
}

impl Eq for dyn Scoped + '_ {}

// By hand: `Borrow` requires the same hash.
impl Hash for ScopedId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self as &dyn Scoped).hash(state);
    }
}

impl<'a> Borrow<dyn Scoped + 'a> for ScopedId {
    fn borrow(&self) -> &(dyn Scoped + 'a) {
        self
    }
}
