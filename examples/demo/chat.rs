//! One room for everybody.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{State, ws::Message},
    response::Response,
};
use axum_ws_auth::{AuthenticatedSocket, AuthenticatedUpgrade};
use serde_json::json;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use super::{app::Demo, people::Claims};

/// How many messages newcomers see.
const HISTORY: usize = 50;
/// In characters.
const MAX_TEXT: usize = 500;

#[derive(Clone)]
pub(crate) struct Room(Arc<Inner>);

struct Inner {
    events: Sender<Message>,
    state: Mutex<RoomState>,
}

#[derive(Default)]
struct RoomState {
    history: VecDeque<Message>,
    /// How many sockets each person has here.
    online: BTreeMap<String, usize>,
}

/// A person's place in the room, until it is dropped.
struct Seat {
    room: Room,
    person: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        // A client that reads too slowly misses messages beyond these. It does not hold up the others.
        let (events, _) = broadcast::channel(64);
        Self(Arc::new(Inner { events, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, RoomState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was said before, and what happens from now on.
    fn join(&self, person: &str) -> (Seat, Vec<Message>, Receiver<Message>) {
        let mut state = self.state();
        let events = self.0.events.subscribe();
        *state.online.entry(person.to_owned()).or_default() += 1;
        self.tell_who_is_online(&state);
        let history = state.history.iter().cloned().collect();
        (Seat { room: self.clone(), person: person.to_owned() }, history, events)
    }

    fn say(&self, person: &str, text: &str) {
        let text: String = text.chars().take(MAX_TEXT).collect();
        if text.trim().is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let event = json!({ "type": "message", "from": person, "text": text, "at": now }).to_string();
        let event = Message::from(event);
        let mut state = self.state();
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(event.clone());
        // Fails if nobody listens.
        let _ = self.0.events.send(event);
    }

    fn tell_who_is_online(&self, state: &RoomState) {
        let event = json!({ "type": "people", "online": state.online }).to_string();
        let _ = self.0.events.send(event.into());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.room.state();
        if let Some(count) = state.online.get_mut(&self.person) {
            *count -= 1;
        }
        state.online.retain(|_, count| *count > 0);
        self.room.tell_who_is_online(&state);
    }
}

/// What a page sends. In JSON, so that nothing that a person types is taken for an instruction of the page.
#[derive(serde::Deserialize)]
struct Say {
    text: String,
}

/// Knows nothing of tokens: the layer has verified one before this runs, refreshes it, and closes the socket when the
/// session ends.
pub(crate) async fn chat(State(demo): State<Demo>, upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.max_message_size(8 * 1024).on_upgrade(async move |socket| serve(socket, &demo.room).await)
}

async fn serve(mut socket: AuthenticatedSocket<Claims>, room: &Room) {
    let person = socket.claims().sub.clone();
    let (_seat, history, mut events) = room.join(&person);
    for event in history {
        if socket.send(event).await.is_err() {
            return;
        }
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => if socket.send(event).await.is_err() { return },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            // `None` when the client has left, and when its session has ended.
            message = socket.recv() => {
                let Some(Ok(message)) = message else { return };
                if let Ok(Say { text }) = serde_json::from_slice(&message.into_data()) {
                    room.say(&person, &text);
                }
            }
        }
    }
}
