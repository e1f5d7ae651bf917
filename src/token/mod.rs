//! Finds the token in a handshake, and removes it. Depends on `http`, not on axum.

mod cookie;
mod copies;
mod encoding;
mod error;
mod header;
#[cfg(feature = "dpop")]
mod proof;
mod query;
mod source;
mod sources;
mod subprotocol;

use std::fmt;

pub use error::{TokenError, TokenErrorKind};
pub use source::TokenSource;

pub(crate) use cookie::CookieKind;
pub(crate) use encoding::check;
#[cfg(feature = "jwt")]
#[cfg(feature = "signals")]
pub(crate) use header::find_bearer;
#[cfg(feature = "dpop")]
pub(crate) use proof::{Presentation, Proof, ProofRequest};
pub(crate) use sources::{Found, Sources, TokenKind};
pub(crate) use subprotocol::{Selection, check_subprotocol};

/// The secret that a client sends to authenticate.
///
/// [`Debug`] does not show it, there is no `Display`, and only [`expose`](Self::expose) returns it, so every use can be
/// searched for. There is no `==`, because comparing secrets byte by byte leaks timing. Compare or look up hashes
/// instead.
///
/// ```
/// use axum_ws_auth::Token;
///
/// let token = Token::new("eyJhbGciOi…");
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// assert!(token.expose().starts_with("eyJ"));
/// ```
#[derive(Clone)]
pub struct Token {
    text: Box<str>,
    #[cfg(feature = "dpop")]
    presentation: Presentation,
}

impl Token {
    /// Wraps a secret, for calling a [`Verifier`](crate::Verifier) directly.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: text.into(),
            #[cfg(feature = "dpop")]
            presentation: Presentation::Bearer,
        }
    }

    /// The secret itself. Pass it to a verifier and nowhere else.
    #[must_use]
    pub const fn expose(&self) -> &str {
        &self.text
    }
}

// By hand: a derive would print the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
