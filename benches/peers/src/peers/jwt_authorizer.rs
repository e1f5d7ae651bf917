//! jwt-authorizer: a layer, for axum 0.7.

use axum07::{Router, extract::WebSocketUpgrade, response::Response, routing::any};
use futures_util::FutureExt;
use jwt_authorizer::{Authorizer, IntoLayer, JwtAuthorizer, JwtClaims, Validation};

use super::{
    Peer,
    bare::{drain_07, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    keys::{Algorithm, EC_PUBLIC, RSA_PUBLIC, SECRET},
    tokens::{AUDIENCE, Claims, ISSUER},
};

pub(super) const PEER: Peer = Peer::new("jwt-authorizer", |algorithm| {
    let builder: JwtAuthorizer<Claims> = match algorithm {
        Algorithm::Hs256 => JwtAuthorizer::from_secret(SECRET),
        Algorithm::Rs256 => JwtAuthorizer::from_rsa_pem_text(RSA_PUBLIC),
        Algorithm::Es256 => JwtAuthorizer::from_ec_pem_text(EC_PUBLIC),
    };
    let validation = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let built = builder.validation(validation).build().now_or_never().expect("a key in hand is not waited for");
    let authorizer: Authorizer<Claims> = built.expect("a key");
    Some(App::Axum07(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).layer(authorizer.into_layer())))
});

async fn idle(JwtClaims(claims): JwtClaims<Claims>) -> http::StatusCode {
    greet(&claims.sub)
}

async fn socket(_: JwtClaims<Claims>, upgrade: WebSocketUpgrade) -> Response {
    drain_07(upgrade)
}
