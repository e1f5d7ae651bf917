//! One request at a time about each token.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::{cache::Tick, failure::Failure};
use crate::{
    lock::{Mutex, lock},
    verify::cached::TokenHash,
};

/// The tokens that are being asked about for one purpose. Each lasts for as long as one of its places.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<TokenHash, Turn>>);

/// The holder of the lock may send a request. The lock guards the last failure, which those who waited for it share.
type Turn = Arc<AsyncMutex<Option<LastFailure>>>;

pub(super) struct LastFailure {
    pub(super) at: Tick,
    pub(super) failure: Failure,
}

/// A place in the queue of a token.
pub(super) struct Place<'a> {
    turns: &'a Turns,
    hash: TokenHash,
    turn: Turn,
}

impl Turns {
    pub(super) fn queue(&self, hash: TokenHash) -> Place<'_> {
        let turn = Arc::clone(lock(&self.0).entry(hash).or_default());
        Place { turns: self, hash, turn }
    }
}

impl Place<'_> {
    /// Waits until no other request about this token is in progress.
    ///
    /// # Cancel safety
    ///
    /// If the future or the guard is dropped, the next in the queue has its turn.
    pub(super) async fn turn(&self) -> MutexGuard<'_, Option<LastFailure>> {
        self.turn.lock().await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        // The map and this place. No other can be made while the map is locked.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Turns, lock};
    use crate::verify::cached::TokenHasher;

    #[test]
    fn a_token_takes_memory_only_while_somebody_asks_about_it() {
        let (turns, hasher) = (Turns::default(), TokenHasher::new());
        let first = turns.queue(hasher.hash("alice"));
        let second = turns.queue(hasher.hash("alice"));
        drop(first);
        let third = turns.queue(hasher.hash("alice"));
        assert!(Arc::ptr_eq(&second.turn, &third.turn), "they wait for each other");
        drop((second, third));
        assert!(lock(&turns.0).is_empty());
    }
}
