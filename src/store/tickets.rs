use std::{fmt, future::Future, pin::Pin, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::store::StoreError;

/// Where tickets are between being issued and being redeemed.
///
/// [`MemoryTickets`](super::MemoryTickets) is one for a single machine. A store of one's own must pass
/// [`test_util::conformance::tickets`](crate::test_util::conformance::tickets).
///
/// # Safety rules
///
/// - [`redeem`](Self::redeem) hands out a ticket **once**, whoever asks, from whatever machine, at the same moment: it takes it
///   out in one atomic operation. A store that looks first and deletes later lets a ticket be used twice, which is
///   unsafe.
/// - A ticket is gone when its time is over. One that stays longer is unsafe; one that goes earlier only means that a
///   client has to ask for another.
/// - What the store cannot do it says by an error. An empty answer means "no such ticket" and nothing else.
/// - Handshakes wait for it: a store that asks somebody else sets a limit of its own.
/// - It sees neither tickets nor claims in the clear in its keys, but the contents are the claims: whoever reads the
///   store reads them, and whoever writes to it can make tickets.
pub trait TicketStore: Send + Sync + 'static {
    /// Keeps a ticket for so long.
    ///
    /// # Errors
    ///
    /// If it cannot be kept, or there is one with that key already.
    fn put(
        &self,
        key: TicketKey,
        content: Vec<u8>,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes a ticket out: at most one caller ever gets it.
    ///
    /// # Errors
    ///
    /// If it cannot be told whether there is one. It may be gone then.
    fn redeem(&self, key: TicketKey) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// How much room there is, if the store knows: a subject gets a tenth of it at most, unless
    /// [set](super::Tickets::max_per_subject) otherwise. Asked once. Defaults to [`TicketCapacity::UNKNOWN`].
    fn total_capacity(&self) -> TicketCapacity {
        TicketCapacity::UNKNOWN
    }
}

/// How much room there is in a [`TicketStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketCapacity {
    /// For how many tickets.
    pub tickets: usize,
    /// For how many bytes of contents.
    pub bytes: usize,
}

impl TicketCapacity {
    /// As much as it takes, or nobody knows.
    pub const UNKNOWN: Self = Self { tickets: usize::MAX, bytes: usize::MAX };

    /// Room for so many tickets, and so many bytes.
    #[must_use]
    pub const fn new(tickets: usize, bytes: usize) -> Self {
        Self { tickets, bytes }
    }
}

/// The name of a ticket in a store: its hash (SHA-256), from which the ticket cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// Of this ticket.
    #[must_use]
    pub fn of(ticket: &[u8; 32]) -> Self {
        Self(Sha256::digest(ticket).into())
    }

    /// As it is.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In base64url, for stores whose keys are text.
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

type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Any [`TicketStore`].
pub(crate) trait DynTicketStore: Send + Sync {
    fn put_boxed(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Operation<'_, ()>;
    fn redeem_boxed(&self, key: TicketKey) -> Operation<'_, Option<Vec<u8>>>;
}

impl<S: TicketStore> DynTicketStore for S {
    fn put_boxed(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Operation<'_, ()> {
        Box::pin(self.put(key, content, lifetime))
    }

    fn redeem_boxed(&self, key: TicketKey) -> Operation<'_, Option<Vec<u8>>> {
        Box::pin(self.redeem(key))
    }
}
