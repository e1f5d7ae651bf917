//! Limits that are shared across nodes: each session holds a lease in a store.
//!
//! A session is admitted on this node before it takes a lease, so that the node's own count decides if the store is
//! unavailable.

mod breaker;
mod details;
mod per_subject;
mod registry;
mod release_queue;
mod shared_limits;
mod task;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::store::StoreError;

pub(super) use details::Details;
pub(super) use shared_limits::SharedLimits;

async fn with_timeout<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(StoreError::unavailable()))
}
