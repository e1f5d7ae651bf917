mod content;
mod ledger;
mod memory;
mod options;
mod route;
mod verifier;

use std::{error::Error, fmt, marker::PhantomData, sync::Arc, time::Duration};

use axum::routing::MethodRouter;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};

pub use memory::MemoryTickets;
pub use options::TicketOptions;
pub use verifier::TicketVerifier;

use self::{
    content::{Content, TokenFacts},
    ledger::{Ledger, NoPlace, Share},
    options::Origin,
};
use crate::{
    error::ConfigError,
    session::Session,
    store::{DynTicketStore, StoreError, StoreErrorKind, TicketKey, TicketStore},
    time::TimeSource,
    token::Token,
    verify::Verified,
};

/// One-time tickets: what a page puts into the URL of a WebSocket instead of its token (OWASP ASVS 5.0, 4.4.3 and 4.4.4).
///
/// A page buys a ticket with its token or cookie, by an ordinary request, and opens its socket with that. The ticket is good
/// for 30 seconds at most, once, and may be [bound](TicketOptions) to a path and to the pages of an origin. So it matters little
/// that URLs end up in logs. The session that it opens has the claims of the token that it was bought with, and ends when that
/// one does.
///
/// The [store](TicketStore) decides how far a ticket goes: [`MemoryTickets`] on one machine, `Redis` on many. In it
/// are hashes of tickets, never tickets. Where the store is full or fails, no ticket is issued and none is accepted: 503.
///
/// A subject may have [100 tickets](Self::max_per_subject) at a time that were not redeemed, so that one user cannot take the
/// room of all; places can also be [shared out by a key](TicketOptions::max_per_key), such as the peer's address.
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
    store: Arc<dyn DynTicketStore>,
    /// Clones count together, and so does the verifier.
    ledger: Arc<Ledger>,
    per_subject: Share,
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
    /// The subject has as many tickets as it may have ([`Tickets::max_per_subject`]), or those with the same key have
    /// ([`TicketOptions::max_per_key`]).
    TooMany,
    /// The store, or the operating system's random numbers, are out of order.
    Store(StoreErrorKind),
}

impl<C> Tickets<C> {
    /// Tickets that are kept in this store.
    pub fn new(store: impl TicketStore) -> Self {
        let per_subject = Share::in_room(&store.total_capacity());
        let ledger = Arc::default();
        Self { store: Arc::new(store), ledger, per_subject, time: TimeSource::default(), claims: PhantomData }
    }

    /// Sets how many tickets a subject may have at a time that were not redeemed, so that one user cannot take all the room
    /// there is. Their contents, that is claims as JSON, may have ten KiB for each together. Beyond that
    /// [`TicketErrorKind::TooMany`] is the answer, 429 at the [route](Self::route).
    ///
    /// Defaults to 100 tickets, or a tenth of the store's [room](TicketStore::room) where that is less. What is issued to nobody
    /// in particular, because the verifier names no subject, is not limited by this;
    /// [`TicketOptions::max_per_key`] is for that. Each process counts what it has issued itself. A ticket that was redeemed at
    /// another node counts until its time is over.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_per_subject(self, tickets: usize) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets of a subject"));
        }
        Ok(Self { per_subject: Share::of(tickets), ..self })
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
        self.issue_to(session, options, None, None).await
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
        self.mint(&verified.claims, TokenFacts::of(verified), options, None, None).await
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
        parts: Option<&Parts>,
    ) -> Result<Ticket, TicketError> {
        if session.end_reason().is_some() {
            return Err(TicketError::of(TicketErrorKind::Expired));
        }
        let verified = session.verified();
        let facts = TokenFacts::of(&verified);
        self.mint(&*verified.claims, facts, options, asking, parts).await
    }

    async fn mint(
        &self,
        claims: &C,
        token: TokenFacts,
        options: &TicketOptions,
        asking: Option<&str>,
        parts: Option<&Parts>,
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
        let subject = token.subject.as_deref().map(|subject| {
            let name = ("subject", token.issuer.as_deref(), subject);
            (self.ledger.holder(name), self.per_subject)
        });
        let by_key = parts.and_then(|parts| options.share_of(parts, &self.ledger));
        let content = Content { claims, token, path: options.path.clone(), origin };
        let content = serde_json::to_vec(&content)
            .map_err(|source| TicketError::of(TicketErrorKind::UnwritableClaims).with_source(source))?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|source| StoreError::unavailable().with_source(source.to_string()))?;
        let key = TicketKey::of(&secret);
        self.ledger.reserve([subject, by_key], key, content.len(), lifetime).map_err(|no_place| match no_place {
            NoPlace::Held => TicketError::of(TicketErrorKind::TooMany),
            NoPlace::Full => StoreError::full().into(),
        })?;
        // If this future is dropped meanwhile, the ticket may be there, and counts until its time is over.
        if let Err(error) = self.store.put_boxed(key, content, lifetime).await {
            self.ledger.release(key);
            return Err(error.into());
        }
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
            TicketErrorKind::TooMany => "there are as many tickets as there may be for one holder",
            TicketErrorKind::Store(_) => "the ticket cannot be kept",
        })?;
        // Of a store the cause is named, which holds no claims.
        match (self.kind, &self.source) {
            (TicketErrorKind::Store(_), Some(cause)) => write!(f, ": {cause}"),
            _ => Ok(()),
        }
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
        let (store, ledger) = (Arc::clone(&self.store), Arc::clone(&self.ledger));
        Self { store, ledger, per_subject: self.per_subject, time: self.time.clone(), claims: PhantomData }
    }
}

impl<C> fmt::Debug for Tickets<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("time", &self.time).finish_non_exhaustive()
    }
}
