use std::sync::Arc;

use super::{AddressLimitError, Key, limits::Counts};

/// A client that its address's limits have let in.
pub(crate) struct Visit {
    counts: Arc<Counts>,
    key: Key,
    has_place: bool,
}

impl Visit {
    pub(super) const fn new(counts: Arc<Counts>, key: Key) -> Self {
        Self { counts, key, has_place: false }
    }

    /// Counts a connection, until this is dropped.
    pub(crate) fn take_place(&mut self) -> Result<(), AddressLimitError> {
        if let Some(connections) = &self.counts.connections
            && !self.has_place
        {
            if !connections.add(self.key) {
                return Err(AddressLimitError::TooManyConnections);
            }
            self.has_place = true;
        }
        Ok(())
    }

    /// Counts a failed attempt.
    pub(crate) fn failed(&self) {
        if let Some(attempts) = &self.counts.attempts {
            attempts.add(self.key);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(connections) = &self.counts.connections
            && self.has_place
        {
            connections.remove(self.key);
        }
    }
}
