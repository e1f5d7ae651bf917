//! Events, which the crate docs list. Without the feature `tracing` they are empty and cost nothing.

#[cfg(feature = "tracing")]
mod events {
    use std::error::Error;

    use crate::{EndReason, RefreshError, RefreshErrorKind, Rejection, SessionId, StoreError, TicketError};

    pub(crate) fn admitted(session: SessionId, subject: Option<&str>) {
        tracing::debug!(%session, subject, "handshake admitted");
    }

    pub(crate) fn request_admitted(session: SessionId, subject: Option<&str>) {
        tracing::debug!(%session, subject, "request admitted");
    }

    pub(crate) fn upgrade_dropped(missing: &'static str) {
        tracing::warn!(missing, "handshake incomplete: a proxy in front has dropped its upgrade");
    }

    pub(crate) fn session_ended(session: SessionId, subject: Option<&str>, reason: Option<EndReason>) {
        tracing::debug!(%session, subject, reason = reason.map(EndReason::as_str), "session ended");
    }

    pub(crate) fn session_refreshed(session: SessionId) {
        tracing::debug!(%session, "session refreshed");
    }

    pub(crate) fn refresh_refused(session: SessionId, error: &RefreshError) {
        let reason = error.reason();
        // Of these there may be any number.
        if error.kind() == RefreshErrorKind::TooManyAttempts {
            tracing::debug!(%session, reason, "refresh refused");
        } else {
            tracing::info!(%session, reason, "refresh refused");
        }
        if let Some(cause) = error.source() {
            tracing::debug!(%session, %cause, "cause of the refusal");
        }
    }

    pub(crate) fn refused(rejection: &Rejection) {
        tracing::info!(kind = rejection.kind().as_str(), reason = rejection.reason(), "handshake refused");
        if let Some(cause) = rejection.source() {
            tracing::debug!(%cause, "cause of the refusal");
            // serde quotes claims here, which may be personal data.
            if let Some(beneath) = cause.source() {
                tracing::trace!(%beneath, "beneath the cause");
            }
        }
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn keys_refreshed(issuer: &str, keys: usize, changed: bool) {
        if changed {
            tracing::info!(issuer, keys, "keys changed");
        } else {
            tracing::debug!(issuer, keys, "keys confirmed");
        }
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn keys_not_refreshed(issuer: &str, error: &crate::jwks::KeysError) {
        tracing::warn!(issuer, reason = error.kind().as_str(), %error, "keys not refreshed");
        if let Some(cause) = error.source() {
            tracing::debug!(issuer, %cause, "cause of the failure");
        }
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn keys_withdrawn(issuer: &str) {
        tracing::error!(issuer, "keys withdrawn: the issuer publishes none that can be used");
    }

    pub(crate) fn no_ticket(error: &TicketError) {
        tracing::info!(%error, "no ticket issued");
        if let Some(cause) = error.source() {
            tracing::debug!(%cause, "cause of that");
        }
    }

    pub(crate) fn ticket_not_redeemed(error: &StoreError) {
        tracing::warn!(%error, "ticket not redeemed");
    }

    pub(crate) fn revocation_not_told(error: &StoreError) {
        tracing::error!(%error, "revocation not confirmed");
        if let Some(cause) = error.source() {
            tracing::debug!(%cause, "cause of that");
        }
    }

    pub(crate) fn revocations_not_read(error: &StoreError) {
        tracing::warn!(%error, "revocations not read");
        if let Some(cause) = error.source() {
            tracing::debug!(%cause, "cause of that");
        }
    }

    pub(crate) fn revocations_lost(error: &StoreError) {
        tracing::error!(%error, "revocations lost by the store");
        if let Some(cause) = error.source() {
            tracing::debug!(%cause, "cause of that");
        }
    }

    /// So many of them were in the store before.
    pub(crate) fn revocations_told_again(count: usize, lost: usize) {
        if lost > 0 {
            tracing::error!(count, lost, "revocations told again: the store has lost some");
        } else {
            tracing::warn!(count, "revocations told again: the store did not have them");
        }
    }

    pub(crate) fn revocations_incomplete() {
        tracing::warn!("revocations incomplete: other nodes are telling the store what it lost");
    }

    pub(crate) fn limits_not_shared(error: &StoreError) {
        tracing::warn!(%error, "limits not shared");
        if let Some(cause) = error.source() {
            tracing::debug!(%cause, "cause of that");
        }
    }

    pub(crate) fn evictions_not_heard(error: &StoreError) {
        tracing::warn!(%error, "evictions not heard");
    }

    pub(crate) fn no_session(claims: &'static str) {
        tracing::error!(
            claims,
            "no session in the request: this route lacks a WsAuthLayer whose verifier has claims of this type"
        );
    }

    pub(crate) fn nobody_to_limit() {
        tracing::warn!(
            "sessions without a subject are not limited: `Limits::per_subject` needs a verifier that names one, with \
             `Verified::with_subject`"
        );
    }

    pub(crate) fn unwatched_session(session: SessionId) {
        tracing::warn!(
            %session,
            "session ended and nothing watches it: its connection stays open. Take `AuthenticatedUpgrade`, or close the \
             socket when `Session::ended` resolves"
        );
    }

    pub(crate) fn dropped_session(session: SessionId) {
        tracing::warn!(
            %session,
            "session dropped before its upgrade: nothing ends its connection, and no limit counts it. Take \
             `AuthenticatedUpgrade`, or keep the `Session` for as long as the connection and close the socket when \
             `Session::ended` resolves"
        );
    }

    pub(crate) fn unoffered_subprotocol() {
        tracing::warn!("subprotocol not offered: the handler's selection is left out of the answer");
    }

    pub(crate) fn hook_answered_with_success() {
        tracing::error!("refusal hook answered with success: the standard refusal is sent instead");
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    use crate::{EndReason, RefreshError, Rejection, SessionId, StoreError, TicketError};

    pub(crate) const fn admitted(_: SessionId, _: Option<&str>) {}
    pub(crate) const fn request_admitted(_: SessionId, _: Option<&str>) {}
    pub(crate) const fn upgrade_dropped(_: &'static str) {}
    pub(crate) const fn session_ended(_: SessionId, _: Option<&str>, _: Option<EndReason>) {}
    pub(crate) const fn session_refreshed(_: SessionId) {}
    pub(crate) const fn refresh_refused(_: SessionId, _: &RefreshError) {}
    pub(crate) const fn refused(_: &Rejection) {}
    #[cfg(feature = "jwks")]
    pub(crate) const fn keys_refreshed(_: &str, _: usize, _: bool) {}
    #[cfg(feature = "jwks")]
    pub(crate) const fn keys_not_refreshed(_: &str, _: &crate::jwks::KeysError) {}
    #[cfg(feature = "jwks")]
    pub(crate) const fn keys_withdrawn(_: &str) {}
    pub(crate) const fn no_ticket(_: &TicketError) {}
    pub(crate) const fn ticket_not_redeemed(_: &StoreError) {}
    pub(crate) const fn revocation_not_told(_: &StoreError) {}
    pub(crate) const fn revocations_not_read(_: &StoreError) {}
    pub(crate) const fn revocations_lost(_: &StoreError) {}
    pub(crate) const fn revocations_told_again(_: usize, _: usize) {}
    pub(crate) const fn revocations_incomplete() {}
    pub(crate) const fn limits_not_shared(_: &StoreError) {}
    pub(crate) const fn evictions_not_heard(_: &StoreError) {}
    pub(crate) const fn no_session(_: &'static str) {}
    pub(crate) const fn nobody_to_limit() {}
    pub(crate) const fn unwatched_session(_: SessionId) {}
    pub(crate) const fn dropped_session(_: SessionId) {}
    pub(crate) const fn unoffered_subprotocol() {}
    pub(crate) const fn hook_answered_with_success() {}
}

pub(crate) use events::{
    admitted, dropped_session, evictions_not_heard, hook_answered_with_success, limits_not_shared, no_session,
    no_ticket, nobody_to_limit, refresh_refused, refused, request_admitted, revocation_not_told,
    revocations_incomplete, revocations_lost, revocations_not_read, revocations_told_again, session_ended,
    session_refreshed, ticket_not_redeemed, unoffered_subprotocol, unwatched_session, upgrade_dropped,
};
#[cfg(feature = "jwks")]
pub(crate) use events::{keys_not_refreshed, keys_refreshed, keys_withdrawn};
