//! A cluster: which server has which slots, and a connection to each. One that is down is waited for by nobody who asks for
//! what another one has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::select_ok;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Value, cmd};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Failed,
    connect::Setup,
    sentinel::at,
    server::{Server, Target},
};
use crate::lock::lock;

/// Who has the slots is asked for so far apart.
const PAUSE: Duration = Duration::from_millis(500);
/// How many servers are asked at once.
const ASKED: usize = 8;
const SLOTS: u16 = 16_384;

type Address = (String, u16);

#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    /// How to log in at each, and whether by TLS.
    settings: ConnectionInfo,
    /// Those that are configured.
    seeds: Vec<Address>,
    setup: Setup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    map: Option<Arc<Map>>,
    servers: HashMap<Address, Arc<Server>>,
    /// Counts the maps that differ from those before.
    generation: u64,
    refresh: Option<Refresh>,
    begun: Option<Instant>,
}

type Refresh = watch::Receiver<Option<Result<(), Failed>>>;

#[derive(PartialEq, Eq)]
struct Map {
    ranges: Vec<(u16, u16, Address)>,
    replicas: Vec<Address>,
}

impl Cluster {
    pub(super) fn new(settings: &ConnectionInfo, seeds: &[ConnectionInfo], setup: Setup) -> Self {
        let (settings, seeds) = (settings.clone(), seeds.iter().filter_map(address_in).collect());
        Self(Arc::new(Inner { settings, seeds, setup, state: Mutex::default() }))
    }

    /// The server that has a key.
    pub(super) async fn server_of(&self, key: &[u8], until: Instant) -> Result<Arc<Server>, Failed> {
        let slot = slot(key);
        if let Some(server) = self.known(slot) {
            return Ok(server);
        }
        self.refresh(until).await?;
        self.known(slot).ok_or_else(|| {
            Failed::unreachable(format!(
                "no server of the redis cluster has the slot {slot}, to which this key belongs"
            ))
        })
    }

    fn known(&self, slot: u16) -> Option<Arc<Server>> {
        let map = lock(&self.0.state).map.clone()?;
        let (_, _, address) = map.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        Some(self.server_at(address))
    }

    /// By its address, as in an answer that redirects.
    pub(super) fn named(&self, address: &str) -> Option<Arc<Server>> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        Some(self.server_at(&(host.to_owned(), port.parse().ok()?)))
    }

    fn server_at(&self, address: &Address) -> Arc<Server> {
        self.0.server_at(address)
    }

    /// Where what is published can be heard: at any of them, those first to which there is a connection.
    pub(super) fn any(&self) -> Vec<ConnectionInfo> {
        let addresses = self.0.addresses();
        addresses.into_iter().map(|(host, port)| at(&self.0.settings, host, port)).collect()
    }

    pub(super) fn generation(&self) -> u64 {
        lock(&self.0.state).generation
    }

    /// Asks who has which slots, and does not wait for it.
    pub(super) fn refresh_soon(&self) {
        let _ = self.refreshing(false);
    }

    /// Asks who has which slots, unless somebody does.
    pub(super) async fn refresh(&self, until: Instant) -> Result<(), Failed> {
        let mut refresh = self.refreshing(true);
        match timeout_at(until, refresh.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Failed::unreachable("asking for the slots of the redis cluster was interrupted")),
            Err(_) => Err(Failed::unreachable("no server of the redis cluster has said in time who has which slots")),
        }
    }

    /// The one that is under way, or a new one; or, where nobody waits for it, the last one if it is young.
    fn refreshing(&self, is_waited_for: bool) -> Refresh {
        let mut state = lock(&self.0.state);
        let now = Instant::now();
        let begin = state.begun.map_or(now, |begun| begun + PAUSE);
        if let Some(refresh) = &state.refresh {
            let is_under_way = refresh.borrow().is_none() && refresh.has_changed().is_ok();
            if is_under_way || now < begin && !is_waited_for {
                return refresh.clone();
            }
        }
        // Who has no map at all waits for less.
        let begin = now.max(if state.map.is_none() { begin.min(now + PAUSE / 5) } else { begin });
        state.begun = Some(begin);
        let (outcome, refresh) = watch::channel(None);
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            sleep_until(begin).await;
            let _ = outcome.send(Some(inner.ask_for_slots().await));
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
        let target = Target::At(Box::new(at(&self.settings, host, port)));
        let server = Arc::new(Server::new(target, self.setup.clone()));
        state.servers.insert(address.clone(), Arc::clone(&server));
        server
    }

    /// All that are known: those with a connection, those with slots, those that are configured, and replicas.
    fn addresses(&self) -> Vec<Address> {
        let state = lock(&self.state);
        let mut all: Vec<Address> = Vec::new();
        let open = state.servers.iter().filter(|(_, server)| server.is_open()).map(|(address, _)| address);
        let map = state.map.as_deref();
        let ranges = map.into_iter().flat_map(|map| map.ranges.iter().map(|(_, _, address)| address));
        let replicas = map.into_iter().flat_map(|map| &map.replicas);
        for address in open.chain(ranges).chain(&self.seeds).chain(replicas) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Of some servers at once, so that one that is down holds up nobody; and then of the next ones.
    async fn ask_for_slots(&self) -> Result<(), Failed> {
        let addresses = self.addresses();
        let (limit, mut outcome) = (self.setup.limit, Err(Failed::unreachable("a redis cluster has no servers")));
        for some in addresses.chunks(ASKED) {
            let until = Instant::now() + limit;
            let asked = some.iter().map(|address| {
                let server = self.server_at(address);
                Box::pin(async move {
                    let mut question = cmd("CLUSTER");
                    question.arg("SLOTS");
                    let answer = server.ask(&question, false, until, limit).await.map_err(|undone| undone.failed)?;
                    Map::read(answer, &address.0)
                })
            });
            match select_ok(asked).await {
                Ok((map, _)) => {
                    self.take(map);
                    return Ok(());
                }
                Err(failed) => outcome = Err(failed),
            }
        }
        outcome
    }

    fn take(&self, map: Map) {
        let mut state = lock(&self.state);
        if state.map.as_deref() == Some(&map) {
            return;
        }
        // Connections to others are closed, as soon as nobody waits for an answer there.
        state.servers.retain(|address, _| map.ranges.iter().any(|(_, _, other)| other == address));
        state.map = Some(Arc::new(map));
        state.generation += 1;
    }
}

impl Map {
    /// `[[first, last, [host, port, …], [host, port, …] …] …]`; those after the first server are its replicas.
    fn read(answer: Value, asked: &str) -> Result<Self, Failed> {
        let unreadable = || Failed::unreachable("a redis cluster has answered with slots that cannot be read");
        let entries: Vec<Vec<Value>> = FromRedisValue::from_redis_value(answer).map_err(|_| unreadable())?;
        let mut map = Self { ranges: Vec::new(), replicas: Vec::new() };
        for entry in entries {
            let mut entry = entry.into_iter();
            let (Some(first), Some(last)) = (entry.next(), entry.next()) else { return Err(unreadable()) };
            let [first, last] = [first, last].map(u16::from_redis_value);
            let (Ok(first), Ok(last)) = (first, last) else { return Err(unreadable()) };
            let mut servers = entry.map(|server| read_address(server, asked));
            match servers.next() {
                Some(Some(primary)) => map.ranges.push((first, last, primary)),
                // Nobody knows where it is.
                Some(None) => {}
                None => return Err(unreadable()),
            }
            map.replicas.extend(servers.flatten());
        }
        map.ranges.sort();
        map.replicas.sort();
        map.replicas.dedup();
        Ok(map)
    }
}

fn read_address(server: Value, asked: &str) -> Option<Address> {
    let parts: Vec<Value> = FromRedisValue::from_redis_value(server).ok()?;
    let mut parts = parts.into_iter();
    let host: Option<String> = FromRedisValue::from_redis_value(parts.next()?).ok()?;
    let port = u16::from_redis_value(parts.next()?).ok()?;
    match host.as_deref() {
        // That of the server that was asked.
        None | Some("") => Some((asked.to_owned(), port)),
        Some("?") => None,
        Some(host) => Some((host.to_owned(), port)),
    }
}

fn address_in(info: &ConnectionInfo) -> Option<Address> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
        _ => None,
    }
}

/// By the hash of a key, or of what stands in its first braces.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let tag = rest.get(..rest.iter().position(|byte| *byte == b'}')?)?;
        Some(tag).filter(|tag| !tag.is_empty())
    });
    // CRC-16/XMODEM, as the specification of the cluster has it.
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// The key of a command: of a script the first one.
pub(super) fn key_of(command: &Cmd) -> Vec<u8> {
    let arguments: Vec<&[u8]> = command
        .args_iter()
        .take(4)
        .filter_map(|argument| if let redis::Arg::Simple(bytes) = argument { Some(bytes) } else { None })
        .collect();
    let is_script = arguments.first().is_some_and(|name| name.starts_with(b"EVAL"));
    arguments.get(if is_script { 3 } else { 1 }).map_or_else(Vec::new, |key| key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn slots_are_those_of_the_specification() {
        // By `CLUSTER KEYSLOT` of a server.
        for (key, expected) in
            [("123456789", 12739), ("foo", 12182), ("a{foo}b", 12182), ("{}foo", 9500), ("{foo", 13308)]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
