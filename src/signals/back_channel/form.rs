//! The body of a log-out notice (OpenID Connect Back-Channel Logout 1.0 §2.5).

use crate::{signals::SignalErrorKind, token::Token};

/// Finds the log-out token. All other parameters are ignored.
pub(super) fn parse(body: &[u8]) -> Result<Token, SignalErrorKind> {
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next().filter(|(_, token)| !token.is_empty()).ok_or(SignalErrorKind::MissingToken)?;
    if tokens.next().is_some() {
        return Err(SignalErrorKind::RepeatedToken);
    }
    Ok(Token::new(token))
}
