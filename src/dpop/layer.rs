use super::Dpop;
use crate::layer::WsAuthLayer;

/// # Bound tokens
impl WsAuthLayer {
    /// Looks for the proofs that this verifier needs, and says so in the challenges; see [`Dpop`].
    ///
    /// Set it together with the verifier, which may have been [combined](crate::Verifier) with others. Without it, no
    /// bound token is accepted in a handshake. `Authorization: DPoP` is read where
    /// [`TokenSource::authorization`](crate::TokenSource::authorization) is a source, and `dpop.<proof>` beside any
    /// source.
    ///
    /// ```
    /// use axum_ws_auth::{Dpop, Verifier, VerifyError, WsAuthLayer, test_util};
    ///
    /// # fn main() -> Result<(), axum_ws_auth::ConfigError> {
    /// let dpop = Dpop::new(test_util::verifier::<serde_json::Value>(), "https://ws.example.com")?;
    /// let verifier = dpop.clone().authorize(|claims, _| match claims["scope"].as_str() {
    ///     Some("chat") => Ok(()),
    ///     _ => Err(VerifyError::insufficient_scope("chat")),
    /// });
    /// let layer = WsAuthLayer::new(verifier).dpop(&dpop);
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    pub fn dpop<C>(mut self, verifier: &Dpop<C>) -> Self {
        let config = self.config();
        let (algorithms, accepts_bearer) = verifier.challenge();
        config.sources.reads_proofs = true;
        config.challenges.set_dpop(algorithms, accepts_bearer);
        self
    }
}
