//! Whether a node can do its work, in one report.

mod probe;
mod report;
mod status;

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "jwks")]
use serde::de::DeserializeOwned;

pub use self::{
    report::{HealthReport, SessionsHealth, StoreHealth},
    status::{HealthReason, HealthStatus},
};

use self::probe::Probe;
#[cfg(feature = "jwks")]
use crate::verify::{jwks::IssuerStatus, jwt::JwtVerifier};
use crate::{revocation::Revocations, session::Sessions, store::Ping};

/// What an application has, and how healthy that is.
///
/// A [report](HealthReport) says whether this node should get new connections, and why not. It is made for a load
/// balancer's readiness check, and for operators. Pass everything that the layer uses: the report covers only what you
/// pass.
///
/// A report asks each [store](Self::store), at the same time, for at most two seconds. All else is in memory. It holds
/// no secret, but names of issuers, servers and errors: serve its body to operators only.
///
/// # Example
///
/// ```
/// use axum::{Router, body::{Body, to_bytes}, http::{Request, StatusCode}, response::Response, routing::{any, get}};
/// use axum_ws_auth::{AuthenticatedUpgrade, Drain, Health, MemoryRevocations, Revocations, Sessions, WsAuthLayer, test_util};
/// use serde_json::{Value, json};
/// use tower::ServiceExt;
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sessions, revocations) = (Sessions::new(), Revocations::new(MemoryRevocations::new()));
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions).revocations(&revocations);
/// // And `.verifier(&jwt_verifier)` for fetched keys, and `.store("redis", redis.clone())`.
/// let health = Health::new().sessions(&sessions).revocations(&revocations);
/// let app = Router::new()
///     .route("/chat", any(chat))
///     .layer(layer)
///     .route("/ready", get(async move || health.report().await));
/// # while !revocations.status().is_current { tokio::task::yield_now().await }
/// let ready = || Request::get("/ready").body(Body::empty());
///
/// // Yes.
/// let response = app.clone().oneshot(ready()?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// let report: Value = serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await?)?;
/// assert_eq!((&report["status"], &report["sessions"]["connections"]), (&json!("ok"), &json!(0)));
///
/// // No: it shuts down, and the load balancer should send new clients elsewhere.
/// sessions.drain(Drain::service_restart()).await;
/// let response = app.oneshot(ready()?).await?;
/// assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
/// let report: Value = serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await?)?;
/// assert_eq!((&report["status"], &report["reasons"]), (&json!("unavailable"), &json!(["draining"])));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Health {
    sessions: Option<Sessions>,
    revocations: Option<Revocations>,
    #[cfg(feature = "jwks")]
    keys: Vec<Arc<dyn Fn() -> Vec<IssuerStatus> + Send + Sync>>,
    stores: Vec<(&'static str, Arc<dyn Probe>)>,
}

/// How long a store may take to answer. Load balancers give up after a few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Health {
    /// Nothing to look at yet, so it is healthy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports how many connections there are, and whether more are admitted.
    pub fn sessions(self, sessions: &Sessions) -> Self {
        Self { sessions: Some(sessions.clone()), ..self }
    }

    /// Reports how old this node's copy of the revocations is.
    pub fn revocations(self, revocations: &Revocations) -> Self {
        Self { revocations: Some(revocations.clone()), ..self }
    }

    /// Reports the keys of this verifier's issuers. Call it again for a further verifier.
    #[cfg(feature = "jwks")]
    pub fn verifier<C: DeserializeOwned + Send + Sync + 'static>(mut self, verifier: &JwtVerifier<C>) -> Self {
        let verifier = verifier.clone();
        self.keys.push(Arc::new(move || verifier.status()));
        self
    }

    /// Reports whether this store answers, such as [`Redis`](crate::Redis). The name is for readers of the report. Call
    /// it again for a further store.
    pub fn store(mut self, name: &'static str, store: impl Ping) -> Self {
        self.stores.push((name, Arc::new(store)));
        self
    }

    /// Looks at everything.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn report(&self) -> HealthReport {
        let mut report = HealthReport::new();
        if let Some(sessions) = &self.sessions {
            report.add_sessions(SessionsHealth::of(sessions).await);
        }
        if let Some(revocations) = &self.revocations {
            report.add_revocations(revocations.status());
        }
        #[cfg(feature = "jwks")]
        report.add_issuers(self.keys.iter().flat_map(|keys| keys()).collect());
        report.add_stores(probe::ask_all(&self.stores, TIMEOUT).await);
        report
    }
}

// By hand: closures and stores need not be `Debug`.
impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<_> = self.stores.iter().map(|(name, _)| name).collect();
        f.debug_struct("Health")
            .field("sessions", &self.sessions)
            .field("revocations", &self.revocations)
            .field("stores", &stores)
            .finish_non_exhaustive()
    }
}
