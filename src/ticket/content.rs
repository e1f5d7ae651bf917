//! The stored content of a ticket.

use std::{sync::Arc, time::SystemTime};

use http::{header::ORIGIN, request::Parts};
use serde::{Deserialize, Serialize};

use crate::verify::{Verified, client_path};

/// Stored as JSON, so that nodes of different versions understand each other.
#[derive(Serialize, Deserialize)]
pub(super) struct Content<C> {
    pub(super) claims: C,
    /// Of the token that the ticket was issued for.
    pub(super) token: TokenInfo,
    pub(super) path: Option<String>,
    pub(super) origin: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TokenInfo {
    pub(super) expires_at: Option<SystemTime>,
    pub(super) issued_at: Option<SystemTime>,
    pub(super) subject: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) token_id: Option<String>,
    #[serde(default)]
    pub(super) provider_session: Option<String>,
    /// The key that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) confirmation: Option<String>,
}

impl<C> Content<C> {
    /// Whether the handshake has the path and origin that the ticket is bound to.
    pub(super) fn allows(&self, parts: &Parts) -> bool {
        let path = client_path(parts);
        let is_from = |wanted: &str| {
            let mut origins = parts.headers.get_all(ORIGIN).iter();
            let origin = origins.next().filter(|_| origins.next().is_none());
            origin.is_some_and(|origin| origin.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        self.path.as_deref().is_none_or(|wanted| wanted == path) && self.origin.as_deref().is_none_or(is_from)
    }

    pub(super) fn into_verified(self) -> Verified<C> {
        let TokenInfo { expires_at, issued_at, subject, issuer, token_id, provider_session, confirmation } = self.token;
        let shared = |text: Option<String>| text.map(Arc::from);
        // Without a recheck: a ticket can be redeemed once, so its session cannot be rechecked with it.
        Verified {
            expires_at,
            issued_at,
            subject: shared(subject),
            issuer: shared(issuer),
            token_id: shared(token_id),
            provider_session: shared(provider_session),
            confirmation: shared(confirmation),
            ..Verified::new(self.claims)
        }
    }
}

impl TokenInfo {
    pub(super) fn of<C>(verified: &Verified<C>) -> Self {
        Self {
            expires_at: verified.expires_at,
            issued_at: verified.issued_at,
            subject: verified.subject.as_deref().map(str::to_owned),
            issuer: verified.issuer.as_deref().map(str::to_owned),
            token_id: verified.token_id.as_deref().map(str::to_owned),
            provider_session: verified.provider_session.as_deref().map(str::to_owned),
            confirmation: verified.confirmation.as_deref().map(str::to_owned),
        }
    }
}
