use std::fmt;

/// Why no token could be extracted from a handshake. No verifier was called.
///
/// It never contains the token or any part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
}

/// The kind of a [`TokenError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// Two sources have different tokens (RFC 6750 §2).
    Conflicting,
    /// One source has several tokens: two cookies or parameters with the same name, two header lines, two subprotocol
    /// names.
    Repeated,
    /// The token is empty: `Bearer` without a token, or the marker as the last subprotocol.
    Empty,
    /// The encoded token is longer than the maximum.
    TooLong,
    /// The token's characters or encoding are not valid for its source.
    Undecodable,
    /// Every offered subprotocol holds the token, so none can be selected in the response.
    NothingToSelect,
    /// The request line or a header would be invalid without the token.
    Unstrippable,
}

impl TokenError {
    pub(super) const fn new(kind: TokenErrorKind) -> Self {
        Self { kind }
    }

    /// What was wrong, for programs to match on.
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
            TokenErrorKind::Conflicting => "the request has different tokens in several sources",
            TokenErrorKind::Repeated => "the request has several tokens in one source",
            TokenErrorKind::Empty => "the token is empty",
            TokenErrorKind::TooLong => "the token is too long",
            TokenErrorKind::Undecodable => "the token is not encoded as its source requires",
            TokenErrorKind::NothingToSelect => "no offered subprotocol can be selected besides the token",
            TokenErrorKind::Unstrippable => "the request is not valid without the token",
        })
    }
}

impl std::error::Error for TokenError {}
