use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{Tickets, content::Content, quota::QuotaTracker};
use crate::{
    store::{DynTicketStore, StoreError, TicketKey},
    telemetry::{self, Throttle},
    verify::{Verified, Verifier, VerifyError, VerifyErrorKind, VerifyInput},
};

/// Redeems tickets at the handshake; see [`Tickets`].
pub struct TicketVerifier<C> {
    store: Arc<dyn DynTicketStore>,
    quotas: Arc<QuotaTracker>,
    not_redeemed: Arc<Throttle>,
    claims: PhantomData<fn() -> C>,
}

/// When a client may retry after the store was unavailable.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<C> TicketVerifier<C> {
    pub(super) fn new(tickets: &Tickets<C>) -> Self {
        Self {
            store: Arc::clone(&tickets.store),
            quotas: Arc::clone(&tickets.quotas),
            not_redeemed: Arc::clone(&tickets.not_redeemed),
            claims: PhantomData,
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier for TicketVerifier<C> {
    type Claims = C;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        // Neither the store nor the metrics see a text that cannot be a ticket: it may be for another verifier.
        let key = key_of(input.token.expose()).ok_or_else(|| VerifyError::new(VerifyErrorKind::Malformed))?;
        let outcome = self.redeem(key, input).await;
        telemetry::ticket_presented(outcome.as_ref().err().map(|error| error.kind().as_str()));
        outcome
    }

    fn name(&self) -> &'static str {
        "ticket"
    }
}

impl<C: DeserializeOwned> TicketVerifier<C> {
    async fn redeem(&self, key: TicketKey, input: VerifyInput<'_>) -> Result<Verified<C>, VerifyError> {
        let content = self.store.redeem_boxed(key).await.map_err(|error| self.unavailable(error))?;
        self.quotas.release(key);
        let content = content.ok_or_else(|| VerifyError::new(VerifyErrorKind::UnknownTicket))?;
        let content: Content<C> = serde_json::from_slice(&content)
            .map_err(|source| VerifyError::new(VerifyErrorKind::UnexpectedClaims).with_source(source))?;
        if !content.allows(input.parts) {
            return Err(VerifyError::new(VerifyErrorKind::TicketForElsewhere));
        }
        if content.token.expires_at.is_some_and(|expires_at| input.now >= expires_at) {
            return Err(VerifyError::expired());
        }
        Ok(content.into_verified())
    }

    fn unavailable(&self, error: StoreError) -> VerifyError {
        telemetry::ticket_not_redeemed(&error, &self.not_redeemed);
        VerifyError::unavailable(RETRY_AFTER).with_source(error)
    }
}

/// A ticket is 256 bits in base64url without padding, in its one canonical form.
fn key_of(ticket: &str) -> Option<TicketKey> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(ticket).ok()?);
    Some(TicketKey::of(bytes.as_slice().try_into().ok()?))
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for TicketVerifier<C> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            quotas: Arc::clone(&self.quotas),
            not_redeemed: Arc::clone(&self.not_redeemed),
            claims: PhantomData,
        }
    }
}

impl<C> fmt::Debug for TicketVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketVerifier").finish_non_exhaustive()
    }
}
