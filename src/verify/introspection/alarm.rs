//! Events about failures.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::failure::Failure;
use crate::{
    lock::{Mutex, lock},
    telemetry,
};

/// The time between two events with the same reason. Clients can cause any number of failures.
const PERIOD: Duration = Duration::from_secs(10);

/// When each reason was last reported.
#[derive(Default)]
pub(super) struct Alarm(Mutex<BTreeMap<&'static str, Instant>>);

impl Alarm {
    pub(super) fn report(&self, endpoint: &str, failure: &Failure) {
        let (name, now) = (failure.reason.name(), Instant::now());
        let mut reported = lock(&self.0);
        if reported.get(name).is_some_and(|last| now < *last + PERIOD) {
            return;
        }
        reported.insert(name, now);
        // Release the lock first: a subscriber may block.
        drop(reported);
        if failure.reason.is_misconfiguration() {
            telemetry::introspection_refused(endpoint, name, failure);
        } else {
            telemetry::introspection_failed(endpoint, name, failure);
        }
    }
}
