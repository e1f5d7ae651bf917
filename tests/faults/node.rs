//! A server that can be drained and started again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, Drain, Drained, Limits, Redis, RefreshProtocol, RevocationOptions, Revocations,
    Sessions, TicketOptions, Tickets, TokenSource, Verified, WsAuthLayer, jwks::IssuerKeys,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot, task::JoinHandle, time::timeout};

use crate::support::issuer::{self, KEYS, TestIssuer};

/// The page that may use the cookie.
pub(crate) const PAGE: &str = "https://chat.example.com";
pub(crate) const COOKIE: &str = "__Host-token";
/// A message may not be longer.
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;
/// How long a node that fails closed admits clients without Redis.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(15);
/// How many sockets a user may have, on all nodes together.
pub(crate) const PER_SUBJECT: usize = 2;
/// How long nodes wait for Redis. For a lease they wait half as long.
const REDIS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a lease lasts that nobody releases.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// The least time between two fetches of keys for tokens with unknown ones.
pub(crate) const COOL_DOWN: Duration = Duration::from_secs(1);

pub(crate) struct Node {
    number: usize,
    runtime: Handle,
    redis: String,
    /// The name of the issuer, and the URL of its keys.
    issuer: (String, String),
    running: Mutex<Option<Arc<Running>>>,
    /// The nodes before that one.
    retired: Mutex<Vec<Arc<Running>>>,
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) sessions: Sessions,
    pub(crate) revocations: Revocations,
    tickets: Tickets<Value>,
    runtime: Handle,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Node {
    pub(crate) async fn start(number: usize, runtime: &Handle, redis: String, issuer: &TestIssuer) -> Self {
        let issuer = (issuer.name().to_owned(), issuer.url(KEYS));
        let node = Self {
            number,
            runtime: runtime.clone(),
            redis,
            issuer,
            running: Mutex::default(),
            retired: Mutex::default(),
        };
        node.start_again().await;
        node
    }

    /// Drops what is left of the nodes before a restart.
    pub(crate) fn bury(&self) {
        self.retired.lock().unwrap().clear();
    }

    /// `None` while the node restarts.
    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().unwrap().clone()
    }

    pub(crate) async fn start_again(&self) {
        let (number, redis, issuer) = (self.number, self.redis.clone(), self.issuer.clone());
        let running = self.runtime.spawn(async move { Running::start(number, &redis, issuer).await });
        *self.running.lock().unwrap() = Some(Arc::new(running.await.unwrap()));
    }

    /// Drains the node and stops it. Every socket is closed by then, whatever its client does.
    pub(crate) async fn shut_down(&self) -> Drained {
        let running = self.running().expect("it runs");
        let sessions = running.sessions.clone();
        let drain = Drain::service_restart().every(Duration::from_millis(20)).within(Duration::from_secs(10));
        let drained = self.runtime.spawn(async move { sessions.drain(drain).await }).await.unwrap();
        *self.running.lock().unwrap() = None;
        let (stop, serving) = running.stop.lock().unwrap().take().expect("it runs");
        let _ = stop.send(());
        // axum waits for clients that have begun a request.
        let _ = timeout(Duration::from_secs(2), serving).await;
        // Until now it releases leases that Redis has not released in time.
        self.retired.lock().unwrap().push(running);
        drained
    }
}

impl Running {
    async fn start(number: usize, redis: &str, (issuer, keys): (String, String)) -> Self {
        let redis = Redis::new(redis).unwrap().timeout(REDIS_TIMEOUT).unwrap();
        let limits = Limits::new().total(10_000).unwrap().per_subject(PER_SUBJECT, AtLimit::EvictOldest).unwrap();
        let sessions = Sessions::with_limits(limits.across_nodes(redis.clone()).lease_lifetime(LEASE).unwrap());
        let options = RevocationOptions::new().max_staleness(MAX_STALENESS).unwrap();
        let options = options.keep_for(Duration::from_secs(120)).unwrap();
        let options = if fails_closed(number) { options } else { options.insecure_admit_when_stale() };
        let revocations = Revocations::with_options(redis.clone(), options);
        let tickets = Tickets::<Value>::new(redis);
        let keys = IssuerKeys::jwks_url(issuer, keys).cool_down(COOL_DOWN);
        let verifier = issuer::verifier([keys]).leeway(Duration::ZERO).build().unwrap();
        let sources = [TokenSource::bearer_subprotocol(), TokenSource::authorization(), TokenSource::cookie(COOKIE)];
        let common = |layer: WsAuthLayer| {
            let layer = layer.sessions(&sessions).revocations(&revocations);
            layer.keep_alive(Duration::from_secs(2), Duration::from_secs(10)).unwrap()
        };
        let by_token = common(WsAuthLayer::new(verifier)).sources(sources).unwrap().allow_origin([PAGE]).unwrap();
        let by_token = by_token.refresh_protocol(RefreshProtocol::json());
        let by_ticket = common(WsAuthLayer::new(tickets.verifier())).sources([TokenSource::ticket()]).unwrap();
        let app = Router::new().route("/chat", any(chat)).layer(by_token);
        let app = app.merge(Router::new().route("/by-ticket", any(chat)).layer(by_ticket));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
        });
        let stop = Mutex::new(Some((stop, serving)));
        Self { address, sessions, revocations, tickets, runtime: Handle::current(), stop }
    }

    /// Revokes a token. Returns whether Redis has confirmed it.
    pub(crate) async fn revoke(&self, token_id: String) -> bool {
        let revocations = self.revocations.clone();
        self.runtime.spawn(async move { revocations.revoke_token(token_id).await.is_ok() }).await.unwrap()
    }

    pub(crate) async fn ticket(&self, subject: String) -> Option<String> {
        let tickets = self.tickets.clone();
        let issue = async move {
            let verified = Verified::new(json!({})).with_subject(subject);
            let ticket = tickets.issue_for(&verified, &TicketOptions::new()).await.ok()?;
            Some(ticket.token().expose().to_owned())
        };
        self.runtime.spawn(issue).await.unwrap()
    }
}

/// The other node admits clients even when it may not know all revocations.
pub(crate) const fn fails_closed(number: usize) -> bool {
    number == 0
}

async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, axum::extract::ws::Message::Text(_)) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
