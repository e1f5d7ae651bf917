use std::{fmt, future::Future, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{StoreError, StoreFuture};

/// Stores tickets from when they are issued until they are redeemed or expire.
///
/// [`MemoryTickets`](crate::MemoryTickets) is an implementation for a single process. Others must pass
/// [`test_util::conformance::tickets`](crate::test_util::conformance::tickets).
///
/// # Safety rules
///
/// - [`redeem`](Self::redeem) is atomic: it returns a ticket **once**, however many callers on however many machines
///   ask for it at the same time. A store that reads first and deletes later is unsafe: a ticket can be used twice.
/// - A ticket is gone when its lifetime is over. One that stays longer is unsafe; one that goes earlier is only slow,
///   because the client has to request another.
/// - A store that cannot carry out an operation returns an error. `None` means "no such ticket" and nothing else.
/// - Handshakes wait for the store, so one that calls a server sets its own timeout.
/// - Keys reveal neither tickets nor claims, but contents are the claims: a user that can read the store can read
///   them, and one that can write to it can forge tickets.
pub trait TicketStore: Send + Sync + 'static {
    /// Stores a ticket for this lifetime.
    ///
    /// # Errors
    ///
    /// If it cannot be stored, or the key exists.
    fn put(
        &self,
        key: TicketKey,
        content: Vec<u8>,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes a ticket and returns its content. At most one caller ever gets it.
    ///
    /// # Errors
    ///
    /// If the store does not know whether the ticket exists. The ticket may be gone then.
    fn redeem(&self, key: TicketKey) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Notes that something was used, for this lifetime. Returns `true` once, and then `false` until the lifetime is
    /// over.
    ///
    /// [`Dpop`](crate::Dpop) calls this for each proof. It is atomic, like [`redeem`](Self::redeem): of many callers at
    /// the same time, one gets `true`. An entry that goes early is unsafe: a proof can be used twice.
    ///
    /// Defaults to [`put`](Self::put) without a content, which is safe, but cannot tell a second use from a store that
    /// is unavailable: the answer is then 503 where it should be 401.
    ///
    /// # Errors
    ///
    /// If the store does not know whether this is the first use.
    fn use_once(&self, key: TicketKey, lifetime: Duration) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { self.put(key, Vec::new(), lifetime).await.map(|()| true) }
    }

    /// The capacity of the whole store. [`Tickets::new`](crate::Tickets::new) asks once, and lets a subject have a
    /// tenth of it at most, unless [set otherwise](crate::Tickets::max_per_subject). Defaults to
    /// [`TicketCapacity::UNKNOWN`].
    fn total_capacity(&self) -> TicketCapacity {
        TicketCapacity::UNKNOWN
    }
}

/// How much a [`TicketStore`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketCapacity {
    /// The number of tickets.
    pub tickets: usize,
    /// The number of bytes, of all contents together.
    pub bytes: usize,
}

impl TicketCapacity {
    /// Unlimited, or unknown.
    pub const UNKNOWN: Self = Self { tickets: usize::MAX, bytes: usize::MAX };

    /// A capacity of this many tickets and bytes.
    #[must_use]
    pub const fn new(tickets: usize, bytes: usize) -> Self {
        Self { tickets, bytes }
    }
}

/// The key of a ticket in a store: the SHA-256 hash of the ticket, so that a key reveals no ticket. Also that of
/// something that may be [used once](TicketStore::use_once).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// The key of this ticket.
    #[must_use]
    pub fn of(ticket: &[u8; 32]) -> Self {
        Self(Sha256::digest(ticket).into())
    }

    /// The key of something that is used once. No ticket has this key, because what is hashed is longer than a ticket.
    #[cfg(feature = "dpop")]
    pub(crate) fn of_use(purpose: &str, parts: [&str; 2]) -> Self {
        let mut hash = Sha256::new_with_prefix("something that may be used only once: ");
        for part in [purpose].iter().chain(&parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The hash, for stores whose keys are bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The hash in base64url, for stores whose keys are text.
impl fmt::Display for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKey({self})")
    }
}

/// The object-safe twin of [`TicketStore`].
pub(crate) trait DynTicketStore: Send + Sync {
    fn put_boxed(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> StoreFuture<'_, ()>;
    fn redeem_boxed(&self, key: TicketKey) -> StoreFuture<'_, Option<Vec<u8>>>;
    #[cfg(feature = "dpop")]
    fn use_once_boxed(&self, key: TicketKey, lifetime: Duration) -> StoreFuture<'_, bool>;
}

impl<S: TicketStore> DynTicketStore for S {
    fn put_boxed(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> StoreFuture<'_, ()> {
        Box::pin(self.put(key, content, lifetime))
    }

    fn redeem_boxed(&self, key: TicketKey) -> StoreFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.redeem(key))
    }

    #[cfg(feature = "dpop")]
    fn use_once_boxed(&self, key: TicketKey, lifetime: Duration) -> StoreFuture<'_, bool> {
        Box::pin(self.use_once(key, lifetime))
    }
}
