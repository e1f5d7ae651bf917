//! Binds the proof that comes with a token to its request (RFC 9449). Without the feature `dpop`, tokens have none.

use http::request::Parts;

use super::request::RequestKind;
use crate::token::Token;
#[cfg(feature = "dpop")]
use crate::{token::ProofRequest, verify::client_path};

/// The token with the request that it came with. The head of a handshake is kept anyway.
#[cfg_attr(not(feature = "dpop"), allow(unused_variables, reason = "there is no proof"))]
pub(super) fn bind(token: Token, kind: RequestKind, parts: &Parts) -> Token {
    #[cfg(feature = "dpop")]
    if kind == RequestKind::Plain {
        let request = || ProofRequest { method: parts.method.to_string(), path: client_path(parts).to_owned() };
        return token.of_request(request);
    }
    token
}

/// The same token for a first verifier, which must not use its proof up.
pub(super) fn needed_again(token: &Token) -> Token {
    #[cfg(feature = "dpop")]
    return token.needed_again();
    #[cfg(not(feature = "dpop"))]
    token.clone()
}
