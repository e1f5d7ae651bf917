mod body;
mod route;
mod sender;

use std::{fmt, sync::Arc};

use axum::routing::MethodRouter;
use serde::de::DeserializeOwned;

use self::route::Receiver;
use super::{ResolveSubject, resolve::Users};
use crate::{
    error::ConfigError,
    http_client::{UrlPolicy, without_credentials},
    revocation::Revocations,
    telemetry::Throttle,
    time::TimeSource,
    verify::jwt::{JwtVerifier, TokenKind},
};

/// Receives Okta's Universal Logout (Global Token Revocation, draft-parecki-oauth-global-token-revocation), and ends
/// all sessions of the user, on all nodes.
///
/// Okta posts to the [route](Self::route) when an administrator clears a user's sessions, or when it sees a threat. The
/// request is authenticated by a JWT that the organization signs with the keys of its ID tokens. Its body names the
/// user:
///
/// | the body names | who is logged out |
/// | --- | --- |
/// | `iss_sub` of the issuer that signed the JWT | the subject with this `sub` |
/// | `iss_sub` of another issuer | whom the [resolver](Self::users) finds; otherwise the request is refused |
/// | `email`, `opaque`, and all others that name a user | whom the [resolver](Self::users) finds |
///
/// Everything is revoked that was issued to the user until the `iat` of the JWT. So a request that arrives twice does
/// not end a later sign-in.
///
/// # Okta
///
/// The JWT is signed by the organization, `https://example.okta.com`, and names its user ids. Access tokens of one of
/// its authorization servers name another issuer, and have another `sub`. Then make the receiver from a verifier with
/// the keys of the organization, and have the resolver return the issuer and the `sub` of access tokens.
///
/// # Several issuers
///
/// Every issuer of the verifier may log out every user whom the resolver finds. If the issuers are customers that must
/// not log out each other's users, give each a verifier, a resolver and a route of its own.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, MemoryRevocations, Revocations, ScopedId, WsAuthLayer, jwt::JwtVerifier};
/// use axum_ws_auth::signals::{SubjectId, UniversalLogout};
/// use axum_ws_auth::test_util::{self, TEST_SECRET, TestToken, handshake};
/// use futures_util::StreamExt;
/// use serde_json::{Value, json};
/// use tokio_tungstenite::tungstenite::Message;
/// use tower::ServiceExt;
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In production `JwtVerifier::discover("https://example.okta.com")`.
/// let verifier = JwtVerifier::<Value>::builder().secret(TEST_SECRET)?;
/// let verifier = verifier.issuer("https://example.okta.com").audience("chat").build()?;
/// let revocations = Revocations::new(MemoryRevocations::new());
/// // Okta names users by email unless it is told otherwise.
/// let users = async |subject: SubjectId| match subject {
///     // In place of a database.
///     SubjectId::Email { email } if &*email == "alice@example.com" => {
///         Ok(Some(ScopedId::of("https://example.okta.com", "00u1")))
///     }
///     _ => Ok(None),
/// };
/// let logout = UniversalLogout::new(&verifier, &revocations, "https://chat.example.com/universal-logout")?.users(users);
/// let app = Router::new()
///     .route("/chat", any(chat))
///     .layer(WsAuthLayer::new(verifier).revocations(&revocations))
///     .route("/universal-logout", logout.route());
///
/// let token = TestToken::new("00u1").claim("iss", "https://example.okta.com").claim("aud", "chat").sign();
/// let request = handshake().path("/chat").bearer_subprotocol(&token).build();
/// let (mut socket, _) = test_util::connect(app.clone(), request).await?;
///
/// let order = TestToken::new("client-id").token_type("global-token-revocation+jwt");
/// let order = order.claim("iss", "https://example.okta.com").claim("aud", "https://chat.example.com/universal-logout");
/// let order = order.sign();
/// let post = |token: &str, email: &str| {
///     let request = Request::post("/universal-logout").header("authorization", format!("Bearer {token}"));
///     let body = json!({"sub_id": {"format": "email", "email": email}});
///     request.header("content-type", "application/json").body(Body::from(body.to_string()))
/// };
///
/// // Yes.
/// assert_eq!(app.clone().oneshot(post(&order, "alice@example.com")?).await?.status(), StatusCode::NO_CONTENT);
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
///
/// // No: an access token may not log out anybody.
/// assert_eq!(app.clone().oneshot(post(&token, "alice@example.com")?).await?.status(), StatusCode::UNAUTHORIZED);
/// // No: nobody has this address.
/// assert_eq!(app.oneshot(post(&order, "eve@example.com")?).await?.status(), StatusCode::NOT_FOUND);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct UniversalLogout {
    verifier: JwtVerifier<()>,
    revocations: Revocations,
    client_ids: Vec<String>,
    users: Users,
    time: TimeSource,
}

const TOKEN_TYPE: &str = "global-token-revocation+jwt";

impl UniversalLogout {
    /// Accepts requests of this verifier's issuers. `url` is the URL of the route as the provider knows it: the `aud`
    /// of the JWT must be exactly this text.
    ///
    /// # Errors
    ///
    /// If `url` is not an absolute `https` URL, or has a query or a fragment, which the provider leaves out. Plain
    /// `http` is accepted for loopback addresses.
    pub fn new<C: DeserializeOwned + Send + Sync + 'static>(
        verifier: &JwtVerifier<C>,
        revocations: &Revocations,
        url: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let url = url.into();
        check_url(&url)?;
        let kind = TokenKind { token_types: vec![TOKEN_TYPE.to_owned()], audiences: vec![url], require_exp: true };
        Ok(Self {
            verifier: verifier.sibling(kind),
            revocations: revocations.clone(),
            client_ids: Vec::new(),
            users: Users::default(),
            time: TimeSource::default(),
        })
    }

    /// Adds a client id: the `sub` of the JWT must be one of those added. Okta writes the `client_id` of an OpenID
    /// Connect application there, and the `appInstanceId` of a SAML application.
    ///
    /// Defaults to none, which accepts every `sub`, because the signature and `aud` already name the sender and this
    /// route.
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

    /// Sets how users are found. Defaults to none: only an `iss_sub` of the issuer that signed the JWT is understood.
    pub fn users(mut self, resolver: impl ResolveSubject) -> Self {
        self.users.set_resolver(resolver);
        self
    }

    /// Sets the clock, for tests. Defaults to the system's.
    pub fn time_source(self, time: TimeSource) -> Self {
        Self { time, ..self }
    }

    /// The route for the provider's requests. Put it outside a [`WsAuthLayer`](crate::WsAuthLayer): the JWT is no
    /// access token.
    ///
    /// | answer | when |
    /// | --- | --- |
    /// | 204 | the user's sessions have ended, on this node and in the store |
    /// | 400 | the body is malformed |
    /// | 401 and `WWW-Authenticate` | the JWT is missing or not valid |
    /// | 403 | the body names a user of another issuer, and the resolver does not know it |
    /// | 404 | the resolver knows no such user |
    /// | 405 | the method is not `POST` |
    /// | 422 | the body names the user in a way that needs a resolver, and there is none |
    /// | 503 and `Retry-After` | the store did not confirm it, the resolver failed, or the issuer's keys are unavailable |
    ///
    /// A JWT is valid for five minutes after its `iat`, even if its `exp` is later: the body is not signed, so a stolen
    /// JWT can log out anybody.
    ///
    /// Refusals have `error` and `error_description` as JSON. The cause of a refusal is in the extensions of the
    /// response: [`SignalError`](super::SignalError).
    pub fn route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let Self { verifier, revocations, client_ids, users, time } = self.clone();
        let refusals = Arc::new(Throttle::new());
        Receiver { verifier, revocations, client_ids, users, time, refusals }.route()
    }
}

fn check_url(url: &str) -> Result<(), ConfigError> {
    let (parsed, _) = UrlPolicy::parse(url, false)?;
    match parsed.query() {
        None => Ok(()),
        Some(_) => Err(ConfigError::InvalidUrl { url: without_credentials(url), problem: "it has a query" }),
    }
}

// By hand: the verifier's claims type says nothing.
impl fmt::Debug for UniversalLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniversalLogout")
            .field("client_ids", &self.client_ids)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}
