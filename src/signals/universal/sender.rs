//! Who asks for a revocation.

use std::{sync::Arc, time::SystemTime};

use http::HeaderMap;

use crate::{
    signals::{SignalError, SignalErrorKind as Kind, issued},
    token::{Token, TokenErrorKind, find_bearer},
    verify::{Verified, VerifyError, VerifyErrorKind, jwt::JwtVerifier},
};

pub(super) struct Sender {
    pub(super) issuer: Arc<str>,
    /// The time until which the request revokes.
    pub(super) until: SystemTime,
}

/// The longest JWT in bytes. Okta's have about one kilobyte.
const MAX_TOKEN_LEN: usize = 8 * 1024;

impl Sender {
    pub(super) async fn authenticate(
        headers: &HeaderMap,
        verifier: &JwtVerifier<()>,
        client_ids: &[String],
        now: SystemTime,
    ) -> Result<Self, SignalError> {
        let token = token(headers)?;
        let verified = verifier.verify_token(token.expose(), now).await?.verified;
        let Verified { issuer, subject, issued_at, .. } = verified;
        let missing = |claim| VerifyError::of_claim(VerifyErrorKind::MissingClaim, claim);
        let issuer = issuer.ok_or_else(|| missing("iss"))?;
        let subject = subject.ok_or_else(|| missing("sub"))?;
        if !client_ids.is_empty() && !client_ids.iter().any(|id| **id == *subject) {
            return Err(Kind::WrongClient.into());
        }
        let issued_at = issued_at.ok_or_else(|| missing("iat"))?;
        let until = issued::until(issued_at, now, verifier.leeway())?;
        issued::check_age(issued_at, now, verifier.leeway())?;
        Ok(Self { issuer, until })
    }
}

/// Finds the JWT in `Authorization`.
fn token(headers: &HeaderMap) -> Result<Token, SignalError> {
    match find_bearer(headers, MAX_TOKEN_LEN) {
        Ok(token) => token.ok_or_else(|| Kind::MissingToken.into()),
        Err(TokenErrorKind::Repeated) => Err(Kind::RepeatedToken.into()),
        Err(_) => Err(VerifyError::new(VerifyErrorKind::Malformed).into()),
    }
}
