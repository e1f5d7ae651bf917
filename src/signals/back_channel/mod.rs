mod claims;
mod form;
mod notice;
mod route;

use std::{fmt, sync::Arc};

use axum::routing::MethodRouter;
use serde::de::DeserializeOwned;

use self::{claims::LogoutClaims, notice::Scope, route::Receiver};
use crate::{
    error::ConfigError,
    revocation::Revocations,
    telemetry::Throttle,
    time::TimeSource,
    verify::jwt::{JwtVerifier, TokenKind},
};

/// Receives log-out notices of an OpenID Provider (OpenID Connect Back-Channel Logout 1.0), and ends the sessions that
/// they name, on all nodes.
///
/// Register the URL of the [route](Self::route) at the provider as `backchannel_logout_uri`. The provider then posts a
/// signed log-out token when a user logs out there, or is logged out. It is verified with the keys of the same issuers
/// as access tokens.
///
/// | the log-out token names | what ends |
/// | --- | --- |
/// | a session (`sid`) | the connections whose token has this [`sid`](crate::Verified::provider_session), and no others of the same user |
/// | a subject (`sub`) alone | everything that was issued to the subject until then |
///
/// For the former, access tokens must have the `sid`. See
/// [`provider_session_claim`](crate::jwt::JwtVerifierBuilder::provider_session_claim) if they have it under another
/// name, and [`whole_subject`](Self::whole_subject) if they do not have it at all.
///
/// - A handshake that comes after its notice is refused, for as long as [revocations are
///   kept](crate::RevocationOptions::keep_for).
/// - A notice that arrives twice is answered like the first time, and has no further effect: a user who has signed in
///   again in the meantime stays connected.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, WsAuthLayer};
/// use axum_ws_auth::{jwt::JwtVerifier, signals::BackChannelLogout, test_util::{self, TEST_SECRET, TestToken, handshake}};
/// use futures_util::{FutureExt, StreamExt};
/// use serde_json::{Value, json};
/// use tokio_tungstenite::tungstenite::Message;
/// use tower::ServiceExt;
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In production `JwtVerifier::discover("https://id.example.com")`.
/// let verifier = JwtVerifier::<Value>::builder().secret(TEST_SECRET)?;
/// let verifier = verifier.issuer("https://id.example.com").audience("chat").build()?;
/// let revocations = Revocations::new(MemoryRevocations::new());
/// let logout = BackChannelLogout::new(&verifier, &revocations, "web")?;
/// let app = Router::new()
///     .route("/chat", any(chat))
///     .layer(WsAuthLayer::new(verifier).revocations(&revocations))
///     .route("/backchannel-logout", logout.route());
///
/// // Alice has two browsers.
/// let alice = TestToken::new("alice").claim("iss", "https://id.example.com");
/// let token = |sid| alice.clone().claim("aud", "chat").claim("sid", sid).sign();
/// let request = |token: &str| handshake().path("/chat").bearer_subprotocol(token).build();
/// let (mut laptop, _) = test_util::connect(app.clone(), request(&token("laptop"))).await?;
/// let (mut phone, _) = test_util::connect(app.clone(), request(&token("phone"))).await?;
///
/// // She logs out on one of them.
/// let notice = alice.clone().token_type("logout+jwt").claim("aud", "web").claim("sid", "laptop").claim("jti", "1");
/// let notice = notice.claim("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})).sign();
/// let post = |notice: &str| {
///     let request = Request::post("/backchannel-logout").header("content-type", "application/x-www-form-urlencoded");
///     request.body(Body::from(format!("logout_token={notice}")))
/// };
/// assert_eq!(app.clone().oneshot(post(&notice)?).await?.status(), StatusCode::OK);
///
/// // That socket is closed, and its token opens no other. The other browser is untouched.
/// let Some(Ok(Message::Close(Some(frame)))) = laptop.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
/// assert_eq!(app.clone().oneshot(request(&token("laptop"))).await?.status(), StatusCode::UNAUTHORIZED);
/// assert!(phone.next().now_or_never().is_none());
///
/// // No: an access token is no log-out token.
/// assert_eq!(app.oneshot(post(&token("phone"))?).await?.status(), StatusCode::BAD_REQUEST);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BackChannelLogout {
    verifier: JwtVerifier<LogoutClaims>,
    revocations: Revocations,
    client_ids: Vec<String>,
    accepts_untyped: bool,
    requires_exp: bool,
    scope: Scope,
    time: TimeSource,
}

/// The `typ` of log-out tokens (§2.4).
const TOKEN_TYPE: &str = "logout+jwt";

impl BackChannelLogout {
    /// Accepts log-out tokens of this verifier's issuers. They must be for this client: `aud` names the client id under
    /// which the application is registered at the provider, and not the audience of access tokens.
    ///
    /// # Errors
    ///
    /// If the client id is empty.
    pub fn new<C: DeserializeOwned + Send + Sync + 'static>(
        verifier: &JwtVerifier<C>,
        revocations: &Revocations,
        client_id: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let logout = Self {
            verifier: verifier.sibling(TokenKind { token_types: Vec::new(), audiences: Vec::new(), require_exp: true }),
            revocations: revocations.clone(),
            client_ids: Vec::new(),
            accepts_untyped: false,
            requires_exp: true,
            scope: Scope::AsNamed,
            time: TimeSource::default(),
        };
        logout.client_id(client_id)
    }

    /// Adds a client id, for an application that is registered at the provider as several clients.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Result<Self, ConfigError> {
        let client_id = client_id.into();
        if client_id.is_empty() {
            return Err(ConfigError::Empty("client id"));
        }
        self.client_ids.push(client_id);
        Ok(self)
    }

    /// Ends all sessions of the subject, even if the notice names one of them. A notice without a subject still ends
    /// the session that it names.
    ///
    /// Defaults to off, because a user who logs out in one browser stays logged in in another. It is for providers
    /// whose access tokens have no `sid`: otherwise a notice that names a session ends nothing.
    pub const fn whole_subject(mut self) -> Self {
        self.scope = Scope::Subject;
        self
    }

    /// Also accepts log-out tokens with the `typ` of access tokens: `JWT`, `at+jwt` or none.
    ///
    /// Insecure because only the claims then tell a log-out token from another token for this client (RFC 8725 §3.11,
    /// OWASP ASVS 5.0, 10.5.5). Providers that implement an older draft need it, such as older versions of Keycloak.
    pub const fn insecure_accept_untyped(mut self) -> Self {
        self.accepts_untyped = true;
        self
    }

    /// Accepts log-out tokens without `exp`, until five minutes after their `iat`.
    ///
    /// Insecure because a stolen notice can then be sent for longer than its issuer intended. Drafts before 2022 did
    /// not require `exp`.
    pub const fn insecure_accept_without_exp(mut self) -> Self {
        self.requires_exp = false;
        self
    }

    /// Sets the clock, for tests. Defaults to the system's.
    pub fn time_source(self, time: TimeSource) -> Self {
        Self { time, ..self }
    }

    /// The route for the provider's notices. Put it outside a [`WsAuthLayer`](crate::WsAuthLayer): the provider sends
    /// no access token.
    ///
    /// | answer | when |
    /// | --- | --- |
    /// | 200 | what the notice names has ended, on this node and in the store |
    /// | 400, with `error` and `error_description` as JSON | the notice is refused: §2.6 |
    /// | 405 | the method is not `POST` |
    /// | 503 and `Retry-After` | the store did not confirm it, or the issuer's keys are unavailable |
    ///
    /// After a 503 because of the store, the notice is in effect on this node, and this node sends it to the store
    /// again. That matters, because providers do not repeat a notice.
    ///
    /// The cause of a refusal is in the extensions of the response: [`SignalError`](super::SignalError).
    pub fn route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let verifier = |token_types| {
            let audiences = self.client_ids.clone();
            self.verifier.sibling(TokenKind { token_types, audiences, require_exp: self.requires_exp })
        };
        let receiver = Receiver {
            verifier: verifier(vec![TOKEN_TYPE.to_owned()]),
            // Without a list, the types of access tokens.
            untyped: self.accepts_untyped.then(|| verifier(Vec::new())),
            revocations: self.revocations.clone(),
            scope: self.scope,
            time: self.time.clone(),
            refusals: Arc::new(Throttle::new()),
        };
        receiver.route()
    }
}

// By hand: claims types are not part of the public API.
impl fmt::Debug for BackChannelLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelLogout")
            .field("client_ids", &self.client_ids)
            .field("scope", &self.scope)
            .field("accepts_untyped", &self.accepts_untyped)
            .field("requires_exp", &self.requires_exp)
            .finish_non_exhaustive()
    }
}
