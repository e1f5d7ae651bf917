//! Where a token may stand in a handshake, and how it is taken out of there. It knows `http` and nothing of axum.

mod cookie;
mod encoding;
mod error;
mod header;
mod mirror;
mod query;
mod selection;
mod source;
mod sources;
mod spelling;
mod subprotocol;

use std::fmt;

pub use error::{TokenError, TokenErrorKind};
pub use source::TokenSource;

pub(crate) use cookie::CookieKind;
pub(crate) use encoding::check;
#[cfg(feature = "jwt")]
pub(crate) use encoding::is_json_object;
pub(crate) use selection::Selection;
pub(crate) use sources::{Carrier, Found, Sources, cut_copies};
pub(crate) use subprotocol::check_subprotocol;

/// The secret text that a client sent to prove who it is.
///
/// Its [`Debug`] never shows the text, it has no `Display`, and there is one way to the text, whose name can be
/// searched for: [`expose`](Self::expose). It has no `==` either: comparing a secret byte by byte tells how far it
/// agrees. Compare hashes, or look one up.
///
/// ```
/// use axum_ws_auth::Token;
///
/// let token = Token::new("eyJhbGciOi…");
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// assert!(token.expose().starts_with("eyJ"));
/// ```
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// Wraps a text, for calling a [`Verifier`](crate::Verifier) by hand.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret text itself. It belongs into a verifier and nowhere else.
    #[must_use]
    pub const fn expose(&self) -> &str {
        &self.0
    }
}

// By hand: a derive would print the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
