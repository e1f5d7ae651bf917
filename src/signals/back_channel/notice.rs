//! What a log-out token says, and what is revoked for it.

use std::time::{Duration, SystemTime};

use super::claims::LogoutClaims;
use crate::{
    id::ScopedId,
    signals::{SignalError, SignalErrorKind as Kind, issued},
    store::Revocation,
    verify::{Verified, VerifyError, VerifyErrorKind},
};

/// What a notice asks to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The provider session that the notice names. If it names none, all sessions of the subject.
    AsNamed,
    /// All sessions of the subject, if the notice names one.
    Subject,
}

/// Checks what the verifier has left to check (§2.6), and returns what to revoke.
///
/// No memory of token ids (`jti`) is needed: a repeated token revokes nothing more than the first time. A new sign-in
/// has another `sid`, and a subject is revoked up to the `iat` of the notice.
pub(super) fn revocation(
    verified: Verified<LogoutClaims>,
    scope: Scope,
    now: SystemTime,
    leeway: Duration,
) -> Result<Revocation, SignalError> {
    let Verified { claims, issuer, subject, token_id, issued_at, expires_at, .. } = verified;
    let missing = |claim| VerifyError::of_claim(VerifyErrorKind::MissingClaim, claim);
    let issuer = issuer.ok_or_else(|| missing("iss"))?;
    token_id.ok_or_else(|| missing("jti"))?;
    let issued_at = issued_at.ok_or_else(|| missing("iat"))?;
    let until = issued::until(issued_at, now, leeway)?;
    if expires_at.is_none() {
        issued::check_age(issued_at, now, leeway)?;
    }
    if !claims.events.is_some_and(|events| events.is_log_out) {
        return Err(Kind::MissingEvent.into());
    }
    if claims.has_nonce {
        return Err(Kind::Nonce.into());
    }
    // An empty one must not widen the notice to all sessions of the subject.
    if claims.sid.as_deref() == Some("") {
        return Err(VerifyError::of_claim(VerifyErrorKind::MalformedClaim, "sid").into());
    }
    match (claims.sid, subject) {
        (Some(sid), None) => Ok(Revocation::ProviderSession(ScopedId::of(issuer, sid))),
        (Some(sid), Some(_)) if scope == Scope::AsNamed => Ok(Revocation::ProviderSession(ScopedId::of(issuer, sid))),
        (_, Some(subject)) => Ok(Revocation::Subject { subject: ScopedId::of(issuer, subject), until }),
        (None, None) => Err(Kind::MissingSubject.into()),
    }
}
