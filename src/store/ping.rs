use std::future::Future;

use super::StoreError;

/// A store that can tell whether it answers, for a [health report](crate::Health).
///
/// [`Redis`](crate::Redis) implements it. For a store of your own, do the cheapest thing that it can answer, such as
/// `SELECT 1`.
///
/// ```
/// use axum_ws_auth::{Health, HealthReason, store::{Ping, StoreError}};
///
/// struct Database;
///
/// impl Ping for Database {
///     async fn ping(&self) -> Result<(), StoreError> {
///         Err(StoreError::unavailable().with_source("connection refused"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = Health::new().store("tickets", Database).report().await;
/// assert_eq!(report.reasons, [HealthReason::StoreUnreachable]);
/// # }
/// ```
pub trait Ping: Send + Sync + 'static {
    /// Whether the store answers now. The report gives up after two seconds.
    ///
    /// # Errors
    ///
    /// If it does not. The report shows the error, so it must hold no secret.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
