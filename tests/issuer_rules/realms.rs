//! A server with a realm for each tenant.

use std::sync::{Arc, Mutex};

use axum_ws_auth::jwks::{IssuerKeys, IssuerRule};
use http::{Request, Response};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::issuer::{Key, Pair, set};

/// The realms that begin with `tenant-` and exist. Each has a key with its name as the id.
#[derive(Clone, Default)]
pub(crate) struct Realms {
    requests: Arc<Mutex<Vec<String>>>,
    gate: Option<Arc<Semaphore>>,
}

/// The key of a realm. Those that end with `b` have another key pair.
pub(crate) fn key(realm: &str) -> Key {
    Key::new(if realm.ends_with('b') { Pair::EdTest2 } else { Pair::EdTest1 }, realm)
}

pub(crate) fn name(realm: &str) -> String {
    format!("https://id.example/realms/{realm}")
}

/// A token of this realm.
pub(crate) fn token(realm: &str) -> String {
    key(realm).token(&name(realm))
}

impl Realms {
    /// Replies to nothing until the semaphore is closed.
    pub(crate) fn held_by(gate: &Arc<Semaphore>) -> Self {
        Self { gate: Some(Arc::clone(gate)), ..Self::default() }
    }

    pub(crate) fn rule(&self) -> IssuerRule {
        IssuerRule::matching("https://id.example/realms/*", |realm| realm.starts_with("tenant-")).keys(self.keys())
    }

    pub(crate) fn keys(&self) -> impl Fn(&str) -> IssuerKeys + Send + Sync + use<> {
        let this = self.clone();
        move |iss| {
            let this = this.clone();
            IssuerKeys::discover(iss).fetch(move |request: Request<()>| {
                let this = this.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    this.requests.lock().unwrap().push(path.clone());
                    if let Some(gate) = &this.gate {
                        let _ = gate.acquire().await;
                    }
                    Ok(respond(&path))
                }
            })
        }
    }

    pub(crate) fn fetches(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The number of requests for this realm.
    pub(crate) fn fetches_of(&self, realm: &str) -> usize {
        let below = format!("/realms/{realm}/");
        self.requests.lock().unwrap().iter().filter(|path| path.starts_with(&below)).count()
    }
}

fn respond(path: &str) -> Response<Vec<u8>> {
    let realm = path.strip_prefix("/realms/").and_then(|rest| rest.split_once('/'));
    let body = match realm {
        Some((realm, _)) if !realm.starts_with("tenant-") || realm.contains("none") => None,
        Some((realm, "keys")) => Some(set(&[key(realm)])),
        Some((realm, _)) => Some(json!({"issuer": name(realm), "jwks_uri": format!("{}/keys", name(realm))})),
        None => None,
    };
    let status = if body.is_some() { 200 } else { 404 };
    Response::builder().status(status).body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default()).unwrap()
}
