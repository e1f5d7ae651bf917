use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{
    store::{StoreError, StoreErrorKind},
    verify::{VerifyError, VerifyErrorKind},
};

/// Why a notice was refused. It is in the extensions of the response, for outer layers and logs. It holds no token.
#[derive(Clone, Debug)]
pub struct SignalError(Cause);

#[derive(Clone, Debug)]
enum Cause {
    Notice(SignalErrorKind),
    Token(VerifyError),
    Store(StoreError),
    Resolver(Arc<dyn Error + Send + Sync>),
}

/// The class of a [`SignalError`], with the name that [`as_str`](Self::as_str) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalErrorKind {
    /// `wrong_content_type`: the body is not of the type that the specification prescribes.
    WrongContentType,
    /// `body_too_large`: the body is longer than 64 KiB.
    LargeBody,
    /// `body_incomplete`: the connection broke before the body ended.
    IncompleteBody,
    /// `missing_token`: the request holds no token.
    MissingToken,
    /// `repeated_token`: the request holds several tokens.
    RepeatedToken,
    /// `missing_event`: the token's `events` do not name the event.
    MissingEvent,
    /// `nonce_present`: the token has a `nonce`, as an ID token has.
    Nonce,
    /// `missing_subject`: the notice names neither a session nor a subject.
    MissingSubject,
    /// `issued_in_future`: the token's `iat` is later than now.
    IssuedInFuture,
    /// `token_too_old`: the token was issued too long ago.
    TooOld,
    /// `wrong_client`: the token's `sub` is not a configured client id.
    WrongClient,
    /// `malformed_subject`: the body is not a JSON object with a subject identifier.
    MalformedSubject,
    /// `unsupported_subject`: only a resolver could find such a subject, and there is none.
    UnsupportedSubject,
    /// `foreign_subject`: the subject is of another issuer than the token.
    ForeignSubject,
    /// `unknown_subject`: the resolver knows no such subject.
    UnknownSubject,
    /// `resolver_failed`: the resolver cannot look up the subject now.
    ResolverFailed,
    /// The token is refused, for this reason.
    Token(VerifyErrorKind),
    /// `revocation_not_confirmed`: the store did not confirm the revocation. It is in effect on this node.
    Store(StoreErrorKind),
}

/// When to send a notice again that the store did not confirm.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl SignalError {
    /// The class of the error.
    #[must_use]
    pub const fn kind(&self) -> SignalErrorKind {
        match &self.0 {
            Cause::Notice(kind) => *kind,
            Cause::Token(error) => SignalErrorKind::Token(error.kind()),
            Cause::Store(error) => SignalErrorKind::Store(error.kind()),
            Cause::Resolver(_) => SignalErrorKind::ResolverFailed,
        }
    }

    pub(super) fn unresolved(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(Cause::Resolver(error.into()))
    }

    /// When the sender may try again, if it is not to blame.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match &self.0 {
            Cause::Token(error) if error.is_unavailable() => Some(error.retry_after().unwrap_or(RETRY_AFTER)),
            Cause::Store(_) | Cause::Resolver(_) => Some(RETRY_AFTER),
            _ => None,
        }
    }
}

impl SignalErrorKind {
    /// A stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongContentType => "wrong_content_type",
            Self::LargeBody => "body_too_large",
            Self::IncompleteBody => "body_incomplete",
            Self::MissingToken => "missing_token",
            Self::RepeatedToken => "repeated_token",
            Self::MissingEvent => "missing_event",
            Self::Nonce => "nonce_present",
            Self::MissingSubject => "missing_subject",
            Self::IssuedInFuture => "issued_in_future",
            Self::TooOld => "token_too_old",
            Self::WrongClient => "wrong_client",
            Self::MalformedSubject => "malformed_subject",
            Self::UnsupportedSubject => "unsupported_subject",
            Self::ForeignSubject => "foreign_subject",
            Self::UnknownSubject => "unknown_subject",
            Self::ResolverFailed => "resolver_failed",
            Self::Token(kind) => kind.as_str(),
            Self::Store(_) => "revocation_not_confirmed",
        }
    }
}

impl From<SignalErrorKind> for SignalError {
    fn from(kind: SignalErrorKind) -> Self {
        Self(Cause::Notice(kind))
    }
}

impl From<VerifyError> for SignalError {
    fn from(error: VerifyError) -> Self {
        Self(Cause::Token(error))
    }
}

impl From<StoreError> for SignalError {
    fn from(error: StoreError) -> Self {
        Self(Cause::Store(error))
    }
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Cause::Token(error) = &self.0 {
            return error.fmt(f);
        }
        f.write_str(match self.kind() {
            SignalErrorKind::WrongContentType => "the body is of another content type",
            SignalErrorKind::LargeBody => "the body is too large",
            SignalErrorKind::IncompleteBody => "the body is incomplete",
            SignalErrorKind::MissingToken => "there is no token",
            SignalErrorKind::RepeatedToken => "there are several tokens",
            SignalErrorKind::MissingEvent => "`events` does not name the event",
            SignalErrorKind::Nonce => "the token has a `nonce`",
            SignalErrorKind::MissingSubject => "the notice names neither a session nor a subject",
            SignalErrorKind::IssuedInFuture => "the token was issued in the future",
            SignalErrorKind::TooOld => "the token was issued too long ago",
            SignalErrorKind::WrongClient => "the token is of another client",
            SignalErrorKind::MalformedSubject => "the body is not an object with a subject identifier",
            SignalErrorKind::UnsupportedSubject => "the subject is named in a way that is not supported",
            SignalErrorKind::ForeignSubject => "the subject is of another issuer",
            SignalErrorKind::UnknownSubject => "the subject is unknown",
            SignalErrorKind::ResolverFailed => "the subject cannot be looked up now",
            SignalErrorKind::Token(_) => "the token is not valid",
            SignalErrorKind::Store(_) => "the store did not confirm the revocation",
        })
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Notice(_) => None,
            Cause::Token(error) => Some(error),
            Cause::Store(error) => Some(error),
            Cause::Resolver(error) => Some(&**error),
        }
    }
}
