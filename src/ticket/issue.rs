use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use zeroize::Zeroizing;

use super::{
    TicketError, TicketErrorKind, TicketOptions, Tickets,
    content::{Content, TokenInfo},
    options::BoundOrigin,
    quota::QuotaError,
};
use crate::{
    session::Session,
    store::{StoreError, TicketKey},
    telemetry,
    token::Token,
    verify::Verified,
};

/// An issued ticket. Only [`token`](Self::token) and serialization, `{"ticket": "…", "expires_in": 30}`, show its text.
#[derive(Clone, Debug)]
pub struct Ticket {
    token: Token,
    expires_in: Duration,
}

/// What the HTTP request for a ticket adds to the claims.
#[derive(Clone, Copy, Default)]
pub(super) struct TicketRequest<'a> {
    pub(super) origin: Option<&'a str>,
    pub(super) parts: Option<&'a Parts>,
}

impl<C: Serialize + Send + Sync + 'static> Tickets<C> {
    /// Issues a ticket with the claims of this session.
    ///
    /// # Errors
    ///
    /// If the session has ended, its subject has [too many](Self::max_per_subject) outstanding tickets, or the store is
    /// full or unavailable.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the store may hold a ticket that no client has, until it expires.
    pub async fn issue(&self, session: &Session<C>, options: &TicketOptions) -> Result<Ticket, TicketError> {
        self.issue_to(session, options, TicketRequest::default()).await
    }

    /// Issues a ticket with claims from a verifier, or that the application knows by other means.
    ///
    /// # Errors
    ///
    /// If the token has expired, its subject has [too many](Self::max_per_subject) outstanding tickets, or the store is
    /// full or unavailable.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the store may hold a ticket that no client has, until it expires.
    pub async fn issue_for(&self, verified: &Verified<C>, options: &TicketOptions) -> Result<Ticket, TicketError> {
        counted(self.mint(&verified.claims, TokenInfo::of(verified), options, TicketRequest::default()).await)
    }

    pub(super) async fn issue_to(
        &self,
        session: &Session<C>,
        options: &TicketOptions,
        request: TicketRequest<'_>,
    ) -> Result<Ticket, TicketError> {
        if session.end_reason().is_some() {
            return counted(Err(TicketError::of(TicketErrorKind::Expired)));
        }
        let verified = session.verified();
        let token = TokenInfo::of(&verified);
        counted(self.mint(&*verified.claims, token, options, request).await)
    }

    async fn mint(
        &self,
        claims: &C,
        token: TokenInfo,
        options: &TicketOptions,
        request: TicketRequest<'_>,
    ) -> Result<Ticket, TicketError> {
        let now = self.time.now();
        let remaining = token.expires_at.map(|expires_at| expires_at.duration_since(now).unwrap_or_default());
        let lifetime = options.lifetime.min(remaining.unwrap_or(Duration::MAX));
        if lifetime.is_zero() {
            return Err(TicketError::of(TicketErrorKind::Expired));
        }
        let origin = match &options.origin {
            None => None,
            Some(BoundOrigin::Fixed(origin)) => Some(origin.clone()),
            Some(BoundOrigin::OfRequest) => {
                Some(request.origin.ok_or_else(|| TicketError::of(TicketErrorKind::NoOrigin))?.to_owned())
            }
        };
        let subject = token.subject.as_deref().map(|subject| {
            let scoped = ("subject", token.issuer.as_deref(), subject);
            (self.quotas.owner(scoped), self.per_subject)
        });
        let by_key = request.parts.and_then(|parts| options.key_quota(parts, &self.quotas));
        let content = Content { claims, token, path: options.path.clone(), origin };
        let content = serde_json::to_vec(&content)
            .map_err(|source| TicketError::of(TicketErrorKind::UnwritableClaims).with_source(source))?;
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|source| StoreError::unavailable().with_source(source.to_string()))?;
        let key = TicketKey::of(&secret);
        self.quotas.reserve([subject, by_key], key, content.len(), lifetime).map_err(|error| match error {
            QuotaError::Exceeded => TicketError::of(TicketErrorKind::TooMany),
            QuotaError::TrackerFull => StoreError::full().into(),
        })?;
        // If this future is dropped here, the ticket may be stored, so it counts until it expires.
        if let Err(error) = self.store.put_boxed(key, content, lifetime).await {
            self.quotas.release(key);
            return Err(error.into());
        }
        Ok(Ticket { token: Token::new(URL_SAFE_NO_PAD.encode(*secret)), expires_in: lifetime })
    }
}

fn counted(outcome: Result<Ticket, TicketError>) -> Result<Ticket, TicketError> {
    let refused = outcome.as_ref().err().map(TicketError::kind);
    if let Some(TicketErrorKind::Store(_)) = refused {
        telemetry::ticket_not_stored();
    }
    telemetry::ticket_asked_for(refused.map(TicketErrorKind::as_str));
    outcome
}

impl Ticket {
    /// The ticket itself: the token that the client puts into the URL.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// How long the ticket is valid, from when it was issued.
    #[must_use]
    pub const fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ticket = serializer.serialize_struct("Ticket", 2)?;
        ticket.serialize_field("ticket", self.token.expose())?;
        // Rounded down: a client must not believe the ticket valid for longer than it is.
        ticket.serialize_field("expires_in", &self.expires_in.as_secs())?;
        ticket.end()
    }
}
