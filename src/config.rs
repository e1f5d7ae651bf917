//! What a layer and its services share, and the checks on a handshake that need no waiting.

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use axum::{extract::OriginalUri, response::Response};
use http::{Method, header::UPGRADE, request::Parts};

use crate::{
    AllowOrigin, CloseCodes, ConfigError, OriginError, Rejection, TimeSource, Token, TokenError,
    rejection::Challenges,
    token::{Found, Selection, Sources},
    verify::{AnyVerifier, Verification},
};

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) verifier: Arc<dyn AnyVerifier>,
    pub(crate) sources: Sources,
    /// `None` until the user sets one; see [`Config::check_origin`].
    pub(crate) allow_origin: Option<AllowOrigin>,
    pub(crate) max_token_len: usize,
    pub(crate) optional: bool,
    pub(crate) handshakes_only: bool,
    pub(crate) challenges: Challenges,
    pub(crate) on_rejection: Option<Arc<dyn Fn(Rejection) -> Response + Send + Sync>>,
    pub(crate) accept_then_close: Option<CloseCodes>,
    /// What may be selected where a handshake is refused before a handler could choose.
    pub(crate) subprotocols: Vec<Cow<'static, str>>,
    pub(crate) time: TimeSource,
}

/// Marks a request that the layer let through without a session, so that a handler without the layer is not taken for
/// one with it.
#[derive(Clone)]
pub(crate) struct Anonymous(pub(crate) Arc<Config>);

/// A handshake after the checks that need no waiting.
pub(crate) struct Examined {
    pub(crate) selection: Selection,
    /// The token to verify, or none and that is fine, or a refusal.
    pub(crate) outcome: Result<Option<Token>, Rejection>,
}

impl Config {
    pub(crate) fn new(verifier: Arc<dyn AnyVerifier>) -> Self {
        Self {
            verifier,
            sources: Sources::standard(),
            allow_origin: None,
            max_token_len: 8 * 1024,
            optional: false,
            handshakes_only: false,
            challenges: Challenges::default(),
            on_rejection: None,
            accept_then_close: None,
            subprotocols: Vec::new(),
            time: TimeSource::default(),
        }
    }

    /// Checks what only shows when sources and policy are seen together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match (self.sources.cookie(), &self.allow_origin) {
            (Some(cookie), Some(policy)) if policy.allows_any() => {
                Err(ConfigError::CookieFromAnyOrigin { cookie: cookie.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Whether this layer looks at the request at all.
    pub(crate) fn concerns(&self, parts: &Parts) -> bool {
        // An upgrade to whatever else is looked at too: nothing gets past because it was not recognised.
        !self.handshakes_only || parts.headers.contains_key(UPGRADE) || parts.method == Method::CONNECT
    }

    /// Finds the token, strips it, and checks the origin: steps one to three of a handshake.
    pub(crate) fn examine(&self, parts: &mut Parts) -> Examined {
        let Found { token, ambient, selection } = self.sources.take(parts, self.max_token_len);
        let version = parts.version;
        let stripped = self.strip_original_uri(parts);
        let token = token.and_then(|token| stripped.map(|()| token));
        let outcome = match token {
            Err(error) => Err(Rejection::token(error, &self.challenges, version)),
            Ok(token) => match self.check_origin(parts, ambient) {
                Err(error) => Err(Rejection::origin(error, &self.challenges, version)),
                Ok(()) if token.is_none() && !self.optional => Err(Rejection::missing_token(&self.challenges, version)),
                Ok(()) => Ok(token),
            },
        };
        Examined { selection, outcome }
    }

    /// Step four of a handshake.
    pub(crate) fn verify(&self, token: Token, parts: Parts) -> Verification {
        Arc::clone(&self.verifier).verify(token, parts, self.now())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.time.now()
    }

    /// The origin of a request with an ambient token must be allowed. That of any other is free until a policy is set,
    /// and may then be absent.
    fn check_origin(&self, parts: &Parts, ambient: bool) -> Result<(), OriginError> {
        match (&self.allow_origin, ambient) {
            (Some(policy), true) => policy.check_ambient(parts),
            (None, true) => AllowOrigin::same_origin().check_ambient(parts),
            (Some(policy), false) => policy.check_explicit(parts),
            (None, false) => Ok(()),
        }
    }

    /// Whether the page behind a refused request may learn why. A foreign page must not: it could tell from the reason
    /// whether its visitor has a session here.
    pub(crate) fn may_tell_page(&self, parts: &Parts) -> bool {
        match &self.allow_origin {
            Some(policy) => policy.check_explicit(parts).is_ok(),
            None if self.sources.cookie().is_some() => AllowOrigin::same_origin().check_explicit(parts).is_ok(),
            None => true,
        }
    }

    /// axum's router keeps a second copy of the URI.
    fn strip_original_uri(&self, parts: &mut Parts) -> Result<(), TokenError> {
        match parts.extensions.get_mut::<OriginalUri>() {
            Some(OriginalUri(uri)) => self.sources.strip_uri(uri),
            None => Ok(()),
        }
    }
}

// By hand: verifiers and closures need not be `Debug`.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("sources", &self.sources)
            .field("allow_origin", &self.allow_origin)
            .field("max_token_len", &self.max_token_len)
            .field("optional", &self.optional)
            .field("handshakes_only", &self.handshakes_only)
            .field("challenges", &self.challenges)
            .field("accept_then_close", &self.accept_then_close)
            .field("subprotocols", &self.subprotocols)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
