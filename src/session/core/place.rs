//! The place of a session in the limits.

use super::SessionCore;
use crate::session::AdmissionError;
#[cfg(feature = "streams")]
use crate::{lock::lock, session::SessionKind};

impl SessionCore {
    /// Makes the session that of a stream, and counts it as a connection if it is registered. Returns whether it counts
    /// since now.
    ///
    /// The caller holds a guard already, which carries out the end of the session from here on.
    #[cfg(feature = "streams")]
    pub(crate) fn count_as_stream(&self) -> Result<bool, AdmissionError> {
        lock(&self.state).kind = SessionKind::Stream;
        if self.is_counted() {
            return Ok(false);
        }
        let Some(registry) = self.registry() else { return Ok(false) };
        let slot = registry.slot()?;
        match &mut lock(&self.state).registration {
            Some(registration) => registration.count(slot),
            None => return Ok(false),
        }
        registry.admit(self).map(|()| true)
    }

    /// Takes a lease for the session, if it is counted and the limits are shared across nodes.
    pub(crate) async fn acquire_lease(&self) -> Result<(), AdmissionError> {
        if self.config.shares_limits()
            && self.is_counted()
            && let Some(registry) = self.registry()
        {
            registry.acquire_lease(self).await?;
        }
        Ok(())
    }
}
