//! The task that follows the store.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{News, Position, Revocation, node::Node};
use crate::{StoreError, telemetry};

/// After a failure it is tried again in so long, and in twice the time after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long a store may say nothing: twice its heartbeat.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// Loads what there is and applies what comes, until it is dropped.
pub(super) async fn follow(node: Arc<Node>) -> Infallible {
    let mut pause = FIRST_PAUSE;
    let mut position = None;
    // Beside the following, which must not wait for it.
    let mut reminding = JoinSet::new();
    loop {
        let is_load = position.is_none();
        match step(&node, position).await {
            Ok(news) => {
                if is_load {
                    reminding.abort_all();
                    reminding.spawn(remind(Arc::clone(&node), news.revocations));
                }
                // Where the store has not confirmed something it is loaded again, to be reminded of that.
                position = (!node.unconfirmed.swap(false, Ordering::AcqRel)).then_some(news.position);
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                telemetry::revocations_not_read(&error);
                // Nothing that is known is forgotten by it.
                position = None;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        while reminding.try_join_next().is_some() {}
    }
}

/// Reads what there is after the position, or all, and applies it.
async fn step(node: &Node, position: Option<Position>) -> Result<News, StoreError> {
    // What is known then is what there was when it was asked for, not when the answer came.
    let asked = node.now();
    let news = in_time(match position {
        None => node.store.load_boxed(),
        Some(position) => node.store.next_boxed(position),
    })
    .await?;
    node.apply(&news.revocations);
    node.confirm(asked);
    Ok(news)
}

/// Tells the store what it does not have: what it never confirmed, or has lost.
async fn remind(node: Arc<Node>, loaded: Vec<(Revocation, Duration)>) {
    let loaded: HashSet<Revocation> = loaded.into_iter().map(|(order, _)| order).collect();
    let known = node.read().all();
    for (order, keep_for) in known.into_iter().filter(|(order, _)| !loaded.contains(order)) {
        if let Err(error) = in_time(node.store.add_boxed(&order, keep_for)).await {
            telemetry::revocation_not_told(&error);
            node.unconfirmed.store(true, Ordering::Release);
            return;
        }
    }
}

async fn in_time<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(SILENCE, operation).await.unwrap_or_else(|_| Err(StoreError::unavailable()))
}
