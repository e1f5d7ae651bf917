mod content;
mod error;
mod issue;
mod memory;
mod options;
mod quota;
mod route;
mod verifier;

use std::{fmt, marker::PhantomData, sync::Arc};

use axum::routing::MethodRouter;
use serde::{Serialize, de::DeserializeOwned};

pub use error::{TicketError, TicketErrorKind};
pub use issue::Ticket;
pub use memory::MemoryTickets;
pub use options::TicketOptions;
pub use verifier::TicketVerifier;

use self::quota::{Quota, QuotaTracker};
use crate::{
    error::ConfigError,
    store::{DynTicketStore, TicketStore},
    telemetry::Throttle,
    time::TimeSource,
};

/// One-time tickets: a page puts one into the URL of its WebSocket instead of a token (OWASP ASVS 5.0, 4.4.3 and
/// 4.4.4).
///
/// The page requests a ticket with its token or cookie, by an ordinary HTTP request, and opens its socket with the
/// ticket. A ticket is valid once and for at most 30 seconds, and can be [bound](TicketOptions) to a path and an
/// origin, so it does little harm when its URL ends up in a log. The session has the claims of the token that the
/// ticket was issued for, and ends when that token expires. It is not [rechecked](crate::Verified::recheck_in()), even
/// if that token would be: a ticket can be redeemed once, and holds no token.
///
/// The [store](TicketStore) decides where a ticket is valid: [`MemoryTickets`] serves one process, `Redis` many
/// machines. It holds hashes of tickets, never tickets. If it is full or unavailable, no ticket is issued and none is
/// accepted: 503.
///
/// A subject may have [100 outstanding tickets](Self::max_per_subject), so that one user cannot fill the store.
/// [`TicketOptions::max_per_key`] limits them by another key, such as the client's address.
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
///     // Issued for a token …
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
/// // Yes, and a second time no.
/// let response = app.clone().oneshot(handshake().path(&url).build()).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// let response = app.oneshot(handshake().path(&url).build()).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
pub struct Tickets<C> {
    store: Arc<dyn DynTicketStore>,
    /// Shared by all clones and the verifier.
    quotas: Arc<QuotaTracker>,
    per_subject: Quota,
    time: TimeSource,
    not_issued: Arc<Throttle>,
    not_redeemed: Arc<Throttle>,
    claims: PhantomData<fn() -> C>,
}

impl<C> Tickets<C> {
    /// Keeps tickets in this store.
    pub fn new(store: impl TicketStore) -> Self {
        let per_subject = Quota::default_for(&store.total_capacity());
        Self {
            store: Arc::new(store),
            quotas: Arc::default(),
            per_subject,
            time: TimeSource::default(),
            not_issued: Arc::new(Throttle::new()),
            not_redeemed: Arc::new(Throttle::new()),
            claims: PhantomData,
        }
    }

    /// Sets how many outstanding tickets a subject may have: issued, and neither redeemed nor expired. Their contents,
    /// which are the claims as JSON, may have ten KiB per ticket in total. Beyond that, issuing fails with
    /// [`TicketErrorKind::TooMany`]; the [route](Self::route) answers 429.
    ///
    /// Defaults to 100 tickets, or to a tenth of the store's [capacity](TicketStore::total_capacity) if that is less,
    /// so that one user cannot fill the store.
    ///
    /// Claims without a subject are not limited; see [`TicketOptions::max_per_key`]. Each process counts the tickets
    /// that it issued itself. A ticket that is redeemed on another node counts until it expires.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_per_subject(self, tickets: usize) -> Result<Self, ConfigError> {
        if tickets == 0 {
            return Err(ConfigError::ZeroLimit("tickets of a subject"));
        }
        Ok(Self { per_subject: Quota::of(tickets), ..self })
    }

    /// Sets the clock, for tests. Defaults to the system's.
    #[must_use]
    pub fn time_source(self, time: TimeSource) -> Self {
        Self { time, ..self }
    }

    /// The verifier that redeems these tickets at the handshake. It accepts them from any source;
    /// [`TokenSource::ticket`](crate::TokenSource::ticket) is the usual one. To accept other tokens too, join verifiers
    /// with [`or`](crate::Verifier::or).
    #[must_use]
    pub fn verifier(&self) -> TicketVerifier<C> {
        TicketVerifier::new(self)
    }

    /// A handler that answers an authenticated `POST` with `{"ticket": "…", "expires_in": 30}`, or with a problem
    /// document (RFC 9457) whose `error` is a [`TicketErrorKind`]. Its route needs a
    /// [`WsAuthLayer`](crate::WsAuthLayer) whose verifier has the same claims.
    pub fn route<S: Clone + Send + Sync + 'static>(&self, options: TicketOptions) -> MethodRouter<S>
    where
        C: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        route::route(self.clone(), options)
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for Tickets<C> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            quotas: Arc::clone(&self.quotas),
            per_subject: self.per_subject,
            time: self.time.clone(),
            not_issued: Arc::clone(&self.not_issued),
            not_redeemed: Arc::clone(&self.not_redeemed),
            claims: PhantomData,
        }
    }
}

impl<C> fmt::Debug for Tickets<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("time", &self.time).finish_non_exhaustive()
    }
}
