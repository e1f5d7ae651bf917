//! aliri_tower: a layer, with cryptography and a JWT of its own family.

use ::aliri::{
    Jwks, jwa,
    jwt::{Audience, Audiences, CoreClaims, CoreValidator, Issuer, IssuerRef, Subject, SubjectRef},
};
use aliri_clock::UnixTime;
use aliri_oauth2::{Authority, HasScope, scope::Scope};
use aliri_tower::Oauth2Authorizer;
use axum::{Extension, Router, body::Body, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use serde::Deserialize;

use super::{
    Peer,
    bare::{drain, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    keys::Algorithm,
    tokens::{AUDIENCE, ISSUER},
};

pub(super) const PEER: Peer = Peer::new("aliri_tower", |algorithm| {
    let approved = match algorithm {
        Algorithm::Hs256 => jwa::Algorithm::HS256,
        Algorithm::Rs256 => jwa::Algorithm::RS256,
        #[cfg(feature = "aliri-es256")]
        Algorithm::Es256 => jwa::Algorithm::ES256,
        #[cfg(not(feature = "aliri-es256"))]
        Algorithm::Es256 => return None,
    };
    let keys: Jwks = serde_json::from_str(&algorithm.jwks()).expect("a set of keys");
    let validator = CoreValidator::default()
        .add_approved_algorithm(approved)
        .add_allowed_audience(Audience::from_static(AUDIENCE))
        .require_issuer(Issuer::from_static(ISSUER));
    let authorizer = Oauth2Authorizer::new().with_claims::<Claims>().with_terse_error_handler::<Body>();
    let layer = authorizer.jwt_layer(Authority::new(keys, validator));
    Some(App::Axum(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).layer(layer)))
});

/// Of one's own, as its documentation has them: its `BasicClaimsWithScope` takes longer to parse.
#[derive(Clone, Deserialize)]
struct Claims {
    iss: Issuer,
    aud: Audiences,
    sub: Subject,
    exp: UnixTime,
    nbf: Option<UnixTime>,
    scope: Scope,
}

impl CoreClaims for Claims {
    fn nbf(&self) -> Option<UnixTime> {
        self.nbf
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for Claims {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

async fn idle(Extension(claims): Extension<Claims>) -> http::StatusCode {
    greet(claims.sub.as_str())
}

async fn socket(_: Extension<Claims>, upgrade: WebSocketUpgrade) -> Response {
    drain(upgrade)
}
