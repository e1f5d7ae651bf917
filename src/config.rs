//! What a layer and its services share, and the checks on a handshake that need no waiting.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{extract::OriginalUri, response::Response};
use http::request::Parts;

use crate::{
    error::ConfigError,
    gate::{Gate, Registered, Unclaimed, Verification},
    handshake::{RequestKind, withhold},
    origin::{AllowOrigin, OriginError},
    rejection::{Challenges, Rejection},
    session::{CloseCodes, Head, SessionConfig},
    socket::{FirstMessage, RefreshProtocol},
    token::{Carrier, CookieKind, Found, Selection, Sources, Token, TokenError, cut_copies},
};

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) sources: Sources,
    /// `None` until the user sets one; see [`Config::check_origin`].
    pub(crate) allow_origin: Option<AllowOrigin>,
    /// How many bytes of a handshake's head a session may keep.
    pub(crate) max_head_len: usize,
    pub(crate) optional: bool,
    pub(crate) handshakes_only: bool,
    pub(crate) challenges: Challenges,
    pub(crate) on_rejection: Option<Arc<dyn Fn(Rejection) -> Response + Send + Sync>>,
    pub(crate) accept_then_close: bool,
    /// What may be selected where a handshake is refused before a handler could choose.
    pub(crate) subprotocols: Vec<Cow<'static, str>>,
    /// What the user set; what goes for the sessions is in the rules.
    close_codes: Option<CloseCodes>,
    first_message: Option<FirstMessage>,
    pub(crate) refresh_protocol: Option<RefreshProtocol>,
    pub(crate) session: Arc<SessionConfig>,
}

/// Marks a request that the layer let through without a session, so that a handler without the layer is not taken for
/// one with it.
#[derive(Clone)]
pub(crate) struct Anonymous(pub(crate) Arc<Config>);

/// A handshake after the checks that need no waiting.
pub(crate) struct Examined {
    pub(crate) selection: Selection,
    /// The token to verify, if there is one, or a refusal.
    pub(crate) outcome: Result<Option<Token>, Rejection>,
}

/// What comes next.
pub(crate) enum Next {
    /// The inner service, with a session or without.
    Call(Registered),
    /// The inner service, which has to wait for the client's first message.
    Defer(Arc<Unclaimed>),
    /// What the token's verification has to wait for.
    Wait(Token),
}

impl Config {
    pub(crate) fn new(gate: Arc<dyn Gate>) -> Self {
        Self {
            gate,
            sources: Sources::standard(),
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
            session: Arc::default(),
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
    pub(crate) fn concerns(&self, kind: RequestKind) -> bool {
        !self.handshakes_only || kind == RequestKind::Handshake
    }

    pub(crate) fn session_mut(&mut self) -> &mut SessionConfig {
        Arc::make_mut(&mut self.session)
    }

    pub(crate) fn set_close_codes(&mut self, codes: CloseCodes) {
        self.close_codes = Some(codes);
        self.session_mut().close_codes = codes;
    }

    pub(crate) fn set_first_message(&mut self, first_message: FirstMessage) {
        let codes = self.close_codes.or(first_message.close_codes()).unwrap_or_default();
        self.session_mut().close_codes = codes;
        self.first_message = Some(first_message);
    }

    /// Finds the token, strips it, and checks the origin: steps one to three of a handshake.
    pub(crate) fn examine(&self, parts: &mut Parts) -> Examined {
        let Found { token, carrier, selection } = self.sources.take(parts, self.session.max_token_len);
        let version = parts.version;
        let stripped = self.strip_original_uri(parts);
        let token = token.and_then(|token| stripped.map(|()| token));
        let outcome = token.map_err(|error| Rejection::token(error, &self.challenges, version)).and_then(|token| {
            if let Some(token) = &token {
                self.check_head(parts)?;
                let original = parts.extensions.get_mut::<OriginalUri>().map(|OriginalUri(uri)| uri);
                cut_copies(&mut parts.headers, [Some(&mut parts.uri), original], token)
                    .map_err(|error| Rejection::token(error, &self.challenges, version))?;
            }
            let origin = self.check_origin(parts, carrier);
            origin.map_err(|error| Rejection::origin(error, &self.challenges, version)).map(|()| token)
        });
        Examined { selection, outcome }
    }

    /// Takes steps four and five of a handshake, if nothing has to be waited for.
    pub(crate) fn decide(
        self: &Arc<Self>,
        token: Option<Token>,
        kind: RequestKind,
        parts: &mut Parts,
    ) -> Result<Next, Rejection> {
        let Some(token) = token else {
            let deferred = self.without_token(kind, parts)?;
            return Ok(deferred.map_or(Next::Call(None), Next::Defer));
        };
        match self.gate.verify_now(&token, kind, parts, self) {
            Some(Ok(registered)) => Ok(Next::Call(registered)),
            Some(Err(refusal)) => Err(refusal.rejection(self, parts.version)),
            None => Ok(Next::Wait(token)),
        }
    }

    /// The same steps, with waiting.
    pub(crate) fn verify(self: &Arc<Self>, token: Token, kind: RequestKind, parts: Parts) -> Verification {
        self.gate.verify(token, kind, parts, Arc::clone(self))
    }

    pub(crate) const fn first_message(&self) -> Option<&FirstMessage> {
        self.first_message.as_ref()
    }

    /// What becomes of a request without a token: it is anonymous, or its client is to authenticate by its first message,
    /// or it is refused.
    fn without_token(
        self: &Arc<Self>,
        kind: RequestKind,
        parts: &mut Parts,
    ) -> Result<Option<Arc<Unclaimed>>, Rejection> {
        if !self.optional && self.first_message.is_none() {
            return Err(Rejection::missing_token(&self.challenges, parts.version));
        }
        self.gate.forget(parts);
        match self.defer(kind, parts)? {
            None if !self.optional => Err(Rejection::missing_token(&self.challenges, parts.version)),
            deferred => {
                parts.extensions.insert(Anonymous(Arc::clone(self)));
                Ok(deferred)
            }
        }
    }

    /// Withholds the connection from all but the one handler that waits for the first message. `None` where the layer does
    /// not wait for one, or the request is no well-formed handshake.
    fn defer(self: &Arc<Self>, kind: RequestKind, parts: &mut Parts) -> Result<Option<Arc<Unclaimed>>, Rejection> {
        let Some(first_message) = &self.first_message else { return Ok(None) };
        if kind == RequestKind::Plain {
            return Ok(None);
        }
        self.check_head(parts)?;
        let Some(connection) = withhold(parts) else { return Ok(None) };
        let place = match self.session.check_capacity().and_then(|()| first_message.place(parts)) {
            Ok(place) => place,
            Err(error) => {
                // Whoever refuses may want to say so on it.
                parts.extensions.insert(connection);
                return Err(Rejection::admission(error, &self.challenges, parts.version));
            }
        };
        let unclaimed = Arc::new(Unclaimed::new(connection, Head::from_parts(parts), place, parts.version));
        self.gate.defer(parts, self, Arc::clone(&unclaimed));
        Ok(Some(unclaimed))
    }

    /// What is kept for as long as the connection lives must not be large. Checked before anything costly is done.
    fn check_head(&self, parts: &Parts) -> Result<(), Rejection> {
        if Head::encoded_len(parts) > self.max_head_len {
            return Err(Rejection::head_too_large(&self.challenges, parts.version));
        }
        Ok(())
    }

    /// The origin of a request with an ambient token must be allowed. That of any other is free until a policy is set,
    /// and may then be absent.
    fn check_origin(&self, parts: &Parts, carrier: Carrier) -> Result<(), OriginError> {
        match (&self.allow_origin, carrier) {
            (Some(policy), Carrier::Ambient(cookie)) => policy.check_ambient(parts, cookie),
            (None, Carrier::Ambient(cookie)) => AllowOrigin::same_origin().check_ambient(parts, cookie),
            (Some(policy), Carrier::Explicit) => policy.check_explicit(parts, CookieKind::Plain),
            (None, Carrier::Explicit) => Ok(()),
        }
    }

    /// Whether the page behind a refused request may learn why. A foreign page must not: it could tell from the reason
    /// whether its visitor has a session here.
    pub(crate) fn may_tell_page(&self, parts: &Parts) -> bool {
        match (&self.allow_origin, self.sources.cookie_kind()) {
            (Some(policy), cookie) => policy.check_explicit(parts, cookie.unwrap_or(CookieKind::Plain)).is_ok(),
            (None, Some(cookie)) => AllowOrigin::same_origin().check_explicit(parts, cookie).is_ok(),
            (None, None) => true,
        }
    }

    /// axum's router keeps a second copy of the URI.
    fn strip_original_uri(&self, parts: &mut Parts) -> Result<(), TokenError> {
        if !self.sources.are_in_uri() {
            return Ok(());
        }
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
