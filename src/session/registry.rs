//! Which sessions there are.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::SystemTime,
};

use tokio::sync::Notify;

use super::{
    EndReason, SessionId,
    life::{End, Life},
    limits::{AdmissionError, AtLimit, Limits},
};
use crate::lock::lock;

/// The live sessions of one process: a registry that layers register with, and the application keeps in its state.
///
/// Clones are the same registry. One may serve several layers; limits then go for all of them together.
///
/// Sessions are registered from the moment their token was verified until the connection is dropped, if they belong to a
/// WebSocket handshake. With [`AuthenticatedUpgrade`](crate::AuthenticatedUpgrade) an ended session's socket is closed by
/// the crate. A handler that upgrades by other means keeps a clone of the [`Session`](crate::Session) with its socket
/// and watches [`Session::ended`](crate::Session::ended); its session is registered until the last clone is dropped.
///
/// # Example
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use futures_util::StreamExt;
/// use serde_json::Value;
/// use tokio_tungstenite::tungstenite::Message;
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new();
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions);
/// let app = Router::new().route("/", any(chat)).layer(layer);
///
/// let request = handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
/// let (mut socket, _) = test_util::connect(app, request).await?;
/// assert_eq!(sessions.iter().next().expect("one").subject(), Some("alice"));
///
/// // Nobody else's session ends …
/// assert_eq!(sessions.end_subject("bob"), 0);
/// // … and hers does, at once.
/// assert_eq!(sessions.end_subject("alice"), 1);
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Registry>);

/// One session, as the registry knew it a moment ago; see [`Sessions::iter`].
#[derive(Clone, Debug)]
pub struct SessionInfo {
    id: SessionId,
    subject: Option<Arc<str>>,
    connected_at: SystemTime,
    expires_at: Option<SystemTime>,
}

pub(crate) struct Registry {
    /// A session is in the shard of its subject, so that all of a subject's are in one; without a subject, in any.
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) limits: Limits,
    /// How many [`Slot`]s there are.
    held: AtomicUsize,
    draining: AtomicBool,
    /// From now on it drains.
    closing: Notify,
    /// The last slot was given back.
    pub(super) vacated: Notify,
}

#[derive(Default)]
struct Shard {
    /// By [`SessionId::number`].
    entries: HashMap<u64, Entry>,
    subjects: HashMap<Arc<str>, Subject>,
}

struct Entry {
    life: Arc<Life>,
    /// The hash of the token's `jti`. It is looked for by going through all entries: rarely, and fast.
    token: Option<u64>,
    admitted: bool,
}

/// The sessions of a subject that have not ended, the oldest first.
#[derive(Default)]
struct Subject {
    numbers: BTreeSet<u64>,
    admitted: usize,
}

/// One of the connections that there may be in all. It lives as long as the connection.
pub(crate) struct Slot(Arc<Registry>);

/// Keeps a session registered for as long as it lives.
pub(super) struct Registration {
    slot: Slot,
    number: u64,
    shard: usize,
}

impl Sessions {
    /// A registry without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::new())
    }

    /// A registry with limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        // Several for each thread, so that two rarely meet.
        let shards = (available_parallelism().map_or(8, usize::from) * 8).next_power_of_two();
        Self(Arc::new(Registry {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits,
            held: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            closing: Notify::new(),
            vacated: Notify::new(),
        }))
    }

    /// How many connections are held: live sessions, those that are being closed, and clients that have yet to
    /// authenticate by their [first message](crate::FirstMessage).
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.held()
    }

    /// The sessions that have not ended, in no order.
    ///
    /// It locks one shard at a time: a session that comes or goes meanwhile may be among them or not.
    pub fn iter(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.0.shards.iter().flat_map(|shard| {
            let lives: Vec<Arc<Life>> = lock(shard).entries.values().map(|entry| Arc::clone(&entry.life)).collect();
            lives.into_iter().filter(|life| life.end_reason().is_none()).map(|life| SessionInfo::of(&life))
        })
    }

    /// Ends a session, with [`EndReason::Revoked`]. Returns how many that were.
    pub fn end(&self, id: SessionId) -> usize {
        self.0.end_where(End::REVOKED, |entry| entry.life.id() == id)
    }

    /// Ends the sessions of a subject (`sub`), with [`EndReason::Revoked`]. Returns how many that were.
    ///
    /// It does not keep the subject from opening new ones.
    pub fn end_subject(&self, subject: &str) -> usize {
        let lives: Vec<Arc<Life>> = {
            let shard = self.0.shard(self.0.shard_of(subject));
            let numbers = shard.subjects.get(subject).into_iter().flat_map(|subject| &subject.numbers);
            numbers.filter_map(|number| shard.entries.get(number)).map(|entry| Arc::clone(&entry.life)).collect()
        };
        end_all(&lives, End::REVOKED)
    }

    /// Ends the sessions that stand on a token with this id (`jti`), with [`EndReason::Revoked`]. Returns how many that
    /// were.
    ///
    /// A session that was [refreshed](crate::Session::refresh) stands on its new token alone.
    pub fn end_token(&self, token_id: &str) -> usize {
        let token = Some(self.0.hasher.hash_one(token_id));
        self.0.end_where(End::REVOKED, |entry| entry.token == token)
    }

    /// Ends all sessions, with [`EndReason::Revoked`]. Returns how many that were.
    ///
    /// To close them because the server goes down, [`drain`](Self::drain).
    pub fn end_all(&self) -> usize {
        self.0.end_where(End::REVOKED, |_| true)
    }
}

impl End {
    const REVOKED: Self = Self { reason: EndReason::Revoked, code: None };
}

impl Registry {
    /// Takes one of the connections that there may be.
    pub(crate) fn slot(self: &Arc<Self>) -> Result<Slot, AdmissionError> {
        let more = |held: usize| (held < self.limits.total).then_some(held + 1);
        if self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            return Err(AdmissionError::Full { retry_after: self.limits.retry_after });
        }
        // From here on the slot is counted, so that who drains waits for it, or this sees that somebody drains.
        let slot = Slot(Arc::clone(self));
        self.open().map(|()| slot)
    }

    /// Registers a session: from here on it is found by whoever ends it. It is not admitted yet.
    pub(super) fn register(life: &Arc<Life>, token_id: Option<&str>, slot: Slot) -> Arc<Self> {
        let registry = Arc::clone(&slot.0);
        let number = life.id().number();
        let shard = registry.shard_of_life(life);
        let registration = Registration { slot, number, shard };
        let token = token_id.map(|id| registry.hasher.hash_one(id));
        {
            let mut shard = registry.shard(shard);
            shard.entries.insert(number, Entry { life: Arc::clone(life), token, admitted: false });
            if let Some(subject) = &life.subject {
                shard.subjects.entry(Arc::clone(subject)).or_default().numbers.insert(number);
            }
            // Under the lock: who finds the session here and ends it must find this there.
            life.hold(registration);
        }
        registry
    }

    /// Admits a registered session, if the limits allow it.
    pub(super) fn admit(&self, life: &Life) -> Result<(), AdmissionError> {
        self.open()?;
        let oldest = self.count_in(life)?;
        if let Some(oldest) = oldest {
            oldest.end(End { reason: EndReason::TooManySessions, code: None });
        }
        Ok(())
    }

    /// Counts a session among those of its subject. Returns the one that has to go for it.
    fn count_in(&self, life: &Life) -> Result<Option<Arc<Life>>, AdmissionError> {
        let mut guard = self.shard(self.shard_of_life(life));
        let Shard { entries, subjects } = &mut *guard;
        let number = life.id().number();
        // It may have ended by now. Then there is nothing to count, and its supervisor sees to the rest.
        let subject = life.subject.as_ref().and_then(|subject| subjects.get_mut(subject));
        let Some(subject) = subject.filter(|subject| subject.numbers.contains(&number)) else { return Ok(None) };
        let mut evicted = None;
        if let Some((most, at_limit)) = self.limits.per_subject
            && subject.admitted >= most.get()
        {
            match at_limit {
                AtLimit::RefuseNew => {
                    return Err(AdmissionError::TooManySessions { retry_after: self.limits.retry_after });
                }
                AtLimit::EvictOldest => {
                    let is_admitted = |number: &&u64| entries.get(number).is_some_and(|entry| entry.admitted);
                    let oldest = subject.numbers.iter().find(is_admitted).copied();
                    if let Some(oldest) = oldest.and_then(|oldest| entries.get(&oldest)) {
                        subject.remove(oldest);
                        evicted = Some(Arc::clone(&oldest.life));
                    }
                }
            }
        }
        if let Some(entry) = entries.get_mut(&number) {
            entry.admitted = true;
            subject.admitted += 1;
        }
        Ok(evicted)
    }

    /// An ended session no longer counts as one of its subject's.
    pub(super) fn retire(&self, life: &Life) {
        let mut guard = self.shard(self.shard_of_life(life));
        let Shard { entries, subjects } = &mut *guard;
        if let Some(entry) = entries.get(&life.id().number()) {
            entry.retire(subjects);
        }
    }

    pub(super) fn note_token(&self, life: &Life, token_id: Option<&str>) {
        let token = token_id.map(|id| self.hasher.hash_one(id));
        if let Some(entry) = self.shard(self.shard_of_life(life)).entries.get_mut(&life.id().number()) {
            entry.token = token;
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// The sessions that have not ended.
    pub(super) fn live(&self) -> Vec<Arc<Life>> {
        let mut lives = self.find(|_| true);
        // Not while a shard is locked: a deadline that has come ends the session there and then.
        lives.retain(|life| life.end_reason().is_none());
        lives
    }

    /// Admits nobody any more.
    pub(super) fn close(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.closing.notify_waiters();
    }

    fn open(&self) -> Result<(), AdmissionError> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(AdmissionError::Draining { retry_after: self.limits.retry_after });
        }
        Ok(())
    }

    fn end_where(&self, end: End, wanted: impl Fn(&Entry) -> bool) -> usize {
        end_all(&self.find(wanted), end)
    }

    fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Life>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            found.extend(shard.entries.values().filter(|entry| wanted(entry)).map(|entry| Arc::clone(&entry.life)));
        }
        found
    }

    fn shard_of_life(&self, life: &Life) -> usize {
        match &life.subject {
            Some(subject) => self.shard_of(subject),
            None => self.index(life.id().number()),
        }
    }

    fn shard_of(&self, subject: &str) -> usize {
        self.index(self.hasher.hash_one(subject))
    }

    fn index(&self, number: u64) -> usize {
        // Their number is a power of two.
        let mask = self.shards.len() - 1;
        usize::try_from(number & mask as u64).unwrap_or_default()
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(self.shards.get(index).expect("an index of a shard"))
    }
}

impl Entry {
    fn retire(&self, subjects: &mut HashMap<Arc<str>, Subject>) {
        let Some(name) = &self.life.subject else { return };
        if let Some(subject) = subjects.get_mut(name) {
            subject.remove(self);
            if subject.numbers.is_empty() {
                subjects.remove(name);
            }
        }
    }
}

impl Subject {
    fn remove(&mut self, entry: &Entry) {
        if self.numbers.remove(&entry.life.id().number()) && entry.admitted {
            self.admitted -= 1;
        }
    }
}

fn end_all(lives: &[Arc<Life>], end: End) -> usize {
    lives.iter().filter(|life| life.end(end)).count()
}

impl Registration {
    pub(super) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.slot.0)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut guard = self.slot.0.shard(self.shard);
        let Shard { entries, subjects } = &mut *guard;
        if let Some(entry) = entries.remove(&self.number) {
            entry.retire(subjects);
        }
    }
}

impl Slot {
    /// Waits until nobody is admitted any more.
    pub(crate) async fn draining(&self) -> AdmissionError {
        loop {
            let mut closing = pin!(self.0.closing.notified());
            closing.as_mut().enable();
            if let Err(error) = self.0.open() {
                return error;
            }
            closing.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.vacated.notify_waiters();
        }
    }
}

impl SessionInfo {
    fn of(life: &Life) -> Self {
        Self {
            id: life.id(),
            subject: life.subject.clone(),
            connected_at: life.connected_at(),
            expires_at: life.deadline(),
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Whom its token speaks of (`sub`), if it says so.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When its token was verified during the handshake.
    #[must_use]
    pub const fn connected_at(&self) -> SystemTime {
        self.connected_at
    }

    /// When it ends, as things stand; see [`Session::expires_at`](crate::Session::expires_at).
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("count", &self.count()).field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
