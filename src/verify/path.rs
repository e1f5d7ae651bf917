use std::{
    error::Error,
    fmt,
    future::Future,
    pin::pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use axum::extract::{FromRequestParts, OriginalUri, RawPathParams};
use http::{Request, request::Parts};

use super::VerifyError;

/// The path parameters of a request, percent-decoded: `room` for the route `/rooms/{room}`.
///
/// For checks of the path in [`authorize`](crate::Verifier::authorize),
/// [`authorize_async`](crate::Verifier::authorize_async) and verifiers. A handler takes axum's `Path` instead.
///
/// # Which parameters there are
///
/// axum's router adds the parameters to the request when it has matched a route. So it depends on where the layer is:
///
/// | the layer | parameters |
/// | --- | --- |
/// | `Router::layer`, `Router::route_layer`, `MethodRouter::layer` | those of the route, and of the prefixes that it is nested at |
/// | around a router: `layer.layer(router)`, `nest_service(prefix, layer.layer(router))` | only those of the prefix |
/// | in front of a fallback, or of a service that is no router | none |
///
/// A session keeps its parameters. A check sees the same ones again when the session is
/// [refreshed](crate::Session::refresh), and when it begins with a [first message](crate::FirstMessage).
///
/// A check that needs a parameter must refuse the request if the parameter is missing: [`parse`](Self::parse) does.
///
/// # Example
///
/// ```
/// use axum::{Router, http::StatusCode, routing::any};
/// use axum_ws_auth::{PathParams, VerifyError, Verifier, WsAuthLayer};
/// use axum_ws_auth::test_util::{self, TestToken, handshake};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = test_util::verifier::<serde_json::Value>().authorize(|claims, parts| {
///     let team: String = PathParams::of(parts).parse("team")?;
///     if claims["team"] == team { Ok(()) } else { Err(VerifyError::forbidden()) }
/// });
/// let app = Router::new().route("/teams/{team}", any(test_util::echo)).layer(WsAuthLayer::new(verifier));
///
/// let token = TestToken::new("alice").claim("team", "käse").sign();
/// for (path, status) in [("/teams/k%C3%A4se", StatusCode::SWITCHING_PROTOCOLS), ("/teams/wein", StatusCode::FORBIDDEN)] {
///     let request = handshake().path(path).bearer_subprotocol(&token).build();
///     assert_eq!(app.clone().oneshot(request).await?.status(), status);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PathParams(Arc<[(Box<str>, Box<str>)]>);

impl PathParams {
    /// The parameters of this request. There are none if axum's router has not added any, or one of them is not UTF-8.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_else(|| {
            // axum's extractor needs a request that it may change.
            let (mut copy, ()) = Request::new(()).into_parts();
            copy.extensions = parts.extensions.clone();
            Self::from_pairs(matched_params(&mut copy).iter().flatten())
        })
    }

    /// The parameter of this name. `None` if there is none, or more than one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.iter().filter(|(own, _)| *own == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// The parameter of this name, as a number or another type.
    ///
    /// # Errors
    ///
    /// [`VerifyError::forbidden`], if [`get`](Self::get) finds no parameter, or it does not parse. The layer answers
    /// with 403.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, VerifyError> {
        let value = self.get(name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| VerifyError::forbidden().with_source(NoSuchParam(name.into())))
    }

    /// Names and values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The path as the client sent it, with the prefixes that routers are nested at.
pub(crate) fn client_path(parts: &Parts) -> &str {
    match parts.extensions.get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path(),
        None => parts.uri.path(),
    }
}

/// The parameters that axum's router has added. `None` if one of them is not UTF-8.
pub(crate) fn matched_params(parts: &mut Parts) -> Option<RawPathParams> {
    let extraction = pin!(RawPathParams::from_request_parts(parts, &()));
    // The extractor never waits.
    match extraction.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(params) => params.ok(),
        Poll::Pending => None,
    }
}

/// The cause in a log if a path is refused.
#[derive(Debug)]
struct NoSuchParam(Box<str>);

impl fmt::Display for NoSuchParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path has no valid parameter `{}`", self.0)
    }
}

impl Error for NoSuchParam {}
