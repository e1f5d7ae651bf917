use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    proof::{self, Expected, FUTURE},
    rules::Rules,
    uri::BaseUrl,
};
use crate::{
    error::ConfigError,
    store::TicketKey,
    telemetry::{self, Throttle},
    ticket::MemoryTickets,
    token::{Presentation, Proof},
    verify::{
        Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput, client_path,
        jwt::{Algorithm, JwtVerifier},
    },
};

/// Accepts tokens that are bound to a key of the client, from clients that prove that they hold it (DPoP, RFC 9449).
///
/// A bearer token is worth as much to a thief as to its owner. A bound token names a key (`cnf.jkt`). Each time the
/// client presents the token, it signs a proof for this token and this request. The token is verified by a
/// [`JwtVerifier`], by its rules. A token that is bound in another way, such as to a TLS certificate (`x5t#S256`), is
/// refused.
///
/// # Where the proof comes from
///
/// [`WsAuthLayer::dpop`](crate::WsAuthLayer::dpop) has the layer look for proofs.
///
/// | client | how it sends token and proof |
/// | --- | --- |
/// | a program | `Authorization: DPoP <token>` and `DPoP: <proof>` |
/// | a page | `new WebSocket(url, ["bearer", token, "dpop." + proof])` |
/// | a page whose token is in a cookie | `new WebSocket(url, ["chat", "dpop." + proof])` |
/// | by a message of [`RefreshProtocol::json`](crate::RefreshProtocol::json) | `{"type":"auth.refresh","token":"…","dpop":"…"}` |
/// | by the first message of [`FirstMessage::graphql_ws`](crate::FirstMessage::graphql_ws) | `dpop` beside `Authorization` |
/// | by a message of your own | [`Token::with_dpop_proof`](crate::Token::with_dpop_proof) |
///
/// The inner service sees neither the header nor the subprotocol with the proof. A bound token with the scheme `Bearer`
/// is refused, whatever comes with it (§7.2). So is a token with the scheme `DPoP` that is not bound (§7.1).
///
/// # What a proof must hold
///
/// - `typ` is `dpop+jwt`, and `alg` is one of the [`algorithms`](Self::algorithms).
/// - `jwk` is the public key that the token is bound to, and verifies the signature.
/// - `htm` is the method. For a WebSocket, it is `GET` or `CONNECT`: a page does not know which one its browser uses.
/// - `htu` is the URI: the base URL, and the path of the request as the client sent it. `wss` counts as `https`. Query
///   and fragment are ignored.
/// - `ath` is the hash of the token.
/// - `iat` is [recent](Self::max_age), and `jti` was not used before. The [store](Self::store) knows.
/// - `nonce` is one of this server, if that is [required](Self::require_nonce).
///
/// # During the session
///
/// A [refresh](crate::Session::refresh) takes a new proof for the new token, made for the handshake (`GET`), and at a
/// [refresh route](crate::WsAuthLayer::refresh_route) for the route (`POST`). The key stays the same: a token that is
/// bound to another key, or to none, is refused as [`OtherKey`](crate::RefreshErrorKind::OtherKey).
///
/// A [recheck](crate::Verified::recheck_in()) asks nothing of the client. It verifies the token alone.
///
/// # Answers
///
/// A refused proof is answered with 401 like an invalid token. The challenge of each response has the scheme `DPoP`
/// with its `algs`, and beside it `Bearer` if bearer tokens are [accepted](Self::accept_bearer).
///
/// | [reason](crate::VerifyErrorKind) | `WWW-Authenticate: DPoP` |
/// | --- | --- |
/// | `use_dpop_nonce` | `error="use_dpop_nonce"`, and the nonce as `DPoP-Nonce` |
/// | `missing_proof`, and all that begin with `proof_` | `error="invalid_dpop_proof"` |
/// | any other | `error="invalid_token"` |
///
/// # Example
///
/// ```
/// use axum::{Router, http::StatusCode, routing::any};
/// use axum_ws_auth::{Dpop, WsAuthLayer};
/// use axum_ws_auth::test_util::{self, DpopKey, TestToken, handshake};
/// use serde_json::{Value, json};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = Dpop::new(test_util::verifier::<Value>(), "https://ws.example.com")?;
/// let layer = WsAuthLayer::new(verifier.clone()).dpop(&verifier);
/// let app = Router::new().route("/chat", any(test_util::echo)).layer(layer);
///
/// let key = DpopKey::first();
/// let token = TestToken::new("alice").claim("cnf", json!({ "jkt": key.thumbprint() })).sign();
/// let connect = async |key: &DpopKey| {
///     let proof = format!("dpop.{}", key.proof("GET", "wss://ws.example.com/chat", &token));
///     let request = handshake().path("/chat").subprotocols(["bearer", &token, &proof]).build();
///     app.clone().oneshot(request).await
/// };
///
/// // Yes: the key that the token is bound to.
/// let response = connect(&key).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
///
/// // No: another key. A thief has the token, and not the key.
/// let response = connect(&DpopKey::second()).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(
///     response.headers()["www-authenticate"],
///     r#"DPoP realm="websocket", error="invalid_dpop_proof", algs="ES256 EdDSA Ed25519""#,
/// );
/// # Ok(()) }
/// ```
pub struct Dpop<C> {
    verifier: JwtVerifier<C>,
    pub(super) rules: Arc<Rules>,
}

/// How many proofs a process remembers for two minutes, in 128 MiB at most: those of 4000 clients a second.
const USED_PROOFS: usize = 500_000;
/// When a client may retry after the store was unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// By how much the clocks of two nodes may differ. A proof is remembered for so much longer.
const SKEW: Duration = Duration::from_secs(60);

impl<C: DeserializeOwned + Send + Sync + 'static> Dpop<C> {
    /// Accepts bound tokens that this verifier accepts.
    ///
    /// `base` is the URL at which clients reach this server, such as `https://ws.example.com`. It has a path if a proxy
    /// removes a prefix from the path of each request. It is set here, because a server cannot know it: behind a proxy,
    /// neither the scheme nor the host of a request need be those that the client has signed.
    ///
    /// # Errors
    ///
    /// If the base is no absolute URL with `https`, or `http` and a loopback host, or has credentials, a query or a
    /// fragment.
    pub fn new(verifier: JwtVerifier<C>, base: impl AsRef<str>) -> Result<Self, ConfigError> {
        let rules = Rules {
            base: BaseUrl::parse(base.as_ref())?,
            algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
            max_age: Duration::from_secs(60),
            accepts_bearer: false,
            nonces: None,
            used: Arc::new(MemoryTickets::new().capacity(USED_PROOFS)?.max_bytes(USED_PROOFS * 256)?),
            not_noted: Arc::new(Throttle::new()),
        };
        Ok(Self { verifier: verifier.with_bound_tokens(), rules: Arc::new(rules) })
    }
}

impl<C> Dpop<C> {
    /// Checks how a valid token was presented that is bound to this key, or to none.
    async fn check(&self, input: VerifyInput<'_>, key: Option<&str>) -> Result<(), VerifyError> {
        match (input.token.presentation(), key) {
            (Presentation::Recheck, _) => Ok(()),
            (Presentation::Bearer, None) if self.rules.accepts_bearer => Ok(()),
            (_, None) => Err(VerifyError::new(Kind::NotBound)),
            (Presentation::Bearer, Some(_)) => Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf")),
            (Presentation::NoProof, Some(_)) => Err(VerifyError::new(Kind::MissingProof)),
            (Presentation::UnusableProof, Some(_)) => Err(VerifyError::new(Kind::ProofMalformed)),
            (Presentation::Proof(proof), Some(key)) => self.check_proof(proof, input, key).await,
        }
    }

    async fn check_proof(&self, proof: &Proof, input: VerifyInput<'_>, key: &str) -> Result<(), VerifyError> {
        let (method, path) = match &proof.request {
            Some(request) => (&*request.method, &*request.path),
            None => (input.parts.method.as_str(), client_path(input.parts)),
        };
        let is_handshake = proof.request.is_none() && matches!(method, "GET" | "CONNECT");
        let (token, now) = (input.token.expose(), input.now);
        let id = proof::check(&proof.text, &Expected { key, token, method, is_handshake, path, now }, &self.rules)?;
        if proof.is_needed_again {
            return Ok(());
        }
        let used = TicketKey::of_use("dpop", [key, &id]);
        let remembered = self.rules.max_age + FUTURE + SKEW;
        match self.rules.used.use_once_boxed(used, remembered).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(VerifyError::of_claim(Kind::ProofReplayed, "jti")),
            Err(error) => {
                telemetry::proof_not_noted(&error, &self.rules.not_noted);
                Err(VerifyError::unavailable(RETRY_AFTER).with_source(error))
            }
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for Dpop<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        let verified = self.verifier.verify(input).await?;
        let outcome = self.check(input, verified.confirmation.as_deref()).await;
        if is_about_proof(input.token.presentation(), &outcome) {
            telemetry::proof_checked(outcome.as_ref().err().map(|error| error.kind().as_str()));
        }
        outcome.map(|()| verified)
    }

    fn name(&self) -> &'static str {
        "dpop"
    }
}

/// Whether the outcome says something about a proof. One that is checked again later counts then.
fn is_about_proof(presentation: &Presentation, outcome: &Result<(), VerifyError>) -> bool {
    match presentation {
        Presentation::Bearer | Presentation::Recheck => false,
        Presentation::Proof(proof) => outcome.is_err() || !proof.is_needed_again,
        Presentation::NoProof | Presentation::UnusableProof => true,
    }
}

// By hand, as below: a derive would require the same of `C`.
impl<C> Clone for Dpop<C> {
    fn clone(&self) -> Self {
        Self { verifier: self.verifier.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<C> fmt::Debug for Dpop<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop").field("verifier", &self.verifier).field("rules", &self.rules).finish()
    }
}
