use std::{fmt, marker::PhantomData, sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use super::super::jwks::{IssuerKeys, IssuerStatus, Looked, StartError};
#[cfg(feature = "jwks")]
use super::bound::UnknownKey;
use super::{
    super::{Verified, Verifier, VerifyError, VerifyInput},
    JwtVerifierBuilder,
    claims::{NumericDate, Payload, Registered, Text},
    compact::{Compact, Memory},
    header::Header,
    rules::{Provenance, Rules, Standing},
    signature::check_signature,
};

/// Verifies JSON Web Tokens with claims of type `C`; see the [module docs](super).
///
/// Clones share everything.
pub struct JwtVerifier<C> {
    rules: Arc<Rules>,
    claims: PhantomData<fn() -> C>,
}

/// A token that was found good, with what must be looked at again before it is taken for good another time.
pub(crate) struct Checked<C> {
    pub(crate) verified: Verified<C>,
    pub(crate) standing: Standing,
}

/// Why a token was not found good, or not yet.
pub(super) enum Stop {
    Refused(VerifyError),
    #[cfg(feature = "jwks")]
    Unknown(UnknownKey),
}

impl From<VerifyError> for Stop {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> JwtVerifier<C> {
    /// Starts without keys, with 30 seconds of leeway.
    pub fn builder() -> JwtVerifierBuilder<C> {
        JwtVerifierBuilder::new()
    }

    /// Starts with the keys of this issuer, found by OpenID Connect Discovery; see [`IssuerKeys::discover`].
    #[cfg(feature = "jwks")]
    pub fn discover(issuer: impl Into<String>) -> JwtVerifierBuilder<C> {
        Self::builder().issuer_keys(IssuerKeys::discover(issuer))
    }

    pub(super) fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), claims: PhantomData }
    }

    /// How it stands with the keys of each issuer that has [keys of its own](JwtVerifierBuilder::issuer_keys), in the
    /// order in which they were added.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.rules.issuers.status()
    }

    /// Waits until the keys of all issuers are there, for as long as that takes.
    ///
    /// For a server that was [built](JwtVerifierBuilder::build) without waiting for them.
    ///
    /// # Errors
    ///
    /// If they will never come, because the tokio runtime has ended in which the verifier was built.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped: the keys are fetched without it.
    #[cfg(feature = "jwks")]
    pub async fn ready(&self) -> Result<(), StartError> {
        self.rules.issuers.ready().await
    }

    /// Waits for the first attempt to fetch the keys of each issuer.
    #[cfg(feature = "jwks")]
    pub(super) async fn attempted(&self) -> Result<(), StartError> {
        self.rules.issuers.attempted().await
    }

    /// Verifies a token, if its key is known.
    pub(crate) fn examine_now(&self, token: &str, now: SystemTime) -> Option<Result<Checked<C>, VerifyError>> {
        match self.check(token, now) {
            Ok(checked) => Some(Ok(checked)),
            Err(Stop::Refused(error)) => Some(Err(error)),
            #[cfg(feature = "jwks")]
            Err(Stop::Unknown(_)) => None,
        }
    }

    /// Verifies a token, and waits for its key if that is not known yet.
    pub(crate) async fn examine(&self, token: &str, now: SystemTime) -> Result<Checked<C>, VerifyError> {
        #[cfg(feature = "jwks")]
        let (begin, mut now, mut looked) = (tokio::time::Instant::now(), now, Looked::Before);
        #[cfg_attr(not(feature = "jwks"), expect(clippy::never_loop, reason = "keys in hand are not waited for"))]
        loop {
            match self.check(token, now) {
                Ok(checked) => return Ok(checked),
                Err(Stop::Refused(error)) => return Err(error),
                #[cfg(feature = "jwks")]
                Err(Stop::Unknown(key)) => {
                    looked = key.look_for(looked).await?;
                    // It may have expired while its key was looked for.
                    now = now.checked_add(begin.elapsed()).unwrap_or(now);
                }
            }
        }
    }

    fn check(&self, token: &str, now: SystemTime) -> Result<Checked<C>, Stop> {
        let compact = Compact::parse(token)?;
        let read = self.rules.last_header.read(compact.header)?;
        let checked = self.check_compact(&compact, read.header(), now)?;
        self.rules.last_header.note(read);
        Ok(checked)
    }

    fn check_compact(&self, compact: &Compact<'_>, header: &Header, now: SystemTime) -> Result<Checked<C>, Stop> {
        self.rules.check_type(header)?;
        let mut memory = Memory::new();
        // Only where issuers have keys of their own does it take more than the header to find the key.
        #[cfg(feature = "jwks")]
        if !self.rules.issuers.is_empty() {
            let payload = Payload::decode(compact, &mut memory)?;
            // Nobody has signed this yet, so it is not quoted.
            let registered = payload.registered().map_err(|error| VerifyError::new(error.kind()))?;
            let provenance = self.rules.check_issuer(header, compact, &registered, now)?;
            return Ok(self.accept(&payload, registered, provenance, now)?);
        }
        let signature = memory.decode(compact.signature)?;
        check_signature(&self.rules.keys, header, compact.signed, signature)?;
        let payload = Payload::decode(compact, &mut memory)?;
        let registered = payload.registered()?;
        Ok(self.accept(&payload, registered, Provenance::default(), now)?)
    }

    /// Checks what is signed. So an error may say what it found.
    fn accept(
        &self,
        payload: &Payload<'_>,
        registered: Registered<'_>,
        provenance: Provenance,
        now: SystemTime,
    ) -> Result<Checked<C>, VerifyError> {
        let expires_at = self.rules.check_claims(&registered, now)?;
        let standing = Standing { expires_at, not_before: registered.nbf, provenance };
        let shared = |text: Option<Text<'_>>| text.map(|text| Arc::from(&*text.0));
        let (subject, token_id) = (shared(registered.sub), shared(registered.jti));
        let issuer = registered.iss.map(|iss| self.rules.shared_issuer(&iss.0));
        let issued_at = registered.iat.map(NumericDate::moment);
        let verified = Verified { claims: payload.claims()?, expires_at, subject, issuer, token_id, issued_at };
        Ok(Checked { verified, standing })
    }

    /// Whether a token that was found good still is.
    pub(crate) fn still_stands(&self, standing: &Standing, now: SystemTime) -> bool {
        self.rules.still_stands(standing, now)
    }

    /// Counts up with every change of the keys; `None` where some may not be used.
    #[cfg_attr(not(feature = "jwks"), expect(clippy::unnecessary_wraps, reason = "keys in hand never change"))]
    pub(crate) fn key_changes(&self) -> Option<u64> {
        #[cfg(feature = "jwks")]
        return self.rules.issuers.changes();
        #[cfg(not(feature = "jwks"))]
        Some(0)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for JwtVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        self.examine(input.token.expose(), input.now).await.map(|checked| checked.verified)
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        let outcome = self.examine_now(input.token.expose(), input.now)?;
        Some(outcome.map(|checked| checked.verified))
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for JwtVerifier<C> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), claims: PhantomData }
    }
}

impl<C> fmt::Debug for JwtVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwtVerifier").field(&self.rules).finish()
    }
}
