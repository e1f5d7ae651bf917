//! The usual way without this crate: a middleware that reads `Authorization` and calls jsonwebtoken.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::{AUDIENCE, Claims, DEFAULT_PROVIDER, ISSUER, keys::Key};

/// The response to a refusal.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// A challenge, as most applications write it.
    Challenge,
    /// Everything that the layer's response has, so only the check differs.
    Full,
}

pub(crate) fn check_by_hand(app: Router) -> Router {
    check_by_hand_with(Key::of(Algorithm::HS256), Answer::Challenge, app)
}

/// The same with another key and response.
pub(crate) fn check_by_hand_with(key: Key, answer: Answer, app: Router) -> Router {
    // jsonwebtoken's own choice panics if feature unification compiles both backends. Fails if one is installed
    // already, which is fine.
    let _ = DEFAULT_PROVIDER.install_default();
    let mut validation = Validation::new(key.algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    app.layer(from_fn_with_state(Arc::new(Rules { key: key.by_hand, validation, answer }), check))
}

struct Rules {
    key: DecodingKey,
    validation: Validation,
    answer: Answer,
}

async fn check(State(rules): State<Arc<Rules>>, mut request: Request, next: Next) -> Response {
    let line = request.headers().get(AUTHORIZATION).and_then(|line| line.to_str().ok());
    let Some(token) = line.and_then(|line| line.strip_prefix("Bearer ")) else {
        return rules.answer.no_token();
    };
    let Ok(data) = jsonwebtoken::decode::<Claims>(token, &rules.key, &rules.validation) else {
        return rules.answer.bad_token();
    };
    request.extensions_mut().insert(data.claims);
    next.run(request).await
}

impl Answer {
    fn no_token(self) -> Response {
        match self {
            Self::Challenge => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
            Self::Full => full(
                r#"Bearer realm="websocket""#,
                r#"{"title":"Unauthorized","status":401,"detail":"a token is required","error":"missing_token"}"#,
            ),
        }
    }

    fn bad_token(self) -> Response {
        match self {
            Self::Challenge => {
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)]).into_response()
            }
            Self::Full => full(
                r#"Bearer realm="websocket", error="invalid_token""#,
                r#"{"title":"Unauthorized","status":401,"detail":"the token is not valid","error":"invalid_token"}"#,
            ),
        }
    }
}

fn full(challenge: &'static str, body: &'static str) -> Response {
    let headers: [(HeaderName, &str); 3] =
        [(CONTENT_TYPE, "application/problem+json"), (CONNECTION, "close"), (WWW_AUTHENTICATE, challenge)];
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}
