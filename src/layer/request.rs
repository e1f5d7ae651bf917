//! Which requests begin a session, and with what token.

use super::WsAuthLayer;
use crate::{
    address_limits::AddressLimits,
    error::ConfigError,
    forwarded::TrustedProxies,
    origin::AllowOrigin,
    socket::FirstMessage,
    token::{Sources, TokenSource},
};

/// # Requests
impl WsAuthLayer {
    /// Sets where a client may send the token.
    ///
    /// Defaults to [`TokenSource::bearer_subprotocol`] and [`TokenSource::authorization`]: browsers can use the first,
    /// all other clients the second, and neither puts the token into a URL.
    ///
    /// # Errors
    ///
    /// If the list is empty, names a source twice, or holds a name that can never match; or if it holds a cookie and
    /// the origin policy is [`AllowOrigin::insecure_any`].
    pub fn sources(mut self, sources: impl IntoIterator<Item = TokenSource>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.set_sources(Sources::new(sources)?);
        config.check()?;
        Ok(self)
    }

    /// Sets which proxies may say who a client is, and which host and scheme it asked for; see [`TrustedProxies`].
    ///
    /// Defaults to none, so that headers are not believed: a client could have sent them.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.config().trusted_proxies = Some(proxies);
        self
    }

    /// Limits connections and failed attempts of each client's address; see [`AddressLimits`].
    ///
    /// Defaults to no limits, because only the operator knows how many users share an address.
    pub fn address_limits(mut self, limits: &AddressLimits) -> Self {
        self.config().address_limits = Some(limits.clone());
        self
    }

    /// Sets which web pages may open a WebSocket.
    ///
    /// Defaults to [`AllowOrigin::same_origin`] for cookies and to no check for explicit tokens, because a foreign page
    /// has no token to send. A policy that you set applies to both.
    ///
    /// # Errors
    ///
    /// If the list is empty or holds an entry that can never match; or if it is [`AllowOrigin::insecure_any`] and a
    /// cookie is among the sources.
    pub fn allow_origin(mut self, policy: impl Into<AllowOrigin>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.allow_origin = Some(policy.into().checked()?);
        config.check()?;
        Ok(self)
    }

    /// Sets the maximum length of a token in bytes, as sent. Longer tokens are refused before they are decoded.
    ///
    /// Defaults to 8192, the usual limit of proxies for a header line.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_token_len(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroTokenLength);
        }
        self.config().session_mut().max_token_len = bytes;
        Ok(self)
    }

    /// Sets the maximum size in bytes of the request head that a session keeps: its URI, and its headers without the
    /// token and the upgrade headers. A larger head is refused with 431, before the token is verified.
    ///
    /// A session keeps its head because a refresh passes it to the verifier again. The limit bounds the memory that a
    /// client can hold, also before it authenticates by its [first message](Self::first_message). Requests that begin
    /// no session are not limited. The [path parameters](crate::PathParams) are kept too, and do not count: they are no
    /// longer than the path.
    ///
    /// Defaults to 16384: a browser's head is a tenth of that, and hyper accepts no more over HTTP/2.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_head_len(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroLimit("the head of a request"));
        }
        self.config().max_head_len = bytes;
        Ok(self)
    }

    /// Admits requests *without* a token as anonymous. A bad token is still refused.
    ///
    /// Handlers then take `Option<Authenticated<C>>`. Defaults to off.
    pub fn optional(mut self) -> Self {
        self.config().optional = true;
        self
    }

    /// Lets [plain requests](Self#handshakes-and-plain-requests) through as anonymous, without authenticating them.
    /// Their headers and URI are unchanged, but they cannot be upgraded.
    ///
    /// Use it if plain routes are authenticated by other means. Defaults to off, so that no route is unprotected by
    /// mistake.
    pub fn handshakes_only(mut self) -> Self {
        self.config().handshakes_only = true;
        self
    }

    /// Lets clients without a token in the handshake authenticate by their first message.
    ///
    /// Wrap only WebSocket routes in such a layer: a handler starts before the client has authenticated, and waits in
    /// [`on_upgrade`](crate::AuthenticatedUpgrade::on_upgrade); see [`FirstMessage`].
    ///
    /// With [`optional`](Self::optional), plain requests without a token are anonymous, and handshakes without one
    /// still wait for the first message. Defaults to off: a handshake without a token is refused.
    pub fn first_message(mut self, first_message: FirstMessage) -> Self {
        self.config().set_first_message(first_message);
        self
    }
}
