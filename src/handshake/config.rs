//! The settings of a layer. The steps that read them stand beside this file.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use axum::response::Response;
use http::request::Parts;

use super::request::RequestKind;
#[cfg(feature = "streams")]
use crate::stream::Streams;
use crate::{
    address_limits::AddressLimits,
    error::ConfigError,
    forwarded::TrustedProxies,
    origin::AllowOrigin,
    rejection::{Challenges, Rejection, Throttles},
    session::{CloseCodes, SessionConfig, SessionMeta},
    socket::{FirstMessage, RefreshProtocol},
    token::Sources,
};

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) sources: Sources,
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    pub(crate) address_limits: Option<AddressLimits>,
    /// The warning is logged once.
    pub(super) warned_of_no_peer: Arc<AtomicBool>,
    /// `None` until the user sets one: then cookies need the same origin, and explicit tokens none.
    pub(crate) allow_origin: Option<AllowOrigin>,
    /// The most bytes of a request's head that a session may keep.
    pub(crate) max_head_len: usize,
    pub(crate) optional: bool,
    pub(crate) handshakes_only: bool,
    pub(crate) challenges: Challenges,
    pub(crate) on_rejection: Option<Arc<dyn Fn(Rejection) -> Response + Send + Sync>>,
    pub(crate) accept_then_close: bool,
    /// The subprotocols that `accept_then_close` may select, because no handler runs.
    pub(crate) subprotocols: Vec<Cow<'static, str>>,
    /// What the user set. The codes in effect are in `session`.
    close_codes: Option<CloseCodes>,
    first_message: Option<FirstMessage>,
    pub(crate) refresh_protocol: Option<RefreshProtocol>,
    pub(crate) session_meta: Option<Arc<MetaHook>>,
    #[cfg(feature = "streams")]
    pub(crate) streams: Streams,
    pub(crate) session: Arc<SessionConfig>,
    pub(crate) throttles: Throttles,
}

type MetaHook = dyn Fn(&Parts) -> SessionMeta + Send + Sync;

impl Config {
    /// Checks rules that span several settings.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match (self.sources.cookie(), &self.allow_origin) {
            (Some(cookie), Some(policy)) if policy.allows_any() => {
                Err(ConfigError::CookieFromAnyOrigin { cookie: cookie.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the layer authenticates requests of this kind.
    pub(super) fn covers(&self, kind: RequestKind) -> bool {
        !self.handshakes_only || kind == RequestKind::Handshake
    }

    /// What the session of this request is to note about it.
    pub(super) fn session_meta(&self, parts: &Parts) -> SessionMeta {
        self.session_meta.as_ref().map_or_else(SessionMeta::new, |hook| hook(parts))
    }

    pub(crate) fn set_sources(&mut self, sources: Sources) {
        #[cfg(feature = "dpop")]
        let reads_proofs = self.sources.reads_proofs;
        self.sources = sources;
        #[cfg(feature = "dpop")]
        {
            self.sources.reads_proofs = reads_proofs;
        }
    }

    pub(crate) fn session_mut(&mut self) -> &mut SessionConfig {
        Arc::make_mut(&mut self.session)
    }

    pub(crate) fn set_close_codes(&mut self, codes: CloseCodes) {
        self.close_codes = Some(codes);
        self.session_mut().close_codes = codes;
    }

    pub(crate) const fn first_message(&self) -> Option<&FirstMessage> {
        self.first_message.as_ref()
    }

    pub(crate) fn set_first_message(&mut self, first_message: FirstMessage) {
        let codes = self.close_codes.or(first_message.close_codes()).unwrap_or_default();
        self.session_mut().close_codes = codes;
        self.first_message = Some(first_message);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sources: Sources::standard(),
            trusted_proxies: None,
            address_limits: None,
            warned_of_no_peer: Arc::default(),
            allow_origin: None,
            max_head_len: 16 * 1024,
            optional: false,
            handshakes_only: false,
            challenges: Challenges::default(),
            on_rejection: None,
            accept_then_close: false,
            subprotocols: Vec::new(),
            close_codes: None,
            first_message: None,
            refresh_protocol: None,
            session_meta: None,
            #[cfg(feature = "streams")]
            streams: Streams::new(),
            session: Arc::default(),
            throttles: Throttles::default(),
        }
    }
}

// By hand: closures are not `Debug`.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("sources", &self.sources)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("address_limits", &self.address_limits)
            .field("allow_origin", &self.allow_origin)
            .field("optional", &self.optional)
            .field("handshakes_only", &self.handshakes_only)
            .field("challenges", &self.challenges)
            .field("accept_then_close", &self.accept_then_close)
            .field("subprotocols", &self.subprotocols)
            .field("first_message", &self.first_message)
            .field("refresh_protocol", &self.refresh_protocol)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
