//! Signed answers (RFC 9701).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer::Answer,
    failure::{Failure, Reason},
};
use crate::verify::{VerifyError, VerifyErrorKind, jwt::JwtVerifier};

/// The content type of signed answers (RFC 9701 §5).
pub(super) const CONTENT_TYPE: &str = "application/token-introspection+jwt";
/// Their `typ`.
pub(super) const SIGNED_TYPE: &str = "token-introspection+jwt";

/// Verifies signed answers. The rules of the verifier are: the issuer's keys, this server as the audience, and the
/// type.
pub(super) struct SignedAnswers {
    pub(super) verifier: JwtVerifier<SignedAnswer>,
}

/// How far `iat` may be from the time of the request: clocks differ, and the request takes time.
const MAX_DIFFERENCE: Duration = Duration::from_secs(60);

/// The claims of a signed answer.
#[derive(Deserialize)]
pub(super) struct SignedAnswer {
    token_introspection: Box<RawValue>,
}

impl SignedAnswers {
    /// The answer in a JSON Web Token that the issuer signed in response to a request that was sent at `asked`.
    pub(super) async fn open(&self, token: &str, asked: SystemTime) -> Result<Answer, Failure> {
        let verified = self.verifier.verify_token(token, asked).await.map_err(|error| failure(&error))?.verified;
        let issued_at = verified.issued_at.ok_or_else(|| bad("it has no `iat`"))?;
        // An answer from before the request is a replay. One from long after it was not signed for it either.
        let age = asked.duration_since(issued_at).unwrap_or_default();
        let lead = issued_at.duration_since(asked).unwrap_or_default();
        if age.max(lead) > MAX_DIFFERENCE {
            return Err(bad("its `iat` is not the time of the request"));
        }
        Answer::parse(verified.claims.token_introspection.get())
    }
}

fn bad(problem: &'static str) -> Failure {
    Failure::new(Reason::BadSignature).with_source(problem)
}

fn failure(error: &VerifyError) -> Failure {
    // The text of the error alone: its source may quote the answer.
    let reason =
        if error.kind() == VerifyErrorKind::Unavailable { Reason::KeysUnavailable } else { Reason::BadSignature };
    Failure::new(reason).with_retry_after(error.retry_after()).with_source(error.to_string())
}

// By hand: the claims type has no `Debug`, and the keys suffice.
impl fmt::Debug for SignedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifier.fmt(f)
    }
}
