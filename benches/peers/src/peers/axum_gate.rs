//! axum-gate: a layer, for tokens that hold an account of its own.

use std::sync::Arc;

use axum::{Extension, Router, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_gate::{
    accounts::Account,
    codecs::jwt::{JsonWebToken, JsonWebTokenOptions, JwtClaims},
    prelude::{Gate, Group, Role},
};
use serde_json::{Map, Value};

use super::{
    Peer,
    bare::{drain, greet},
};
use crate::{
    app::{App, IDLE, SOCKET},
    tokens::{ISSUER, KEY_ID, SUBJECT, object},
};

type Codec = JsonWebToken<JwtClaims<Account<Role, Group>>>;

pub(super) const PEER: Peer = Peer {
    name: "axum-gate",
    app: |algorithm| {
        let options = JsonWebTokenOptions {
            enc_key: algorithm.encoding_key_10(),
            dec_key: algorithm.decoding_key_10(),
            // A token whose header is another one is refused.
            header: Some(jwt10::Header { kid: Some(KEY_ID.to_owned()), ..jwt10::Header::new(algorithm.jwt10()) }),
            validation: Some(algorithm.validation_10()),
        };
        let codec = Arc::new(Codec::new_with_options(options));
        let gate = Gate::bearer::<Codec, Role, Group>(ISSUER, codec).require_login();
        Some(App::Axum(Router::new().route(IDLE, any(idle)).route(SOCKET, any(socket)).layer(gate)))
    },
    more_claims,
};

/// The account; and the audience as a list, because it takes no other.
fn more_claims(claims: &mut Map<String, Value>) {
    let account = Account::<Role, Group>::new(SUBJECT, &[Role::User], &[]);
    claims.extend(object(serde_json::to_value(account).expect("JSON")));
    if let Some(audience) = claims.get_mut("aud") {
        *audience = Value::Array(vec![audience.take()]);
    }
}

async fn idle(Extension(account): Extension<Account<Role, Group>>) -> http::StatusCode {
    greet(&account.user_id)
}

async fn socket(_: Extension<Account<Role, Group>>, upgrade: WebSocketUpgrade) -> Response {
    drain(upgrade)
}
