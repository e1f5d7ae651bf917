//! Finds the token in a handshake, and removes it. Depends on `http`, not on axum.

mod cookie;
mod copies;
mod encoding;
mod equal;
mod error;
mod header;
#[cfg(feature = "dpop")]
mod proof;
mod query;
mod source;
mod sources;
mod subprotocol;

use std::fmt;

use zeroize::Zeroizing;

pub use error::{TokenError, TokenErrorKind};
pub use source::TokenSource;

pub(crate) use cookie::CookieKind;
pub(crate) use encoding::check;
pub(crate) use equal::equal;
#[cfg(feature = "signals")]
pub(crate) use header::find_bearer;
#[cfg(feature = "dpop")]
pub(crate) use proof::{Presentation, Proof, ProofRequest};
pub(crate) use sources::{Found, Sources, TokenKind};
pub(crate) use subprotocol::{Selection, check_subprotocol};

/// The secret that a client sends to authenticate.
///
/// [`Debug`] does not show it, there is no `Display`, and only [`expose`](Self::expose) returns it, so every use can be
/// searched for. There is no `==`: it stops at the first difference, so its time tells how much of a guess is right.
/// Use [`equals`](Self::equals), or look up a hash of the token. The memory is overwritten when the token is dropped.
///
/// ```
/// use axum_ws_auth::Token;
///
/// let token = Token::new("eyJhbGciOi…");
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// assert!(token.expose().starts_with("eyJ"));
/// assert!(token.equals("eyJhbGciOi…") && !token.equals("eyJhbGciOj…"));
/// ```
#[derive(Clone)]
pub struct Token {
    text: Zeroizing<Box<str>>,
    #[cfg(feature = "dpop")]
    presentation: Presentation,
}

impl Token {
    /// Wraps a secret, for calling a [`Verifier`](crate::Verifier) directly.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: Zeroizing::new(text.into()),
            #[cfg(feature = "dpop")]
            presentation: Presentation::Bearer,
        }
    }

    /// The secret itself. Pass it to a verifier and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether this is the secret, such as a static token from the configuration.
    ///
    /// The time that it takes depends on the lengths of both, and not on where they differ.
    #[must_use]
    pub fn equals(&self, secret: &str) -> bool {
        equal(self.text.as_bytes(), secret.as_bytes())
    }
}

// By hand: a derive would print the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
