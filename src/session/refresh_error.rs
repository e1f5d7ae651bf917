use std::{error::Error, fmt, time::Duration};

use super::AdmissionError;
use crate::verify::{VerifyError, VerifyErrorKind};

/// Why a session was not refreshed. The session has not changed. Never contains the token.
#[derive(Clone, Debug)]
pub struct RefreshError {
    kind: RefreshErrorKind,
    retry_after: Option<Duration>,
    source: Option<VerifyError>,
}

/// The kind of a [`RefreshError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshErrorKind {
    /// The session has ended, possibly during the refresh.
    SessionEnded,
    /// Another refresh of the session is in progress.
    InProgress,
    /// Too many attempts; see [`WsAuthLayer::refresh_limit`](crate::WsAuthLayer::refresh_limit).
    TooManyAttempts,
    /// The token is longer than [`WsAuthLayer::max_token_len`](crate::WsAuthLayer::max_token_len).
    TokenTooLarge,
    /// The message has no token where one is expected, or the token is empty or contains white space or control
    /// characters.
    Malformed,
    /// The verifier did not accept the token; the [`source`](Error::source) says why.
    NotVerified(VerifyErrorKind),
    /// The token or the session has no subject, so the two cannot be compared.
    NoSubject,
    /// The token has a different subject.
    OtherSubject,
    /// The token has a different issuer.
    OtherIssuer,
    /// The token is bound to a different key (RFC 9449), or only one of the session and the token is bound.
    OtherKey,
    /// The token, its subject or the session was [revoked](crate::Revocations).
    Revoked,
    /// Whether the token was revoked cannot be checked now.
    Unavailable,
}

impl RefreshError {
    pub(crate) const fn of(kind: RefreshErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    pub(super) const fn too_many_attempts(retry_after: Option<Duration>) -> Self {
        Self { kind: RefreshErrorKind::TooManyAttempts, retry_after, source: None }
    }

    pub(super) fn not_verified(error: VerifyError) -> Self {
        let kind = RefreshErrorKind::NotVerified(error.kind());
        Self { kind, retry_after: error.retry_after(), source: Some(error) }
    }

    /// The scope that the new token lacks, if the verifier names it.
    pub(super) fn scope(&self) -> Option<&str> {
        self.source.as_ref()?.scope()
    }

    /// How the user must have signed in for the new token, if the verifier says so: `acr_values` and `max_age`.
    pub(crate) fn authentication(&self) -> (Option<&str>, Option<Duration>) {
        self.source.as_ref().map_or((None, None), |error| (error.acr_values(), error.max_age()))
    }

    pub(super) fn not_admitted(error: AdmissionError) -> Self {
        let kind = match error {
            AdmissionError::Revoked => RefreshErrorKind::Revoked,
            _ => RefreshErrorKind::Unavailable,
        };
        Self { kind, retry_after: error.retry_after(), source: None }
    }

    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> RefreshErrorKind {
        self.kind
    }

    /// A stable name for the kind, for logs, metrics and clients.
    ///
    /// | name | [`kind`](Self::kind) |
    /// | --- | --- |
    /// | `session_ended` | `SessionEnded` |
    /// | `refresh_in_progress` | `InProgress` |
    /// | `too_many_attempts` | `TooManyAttempts` |
    /// | `token_too_large` | `TokenTooLarge` |
    /// | `malformed_message` | `Malformed` |
    /// | `no_subject` | `NoSubject` |
    /// | `other_subject` | `OtherSubject` |
    /// | `other_issuer` | `OtherIssuer` |
    /// | `other_key` | `OtherKey` |
    /// | `revoked` | `Revoked` |
    /// | `revocations_stale` | `Unavailable` |
    /// | `token_invalid` | `NotVerified(Invalid)` |
    /// | `token_malformed` | `NotVerified(Malformed)` |
    /// | `critical_header` | `NotVerified(CriticalHeader)` |
    /// | `wrong_type` | `NotVerified(WrongType)` |
    /// | `wrong_algorithm` | `NotVerified(WrongAlgorithm)` |
    /// | `unknown_key` | `NotVerified(UnknownKey)` |
    /// | `bad_signature` | `NotVerified(BadSignature)` |
    /// | `missing_claim` | `NotVerified(MissingClaim)` |
    /// | `malformed_claim` | `NotVerified(MalformedClaim)` |
    /// | `unexpected_claims` | `NotVerified(UnexpectedClaims)` |
    /// | `token_expired` | `NotVerified(Expired)` |
    /// | `token_not_yet_valid` | `NotVerified(NotYetValid)` |
    /// | `wrong_issuer` | `NotVerified(WrongIssuer)` |
    /// | `wrong_audience` | `NotVerified(WrongAudience)` |
    /// | `sender_constrained` | `NotVerified(SenderConstrained)` |
    /// | `not_bound` | `NotVerified(NotBound)` |
    /// | `missing_proof` | `NotVerified(MissingProof)` |
    /// | `proof_malformed` | `NotVerified(ProofMalformed)` |
    /// | `proof_wrong_algorithm` | `NotVerified(ProofWrongAlgorithm)` |
    /// | `proof_wrong_key` | `NotVerified(ProofWrongKey)` |
    /// | `proof_bad_signature` | `NotVerified(ProofBadSignature)` |
    /// | `proof_for_elsewhere` | `NotVerified(ProofForElsewhere)` |
    /// | `proof_for_other_token` | `NotVerified(ProofForOtherToken)` |
    /// | `proof_stale` | `NotVerified(ProofStale)` |
    /// | `proof_replayed` | `NotVerified(ProofReplayed)` |
    /// | `use_dpop_nonce` | `NotVerified(UseDpopNonce)` |
    /// | `unknown_ticket` | `NotVerified(UnknownTicket)` |
    /// | `ticket_for_elsewhere` | `NotVerified(TicketForElsewhere)` |
    /// | `insufficient_user_authentication` | `NotVerified(InsufficientUserAuthentication)` |
    /// | `insufficient_scope` | `NotVerified(InsufficientScope)` |
    /// | `forbidden` | `NotVerified(Forbidden)` |
    /// | `verifier_unavailable` | `NotVerified(Unavailable)` |
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            RefreshErrorKind::SessionEnded => "session_ended",
            RefreshErrorKind::InProgress => "refresh_in_progress",
            RefreshErrorKind::TooManyAttempts => "too_many_attempts",
            RefreshErrorKind::TokenTooLarge => "token_too_large",
            RefreshErrorKind::Malformed => "malformed_message",
            RefreshErrorKind::NotVerified(kind) => kind.as_str(),
            RefreshErrorKind::NoSubject => "no_subject",
            RefreshErrorKind::OtherSubject => "other_subject",
            RefreshErrorKind::OtherIssuer => "other_issuer",
            RefreshErrorKind::OtherKey => "other_key",
            RefreshErrorKind::Revoked => "revoked",
            RefreshErrorKind::Unavailable => "revocations_stale",
        }
    }

    /// The nonce that the next DPoP proof has to hold (RFC 9449 §8.2), if the verifier asks for one.
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<&str> {
        self.source.as_ref()?.dpop_nonce()
    }

    /// When to try again, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RefreshErrorKind::SessionEnded => "the session has ended",
            RefreshErrorKind::InProgress => "another refresh is in progress",
            RefreshErrorKind::TooManyAttempts => "too many attempts to refresh the session",
            RefreshErrorKind::TokenTooLarge => "the new token is too long",
            RefreshErrorKind::Malformed => "the message has no well-formed token",
            RefreshErrorKind::NotVerified(_) => "the new token was not accepted",
            RefreshErrorKind::NoSubject => "the session or the new token has no subject",
            RefreshErrorKind::OtherSubject => "the new token has a different subject",
            RefreshErrorKind::OtherIssuer => "the new token has a different issuer",
            RefreshErrorKind::OtherKey => "the new token is bound to a different key, or only one of both is bound",
            RefreshErrorKind::Revoked => "the new token was revoked",
            RefreshErrorKind::Unavailable => "revocations cannot be checked now",
        })
    }
}

impl Error for RefreshError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use crate::session::doc_table;

    #[test]
    fn every_reason_is_in_the_table() {
        let source = include_str!("refresh_error.rs");
        let table = doc_table::rows(source, "| name | [`kind`]");
        let own = doc_table::names(source, "fn reason(");
        let own = own.iter().map(|(kind, name)| vec![(*name).to_owned(), (*kind).to_owned()]);
        let verifier = doc_table::names(include_str!("../verify/error.rs"), "fn as_str(");
        let verifier = verifier.iter().map(|(kind, name)| vec![(*name).to_owned(), format!("NotVerified({kind})")]);
        assert_eq!(table, own.chain(verifier).collect::<Vec<_>>());
    }
}
