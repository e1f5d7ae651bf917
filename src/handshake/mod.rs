//! The handshake, step by step:
//!
//! ```text
//! sender → find → strip → origin → verify → admit → inner service → choose
//! ```
//!
//! Each step is a file, and [`Completion::refuse`] answers whatever fails. They work on a request's head alone, so that
//! any server can call them. [`Config`] holds the settings; the layer, its service and its future only route.

mod admit;
mod choose;
mod config;
mod extensions;
mod find;
mod origin;
mod pending;
mod proof;
mod refuse;
mod request;
mod sender;
#[cfg(feature = "streams")]
mod stream;
mod strip;
mod summary;
mod upgrade;
mod verify;

use std::{fmt, sync::Arc};

use axum::response::Response;
use http::{Version, request::Parts};

pub(crate) use self::{
    admit::Refusal,
    choose::{Completed, Completion},
    config::Config,
    extensions::{Anonymous, InBandRefresh, PendingSession},
    pending::WithheldUpgrade,
    request::RequestKind,
    summary::log_refusal,
    upgrade::no_connection,
    verify::{Authenticator, Verification},
};

use self::{
    find::find,
    origin::check_origin,
    pending::PendingUpgrade,
    proof::{bind, needed_again},
    refuse::respond,
    sender::{enter, learn_sender},
    strip::strip,
    verify::Authenticate,
};
use crate::{
    id::ScopedId,
    rejection::Rejection,
    telemetry,
    token::{Found, Selection, Token},
    verify::{VerifyError, VerifyInput},
};

/// Takes requests through the steps of a handshake.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) config: Arc<Config>,
    authenticator: Arc<dyn Authenticate>,
}

/// What follows the steps that need no waiting.
pub(crate) enum Next {
    /// The inner service, with a session or without.
    Call(Completion),
    /// [`Pipeline::verify`].
    Verify(Token, Completion),
    /// The response to a refusal.
    Respond(Response),
}

impl Pipeline {
    pub(crate) fn new(authenticator: Arc<dyn Authenticate>) -> Self {
        Self { config: Arc::default(), authenticator }
    }

    /// Step zero: who sent the request, and what for.
    pub(crate) fn receive(&self, parts: &mut Parts) -> RequestKind {
        learn_sender(&self.config, parts);
        RequestKind::of(parts, &self.config)
    }

    /// Whether the layer authenticates requests of this kind. It lets all others through as anonymous.
    pub(crate) fn covers(&self, kind: RequestKind, parts: &mut Parts) -> bool {
        let covers = self.config.covers(kind);
        if !covers {
            parts.extensions.insert(Anonymous(Arc::clone(&self.config)));
        }
        covers
    }

    /// Takes a request through steps one to five, as far as that is possible without waiting.
    pub(crate) fn begin(&self, kind: RequestKind, parts: &mut Parts) -> Next {
        let visit = match enter(&self.config, kind, parts) {
            Ok(visit) => visit,
            Err(rejection) => {
                let completion = Completion::new(&self.config, parts, kind, (Selection::default(), "none"), None);
                return Next::Respond(completion.refuse(rejection, parts));
            }
        };
        let Found { token, token_kind, source, selection } = find(&self.config, parts);
        let mut completion = Completion::new(&self.config, parts, kind, (selection, source), visit);
        let outcome = strip(&self.config, parts, token)
            .and_then(|token| check_origin(&self.config, kind, parts, token_kind).map(|()| token));
        match outcome {
            Ok(Some(token)) => {
                let token = bind(token, kind, parts);
                // Steps four and five, if that is possible.
                match self.authenticator.verify_now(&token, kind, parts, &self.config) {
                    Some(Ok(admitted)) => completion.admit(admitted),
                    Some(Err(refusal)) => {
                        let rejection = refusal.rejection(&self.config, parts.version);
                        return Next::Respond(completion.refuse(rejection, parts));
                    }
                    None => return Next::Verify(token, completion),
                }
            }
            Ok(None) => {
                if let Err(rejection) = self.go_on_without_token(kind, parts, &mut completion) {
                    return Next::Respond(completion.refuse(rejection, parts));
                }
            }
            Err(rejection) => return Next::Respond(completion.refuse(rejection, parts)),
        }
        Next::Call(completion)
    }

    /// Steps four and five.
    pub(crate) fn verify(&self, token: Token, kind: RequestKind, parts: Parts) -> Verification {
        self.authenticator.verify(token, kind, parts, Arc::clone(&self.config))
    }

    /// A request without a token is anonymous, or its client is to authenticate by its first message, or it is refused.
    fn go_on_without_token(
        &self,
        kind: RequestKind,
        parts: &mut Parts,
        completion: &mut Completion,
    ) -> Result<(), Rejection> {
        let config = &self.config;
        let missing = |parts: &Parts| Rejection::missing_token(&config.challenges, parts.version);
        if !config.optional && config.first_message().is_none() {
            return Err(missing(parts));
        }
        self.authenticator.forget(parts);
        match PendingUpgrade::withhold(config, kind, parts)? {
            Some(upgrade) => {
                self.authenticator.defer(parts, config, Arc::clone(&upgrade));
                completion.defer(upgrade);
            }
            None if config.optional => completion.admit_anonymous(),
            None => return Err(missing(parts)),
        }
        parts.extensions.insert(Anonymous(Arc::clone(config)));
        Ok(())
    }

    /// Steps one to four of a request that begins no session: the token, and whose it is, if that is known.
    pub(crate) async fn identify(&self, parts: &mut Parts) -> Result<(Token, Option<ScopedId>), Rejection> {
        // Not a handshake, whatever its headers say, because of its method. This takes its upgrade away.
        let _ = self.receive(parts);
        let visit = enter(&self.config, RequestKind::Plain, parts)?;
        let identified = self.identify_sender(parts).await;
        if let (Some(visit), Err(rejection)) = (visit, &identified)
            && rejection.is_failed_attempt()
        {
            visit.failed();
        }
        identified
    }

    async fn identify_sender(&self, parts: &mut Parts) -> Result<(Token, Option<ScopedId>), Rejection> {
        let Found { token, token_kind, .. } = find(&self.config, parts);
        let token = strip(&self.config, parts, token)?;
        // As for a handshake: the request changes something, so a cookie needs an origin.
        check_origin(&self.config, RequestKind::Handshake, parts, token_kind)?;
        let token = token.ok_or_else(|| Rejection::missing_token(&self.config.challenges, parts.version))?;
        let token = bind(token, RequestKind::Plain, parts);
        let now = self.config.session.time.now();
        match self.authenticator.identify(VerifyInput::new(&needed_again(&token), parts, now)).await {
            Ok(sender) => Ok((token, sender)),
            // The token is valid, but not for this. What it may do to its session is another question.
            Err(error) if error.is_of_valid_token() => Ok((token, None)),
            Err(error) => Err(self.rejection(error, parts.version)),
        }
    }

    pub(crate) fn rejection(&self, error: VerifyError, version: Version) -> Rejection {
        Rejection::verify(error, &self.config.challenges, version)
    }

    /// Logs the refusal of a request that is no handshake.
    pub(crate) fn log_refusal(&self, rejection: &Rejection, parts: &Parts) {
        log_refusal(&self.config, rejection, parts);
    }

    /// Logs that the path of a refresh route has no place for a session.
    pub(crate) fn log_no_session_in_path(&self) {
        telemetry::no_session_in_path(&self.config.throttles.path);
    }

    /// The response to a refused request that is no handshake.
    pub(crate) fn respond(&self, rejection: Rejection) -> Response {
        respond(&self.config, rejection)
    }
}

// By hand: a verifier need not be `Debug`.
impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}
