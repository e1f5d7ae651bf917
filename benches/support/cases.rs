//! Requests in process, each with its application and the expected status.

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::any,
};
use axum_ws_auth::{
    CachedVerifier, WsAuthLayer,
    test_util::{HandshakeBuilder, handshake},
};
use futures_util::FutureExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::Algorithm;
use tower::ServiceExt;

use super::{
    by_hand::{Answer, check_by_hand_with},
    keys::{Fault, Key},
};

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) app: Router,
    pub(crate) request: HandshakeBuilder,
    pub(crate) expected: StatusCode,
}

/// Who checks the token.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Check {
    Ours,
    /// With a `CachedVerifier` that has seen the token.
    Remembered,
    ByHand(Answer),
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Sent {
    Authorization,
    Pair,
    NoToken,
    Malformed,
    BadSignature,
    Expired,
}

/// Everything that is refused.
pub(crate) const REFUSED: [Sent; 4] = [Sent::NoToken, Sent::Malformed, Sent::BadSignature, Sent::Expired];

/// A handler that does nothing, so the cost of the check shows.
pub(crate) fn idle() -> Router {
    Router::new().route("/", any(async || {}))
}

/// The router that all cases share, without a check.
pub(crate) fn bare() -> Case {
    let request = Sent::Authorization.request(&Key::of(Algorithm::HS256));
    Case::new("bare router".to_owned(), idle(), request, StatusCode::OK)
}

pub(crate) fn case(check: Check, algorithm: Algorithm, sent: Sent) -> Case {
    let key = Key::of(algorithm);
    let good = Sent::Authorization.request(&key);
    let request = sent.request(&key);
    let name = format!("{}: {algorithm:?}, {}", check.name(), sent.name());
    let app = match check {
        Check::Ours => idle().layer(WsAuthLayer::new(key.ours)),
        Check::Remembered => idle().layer(WsAuthLayer::new(CachedVerifier::new(key.ours))),
        Check::ByHand(answer) => check_by_hand_with(key, answer, idle()),
    };
    // Warms up: the verifier remembers the token.
    Case::new(name.clone(), app.clone(), good, StatusCode::OK).assert_answered();
    Case::new(name, app, request, sent.expected())
}

impl Case {
    pub(crate) fn new(name: String, app: Router, request: HandshakeBuilder, expected: StatusCode) -> Self {
        Self { name, app, request, expected }
    }

    pub(crate) fn prepare(&self) -> (Router, Request<Body>) {
        (self.app.clone(), self.request.clone().build())
    }

    /// Panics if the response is not the expected one, because then something else would be measured.
    pub(crate) fn assert_answered(&self) {
        let (app, request) = self.prepare();
        assert_eq!(respond(app, request).status(), self.expected, "{}", self.name);
    }
}

/// The measured function. Nothing waits, so no runtime is involved.
pub(crate) fn respond(app: Router, request: Request<Body>) -> Response {
    app.oneshot(request).now_or_never().expect("nothing waits").unwrap_or_else(|never| match never {})
}

/// The whole response.
pub(crate) fn answer(case: &Case) -> (StatusCode, HeaderMap, Bytes) {
    let (app, request) = case.prepare();
    let (parts, body) = respond(app, request).into_parts();
    let body = body.collect().now_or_never().expect("nothing waits").expect("a body in memory");
    (parts.status, parts.headers, body.to_bytes())
}

impl Check {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Remembered => "ours, remembered",
            Self::ByHand(Answer::Challenge) => "by hand",
            Self::ByHand(Answer::Full) => "by hand, same answer",
        }
    }
}

impl Sent {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "`Authorization`",
            Self::Pair => "pair",
            Self::NoToken => "no token",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad signature",
            Self::Expired => "expired",
        }
    }

    /// Bad tokens are sent in `Authorization`, because the code by hand reads only that.
    fn request(self, key: &Key) -> HandshakeBuilder {
        match self {
            Self::Authorization => handshake().authorization(&key.token(Fault::None)),
            Self::Pair => handshake().bearer_subprotocol(&key.token(Fault::None)),
            Self::NoToken => handshake(),
            Self::Malformed => handshake().authorization("malformed"),
            Self::BadSignature => handshake().authorization(&key.token(Fault::Signature)),
            Self::Expired => handshake().authorization(&key.token(Fault::Expired)),
        }
    }

    const fn expected(self) -> StatusCode {
        match self {
            Self::Authorization | Self::Pair => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}
