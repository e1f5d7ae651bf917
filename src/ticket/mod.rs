mod content;
mod memory;
mod options;
mod route;
mod store;
mod verifier;

use std::{error::Error, fmt, marker::PhantomData, sync::Arc, time::Duration};

use axum::routing::MethodRouter;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};

pub use memory::MemoryTickets;
pub use options::TicketOptions;
pub use store::{TicketKey, TicketStore};
pub use verifier::TicketVerifier;

use self::{
    content::{Content, TokenFacts},
    options::Origin,
    store::AnyStore,
};
use crate::{Session, StoreError, StoreErrorKind, TimeSource, Token, Verified};

/// One-time tickets: what a page puts into the URL of a WebSocket instead of its token (OWASP ASVS 5.0, 4.4.3 and 4.4.4).
///
/// A page buys a ticket with its token or cookie, by an ordinary request, and opens its socket with that. The ticket is good
/// for 30 seconds at most, once, and may be [bound](TicketOptions) to a path and to the pages of an origin. So it matters little
/// that URLs end up in logs. The session that it opens has the claims of the token that it was bought with, and ends when that
/// one does.
///
/// The [store](TicketStore) decides how far a ticket goes: [`MemoryTickets`] on one machine, `Redis` on many. In it
/// are hashes of tickets, never tickets. Where the store is full or out of order, no ticket is issued and none is accepted:
/// 503.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::any};
/// use axum_ws_auth::{MemoryTickets, TicketOptions, Tickets, TokenSource, WsAuthLayer};
/// use axum_ws_auth::test_util::{self, TestToken, handshake};
/// use http_body_util::BodyExt;
/// use serde_json::Value;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tickets = Tickets::<Value>::new(MemoryTickets::new());
/// let app = Router::new()
///     // Bought with a token …
///     .route("/ticket", tickets.route(TicketOptions::new().path("/chat")?))
///     .layer(WsAuthLayer::new(test_util::verifier::<Value>()))
///     // … and redeemed at the handshake.
///     .route("/chat", any(test_util::echo).layer(
///         WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()])?,
///     ));
///
/// let token = TestToken::new("alice").sign();
/// let request = Request::post("/ticket").header("authorization", format!("Bearer {token}")).body(Body::empty())?;
/// let body = app.clone().oneshot(request).await?.into_body().collect().await?.to_bytes();
/// let answer: Value = serde_json::from_slice(&body)?;
/// assert_eq!(answer["expires_in"], 30);
/// let url = format!("/chat?ticket={}", answer["ticket"].as_str().expect("a ticket"));
///
/// // Yes, and no a second time.
/// let response = app.clone().oneshot(handshake().path(&url).build()).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// let response = app.oneshot(handshake().path(&url).build()).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
pub struct Tickets<C> {
    store: Arc<dyn AnyStore>,
    time: TimeSource,
    claims: PhantomData<fn() -> C>,
}

/// A ticket that was issued. It is shown by nothing but [`token`](Self::token) and its serialization,
/// `{"ticket": "…", "expires_in": 30}`.
#[derive(Clone, Debug)]
pub struct Ticket {
    token: Token,
    expires_in: Duration,
}

/// Why no ticket was issued. It holds neither claims nor ticket.
#[derive(Clone, Debug)]
pub struct TicketError {
    kind: TicketErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kept a ticket from being issued; see [`TicketError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TicketErrorKind {
    /// The session has ended, or the token has expired, that the ticket was to be bought with.
    Expired,
    /// The ticket was to be bound to the [origin that asks](TicketOptions::asking_origin), and none is known.
    NoOrigin,
    /// The claims cannot be written as JSON.
    UnwritableClaims,
    /// The store, or the operating system's random numbers, are out of order.
    Store(StoreErrorKind),
}

impl<C> Tickets<C> {
    /// Tickets that are kept in this store.
    pub fn new(store: impl TicketStore) -> Self {
        Self { store: Arc::new(store), time: TimeSource::default(), claims: PhantomData }
    }

    /// Sets the clock, for tests. Defaults to the system's.
    #[must_use]
    pub fn time_source(self, time: TimeSource) -> Self {
        Self { time, ..self }
    }

    /// Redeems these tickets at the handshake, from whatever source: [`TokenSource::ticket`](crate::TokenSource::ticket) is
    /// the usual one. Joined with other verifiers by [`or`](crate::Verifier::or).
    #[must_use]
    pub fn verifier(&self) -> TicketVerifier<C> {
        TicketVerifier::new(self)
    }
}

impl<C: Serialize + Send + Sync + 'static> Tickets<C> {
    /// Issues a ticket for the holder of this session.
    ///
    /// # Errors
    ///
    /// If the session has ended, or the store is full or out of order.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, there may be a ticket that nobody knows.
    pub async fn issue(&self, session: &Session<C>, options: &TicketOptions) -> Result<Ticket, TicketError> {
        self.issue_to(session, options, None).await
    }

    /// Issues a ticket for whoever a verifier has verified, or an application knows by other means.
    ///
    /// # Errors
    ///
    /// If the token has expired, or the store is full or out of order.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, there may be a ticket that nobody knows.
    pub async fn issue_for(&self, verified: &Verified<C>, options: &TicketOptions) -> Result<Ticket, TicketError> {
        self.mint(&verified.claims, TokenFacts::of(verified), options, None).await
    }

    /// A handler that turns an authenticated `POST` into `{"ticket": "…", "expires_in": 30}`. It stands behind a
    /// [`WsAuthLayer`](crate::WsAuthLayer) whose verifier has the same claims.
    pub fn route<S: Clone + Send + Sync + 'static>(&self, options: TicketOptions) -> MethodRouter<S>
    where
        C: DeserializeOwned,
    {
        route::route(self.clone(), options)
    }

    async fn issue_to(
        &self,
        session: &Session<C>,
        options: &TicketOptions,
        asking: Option<&str>,
    ) -> Result<Ticket, TicketError> {
        if session.end_reason().is_some() {
            return Err(TicketError::of(TicketErrorKind::Expired));
        }
        let verified = session.verified();
        let facts = TokenFacts::of(&verified);
        self.mint(&*verified.claims, facts, options, asking).await
    }

    async fn mint(
        &self,
        claims: &C,
        token: TokenFacts,
        options: &TicketOptions,
        asking: Option<&str>,
    ) -> Result<Ticket, TicketError> {
        let now = self.time.now();
        let left = token.expires_at.map(|expires_at| expires_at.duration_since(now).unwrap_or_default());
        let lifetime = options.lifetime.min(left.unwrap_or(Duration::MAX));
        if lifetime.is_zero() {
            return Err(TicketError::of(TicketErrorKind::Expired));
        }
        let origin = match &options.origin {
            None => None,
            Some(Origin::Named(origin)) => Some(origin.clone()),
            Some(Origin::Asking) => Some(asking.ok_or_else(|| TicketError::of(TicketErrorKind::NoOrigin))?.to_owned()),
        };
        let content = Content { claims, token, path: options.path.clone(), origin };
        let content = serde_json::to_vec(&content)
            .map_err(|source| TicketError::of(TicketErrorKind::UnwritableClaims).with_source(source))?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|source| StoreError::unavailable().with_source(source.to_string()))?;
        self.store.put_boxed(TicketKey::of(&secret), content, lifetime).await?;
        Ok(Ticket { token: Token::new(URL_SAFE_NO_PAD.encode(secret)), expires_in: lifetime })
    }
}

impl Ticket {
    /// The ticket itself.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// For how long it is good.
    #[must_use]
    pub const fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl TicketError {
    const fn of(kind: TicketErrorKind) -> Self {
        Self { kind, source: None }
    }

    fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// What the reason is.
    #[must_use]
    pub const fn kind(&self) -> TicketErrorKind {
        self.kind
    }
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        Self::of(TicketErrorKind::Store(error.kind())).with_source(error)
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TicketErrorKind::Expired => "there is nothing left to buy a ticket with",
            TicketErrorKind::NoOrigin => "the origin is not known that the ticket was to be bound to",
            TicketErrorKind::UnwritableClaims => "the claims cannot be written as json",
            TicketErrorKind::Store(_) => "the ticket cannot be kept",
        })
    }
}

impl Error for TicketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ticket = serializer.serialize_struct("Ticket", 2)?;
        ticket.serialize_field("ticket", self.token.expose())?;
        // A client must not believe it to be good for longer than it is.
        ticket.serialize_field("expires_in", &self.expires_in.as_secs())?;
        ticket.end()
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for Tickets<C> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), time: self.time.clone(), claims: PhantomData }
    }
}

impl<C> fmt::Debug for Tickets<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("time", &self.time).finish_non_exhaustive()
    }
}
