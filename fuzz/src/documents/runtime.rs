//! Runs futures.

use std::future::Future;

use tokio::runtime::Builder;

/// On a runtime of its own, which ends all tasks that were spawned. Its clock is paused: a timer fires at once if
/// nothing else can happen.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime").block_on(future)
}
