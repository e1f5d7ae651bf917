//! How refusals and ended sessions look to clients.

use std::{borrow::Cow, sync::Arc};

use axum::response::Response;

use super::WsAuthLayer;
use crate::{
    error::ConfigError, rejection::Rejection, resource::ResourceMetadata, session::CloseCodes, token::check_subprotocol,
};

/// # Refusals and close codes
impl WsAuthLayer {
    /// Sets the realm of the challenge (RFC 9110 §11.5). Defaults to `websocket`: RFC 6750 §3 requires a parameter.
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a character other than visible ASCII and spaces.
    pub fn realm(mut self, realm: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.config().challenges.set_realm(realm.as_ref())?;
        Ok(self)
    }

    /// Names the [metadata](ResourceMetadata) of the resource in every challenge, as `resource_metadata` (RFC 9728
    /// §5.1), so that a client learns where to sign in. Defaults to none.
    ///
    /// The document itself needs a [route](ResourceMetadata::router) outside the layer.
    pub fn resource_metadata(mut self, metadata: &ResourceMetadata) -> Self {
        self.config().challenges.set_resource_metadata(metadata.url());
        self
    }

    /// Sets the `scope` of challenges with the status 401: what a client without a valid token should ask for. Several
    /// scopes are separated by one space each.
    ///
    /// Defaults to none: a client then asks for all [`scopes_supported`](ResourceMetadata::scopes_supported), or for
    /// what it thinks fit. A challenge with the status 403 names the scope of
    /// [`VerifyError::insufficient_scope`](crate::VerifyError::insufficient_scope) instead.
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a character that RFC 6749 §3.3 does not allow.
    pub fn challenge_scope(mut self, scope: impl Into<String>) -> Result<Self, ConfigError> {
        self.config().challenges.set_scope(scope.into())?;
        Ok(self)
    }

    /// Sets the response to refusals. Start from
    /// [`into_response`](axum::response::IntoResponse::into_response), which has the standard headers.
    ///
    /// On HTTP/1 the connection is closed regardless. A response that means success is replaced by the standard one,
    /// because a refused handshake must never complete.
    pub fn on_rejection(mut self, hook: impl Fn(Rejection) -> Response + Send + Sync + 'static) -> Self {
        self.config().on_rejection = Some(Arc::new(hook));
        self
    }

    /// Refuses handshakes by accepting them and closing at once, with a close code that a page can read.
    ///
    /// A page sees every refused handshake as close code 1006, so it cannot tell "sign in again" from "server down".
    /// With this setting it can, by the code of [`CloseCodes`] and by the reason,
    /// [`RejectionKind::as_str`](crate::RejectionKind::as_str).
    ///
    /// These still get the plain response:
    /// - a request that is no well-formed handshake;
    /// - a head that is too large;
    /// - a page whose origin is not allowed;
    /// - a client whose address has reached its [limits](Self::address_limits), or is unknown to them;
    /// - an offer of subprotocols with neither a token nor one of [`subprotocols`](Self::subprotocols): a browser needs
    ///   one selected, and any of them might be a secret.
    ///
    /// Defaults to off: other clients, proxies and logs need the status, and each refusal holds a connection until the
    /// client closes it, for two seconds at most.
    pub fn accept_then_close(mut self) -> Self {
        self.config().accept_then_close = true;
        self
    }

    /// Sets the close codes for sockets whose session ends, and for [`accept_then_close`](Self::accept_then_close).
    ///
    /// Defaults to the codes of the [`first_message`](Self::first_message) protocol, or else to [`CloseCodes::IANA`],
    /// the only ones with a public registration.
    pub fn close_codes(mut self, codes: CloseCodes) -> Self {
        self.config().set_close_codes(codes);
        self
    }

    /// Names the application's subprotocols, such as `graphql-transport-ws`, so that
    /// [`accept_then_close`](Self::accept_then_close) can select one. Handlers still choose for themselves. Defaults to
    /// none.
    ///
    /// # Errors
    ///
    /// If a name is empty or holds a character that RFC 6455 §4.1 does not allow in a subprotocol.
    pub fn subprotocols<I>(mut self, names: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        let names: Vec<Cow<'static, str>> = names.into_iter().map(Into::into).collect();
        names.iter().try_for_each(|name| check_subprotocol(name))?;
        self.config().subprotocols = names;
        Ok(self)
    }
}
