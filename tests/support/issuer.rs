//! An issuer that publishes keys, with scripted replies: in process, for paused time, or over TCP.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use axum_ws_auth::{
    Token, Verifier, VerifyError, VerifyInput,
    jwks::{FetchJwks, IssuerKeys, IssuerStatus},
    jwt::{Algorithm, JwtVerifier, JwtVerifierBuilder},
    test_util::{base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::EncodingKey;
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, task::AbortHandle};
use tower::ServiceExt;

pub(crate) const METADATA: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";
pub(crate) const NOW: u64 = 1_700_000_000;
/// In the year 2100, so tests can use either clock.
pub(crate) const EXP: u64 = 4_102_444_800;

/// A key pair for signing tokens, with a public half to publish.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    pair: Pair,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    Rsa,
    P256,
    P384,
    Ed25519,
    /// RFC 8032 §7.1, tests 1 and 2: more keys of the same kind.
    EdTest1,
    EdTest2,
}

impl Key {
    pub(crate) fn new(pair: Pair, id: &str) -> Self {
        Self { id: Some(id.to_owned()), pair }
    }

    pub(crate) fn without_id(pair: Pair) -> Self {
        Self { id: None, pair }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa => Algorithm::RS256,
            Pair::P256 => Algorithm::ES256,
            Pair::P384 => Algorithm::ES384,
            _ => Algorithm::EdDSA,
        }
    }

    /// The public half, without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match self.pair {
            Pair::Rsa => {
                let der = der(include_str!("../test_keys/rsa2048.pkcs1.pub.pem"));
                let (n, e) =
                    (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&der).expect("an RSA public key");
                json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)})
            }
            Pair::P256 => ec("P-256", include_str!("../test_keys/p256.pub.pem"), 32),
            Pair::P384 => ec("P-384", include_str!("../test_keys/p384.pub.pem"), 48),
            Pair::Ed25519 => {
                let point = end_of(include_str!("../test_keys/ed25519.pub.pem"), 32);
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(point)})
            }
            Pair::EdTest1 => ed("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
            Pair::EdTest2 => ed("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
        };
        if let Some(id) = &self.id {
            jwk["kid"] = id.as_str().into();
        }
        jwk
    }

    /// A token of this issuer, valid if the key is.
    pub(crate) fn token(&self, issuer: &str) -> String {
        self.sign(&claims(issuer))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(self.algorithm(), claims)
    }

    pub(crate) fn sign_with(&self, algorithm: Algorithm, claims: &Value) -> String {
        let message = message(&format!("{algorithm:?}"), self.id.as_deref(), claims);
        signed(&message, algorithm, &self.private())
    }

    /// A token with this `typ`, or none, and these claims, which need not be well-formed.
    pub(crate) fn sign_as(&self, token_type: Option<&str>, claims: &str) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm()), "kid": self.id});
        if let Some(token_type) = token_type {
            header["typ"] = token_type.into();
        }
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims));
        signed(&message, self.algorithm(), &self.private())
    }

    pub(crate) fn private(&self) -> EncodingKey {
        let ed = |seed| {
            // RFC 8410 §7: the seed comes last.
            let der = [hex("302e020100300506032b657004220420"), hex(seed)].concat();
            EncodingKey::from_ed_der(&der)
        };
        match self.pair {
            Pair::Rsa => EncodingKey::from_rsa_pem(include_bytes!("../test_keys/rsa2048.pem")).expect("a key"),
            Pair::P256 => EncodingKey::from_ec_pem(include_bytes!("../test_keys/p256.pem")).expect("a key"),
            Pair::P384 => EncodingKey::from_ec_pem(include_bytes!("../test_keys/p384.pem")).expect("a key"),
            Pair::Ed25519 => EncodingKey::from_ed_pem(include_bytes!("../test_keys/ed25519.pem")).expect("a key"),
            Pair::EdTest1 => ed("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
            Pair::EdTest2 => ed("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
        }
    }
}

pub(crate) fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "chat", "sub": "alice", "exp": EXP})
}

/// A token without a valid signature, well-formed in every other way.
pub(crate) fn forged(issuer: &str, id: &str) -> String {
    format!("{}.{}", message("EdDSA", Some(id), &claims(issuer)), base64url([7; 64]))
}

/// The signing input of a token.
pub(crate) fn message(algorithm: &str, id: Option<&str>, claims: &Value) -> String {
    let mut header = json!({"alg": algorithm, "typ": "JWT"});
    if let Some(id) = id {
        header["kid"] = id.into();
    }
    format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()))
}

pub(crate) fn signed(message: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("a signing key");
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).expect("a signature")))
}

pub(crate) fn set(keys: &[Key]) -> Value {
    json!({"keys": keys.iter().map(Key::jwk).collect::<Value>()})
}

/// The reply to requests for one path.
#[derive(Clone)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    etag: Option<&'static str>,
    gate: Option<Gate>,
}

impl Reply {
    pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self { status, headers: Vec::new(), body: body.into(), etag: None, gate: None }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::raw(200, value.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn keys(keys: &[Key]) -> Self {
        Self::json(&set(keys))
    }

    pub(crate) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self::raw(status, "").header("location", to)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds an `ETag`, and replies `304` to a matching conditional request.
    pub(crate) fn etag(mut self, etag: &'static str) -> Self {
        self.etag = Some(etag);
        self.header("etag", etag)
    }

    /// Holds this reply, as it was at the time of the request, until the gate opens.
    pub(crate) fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// Holds replies until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }
}

#[derive(Clone)]
pub(crate) struct TestIssuer {
    name: String,
    state: Arc<State>,
    server: Option<AbortHandle>,
}

#[derive(Default)]
struct State {
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<(String, HeaderMap)>>,
}

impl TestIssuer {
    /// Reachable only by [`client`](Self::client).
    pub(crate) fn in_process(name: &str, keys: &[Key]) -> Self {
        let issuer = Self { name: name.to_owned(), state: Arc::default(), server: None };
        issuer.reply(METADATA, Reply::json(&issuer.metadata()));
        issuer.publish(keys);
        issuer
    }

    /// Listens on a port, which is part of its name.
    pub(crate) async fn over_tcp(keys: &[Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let name = format!("http://{}", listener.local_addr().expect("an address"));
        let mut issuer = Self::in_process(&name, keys);
        let app = issuer.app();
        issuer.server = Some(tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle());
        issuer
    }

    /// Stops listening, once the runtime has aborted the server task.
    pub(crate) fn stop(&self) {
        self.server.as_ref().expect("it is over TCP").abort();
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.name)
    }

    pub(crate) fn metadata(&self) -> Value {
        json!({"issuer": self.name, "jwks_uri": self.url(KEYS), "response_types_supported": ["code"]})
    }

    pub(crate) fn publish(&self, keys: &[Key]) {
        self.reply(KEYS, Reply::keys(keys));
    }

    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.state.replies.lock().expect("no panic").insert(path.to_owned(), reply);
    }

    /// The number of requests for the key set.
    pub(crate) fn fetches(&self) -> usize {
        self.fetches_of(KEYS)
    }

    pub(crate) fn fetches_of(&self, path: &str) -> usize {
        self.requests_for(path).len()
    }

    /// The headers of the requests for this path.
    pub(crate) fn requests_for(&self, path: &str) -> Vec<HeaderMap> {
        let requests = self.state.requests.lock().expect("no panic");
        requests.iter().filter(|(requested, _)| requested == path).map(|(_, headers)| headers.clone()).collect()
    }

    /// The number of all requests.
    pub(crate) fn request_count(&self) -> usize {
        self.state.requests.lock().expect("no panic").len()
    }

    /// In process, by discovery.
    pub(crate) fn discovered(&self) -> IssuerKeys {
        IssuerKeys::discover(self.name()).fetch(self.client())
    }

    /// In process, without discovery.
    pub(crate) fn keys(&self) -> IssuerKeys {
        IssuerKeys::jwks_url(self.name(), self.url(KEYS)).fetch(self.client())
    }

    /// Sends every request to this issuer, whatever host the URL has.
    pub(crate) fn client(&self) -> impl FetchJwks + use<> {
        let app = self.app();
        move |request: http::Request<()>| {
            let app = app.clone();
            async move {
                let response = app.oneshot(request.map(|()| Body::empty())).await?;
                let (parts, body) = response.into_parts();
                Ok(http::Response::from_parts(parts, body.collect().await?.to_bytes().to_vec()))
            }
        }
    }

    fn app(&self) -> Router {
        let state = Arc::clone(&self.state);
        Router::new().fallback(async move |request: Request| state.respond(request).await)
    }
}

impl State {
    async fn respond(&self, request: Request) -> Response {
        assert_eq!(request.method(), Method::GET);
        let path = request.uri().path().to_owned();
        self.requests.lock().expect("no panic").push((path.clone(), copy(request.headers())));
        let reply = self.replies.lock().expect("no panic").get(&path).cloned();
        let reply = reply.unwrap_or_else(|| Reply::raw(404, "nothing here"));
        if let Some(gate) = &reply.gate {
            let _ = gate.0.acquire().await;
        }
        let known = request.headers().get("if-none-match").and_then(|value| value.to_str().ok());
        let is_unchanged = reply.etag.is_some() && known == reply.etag;
        let status = if is_unchanged { StatusCode::NOT_MODIFIED } else { reply.status };
        let mut response = Response::builder().status(status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        response.body(if is_unchanged { Body::empty() } else { Body::from(reply.body) }).expect("a response")
    }
}

/// Headers that do not keep the read buffer of their connection, as a clone would.
fn copy(headers: &HeaderMap) -> HeaderMap {
    let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).expect("it was one");
    headers.iter().map(|(name, value)| (name.clone(), copy(value))).collect()
}

/// A verifier with the audience of [`claims`].
pub(crate) fn verifier(keys: impl IntoIterator<Item = IssuerKeys>) -> JwtVerifierBuilder<Value> {
    keys.into_iter().fold(JwtVerifier::builder().audience("chat"), JwtVerifierBuilder::issuer_keys)
}

pub(crate) async fn verify(verifier: &JwtVerifier<Value>, token: &str) -> Result<(), VerifyError> {
    verify_at(verifier, token, UNIX_EPOCH + Duration::from_secs(NOW)).await
}

pub(crate) async fn verify_at(verifier: &JwtVerifier<Value>, token: &str, now: SystemTime) -> Result<(), VerifyError> {
    let (parts, _) = handshake().build().into_parts();
    verifier.verify(VerifyInput::new(&Token::new(token), &parts, now)).await.map(|_| ())
}

/// The status of a verifier with one issuer.
pub(crate) fn status(verifier: &JwtVerifier<Value>) -> IssuerStatus {
    verifier.status().into_iter().next().expect("an issuer")
}

fn ec(curve: &str, public: &str, len: usize) -> Value {
    let point = end_of(public, 2 * len);
    let (x, y) = point.split_at(len);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

fn ed(point: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(hex(point))})
}

/// The last bytes of a public key's DER, which hold the point.
pub(crate) fn end_of(pem: &str, len: usize) -> Vec<u8> {
    let mut der = der(pem);
    der.split_off(der.len() - len)
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("a PEM body")
}

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).expect("hex");
    digits.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |byte, next| byte * 16 + digit(*next))).collect()
}
