//! Cursors and stream entries of revocations, as text.

use std::time::Duration;

use crate::store::{Cursor, Revocation, RevocationBatch, StoreError};

/// The id of an entry, and its nonce.
pub(super) struct EntryId {
    pub(super) id: String,
    pub(super) nonce: String,
}

impl EntryId {
    pub(super) fn of(cursor: &Cursor) -> Result<Self, StoreError> {
        let (id, nonce) = cursor.0.split_once('/').ok_or_else(lost)?;
        // Here, because the server answers a bad number with an error of its own.
        number_of(id).map_err(|_| lost())?;
        Ok(Self { id: id.to_owned(), nonce: nonce.to_owned() })
    }

    pub(super) fn into_batch(self, revocations: Vec<(Revocation, Duration)>, is_incomplete: bool) -> RevocationBatch {
        let batch = RevocationBatch::new(Cursor(format!("{}/{}", self.id, self.nonce)), revocations);
        if is_incomplete { batch.incomplete() } else { batch }
    }
}

pub(super) fn to_json(revocation: &Revocation) -> Result<String, StoreError> {
    serde_json::to_string(revocation).map_err(|error| StoreError::unavailable().with_source(error))
}

pub(super) fn from_json(revocation: &str) -> Result<Revocation, StoreError> {
    // Not skipped: an unknown revocation may be about anybody.
    serde_json::from_str(revocation).map_err(|_| unreadable("a revocation"))
}

pub(super) fn number_of(id: &str) -> Result<u64, StoreError> {
    id.split('-').next().and_then(|number| number.parse().ok()).ok_or_else(|| unreadable("a number"))
}

pub(super) fn unreadable(what: &'static str) -> StoreError {
    StoreError::unavailable().with_source(format!("{what} in redis cannot be read"))
}

pub(super) fn lost() -> StoreError {
    StoreError::lost().with_source("the cursor is not in the stream, or the stream was truncated")
}
