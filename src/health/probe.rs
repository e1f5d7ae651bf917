use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::StoreHealth;
use crate::store::{Ping, StoreError};

/// The object-safe twin of [`Ping`].
pub(super) trait Probe: Send + Sync {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>>;
}

impl<S: Ping> Probe for S {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
        Box::pin(self.ping())
    }
}

/// Asks all stores at the same time. They come in their order.
pub(super) async fn ask_all(stores: &[(&'static str, Arc<dyn Probe>)], limit: Duration) -> Vec<StoreHealth> {
    // They end with this future.
    let mut asking = JoinSet::new();
    for (index, (_, store)) in stores.iter().enumerate() {
        let store = Arc::clone(store);
        asking.spawn(async move {
            let late = || StoreError::unavailable().with_source(format!("no answer within {limit:?}"));
            (index, timeout(limit, store.ask()).await.unwrap_or_else(|_| Err(late())))
        });
    }
    // A store that panics does not answer.
    let panicked = || Some(StoreError::unavailable().with_source("its check panicked"));
    let mut answers: Vec<_> = stores.iter().map(|(name, _)| StoreHealth { name, error: panicked() }).collect();
    while let Some(asked) = asking.join_next().await {
        if let Ok((index, answer)) = asked
            && let Some(store) = answers.get_mut(index)
        {
            store.error = answer.err();
        }
    }
    answers
}
