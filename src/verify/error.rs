use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use super::compared::Compared;

/// Why a token was not accepted.
///
/// The client learns the class only: [unavailable](Self::is_unavailable), [forbidden](Self::is_forbidden),
/// [insufficient authentication](Self::insufficient_user_authentication), or invalid. The rest is for logs. It never
/// contains the token.
#[derive(Clone, Debug)]
pub struct VerifyError {
    kind: VerifyErrorKind,
    claim: Option<&'static str>,
    scope: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    /// Boxed, because few errors have any of it.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default)]
struct Details {
    /// How the user must have signed in (RFC 9470 §3).
    acr_values: Option<Cow<'static, str>>,
    max_age: Option<Duration>,
    dpop_nonce: Option<String>,
    /// Only for logs.
    compared: Option<Compared>,
}

/// What is wrong with a token, with the name that [`as_str`](Self::as_str) returns; see [`VerifyError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// `token_invalid`: not valid, for a reason that the verifier does not name.
    Invalid,
    /// `token_malformed`: not a JWT in compact form with a well-formed header (RFC 7515 §7.1), or no text that could be
    /// a ticket.
    Malformed,
    /// `critical_header`: the header names a critical extension (RFC 7515 §4.1.11). None is supported.
    CriticalHeader,
    /// `wrong_type`: the header's `typ` is not an accepted one (RFC 8725 §3.11), so the token is of another kind.
    WrongType,
    /// `wrong_algorithm`: no configured key is for the header's `alg`.
    WrongAlgorithm,
    /// `unknown_key`: the header's `kid` names no configured key.
    UnknownKey,
    /// `bad_signature`: the signature does not verify.
    BadSignature,
    /// `missing_claim`: a required claim is missing.
    MissingClaim,
    /// `malformed_claim`: a registered claim has the wrong JSON type or is out of range.
    MalformedClaim,
    /// `unexpected_claims`: the claims are well-formed, but do not deserialize into the claims type.
    UnexpectedClaims,
    /// `token_expired`: the token has expired.
    Expired,
    /// `token_not_yet_valid`: the token is not valid yet (`nbf`).
    NotYetValid,
    /// `wrong_issuer`: another issuer issued the token.
    WrongIssuer,
    /// `wrong_audience`: the token is for another audience.
    WrongAudience,
    /// `sender_constrained`: the token is bound to a key (`cnf`, RFC 7800), as with DPoP and mutual TLS, and nothing
    /// here checks that the client holds the key, or it was sent as a bearer token (RFC 9449 §7.2).
    SenderConstrained,
    /// `not_bound`: the token is bound to no key, and was sent as if it were (RFC 9449 §7.1), or only bound tokens are
    /// accepted.
    NotBound,
    /// `missing_proof`: the token is bound to a key, and came by the scheme `DPoP` without a proof (RFC 9449 §7.1).
    MissingProof,
    /// `proof_malformed`: the proof is not one signed JWT with the members that RFC 9449 §4.2 requires, or holds a
    /// private key.
    ProofMalformed,
    /// `proof_wrong_algorithm`: the proof is signed by an algorithm that is not accepted.
    ProofWrongAlgorithm,
    /// `proof_wrong_key`: the token is bound to another key than the proof's.
    ProofWrongKey,
    /// `proof_bad_signature`: the signature of the proof does not verify.
    ProofBadSignature,
    /// `proof_for_elsewhere`: the proof is for another method (`htm`) or URI (`htu`).
    ProofForElsewhere,
    /// `proof_for_other_token`: the proof is for another token (`ath`).
    ProofForOtherToken,
    /// `proof_stale`: the proof was made too long ago, or in the future (`iat`).
    ProofStale,
    /// `proof_replayed`: the proof was used before (`jti`).
    ProofReplayed,
    /// `use_dpop_nonce`: the proof lacks a current `nonce` of this server. The answer has one (RFC 9449 §9).
    UseDpopNonce,
    /// `unknown_ticket`: there is no such ticket. It was used, it expired, or it never existed.
    UnknownTicket,
    /// `ticket_for_elsewhere`: the ticket is for another path or another origin.
    TicketForElsewhere,
    /// `insufficient_user_authentication`: the token is valid, but its user signed in too weakly or too long ago.
    InsufficientUserAuthentication,
    /// `insufficient_scope`: the token is valid, but its scope does not allow the request.
    InsufficientScope,
    /// `forbidden`: the token is valid, but its holder may not do this.
    Forbidden,
    /// `verifier_unavailable`: the verifier cannot decide now whether the token is valid.
    Unavailable,
}

impl VerifyError {
    /// The token is not valid, for a reason that is not named. Answered with 401.
    #[must_use]
    pub const fn invalid() -> Self {
        Self::new(VerifyErrorKind::Invalid)
    }

    /// The token has expired. Answered with 401.
    #[must_use]
    pub const fn expired() -> Self {
        Self::new(VerifyErrorKind::Expired)
    }

    /// The token is valid, but its scope does not allow the request. Answered with 403 and `scope="…"`, which tells the
    /// client which scope to request (RFC 6750 §3).
    ///
    /// `scope` is a list of scope names, separated by spaces. If it contains characters that RFC 6749 §3.3 does not
    /// allow, the answer omits it.
    pub fn insufficient_scope(scope: impl Into<Cow<'static, str>>) -> Self {
        Self { scope: Some(scope.into()), ..Self::new(VerifyErrorKind::InsufficientScope) }
    }

    /// The token is valid, but its user must sign in again, or by other means. Answered with 401, and with what
    /// [`with_acr_values`](Self::with_acr_values) and [`with_max_age`](Self::with_max_age) say (RFC 9470 §3).
    /// [`StepUp`](crate::StepUp) does all this.
    #[must_use]
    pub const fn insufficient_user_authentication() -> Self {
        Self::new(VerifyErrorKind::InsufficientUserAuthentication)
    }

    /// The token is valid, but its holder may not do this. Answered with 403.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self::new(VerifyErrorKind::Forbidden)
    }

    /// The token cannot be verified now. Answered with 503 and `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(VerifyErrorKind::Unavailable) }
    }

    /// Adds the cause, for logs. It must not contain the token.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// Sets when the client may retry. The answer has it as `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Names the authentication context classes (`acr`) of which the next token must have one: a list with one space
    /// between them, the preferred one first. The answer omits a list that cannot be written so. Only for
    /// [`insufficient_user_authentication`](Self::insufficient_user_authentication).
    #[must_use]
    pub fn with_acr_values(mut self, values: impl Into<Cow<'static, str>>) -> Self {
        self.details.get_or_insert_default().acr_values = Some(values.into());
        self
    }

    /// Says how long ago the user may have signed in, in whole seconds, rounded down. Only for
    /// [`insufficient_user_authentication`](Self::insufficient_user_authentication).
    #[must_use]
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.details.get_or_insert_default().max_age = Some(age);
        self
    }

    pub(super) fn with_scope(self, scope: String) -> Self {
        Self { scope: Some(scope.into()), ..self }
    }

    pub(crate) const fn new(kind: VerifyErrorKind) -> Self {
        Self { kind, claim: None, scope: None, retry_after: None, source: None, details: None }
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn of_claim(kind: VerifyErrorKind, claim: &'static str) -> Self {
        Self { claim: Some(claim), ..Self::new(kind) }
    }

    /// Adds what was expected and what was found, if a log shows that.
    #[cfg(feature = "jwt")]
    pub(super) fn with_compared(mut self, values: impl FnOnce() -> (String, String)) -> Self {
        if let Some(compared) = Compared::note(values) {
            self.details.get_or_insert_default().compared = Some(compared);
        }
        self
    }

    /// Removes a cause that may quote a token that is not verified.
    #[cfg(feature = "jwks")]
    pub(super) fn without_source(self) -> Self {
        Self { source: None, ..self }
    }

    #[cfg(feature = "dpop")]
    pub(crate) fn use_dpop_nonce(nonce: String) -> Self {
        let details = Details { dpop_nonce: Some(nonce), ..Details::default() };
        Self { details: Some(Box::new(details)), ..Self::new(VerifyErrorKind::UseDpopNonce) }
    }

    /// What is wrong with the token.
    #[must_use]
    pub const fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The claim that is wrong, if one is.
    #[must_use]
    pub const fn claim(&self) -> Option<&'static str> {
        self.claim
    }

    /// The scope that the next token needs, if the verifier names it.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The authentication context classes of which the next token must have one, separated by spaces, if the user must
    /// sign in by other means.
    #[must_use]
    pub fn acr_values(&self) -> Option<&str> {
        self.details.as_ref()?.acr_values.as_deref()
    }

    /// How long ago the user may have signed in, if there is such a limit.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.details.as_ref()?.max_age
    }

    /// When the client may retry, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The nonce that the next DPoP proof has to hold (RFC 9449 §8.2), if the verifier asks for one.
    ///
    /// A response to a request has it as `DPoP-Nonce`. A protocol over the socket sends it in a message.
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<&str> {
        self.details.as_ref()?.dpop_nonce.as_deref()
    }

    /// What was expected, and what was found instead, if it was noted for a log.
    pub(crate) fn compared(&self) -> Option<(&str, &str)> {
        let Compared { expected, found } = self.details.as_ref()?.compared.as_ref()?;
        Some((expected, found))
    }

    /// Whether the token is valid, but its scope or its holder may not do this.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self.kind, VerifyErrorKind::InsufficientScope | VerifyErrorKind::Forbidden)
    }

    /// Whether the token is valid, and something else is missing.
    pub(crate) const fn is_of_valid_token(&self) -> bool {
        self.is_forbidden() || matches!(self.kind, VerifyErrorKind::InsufficientUserAuthentication)
    }

    /// Whether the verifier cannot decide now.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self.kind, VerifyErrorKind::Unavailable)
    }
}

impl VerifyErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "token_invalid",
            Self::Malformed => "token_malformed",
            Self::CriticalHeader => "critical_header",
            Self::WrongType => "wrong_type",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim => "missing_claim",
            Self::MalformedClaim => "malformed_claim",
            Self::UnexpectedClaims => "unexpected_claims",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::SenderConstrained => "sender_constrained",
            Self::NotBound => "not_bound",
            Self::MissingProof => "missing_proof",
            Self::ProofMalformed => "proof_malformed",
            Self::ProofWrongAlgorithm => "proof_wrong_algorithm",
            Self::ProofWrongKey => "proof_wrong_key",
            Self::ProofBadSignature => "proof_bad_signature",
            Self::ProofForElsewhere => "proof_for_elsewhere",
            Self::ProofForOtherToken => "proof_for_other_token",
            Self::ProofStale => "proof_stale",
            Self::ProofReplayed => "proof_replayed",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::UnknownTicket => "unknown_ticket",
            Self::TicketForElsewhere => "ticket_for_elsewhere",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::InsufficientScope => "insufficient_scope",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "verifier_unavailable",
        }
    }
}

impl VerifyErrorKind {
    /// Whether nobody guessed the credential: it was valid once or will be, or it has a proof whose only fault is its
    /// time. Nobody can guess a ticket, so this holds for every unknown one.
    pub(crate) const fn is_of_genuine_credential(self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::NotYetValid
                | Self::ProofStale
                | Self::ProofReplayed
                | Self::UseDpopNonce
                | Self::UnknownTicket
                | Self::TicketForElsewhere
        )
    }

    /// The `error` of a challenge for proofs (RFC 9449 §7.1 and §9). `None` if it is not the proof that is wrong.
    pub(crate) const fn proof_error(self) -> Option<&'static str> {
        match self {
            Self::UseDpopNonce => Some("use_dpop_nonce"),
            Self::MissingProof
            | Self::ProofMalformed
            | Self::ProofWrongAlgorithm
            | Self::ProofWrongKey
            | Self::ProofBadSignature
            | Self::ProofForElsewhere
            | Self::ProofForOtherToken
            | Self::ProofStale
            | Self::ProofReplayed => Some("invalid_dpop_proof"),
            _ => None,
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            VerifyErrorKind::Invalid => "the token is not valid",
            VerifyErrorKind::Malformed => "the token is not well-formed",
            VerifyErrorKind::CriticalHeader => "the token's header has a critical extension",
            VerifyErrorKind::WrongType => "the token is of a type that is not accepted",
            VerifyErrorKind::WrongAlgorithm => "no key is for the token's algorithm",
            VerifyErrorKind::UnknownKey => "the token's key id is unknown",
            VerifyErrorKind::BadSignature => "the token's signature does not verify",
            VerifyErrorKind::MissingClaim => "a required claim is missing",
            VerifyErrorKind::MalformedClaim => "a claim has the wrong type or is out of range",
            VerifyErrorKind::UnexpectedClaims => "the claims are not what the claims type expects",
            VerifyErrorKind::Expired => "the token has expired",
            VerifyErrorKind::NotYetValid => "the token is not valid yet",
            VerifyErrorKind::WrongIssuer => "the token was issued by another issuer",
            VerifyErrorKind::WrongAudience => "the token was issued for another audience",
            VerifyErrorKind::SenderConstrained => {
                "the token is bound to a key, and nothing checks that the client holds it"
            }
            VerifyErrorKind::NotBound => "the token is bound to no key, and should be",
            VerifyErrorKind::MissingProof => "the token is bound to a key, and came without a proof",
            VerifyErrorKind::ProofMalformed => "the proof is malformed",
            VerifyErrorKind::ProofWrongAlgorithm => "the proof is signed by an algorithm that is not accepted",
            VerifyErrorKind::ProofWrongKey => "the token is bound to another key than the proof's",
            VerifyErrorKind::ProofBadSignature => "the proof's signature does not verify",
            VerifyErrorKind::ProofForElsewhere => "the proof was made for another request",
            VerifyErrorKind::ProofForOtherToken => "the proof was made for another token",
            VerifyErrorKind::ProofStale => "the proof was not made recently",
            VerifyErrorKind::ProofReplayed => "the proof was used before",
            VerifyErrorKind::UseDpopNonce => "the proof lacks a current nonce of this server",
            VerifyErrorKind::UnknownTicket => "there is no such ticket: it may have been used, or may have expired",
            VerifyErrorKind::TicketForElsewhere => "the ticket is for another path or origin",
            VerifyErrorKind::InsufficientUserAuthentication => "the token's user must sign in again, or by other means",
            VerifyErrorKind::InsufficientScope => "the token's scope is insufficient",
            VerifyErrorKind::Forbidden => "the token's holder may not do this",
            VerifyErrorKind::Unavailable => "the token cannot be verified now",
        })?;
        self.claim.map_or(Ok(()), |claim| write!(f, " (`{claim}`)"))
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
