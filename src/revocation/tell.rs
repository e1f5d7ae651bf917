//! Telling the store what it does not have: what it lost, or never confirmed.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    follow::LONGEST,
    node::{Node, Stretch},
    set::SLICES,
};
use crate::{
    store::{Revocation, StoreError},
    telemetry,
};

/// How many orders are told at once.
const BATCH: usize = 500;
/// The pause after a pass in which something was not confirmed; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Tells all that the store has not shown, until it has confirmed it.
pub(super) async fn tell(node: Arc<Node>) {
    let mut pause = FIRST_PAUSE;
    loop {
        node.take_untold();
        let mut pass = Pass { node: &node, told: 0, lost: 0, failure: None };
        pass.run().await;
        if pass.told > 0 {
            telemetry::revocations_restored(pass.told, pass.lost);
        }
        if let Some(error) = &pass.failure {
            telemetry::revocation_not_confirmed(error);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else if !node.has_untold() {
            return;
        }
    }
}

/// One look at all that is known.
struct Pass<'a> {
    node: &'a Node,
    told: usize,
    /// How many the store had before.
    lost: usize,
    /// Why the store did not confirm one of them.
    failure: Option<StoreError>,
}

impl Pass<'_> {
    async fn run(&mut self) {
        let load = self.node.load();
        let mut orders = Vec::new();
        let mut stretch = Stretch::begin();
        for slice in 0..SLICES {
            let unseen = self.node.read().unseen(slice, load);
            self.lost += unseen.iter().filter(|unseen| unseen.was_there).count();
            orders.extend(unseen.into_iter().map(|unseen| (unseen.order, unseen.keep_for)));
            // One batch is held back, so that it is known which is the last.
            while orders.len() > BATCH {
                let rest = orders.split_off(BATCH);
                let batch = std::mem::replace(&mut orders, rest);
                if !self.tell(&batch, true).await {
                    return;
                }
            }
            if stretch.is_over() {
                yield_now().await;
                stretch = Stretch::begin();
            }
        }
        if !orders.is_empty() {
            self.tell(&orders, false).await;
        }
    }

    /// Returns whether the store is there. One that is refuses an order or two, but not all.
    async fn tell(&mut self, orders: &[(Revocation, Duration)], more: bool) -> bool {
        let load = self.node.load();
        let Ok(outcomes) = timeout(LONGEST, self.node.store.add_many_boxed(orders, more)).await else {
            self.failure = Some(StoreError::unavailable());
            return false;
        };
        let before = self.told;
        // An outcome that is missing is none.
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(|| Err(StoreError::unavailable())));
        for ((order, keep_for), outcome) in orders.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.node.note_told(order, *keep_for, load);
                    self.told += 1;
                }
                Err(error) => self.failure = Some(error),
            }
        }
        self.told > before || orders.len() < BATCH
    }
}
