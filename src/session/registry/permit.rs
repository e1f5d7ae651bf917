use std::sync::{Arc, atomic::Ordering};

use super::Registry;
use crate::session::{End, SessionCore, TokenInfo};

/// One of the connections that the limits allow. It is taken before the session exists, and lives as long as the
/// connection.
pub(crate) struct Slot(Arc<Registry>);

/// Lets a session be registered.
pub(crate) enum Permit {
    /// As a connection.
    Counted(Slot),
    /// For a request that is not a handshake, as long as something holds the session.
    Uncounted(Arc<Registry>),
}

/// Keeps a session registered until it is dropped.
pub(in crate::session) struct Registration {
    permit: Permit,
    number: u64,
    shard: usize,
}

impl Slot {
    /// A slot that the registry has counted.
    pub(super) const fn new(registry: Arc<Registry>) -> Self {
        Self(registry)
    }
}

impl Permit {
    pub(super) const fn registry(&self) -> &Arc<Registry> {
        match self {
            Self::Counted(slot) => &slot.0,
            Self::Uncounted(registry) => registry,
        }
    }

    pub(super) const fn is_counted(&self) -> bool {
        matches!(self, Self::Counted(_))
    }
}

impl Registration {
    pub(super) const fn new(permit: Permit, number: u64, shard: usize) -> Self {
        Self { permit, number, shard }
    }

    pub(in crate::session) fn registry(&self) -> Arc<Registry> {
        Arc::clone(self.permit.registry())
    }

    pub(in crate::session) const fn is_counted(&self) -> bool {
        self.permit.is_counted()
    }

    /// From here on the session counts as a connection.
    #[cfg(feature = "streams")]
    pub(in crate::session) fn count(&mut self, slot: Slot) {
        self.permit = Permit::Counted(slot);
    }

    /// See [`Registry::bulk_end_of`].
    pub(in crate::session) fn bulk_end(&self, session: &SessionCore, token: &TokenInfo) -> Option<End> {
        self.permit.registry().bulk_end_of(session, token)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let registry = self.permit.registry();
        // In a statement of its own, so that the shard is unlocked again.
        let removed = registry.shard(self.shard).remove(self.number);
        // The thread that ended the session may still be on its way to `session_ended`, and then finds no entry.
        if let Some((session, true)) = removed {
            registry.release_lease(&session);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
