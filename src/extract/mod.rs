//! What handlers ask for.

mod first_message;
mod upgrade;

use std::any::type_name;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, ws::rejection::WebSocketUpgradeRejection},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

pub use upgrade::AuthenticatedUpgrade;

use crate::{
    handshake::{Anonymous, log_refusal},
    rejection::Rejection,
    session::Session,
    telemetry,
};

#[allow(unused_imports, reason = "for the docs")]
use axum::extract::ws::WebSocketUpgrade;

/// The session of an authenticated request, for handlers.
///
/// [`AuthenticatedUpgrade`] is axum's [`WebSocketUpgrade`] with the session. [`Authenticated`] is the session alone,
/// for handlers that use axum's extractor or another library's. `Option<Authenticated<C>>` is for routes behind an
/// [`optional`](crate::WsAuthLayer::optional) layer.
///
/// If the layer is missing or its verifier has other claims, these extractors answer with 500 and log an error. So a
/// route without its layer does not run unauthenticated.
///
/// # Example
///
/// ```
/// use axum::{Router, extract::ws::WebSocketUpgrade, http::StatusCode, response::Response, routing::any};
/// use axum_ws_auth::{Authenticated, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use serde_json::Value;
/// use tower::ServiceExt;
///
/// async fn chat(visitor: Option<Authenticated<Value>>, upgrade: WebSocketUpgrade) -> Response {
///     let name = visitor.and_then(|Authenticated(session)| session.subject().map(str::to_owned));
///     upgrade.on_upgrade(async move |mut socket| {
///         let greeting = format!("hello, {}", name.as_deref().unwrap_or("stranger"));
///         let _ = socket.send(greeting.into()).await;
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).optional();
/// let app = Router::new().route("/", any(chat)).layer(layer);
///
/// // Yes, with a token and without.
/// let token = TestToken::new("alice").sign();
/// for (handshake, greeting) in
///     [(handshake().bearer_subprotocol(&token), "hello, alice"), (handshake(), "hello, stranger")]
/// {
///     let (mut socket, _) = test_util::connect(app.clone(), handshake.build()).await?;
///     let message = futures_util::StreamExt::next(&mut socket).await.expect("a greeting")?;
///     assert_eq!(message.to_text()?, greeting);
/// }
///
/// // No, with a bad token.
/// let response = app.oneshot(handshake().bearer_subprotocol("bad").build()).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
///
/// // A route without its layer.
/// let app = Router::new().route("/", any(chat));
/// assert_eq!(app.oneshot(handshake().build()).await?.status(), StatusCode::INTERNAL_SERVER_ERROR);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Authenticated<C>(pub Session<C>);

/// Why [`Authenticated`] or [`AuthenticatedUpgrade`] could not be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticatedRejection {
    /// The layer let the request through without a token, because it is optional or for handshakes only. Answered with
    /// the standard 401.
    #[error(transparent)]
    Anonymous(Rejection),
    /// The route has no [`WsAuthLayer`](crate::WsAuthLayer), or its verifier has other claims. Answered with 500.
    #[error("no session with claims of type `{claims}` in the request")]
    NoSession {
        /// The type that the handler asked for.
        claims: &'static str,
    },
    /// The request is authenticated but is no WebSocket handshake. Answered as axum does.
    #[error(transparent)]
    Upgrade(WebSocketUpgradeRejection),
}

impl IntoResponse for AuthenticatedRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Anonymous(rejection) => rejection.into_response(),
            Self::NoSession { .. } => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Self::Upgrade(rejection) => rejection.into_response(),
        }
    }
}

impl<C, S> FromRequestParts<S> for Authenticated<C>
where
    C: Send + Sync + 'static,
    S: Sync,
{
    type Rejection = AuthenticatedRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        session_of(parts).map(Self).inspect_err(|error| {
            if let (AuthenticatedRejection::Anonymous(rejection), Some(Anonymous(config))) =
                (error, parts.extensions.get())
            {
                log_refusal(config, rejection, parts);
            }
        })
    }
}

impl<C, S> OptionalFromRequestParts<S> for Authenticated<C>
where
    C: Send + Sync + 'static,
    S: Sync,
{
    type Rejection = AuthenticatedRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        match session_of(parts) {
            Ok(session) => Ok(Some(Self(session))),
            Err(AuthenticatedRejection::Anonymous(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn session_of<C: Send + Sync + 'static>(parts: &Parts) -> Result<Session<C>, AuthenticatedRejection> {
    if let Some(session) = parts.extensions.get::<Session<C>>() {
        return Ok(session.clone());
    }
    if let Some(Anonymous(config)) = parts.extensions.get::<Anonymous>() {
        let rejection = Rejection::missing_token(&config.challenges, parts.version);
        return Err(AuthenticatedRejection::Anonymous(rejection));
    }
    let claims = type_name::<C>();
    telemetry::no_session(claims);
    Err(AuthenticatedRejection::NoSession { claims })
}
