use std::time::SystemTime;

use super::{Revocations, node::Node};
use crate::{
    id::{ScopedId, SessionId},
    store::{Revocation, StoreError},
    telemetry,
};

impl Revocations {
    /// Revokes tokens by their id (`jti`), and ends their sessions.
    ///
    /// A [`ScopedId`] also names the issuer; a string means every issuer.
    ///
    /// # Errors
    ///
    /// If the store does not confirm the revocation. It is in effect on this node all the same, and this node sends it
    /// to the store again for as long as the process runs. Call again to be sure.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the revocation is in effect on this node, and other nodes receive it a little later.
    /// The same holds for all methods that revoke.
    pub async fn revoke_token(&self, token_id: impl Into<ScopedId>) -> Result<(), StoreError> {
        self.revoke(Revocation::Token(token_id.into())).await
    }

    /// Ends a session, on whatever node it is. Its token stays valid.
    ///
    /// Before an id from a client is used here, check [whose it is](crate::OfSubject::find).
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_session(&self, id: SessionId) -> Result<(), StoreError> {
        self.revoke(Revocation::Session(id)).await
    }

    /// Revokes the tokens of a user's session at the identity provider (`sid`), and ends the sessions that use them:
    /// all that the user opened from one browser, and nothing that the same user opened from another.
    ///
    /// Tokens of that session that arrive later are refused too. A provider gives a new sign-in a new `sid`. The
    /// verifier tells which provider session a token is of:
    /// [`Verified::provider_session`](crate::Verified::provider_session). Name the issuer by a [`ScopedId`]; a string
    /// means every issuer.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_provider_session(&self, id: impl Into<ScopedId>) -> Result<(), StoreError> {
        self.revoke(Revocation::ProviderSession(id.into())).await
    }

    /// Revokes everything that was issued to a subject (`sub`) until now.
    ///
    /// A [`ScopedId`] also names the issuer, which separates users of several issuers; see
    /// [`Session::scoped_subject`](crate::Session::scoped_subject). A string means the subject of this name at every
    /// issuer.
    ///
    /// A session that was accepted before ends whatever its `iat` is. A token whose `iat` is later than now by no more
    /// than the [clock skew](crate::RevocationOptions::clock_skew), five seconds by default, counts as issued before: a
    /// user who signs in again within that time needs a newer token.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_subject(&self, subject: impl Into<ScopedId>) -> Result<(), StoreError> {
        let until = self.0.node.freshness.now().wall;
        self.revoke(Revocation::Subject { subject: subject.into(), until }).await
    }

    /// Revokes everything that was issued to anybody until this time.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_issued_until(&self, time: SystemTime) -> Result<(), StoreError> {
        self.revoke(Revocation::IssuedUntil(time)).await
    }

    /// Adds a revocation.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.0.ensure_running();
        telemetry::revoked(revocation.name());
        let revocation = revocation.clamped_to_epoch();
        let node = &self.0.node;
        // First on this node, which needs no store for that.
        node.apply_own(&revocation);
        let unconfirmed = Unconfirmed { node, is_confirmed: false };
        let added = node.store.add_boxed(&revocation, node.options.keep_for).await;
        match &added {
            Ok(()) => unconfirmed.confirm(revocation),
            Err(error) => telemetry::revocation_not_confirmed(error),
        }
        added
    }
}

/// A revocation that is on its way to the store. If this is dropped before the store confirms it, it is sent again.
struct Unconfirmed<'a> {
    node: &'a Node,
    is_confirmed: bool,
}

impl Unconfirmed<'_> {
    fn confirm(mut self, revocation: Revocation) {
        self.is_confirmed = true;
        self.node.sync.note_confirmed(revocation);
    }
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if !self.is_confirmed {
            self.node.sync.request_restore();
        }
    }
}
