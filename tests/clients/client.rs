//! The clients that are not browsers.

use crate::{
    cases::{Attempt, Outcome},
    script, tungstenite,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Tungstenite,
    Ws,
    Undici,
    Websockets,
}

impl Client {
    /// Makes the attempts, one after the other.
    pub(crate) async fn run(self, attempts: &[Attempt]) -> Vec<Outcome> {
        match self {
            Self::Tungstenite => tungstenite::run(attempts).await,
            Self::Ws => script::node("ws", attempts).await,
            Self::Undici => script::node("undici", attempts).await,
            Self::Websockets => script::python("websockets_client.py", attempts).await,
        }
    }

    /// undici has the web's `WebSocket`, which does not tell why a handshake failed.
    pub(crate) const fn sees_status(self) -> bool {
        !matches!(self, Self::Undici)
    }

    /// How many handshakes a client makes of one that is answered so. undici tries a second time after 401, with the
    /// same token, because fetch has browsers ask for a password there.
    pub(crate) const fn handshakes(self, status: u16) -> usize {
        if matches!(self, Self::Undici) && status == 401 { 2 } else { 1 }
    }
}
