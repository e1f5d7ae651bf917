//! This crate.

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, CachedVerifier, WsAuthLayer,
    jwt::{JwtVerifier, JwtVerifierBuilder},
};

use super::{Peer, bare::greet};
use crate::{
    app::{App, IDLE, SOCKET},
    keys::{Algorithm, EC_PUBLIC, RSA_PUBLIC, SECRET},
    tokens::{AUDIENCE, Claims, ISSUER},
};

pub(super) const VERIFIED: Peer =
    Peer::new("axum-ws-auth", |algorithm| Some(app(WsAuthLayer::new(verifier(algorithm)))));
pub(super) const CACHED: Peer = Peer::new("axum-ws-auth, `CachedVerifier`", |algorithm| {
    Some(app(WsAuthLayer::new(CachedVerifier::new(verifier(algorithm)))))
});

fn app(layer: WsAuthLayer) -> App {
    async fn socket(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    let idle = async |Authenticated(session): Authenticated<Claims>| greet(&session.claims().sub);
    App::Axum(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).layer(layer))
}

fn verifier(algorithm: Algorithm) -> JwtVerifier<Claims> {
    let builder: JwtVerifierBuilder<Claims> = JwtVerifier::builder().issuer(ISSUER).audience(AUDIENCE);
    let builder = match algorithm {
        Algorithm::Hs256 => builder.secret(SECRET.as_bytes()),
        Algorithm::Rs256 => builder.pem(RSA_PUBLIC),
        Algorithm::Es256 => builder.pem(EC_PUBLIC),
    };
    builder.expect("a key").build().expect("a key and a backend")
}
