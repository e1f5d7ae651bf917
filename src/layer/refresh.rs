//! How a session gets a new token, or has its token verified again.

use std::{sync::Arc, time::Duration};

use axum::routing::MethodRouter;

use super::WsAuthLayer;
use crate::{
    error::ConfigError,
    refresh::{Form, route},
    session::RecheckLimit,
    socket::RefreshProtocol,
};

#[allow(unused_imports, reason = "for the docs")]
use crate::rejection::Rejection;

/// # Refreshes and rechecks
impl WsAuthLayer {
    /// Sets how many [refresh](crate::Session::refresh) attempts a session may make per period, successful or not. Zero
    /// disables refreshes.
    ///
    /// At a [route](Self::refresh_route), only the tokens of the session's own subject count.
    ///
    /// Defaults to five per minute: each attempt costs a verification, and a client needs one per token.
    pub fn refresh_limit(mut self, attempts: u32, per: Duration) -> Self {
        self.config().session_mut().refresh_limit = (attempts, per);
        self
    }

    /// Sets the timeout of a [refresh](crate::Session::refresh). It then fails as
    /// [unavailable](crate::VerifyError::unavailable), and the verification is dropped.
    ///
    /// Defaults to ten seconds. A verifier that asks a key server or a database needs less, and the socket of a client
    /// that refreshes [by messages](Self::refresh_protocol) is not read during a refresh.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn refresh_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroLimit("the time of a refresh"));
        }
        self.config().session_mut().refresh_timeout = time;
        Ok(self)
    }

    /// Lets clients refresh their sessions by messages over the socket, without code in the handler.
    ///
    /// Defaults to off: the handler receives every message.
    pub fn refresh_protocol(mut self, protocol: RefreshProtocol) -> Self {
        self.config().refresh_protocol = Some(protocol);
        self
    }

    /// A `POST` route that refreshes a live session, by the rules of [`Session::refresh`](crate::Session::refresh).
    ///
    /// It is for a page whose token is in an `HttpOnly` cookie, which no script can read and send over the socket. The
    /// page posts to this route, without a body, and the browser adds the cookie. The path names the session:
    /// `/refresh/{session}`. The handler tells the page the [id](crate::Session::id). The route takes the token from
    /// the layer's [`sources`](Self::sources) and applies its [`allow_origin`](Self::allow_origin), so that no other
    /// site can post for the user. Streams are refreshed in the same way.
    ///
    /// Put the route outside the layer, and call this after the layer's settings. With several nodes, call
    /// [`Sessions::reachable_through`](crate::Sessions::reachable_through), and the request may go to any of them.
    ///
    /// # Who may refresh a session
    ///
    /// 1. The layer's verifier is asked about the token, with the head of this request. A client without a valid token
    ///    gets 401, and no session is looked up. If the verifier only *forbids* this request, the token is valid, and
    ///    the next steps decide.
    /// 2. The session's own verifier is asked, with the head of the handshake, on the session's own node.
    /// 3. The token must be of the session's subject and issuer. Only then does it count as one of the
    ///    [attempts](Self::refresh_limit), and only then does its sender learn anything of the session. To all others
    ///    the session does not exist. So an id need not be secret.
    ///
    /// A one-time [ticket](crate::Tickets) cannot refresh a session here, because two verifiers are asked.
    ///
    /// # Answers
    ///
    /// | status | body | when |
    /// | --- | --- | --- |
    /// | 200 | `{"expires_in":3600}`, in seconds, or `null` without a deadline | the session has the new token |
    /// | 400, 401, 403, 431, 503 | as for a [`Rejection`] | the request is refused like any other |
    /// | 401 | `invalid_token` | the session's verifier does not accept the token, or it was revoked |
    /// | 401 | `insufficient_user_authentication` | the session's verifier demands a [step-up](crate::StepUp) |
    /// | 403 | `insufficient_scope` | the session's verifier finds the token insufficient |
    /// | 404 | `unknown_session` | there is no such session, it has ended, or it belongs to another subject |
    /// | 405 | none | the method is not `POST` |
    /// | 409 | `refresh_in_progress` | another token came first |
    /// | 429 | `too_many_attempts` | see [`refresh_limit`](Self::refresh_limit); with `Retry-After` |
    /// | 503 | `unavailable` | the verifier, the revocations or the session's node cannot be reached; with `Retry-After` |
    ///
    /// Each body but the first is a problem document (RFC 9457) with the name as `error`. Whatever is refused, the
    /// session keeps its token and its deadline. [`on_rejection`](Self::on_rejection) applies to 400, 401, 403, 431 and
    /// 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoRegistry`] if the layer has no [`sessions`](Self::sessions), and [`ConfigError::ZeroLimit`] if
    /// its [`refresh_limit`](Self::refresh_limit) is zero.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{Router, body::Body, http::{Request, StatusCode}, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, TokenSource, WsAuthLayer};
    /// use axum_ws_auth::test_util::{self, TestToken, handshake};
    /// use futures_util::StreamExt;
    /// use serde_json::Value;
    /// use tower::ServiceExt;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| {
    ///         let id = socket.session().id().to_string();
    ///         let _ = socket.send(id.into()).await;
    ///         while let Some(Ok(_)) = socket.recv().await {}
    ///     })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>())
    ///     .sources([TokenSource::cookie("__Host-session")])?
    ///     .sessions(&Sessions::new());
    /// let refresh = layer.refresh_route()?;
    /// let app = Router::new().route("/chat", any(chat)).layer(layer).route("/refresh/{session}", refresh);
    ///
    /// let cookie = |token: TestToken| format!("__Host-session={}", token.sign());
    /// let request = handshake().path("/chat").header("host", "app.example.com").origin("https://app.example.com");
    /// let request = request.header("cookie", cookie(TestToken::new("alice")));
    /// let (mut socket, _) = test_util::connect(app.clone(), request.build()).await?;
    /// let id = socket.next().await.expect("the session's id")?.into_text()?;
    ///
    /// let post = |token: TestToken, origin: &str| {
    ///     Request::post(format!("/refresh/{id}"))
    ///         .header("host", "app.example.com")
    ///         .header("origin", origin)
    ///         .header("cookie", cookie(token))
    ///         .body(Body::empty())
    /// };
    /// let token = || TestToken::new("alice").expires_in(Duration::from_secs(2 * 3600));
    ///
    /// // Yes: a newer cookie of the same user, from the same site.
    /// let response = app.clone().oneshot(post(token(), "https://app.example.com")?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    ///
    /// // No: another site, or another user.
    /// let response = app.clone().oneshot(post(token(), "https://evil.example")?).await?;
    /// assert_eq!(response.status(), StatusCode::FORBIDDEN);
    /// let response = app.oneshot(post(TestToken::new("bob"), "https://app.example.com")?).await?;
    /// assert_eq!(response.status(), StatusCode::NOT_FOUND);
    /// # Ok(()) }
    /// ```
    pub fn refresh_route<S>(&self) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.refresh_route_in(Form::Standard)
    }

    /// The same as [`refresh_route`](Self::refresh_route), in the form of ASP.NET Core SignalR 11:
    /// `POST {hub}/refresh?id={session}`. Its clients post there by themselves (`withAuthenticationRefresh`), with the
    /// connection token of the negotiation as `id`, which here must be the session's id.
    ///
    /// | status | body | when |
    /// | --- | --- | --- |
    /// | 200 | `{"tokenLifetimeSeconds":3600}`, or `{}` without a deadline | the session has the new token |
    /// | 400 | `{"error":"missing_connection_token"}` | there is no `id` |
    /// | 401 | `invalid_token` | there is no token, it is not valid, or it was revoked |
    /// | 403 | `permission_change_rejected` | the session's verifier finds the token insufficient |
    /// | 404 | `connection_not_found` | there is no such session, it has ended, or it belongs to another subject |
    /// | | `refresh_disabled` | the session's layer has a [`refresh_limit`](Self::refresh_limit) of zero |
    /// | 405 | none | the method is not `POST` |
    ///
    /// Where SignalR has no name, the name is that of [`refresh_route`](Self::refresh_route) or of a [`Rejection`].
    /// [`on_rejection`](Self::on_rejection) does not apply. Centrifugo's protocol has no refresh over HTTP.
    ///
    /// # Errors
    ///
    /// As for [`refresh_route`](Self::refresh_route).
    pub fn signalr_refresh_route<S>(&self) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.refresh_route_in(Form::SignalR)
    }

    fn refresh_route_in<S>(&self, form: Form) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        let config = &self.pipeline.config.session;
        let Some(sessions) = &config.sessions else { return Err(ConfigError::NoRegistry) };
        if config.refresh_limit.0 == 0 {
            return Err(ConfigError::ZeroLimit("refreshes"));
        }
        Ok(route(Arc::clone(&self.pipeline), sessions.clone(), form))
    }

    /// Sets how long a session goes on if the verifier cannot say whether its token is still valid, when it is
    /// [rechecked](crate::Verified::recheck_in()). It then ends with
    /// [`EndReason::Unconfirmed`](crate::EndReason::Unconfirmed).
    ///
    /// The time runs from when a recheck is due and gets no answer, until the next answer. Meanwhile the verifier is
    /// asked again after one second, then two, four, and so on up to 30, or later if its error says so
    /// ([`VerifyError::with_retry_after`](crate::VerifyError::with_retry_after)). Each of these pauses is longer by up
    /// to half, at random. So a session is open without an answer for as long as its `recheck_in` and this time
    /// together.
    ///
    /// Defaults to five minutes: a database or an identity provider restarts or fails over in less, and clients that
    /// reconnected meanwhile would be refused.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_unconfirmed(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroLimit("the time without a recheck"));
        }
        self.config().session_mut().max_unconfirmed = time;
        Ok(self)
    }

    /// Sets how many sessions are [rechecked](crate::Verified::recheck_in()) at the same time. The others wait, in the
    /// order in which they are due.
    ///
    /// Defaults to 32, which is as much as a pool of database connections usually has. It bounds the rate too: if the
    /// verifier takes 20 milliseconds, 32 at a time are 1600 sessions a second, or 96,000 each minute.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_concurrent_rechecks(mut self, rechecks: usize) -> Result<Self, ConfigError> {
        let limit = RecheckLimit::new(rechecks).ok_or(ConfigError::ZeroLimit("rechecks"))?;
        self.config().session_mut().recheck_limit = Arc::new(limit);
        Ok(self)
    }
}
