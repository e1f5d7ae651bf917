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
/// subject `1001` of another are two users. Limits, evictions and revocations keep them apart. An order says which one
/// it means:
///
/// | | means |
/// | --- | --- |
/// | [`ScopedId::of(issuer, id)`](Self::of) | this id of this issuer |
/// | [`ScopedId::without_issuer(id)`](Self::without_issuer) | this id, where the verifier names no issuer |
/// | [`ScopedId::any_issuer(id)`](Self::any_issuer), or just a string | this id, whichever issuer assigned it |
///
/// [`Session::scoped_subject`](crate::Session::scoped_subject) returns the one of a session.
///
/// A plain string means *any* issuer, because an order that ends too much is safer than one that ends nothing.
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
/// // The sessions of everybody with this name.
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
    /// The verifier names none.
    Unnamed,
    Named(Arc<str>),
}

/// Which issuer is meant.
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

    /// An id, whichever issuer assigned it.
    #[must_use]
    pub fn any_issuer(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), issuer: Issuer::Any }
    }

    /// The id as a token states it, with the issuer if that is known.
    pub(crate) fn stated(issuer: Option<Arc<str>>, id: Arc<str>) -> Self {
        Self { id, issuer: issuer.map_or(Issuer::Unnamed, Issuer::Named) }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The issuer, if one is named.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        match self.scope() {
            Scope::Named(issuer) => Some(issuer),
            Scope::Any | Scope::Unnamed => None,
        }
    }

    /// Whether the id is meant whichever issuer assigned it.
    #[must_use]
    pub const fn is_any_issuer(&self) -> bool {
        self.issuer.is_any()
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
    /// What a verifier says about the issuer.
    pub(crate) fn stated(issuer: Option<&'a str>) -> Self {
        issuer.map_or(Self::Unnamed, Self::Named)
    }
}

/// Any issuer.
impl From<&str> for ScopedId {
    fn from(id: &str) -> Self {
        Self::any_issuer(id)
    }
}

/// Any issuer.
impl From<String> for ScopedId {
    fn from(id: String) -> Self {
        Self::any_issuer(id)
    }
}

/// Any issuer.
impl From<&String> for ScopedId {
    fn from(id: &String) -> Self {
        Self::any_issuer(id.as_str())
    }
}

/// Any issuer.
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

/// An owned or borrowed [`ScopedId`], so that maps are asked without building one.
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

// By hand: it must be that of what it is borrowed as.
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
