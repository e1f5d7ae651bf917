use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::{
    CredentialChange, SecurityEvent, SharedSignals,
    event::SetClaims,
    receiver::{Fallback, Receiver},
    status::Health,
    verification::Verifications,
};
use crate::{
    error::ConfigError,
    revocation::Revocations,
    session::Sessions,
    signals::{
        ResolveSubject,
        resolve::{BoxError, Users},
    },
    telemetry::Throttle,
    time::TimeSource,
    verify::{
        jwks::{IssuerKeys, StartError},
        jwt::{JwtVerifier, JwtVerifierBuilder},
    },
};

/// Builds a [`SharedSignals`].
#[must_use]
pub struct SharedSignalsBuilder {
    keys: IssuerKeys,
    revocations: Revocations,
    audiences: Vec<String>,
    users: Users,
    token_issuer: Option<Arc<str>>,
    on_credential_change: CredentialChange,
    recheck: Option<Sessions>,
    ends_users: bool,
    critical_members: Vec<String>,
    fallback: Option<Box<Fallback>>,
    authorization: Option<[u8; 32]>,
    time: TimeSource,
}

/// The members of complex subjects that are understood.
const UNDERSTOOD: [&str; 2] = ["user", "session"];

impl SharedSignalsBuilder {
    pub(super) fn new(keys: IssuerKeys, revocations: &Revocations) -> Self {
        Self {
            keys,
            revocations: revocations.clone(),
            audiences: Vec::new(),
            users: Users::default(),
            token_issuer: None,
            on_credential_change: CredentialChange::default(),
            recheck: None,
            ends_users: false,
            critical_members: Vec::new(),
            fallback: None,
            authorization: None,
            time: TimeSource::default(),
        }
    }

    /// Adds an audience: `aud` of an event token must name one of those added. It is the `aud` of the
    /// [stream](super::Stream::audiences). At least one is needed.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the `Authorization` header that pushes must have, such as `Bearer …`: the `authorization_header` of the
    /// [stream](super::StreamRequest::push). Only a hash of it is kept.
    ///
    /// Defaults to none, because the signature already shows where an event comes from. The header keeps others from
    /// making this server check signatures.
    pub fn push_authorization(mut self, authorization: &HeaderValue) -> Self {
        self.authorization = Some(Sha256::digest(authorization).into());
        self
    }

    /// Sets how to find users that are not named by the `iss` and `sub` of their access tokens, but by email address
    /// for example. Defaults to none: then such events go to the [fallback](Self::fallback).
    pub fn users(mut self, resolver: impl ResolveSubject) -> Self {
        self.users.set_resolver(resolver);
        self
    }

    /// Sets the `iss` of the access tokens, if it is another than the transmitter's: Okta's events come from the
    /// organization, and its tokens from an authorization server. A user or session of the transmitter then is one of
    /// this issuer. Defaults to the transmitter.
    pub fn token_issuer(mut self, issuer: impl Into<Arc<str>>) -> Self {
        self.token_issuer = Some(issuer.into());
        self
    }

    /// Sets what ends when a credential changes (`credential-change`, `credential-compromise`). Defaults to everything
    /// that was issued before, because someone else may have had the old credential.
    pub const fn on_credential_change(mut self, change: CredentialChange) -> Self {
        self.on_credential_change = change;
        self
    }

    /// When the claims of a user change (`token-claims-change`), has the verifiers [verify the user's tokens
    /// again](Sessions::recheck_subject). Sessions whose verifier does not want that end.
    ///
    /// For verifiers that ask the identity provider or a database each time. Otherwise a client could open a new
    /// session with an old token and its old claims.
    ///
    /// Defaults to ending everything that was issued before the change. That also happens:
    ///
    /// - if the event is about a token or a session rather than a user
    /// - if a layer with these revocations has other [sessions](crate::WsAuthLayer::sessions)
    /// - if a node does not answer
    /// - if the store of revocations [may be shared](crate::store::RevocationStore::is_shared), and the sessions of other
    ///   nodes are not known. Then set both [`Limits::across_nodes`](crate::Limits::across_nodes) and
    ///   [`Sessions::reachable_through`].
    ///
    /// Sessions of other nodes [without a lease](Sessions::recheck_subject) keep their claims.
    pub fn recheck_on_claims_change(mut self, sessions: &Sessions) -> Self {
        self.recheck = Some(sessions.clone());
        self
    }

    /// Ends all sessions of the user when one session of the user is revoked.
    ///
    /// For access tokens that do not name their session (`sid`): no session could be found by it. It has no effect if
    /// the event names no user. Defaults to the revoked session only.
    pub const fn end_all_of_user(mut self) -> Self {
        self.ends_users = true;
        self
    }

    /// Sets the `critical_subject_members` of the transmitter's configuration: an event whose subject has one of these
    /// members, other than `user` and `session`, is not acted on but goes to the [fallback](Self::fallback) (Shared
    /// Signals Framework 1.0 §3.6). Defaults to none: then other members are ignored, which can only end too much.
    pub fn critical_subject_members<S: Into<String>>(mut self, members: impl IntoIterator<Item = S>) -> Self {
        let members = members.into_iter().map(Into::into);
        self.critical_members = members.filter(|name| !UNDERSTOOD.contains(&&**name)).collect();
        self
    }

    /// Sets a handler for events of other types, such as `device-compliance-change`, and for events about a subject
    /// that is none of the above, such as a tenant. It must be idempotent, because a transmitter may repeat an event.
    /// If it fails, or takes longer than 10 seconds, the transmitter is asked to send the event again.
    ///
    /// Defaults to none: such events are acknowledged and logged.
    pub fn fallback<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(SecurityEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.fallback = Some(Box::new(move |event| Box::pin(handler(event))));
        self
    }

    /// Sets the clock, for tests. Defaults to the system's.
    pub fn time_source(mut self, time: TimeSource) -> Self {
        self.time = time;
        self
    }

    /// Builds the receiver without waiting for the transmitter's keys. To wait for them, `.await` the builder instead.
    ///
    /// # Errors
    ///
    /// If there is no audience, or as for [`JwtVerifierBuilder::build`](crate::jwt::JwtVerifierBuilder::build).
    pub fn build(self) -> Result<SharedSignals, ConfigError> {
        let verifier = self.verifier()?.build()?;
        Ok(self.with_verifier(verifier))
    }

    fn verifier(&self) -> Result<JwtVerifierBuilder<SetClaims>, ConfigError> {
        if self.audiences.is_empty() {
            return Err(ConfigError::Empty("list of audiences"));
        }
        // Event tokens have no `exp`: they state what has happened.
        let verifier = JwtVerifier::builder().insecure_allow_missing_exp();
        let verifier = verifier.issuer_keys(self.keys.clone()).token_type("secevent+jwt");
        Ok(self.audiences.iter().fold(verifier, JwtVerifierBuilder::audience))
    }

    fn with_verifier(self, verifier: JwtVerifier<SetClaims>) -> SharedSignals {
        let mut users = self.users;
        if let Some(tokens) = self.token_issuer {
            users.set_issuer(self.keys.issuer().into(), tokens);
        }
        let mut configuration: Vec<&[u8]> = vec![self.keys.issuer().as_bytes()];
        configuration.extend(self.authorization.iter().map(<[u8; 32]>::as_slice));
        configuration.extend(self.audiences.iter().map(String::as_bytes));
        SharedSignals(Arc::new(Receiver {
            verifier,
            revocations: self.revocations,
            users,
            on_credential_change: self.on_credential_change,
            recheck: self.recheck,
            ends_users: self.ends_users,
            critical_members: self.critical_members,
            fallback: self.fallback,
            authorization: self.authorization,
            verifications: Verifications::new(&configuration),
            health: Health::default(),
            time: self.time,
            refusals: Arc::new(Throttle::new()),
            failures: Arc::new(Throttle::new()),
        }))
    }
}

/// `.await` builds the receiver and waits for the first fetch of the transmitter's keys.
///
/// # Errors
///
/// As for [`build`](SharedSignalsBuilder::build), or if the keys cannot be fetched.
impl IntoFuture for SharedSignalsBuilder {
    type Output = Result<SharedSignals, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let verifier = self.verifier()?.await?;
            Ok(self.with_verifier(verifier))
        })
    }
}

// By hand: a handler need not be `Debug`, and the hash of a secret is not shown.
impl fmt::Debug for SharedSignalsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSignalsBuilder")
            .field("keys", &self.keys)
            .field("audiences", &self.audiences)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}
