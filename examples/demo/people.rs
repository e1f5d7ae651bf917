//! Three people, and the tokens that they get.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use axum_ws_auth::{
    Authenticated, ConfigError,
    jwt::JwtVerifier,
    test_util::{TestToken, base64url},
};
use serde_json::json;

use super::app::Demo;

pub(crate) const COOKIE: &str = "session";
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
const ISSUER: &str = "https://id.demo.example";
const AUDIENCE: &str = "chat";

/// What the server reads in a token. Tickets keep a copy.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Claims {
    /// Who it is.
    pub(crate) sub: String,
    /// The sign-in at the identity provider. Here: the device.
    pub(crate) sid: String,
}

/// Plays the identity provider.
pub(crate) struct Issuer {
    /// Random for each run, so that no token outlives it.
    key: [u8; 32],
    pub(crate) lifetime: Duration,
}

impl Issuer {
    pub(crate) fn new(lifetime: Duration) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { key, lifetime })
    }

    pub(crate) fn verifier(&self) -> Result<JwtVerifier<Claims>, ConfigError> {
        JwtVerifier::builder()
            .secret(&self.key)?
            .issuer(ISSUER)
            .audience(AUDIENCE)
            // So that the bar on the page ends on time. Elsewhere keep the default of 30 seconds, because clocks
            // differ.
            .leeway(Duration::ZERO)
            .build()
    }

    /// A token that is not signed yet. Your identity provider does this.
    pub(crate) fn token(&self, person: &str, device: &str) -> TestToken {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TestToken::new(person)
            .claim("iss", ISSUER)
            .claim("aud", AUDIENCE)
            .claim("sid", device)
            // With its fraction: a token of the second in which the user signed out may be older or newer than that.
            .claim("iat", now.as_secs_f64())
            .expires_in(self.lifetime)
    }

    pub(crate) fn sign(&self, token: TestToken) -> String {
        token.sign_with(&self.key)
    }

    /// Answers with a token, and with the same in a cookie that no script can read. A real server does one of both.
    fn answer(&self, person: &str, device: &str) -> Response {
        let token = self.sign(self.token(person, device));
        let lifetime = self.lifetime.as_secs();
        let cookie = format!("{COOKIE}={token}; Path=/device/{device}; Max-Age={lifetime}; HttpOnly; SameSite=Strict");
        let body = json!({ "person": person, "device": device, "token": token, "lifetime": lifetime });
        let headers: [(HeaderName, &str); 2] = [(SET_COOKIE, &cookie), (axum::http::header::CACHE_CONTROL, "no-store")];
        (headers, Json(body)).into_response()
    }
}

#[derive(serde::Deserialize)]
pub(crate) struct SignIn {
    person: String,
}

/// Signs in. There are no passwords here.
pub(crate) async fn sign_in(State(demo): State<Demo>, Json(SignIn { person }): Json<SignIn>) -> Response {
    let mut device = [0; 9];
    if !PEOPLE.contains(&&*person) || getrandom::fill(&mut device).is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    demo.issuer.answer(&person, &base64url(device))
}

/// Gives whoever still has a valid token the next one. A real page asks its identity provider, or its server, which has
/// a refresh token for that.
pub(crate) async fn renew(State(demo): State<Demo>, Authenticated(session): Authenticated<Claims>) -> Response {
    let claims = session.claims();
    demo.issuer.answer(&claims.sub, &claims.sid)
}

/// Names this sign-in to [`Revocations`](axum_ws_auth::Revocations).
pub(crate) fn sign_in_of(device: &str) -> axum_ws_auth::ScopedId {
    axum_ws_auth::ScopedId::of(ISSUER, device)
}
