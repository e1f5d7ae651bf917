//! A server that fetches its keys from an issuer, while the issuer rotates them every two seconds and clients keep
//! connecting. The issuer signs with a new key at once, so the server learns of the key from the first token.
//!
//! ```sh
//! cargo run --example oidc --features jwks
//! ```
//!
//! It runs for 15 seconds, or for the given number, and fails if a client is refused.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{Json, Router, extract::State, response::Response, routing::any, routing::get, serve::ListenerExt};
use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer, jwks::IssuerKeys, jwt::JwtVerifier, test_util::base64url};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(15), |seconds| seconds.parse())?;
    let issuer = Issuer::start().await?;

    // For a real issuer, `JwtVerifier::discover(url)` and its defaults are enough. Here the issuer rotates its keys
    // more often than the default cool-down of 10 seconds allows for.
    let keys = IssuerKeys::discover(&issuer.url).cool_down(Duration::from_secs(1));
    let verifier = JwtVerifier::<Claims>::builder().issuer_keys(keys).audience("chat").await?;
    let app = Router::new().route("/chat", any(chat)).layer(WsAuthLayer::new(verifier.clone()));
    // For monitoring.
    let app = app.route("/health", get(async move || Json(verifier.status())));

    let listener = TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let server = axum::serve::Listener::local_addr(&listener)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    println!("the issuer is {}, the server's health is at http://{server}/health", issuer.url);

    let connected = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (issuer, connected) = (Arc::clone(&issuer), Arc::clone(&connected));
            tokio::spawn(async move {
                loop {
                    let mut request = format!("ws://{server}/chat").into_client_request()?;
                    let token = issuer.token(&format!("client {number}"));
                    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
                    let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
                    socket.close(None).await?;
                    connected.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                #[expect(unreachable_code, reason = "names the error type")]
                Result::<()>::Ok(())
            })
        })
        .collect();

    let rotations = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            issuer.rotate();
            println!("a new key; {} clients so far, {} fetches", connected.load(Relaxed), issuer.fetches());
        }
    };
    let _ = timeout(Duration::from_secs(seconds), rotations).await;
    for client in clients {
        // A client that has finished was refused.
        if client.is_finished() {
            client.await??;
        }
    }
    println!("{} clients, none refused, {} fetches of the keys", connected.load(Relaxed), issuer.fetches());
    Ok(())
}

async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let _name = &socket.claims().sub;
        while let Some(Ok(_)) = socket.recv().await {}
    })
}

/// A minimal issuer: everybody gets a token.
struct Issuer {
    url: String,
    /// The newest is last. The one before it stays published, for tokens that were signed with it.
    keys: Mutex<VecDeque<(String, Ed25519KeyPair)>>,
    fetches: AtomicUsize,
}

impl Issuer {
    async fn start() -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let issuer = Arc::new(Self { url, keys: Mutex::default(), fetches: AtomicUsize::new(0) });
        issuer.rotate();
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&issuer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(issuer)
    }

    fn rotate(&self) {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let key_id = format!("key {}", NUMBER.fetch_add(1, Relaxed));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push_back((key_id, Ed25519KeyPair::generate().expect("random numbers")));
        if keys.len() > 2 {
            keys.pop_front();
        }
    }

    fn token(&self, subject: &str) -> String {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let (key_id, key) = keys.back().expect("there is always one");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let header = json!({"alg": "EdDSA", "kid": key_id});
        let claims = json!({"iss": self.url, "aud": "chat", "sub": subject, "exp": now + 60});
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = base64url(key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Relaxed)
    }
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)}))
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    issuer.fetches.fetch_add(1, Relaxed);
    let keys = issuer.keys.lock().unwrap_or_else(PoisonError::into_inner);
    let public = |(key_id, key): &(String, Ed25519KeyPair)| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key_id, "x": base64url(key.public_key())});
    Json(json!({"keys": keys.iter().map(public).collect::<Vec<_>>()}))
}
