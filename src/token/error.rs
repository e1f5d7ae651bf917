use std::fmt;

/// Why the credentials of a handshake could not be taken in, before any verifier was asked.
///
/// It never holds the token or any part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
}

/// What was wrong with the credentials; see [`TokenError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// Two sources carry different tokens (RFC 6750 §2).
    Conflicting,
    /// One source carries more than one token: two cookies or parameters of that name, two header lines, two names.
    Repeated,
    /// The place for a token is there, and empty: `Bearer` without a token, the marker as the last subprotocol.
    Empty,
    /// The token is longer than the cap, as it stands in the request.
    TooLong,
    /// The token's characters or its encoding are not those of its source.
    Undecodable,
    /// Every subprotocol that was offered holds the token, so none can be named in the answer.
    NothingToSelect,
    /// The request line or a header would not be valid with the token taken out of it.
    Unstrippable,
}

impl TokenError {
    pub(super) const fn new(kind: TokenErrorKind) -> Self {
        Self { kind }
    }

    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self::new(kind)
    }
}

impl TokenErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflicting => "conflicting_tokens",
            Self::Repeated => "repeated_token",
            Self::Empty => "empty_token",
            Self::TooLong => "token_too_large",
            Self::Undecodable => "undecodable_token",
            Self::NothingToSelect => "nothing_to_select",
            Self::Unstrippable => "unstrippable_token",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TokenErrorKind::Conflicting => "different tokens in several places of one request",
            TokenErrorKind::Repeated => "more than one token in one place",
            TokenErrorKind::Empty => "a place for a token without a token",
            TokenErrorKind::TooLong => "the token is longer than the cap",
            TokenErrorKind::Undecodable => "the token is not encoded as its source demands",
            TokenErrorKind::NothingToSelect => {
                "no additional subprotocol is offered that could be selected instead of the token"
            }
            TokenErrorKind::Unstrippable => "the request is not valid without the token",
        })
    }
}

impl std::error::Error for TokenError {}
