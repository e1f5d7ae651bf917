//! tower-oauth2-resource-server: a layer, with its keys in hand.

use futures_util::FutureExt;
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};

use super::{Peer, by_hand::routes};
use crate::{
    app::App,
    tokens::{AUDIENCE, Claims, ISSUER},
};

pub(super) const PEER: Peer = Peer::new("tower-oauth2-resource-server", |algorithm| {
    let tenant = TenantConfiguration::static_builder(algorithm.jwks())
        // HMAC is not among its defaults.
        .allowed_algorithms(&[algorithm.jwt11()])
        .claims_validation(ClaimsValidationSpec::new().exp(true).iss(ISSUER).aud(&vec![AUDIENCE.to_owned()]))
        .build()
        .expect("a set of keys");
    let built = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build().now_or_never();
    let server = built.expect("keys in hand are not waited for").expect("a tenant");
    Some(App::Axum(routes().layer(server.into_layer())))
});
