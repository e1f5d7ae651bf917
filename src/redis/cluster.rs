//! A cluster: finds the server that has a key, and keeps a connection to each. A command for one server never waits for
//! another.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::select_ok;
use redis::{ConnectionAddr, ConnectionInfo, cmd};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    connect::ConnectOptions,
    endpoint::Endpoint,
    failure::Failure,
    sentinel::with_address,
    server::Server,
    slots::{Address, SlotMap, slot_of},
};
use crate::lock::{Mutex, lock};

/// The least time between two refreshes of the slots.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// The longest delay of a refresh while no slots are known.
const MAX_FIRST_DELAY: Duration = Duration::from_millis(100);
/// How many servers are asked concurrently.
const CONCURRENT_REQUESTS: usize = 8;

#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    /// The settings of each server, except its address.
    settings: ConnectionInfo,
    /// The configured servers.
    seeds: Vec<Address>,
    options: ConnectOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: Option<Arc<SlotMap>>,
    servers: HashMap<Address, Arc<Server>>,
    /// How many times the slots have changed.
    generation: u64,
    refresh: Option<Refresh>,
    /// When the last refresh began.
    begun: Option<Instant>,
}

/// A refresh of the slots. `None` while it is pending.
type Refresh = watch::Receiver<Option<Result<(), Failure>>>;

impl Cluster {
    pub(super) fn new(settings: &ConnectionInfo, seeds: &[ConnectionInfo], options: ConnectOptions) -> Self {
        let (settings, seeds) = (settings.clone(), seeds.iter().filter_map(address_in).collect());
        Self(Arc::new(Inner { settings, seeds, options, state: Mutex::default() }))
    }

    /// The server that has a key.
    pub(super) async fn server_of(&self, key: &[u8], until: Instant) -> Result<Arc<Server>, Failure> {
        let slot = slot_of(key);
        if let Some(server) = self.known_server_of(slot) {
            return Ok(server);
        }
        self.refresh(until).await?;
        self.known_server_of(slot).ok_or_else(|| {
            Failure::unreachable(format!("no server of the redis cluster has slot {slot}, which this key is in"))
        })
    }

    fn known_server_of(&self, slot: u16) -> Option<Arc<Server>> {
        let slots = lock(&self.0.state).slots.clone()?;
        Some(self.0.server_at(slots.primary_of(slot)?))
    }

    /// The server with this address, in the form that redirects use.
    pub(super) fn server_by_address(&self, address: &str) -> Option<Arc<Server>> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        Some(self.0.server_at(&(host.to_owned(), port.parse().ok()?)))
    }

    /// All servers, those with a connection first.
    pub(super) fn servers(&self) -> Vec<ConnectionInfo> {
        let addresses = self.0.addresses();
        addresses.into_iter().map(|(host, port)| with_address(&self.0.settings, host, port)).collect()
    }

    pub(super) fn generation(&self) -> u64 {
        lock(&self.0.state).generation
    }

    /// Begins to refresh the slots, and does not wait for it.
    pub(super) fn refresh_soon(&self) {
        let _ = self.refreshing(false);
    }

    /// Refreshes the slots, or waits for a pending refresh.
    pub(super) async fn refresh(&self, until: Instant) -> Result<(), Failure> {
        let mut refresh = self.refreshing(true);
        match timeout_at(until, refresh.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Failure::unreachable("the request for the slots of the redis cluster was interrupted")),
            Err(_) => {
                Err(Failure::unreachable("no server of the redis cluster answered a request for its slots in time"))
            }
        }
    }

    /// The pending refresh, or a new one. If nobody waits for it, also the last one, if it is recent.
    fn refreshing(&self, is_waited_for: bool) -> Refresh {
        let mut state = lock(&self.0.state);
        let now = Instant::now();
        let begin = state.begun.map_or(now, |begun| begun + REFRESH_INTERVAL);
        if let Some(refresh) = &state.refresh {
            let is_pending = refresh.borrow().is_none() && refresh.has_changed().is_ok();
            if is_pending || now < begin && !is_waited_for {
                return refresh.clone();
            }
        }
        let begin = now.max(if state.slots.is_none() { begin.min(now + MAX_FIRST_DELAY) } else { begin });
        state.begun = Some(begin);
        let (outcome, refresh) = watch::channel(None);
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            sleep_until(begin).await;
            let _ = outcome.send(Some(inner.refresh().await));
        });
        state.refresh = Some(refresh.clone());
        refresh
    }
}

impl Inner {
    fn server_at(&self, address: &Address) -> Arc<Server> {
        let mut state = lock(&self.state);
        if let Some(server) = state.servers.get(address) {
            return Arc::clone(server);
        }
        let (host, port) = address.clone();
        let endpoint = Endpoint::Server(Box::new(with_address(&self.settings, host, port)));
        let server = Arc::new(Server::new(endpoint, self.options.clone()));
        state.servers.insert(address.clone(), Arc::clone(&server));
        server
    }

    /// All known servers: those with a connection, the primaries, the configured ones, and the replicas.
    fn addresses(&self) -> Vec<Address> {
        let state = lock(&self.state);
        let mut all: Vec<Address> = Vec::new();
        let connected = state.servers.iter().filter(|(_, server)| server.is_connected()).map(|(address, _)| address);
        let slots = state.slots.as_deref();
        let primaries = slots.into_iter().flat_map(SlotMap::primaries);
        let replicas = slots.into_iter().flat_map(|slots| &slots.replicas);
        for address in connected.chain(primaries).chain(&self.seeds).chain(replicas) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Asks several servers concurrently, so that one that is down delays nobody, and then the next ones.
    async fn refresh(&self) -> Result<(), Failure> {
        let addresses = self.addresses();
        let limit = self.options.timeout;
        let mut outcome = Err(Failure::unreachable("a redis cluster has no servers"));
        for addresses in addresses.chunks(CONCURRENT_REQUESTS) {
            let until = Instant::now() + limit;
            let requests = addresses.iter().map(|address| {
                let server = self.server_at(address);
                Box::pin(async move {
                    let mut command = cmd("CLUSTER");
                    command.arg("SLOTS");
                    let answer = server.send(&command, false, until, limit).await.map_err(|error| error.failure)?;
                    SlotMap::parse(answer, &address.0)
                })
            });
            match select_ok(requests).await {
                Ok((slots, _)) => {
                    self.set_slots(slots);
                    return Ok(());
                }
                Err(failure) => outcome = Err(failure),
            }
        }
        outcome
    }

    fn set_slots(&self, slots: SlotMap) {
        let mut state = lock(&self.state);
        if state.slots.as_deref() == Some(&slots) {
            return;
        }
        // Connections to other servers close once nobody waits for an answer on them.
        state.servers.retain(|address, _| slots.primaries().any(|primary| primary == address));
        state.slots = Some(Arc::new(slots));
        state.generation += 1;
    }
}

fn address_in(info: &ConnectionInfo) -> Option<Address> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
        _ => None,
    }
}
