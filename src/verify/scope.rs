//! The syntax of scopes, which lists of `acr` values share.

/// Whether the text is a list of scopes, with one space between them (RFC 6749 §3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    text.split(' ').all(is_scope_token)
}

/// Whether the text is one scope.
pub(crate) fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~'))
}
