//! What logs tell.

use super::WsAuthLayer;
use crate::telemetry::LogSubject;

/// # Logs
impl WsAuthLayer {
    /// Sets where [events and spans](crate#events) name the subject of a session.
    ///
    /// Defaults to [`LogSubject::AtDebug`], because a subject is personal data in most places, and `debug` is usually
    /// on only while somebody investigates a problem.
    ///
    /// # Example
    ///
    /// ```
    /// use axum_ws_auth::{LogSubject, WsAuthLayer, test_util};
    ///
    /// // Whatever a handler logs names the user, also at `info`.
    /// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).log_subject(LogSubject::InSpans);
    /// ```
    pub fn log_subject(mut self, log_subject: LogSubject) -> Self {
        self.config().session_mut().log_subject = log_subject;
        self
    }
}
