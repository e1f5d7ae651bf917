use std::{fmt, marker::PhantomData, sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    super::{claims::NumericDate, id::Id},
    AlbVerifierBuilder,
    token::{AlbToken, Expected, registered},
};
use crate::verify::{
    Verified, Verifier, VerifyError, VerifyInput,
    jwks::{PemKey, PemKeys},
};

/// Verifies the tokens of an AWS Application Load Balancer that signs in users itself, in the header
/// `x-amzn-oidc-data`.
///
/// - The token is signed by the load balancer (`ES256`) that is configured, by its Amazon Resource Name (`signer` in
///   the header). AWS requires this check: the keys of a region sign for all load balancers there, those of strangers
///   too.
/// - It expires at the `exp` of the header, and at that of the claims if there is one.
/// - The issuer is the `iss` of the header, and the subject the `sub` of the claims. There is no audience.
///   [`client`](AlbVerifierBuilder::client) restricts the OAuth clients.
/// - Its base64 may be padded, which other verifiers refuse. The padding is part of what is signed.
/// - The key is fetched by its id (`kid`, a UUID) when its first token arrives, and kept. The bounds are those of an
///   [`IssuerRule`](crate::jwks::IssuerRule), for 16 keys. A token whose key cannot be fetched is refused with 503.
///
/// **The load balancer derives the token from its session cookie.** Browsers send that cookie from any page, so
/// [`allow_origin`](crate::WsAuthLayer::allow_origin) must be set. And clients that bypass the load balancer must not
/// reach the server, or a stolen token can be used until it expires.
///
/// The token expires soon, and clients do not have it, so they cannot send a new one on the socket. A page can request
/// a [refresh route](crate::WsAuthLayer::refresh_route) instead: the load balancer adds a new token to that request.
///
/// Events about keys have the id of the key as `issuer`.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{AllowOrigin, TokenSource, WsAuthLayer, jwt::AlbVerifier};
///
/// #[derive(serde::Deserialize)]
/// struct Claims { email: String }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), axum_ws_auth::ConfigError> {
/// let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/chat/50dc6c495c0c9188";
/// let verifier = AlbVerifier::<Claims>::builder(arn).client("chat").build()?;
/// let layer = WsAuthLayer::new(verifier)
///     .sources([TokenSource::header("x-amzn-oidc-data")])?
///     .allow_origin(AllowOrigin::same_origin())?;
///
/// // No: not the name of a load balancer.
/// assert!(AlbVerifier::<Claims>::builder("chat").build().is_err());
/// # Ok(()) }
/// ```
pub struct AlbVerifier<C> {
    shared: Arc<Shared>,
    claims: PhantomData<fn() -> C>,
}

#[derive(Debug)]
struct Shared {
    expected: Expected,
    keys: PemKeys,
}

enum Failure {
    Refused(VerifyError),
    /// The key must be waited for.
    UnknownKey(PemKey),
}

impl<C: DeserializeOwned + Send + Sync + 'static> AlbVerifier<C> {
    /// Starts a builder with the Amazon Resource Name of the load balancer.
    pub fn builder(arn: impl Into<String>) -> AlbVerifierBuilder<C> {
        AlbVerifierBuilder::new(arn.into())
    }

    pub(super) fn new(expected: Expected, keys: PemKeys) -> Self {
        Self { shared: Arc::new(Shared { expected, keys }), claims: PhantomData }
    }

    fn verify_with_known_key(&self, token: &AlbToken<'_>, now: SystemTime) -> Result<Verified<C>, Failure> {
        // All checks that need no key come first, so that a token that would be refused anyway causes no fetch.
        let expires_at = token.check(&self.shared.expected, now)?;
        let key = self.shared.keys.get(&token.header.kid)?;
        match key.with_key(|key| token.check_signature(key)) {
            None => return Err(Failure::UnknownKey(key)),
            Some(outcome) => outcome?,
        }
        key.mark_used();
        let payload = token.payload()?;
        let registered = registered(&payload)?;
        let shared = |id: Option<Id<'_>>| id.map(|id| Arc::from(id.as_str()));
        Ok(Verified {
            expires_at: Some(expires_at),
            issuer: Some(Arc::from(&*token.header.iss)),
            subject: shared(registered.sub),
            token_id: shared(registered.jti),
            provider_session: registered.provider_session.map(|text| Arc::from(&*text.0)),
            issued_at: registered.iat.map(NumericDate::time),
            ..Verified::new(payload.claims()?)
        })
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for AlbVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        let (begin, mut now) = (Instant::now(), input.now);
        let token = AlbToken::parse(input.token.expose())?;
        loop {
            match self.verify_with_known_key(&token, now) {
                Ok(verified) => return Ok(verified),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::UnknownKey(key)) => key.wait().await?,
            }
            // The token may have expired in the meantime.
            now = input.now.checked_add(begin.elapsed()).unwrap_or(now);
        }
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<C>, VerifyError>> {
        let verified = AlbToken::parse(input.token.expose())
            .map_err(Failure::Refused)
            .and_then(|token| self.verify_with_known_key(&token, input.now));
        match verified {
            Ok(verified) => Some(Ok(verified)),
            Err(Failure::Refused(error)) => Some(Err(error)),
            Err(Failure::UnknownKey(_)) => None,
        }
    }

    fn name(&self) -> &'static str {
        "alb"
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

// By hand, as below: a derive would require `C: Clone`.
impl<C> Clone for AlbVerifier<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), claims: PhantomData }
    }
}

impl<C> fmt::Debug for AlbVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AlbVerifier").field(&self.shared).finish()
    }
}
