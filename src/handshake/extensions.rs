//! What the pipeline puts into a request's extensions, beside the [`Session`](crate::Session).

use std::sync::Arc;

use http::request::Parts;

use super::{config::Config, pending::PendingUpgrade};
use crate::{socket::RefreshProtocol, verify::VerifierOf};

/// The layer let the request through without a session. It tells a handler behind an optional layer from one without a
/// layer.
#[derive(Clone)]
pub(crate) struct Anonymous(pub(crate) Arc<Config>);

/// The session begins with the client's first message.
pub(crate) struct PendingSession<C> {
    pub(crate) verifier: Arc<dyn VerifierOf<C>>,
    pub(crate) config: Arc<Config>,
    pub(crate) upgrade: Arc<PendingUpgrade>,
}

/// How clients refresh their sessions by messages, for the upgrade extractor.
#[derive(Clone)]
pub(crate) struct InBandRefresh(pub(crate) RefreshProtocol);

/// Puts the layer's refresh protocol into the request, or removes that of an outer layer.
pub(super) fn offer_refresh(parts: &mut Parts, config: &Config) {
    match &config.refresh_protocol {
        Some(protocol) => parts.extensions.insert(InBandRefresh(protocol.clone())),
        None => parts.extensions.remove(),
    };
}

// By hand: a derive would ask the same of `C`.
impl<C> Clone for PendingSession<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: Arc::clone(&self.verifier),
            config: Arc::clone(&self.config),
            upgrade: Arc::clone(&self.upgrade),
        }
    }
}
