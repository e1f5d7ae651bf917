//! The same two routes, protected by each peer as its documentation says.

mod aliri;
mod axum_gate;
mod axum_jwt_auth;
mod axum_security;
mod bare;
mod by_hand;
mod jwt_authorizer;
mod ours;
mod tower_oauth2;

use jsonwebtoken::Header;
use serde_json::{Map, Value};

use crate::{
    app::App,
    keys::Algorithm,
    tokens::{badly_signed, claims, header, sign},
};

/// A way to protect a route.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The application; none where the peer does not know the algorithm.
    pub(crate) app: fn(Algorithm) -> Option<App>,
    /// What the claims need besides what all have.
    more_claims: fn(&mut Map<String, Value>),
}

impl Peer {
    const fn new(name: &'static str, app: fn(Algorithm) -> Option<App>) -> Self {
        Self { name, app, more_claims: |_| {} }
    }

    pub(crate) fn good_token(&self, algorithm: Algorithm) -> String {
        self.token(algorithm, |_, _| {})
    }

    /// A token in which something is not as in a good one.
    pub(crate) fn token(&self, algorithm: Algorithm, change: fn(&mut Header, &mut Map<String, Value>)) -> String {
        let (mut header, mut claims) = (header(algorithm), claims());
        change(&mut header, &mut claims);
        (self.more_claims)(&mut claims);
        sign(algorithm, &header, &claims)
    }

    pub(crate) fn badly_signed_token(&self, algorithm: Algorithm) -> String {
        let mut claims = claims();
        (self.more_claims)(&mut claims);
        badly_signed(algorithm, &claims)
    }
}

/// This crate first: the others are what it is compared with.
pub(crate) static ALL: [Peer; 10] = [
    ours::VERIFIED,
    ours::CACHED,
    by_hand::FROM_FN,
    by_hand::TOWER_HTTP,
    axum_jwt_auth::PEER,
    jwt_authorizer::PEER,
    tower_oauth2::PEER,
    aliri::PEER,
    axum_gate::PEER,
    axum_security::PEER,
];

/// What they stand on, for either version of axum; and with the buffer that this crate reads into, without this crate.
pub(crate) static BARE: [Peer; 3] = [bare::AXUM, bare::AXUM_07, bare::AXUM_SMALL_BUFFER];

/// With that buffer, and protected: only for sockets.
pub(crate) static SMALL_BUFFER: Peer = by_hand::FROM_FN_SMALL_BUFFER;
