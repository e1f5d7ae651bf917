//! Clients that are not browsers.

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
    Java,
    Gorilla,
}

impl Client {
    /// Runs the attempts one by one.
    pub(crate) async fn run(self, attempts: &[Attempt]) -> Vec<Outcome> {
        match self {
            Self::Tungstenite => tungstenite::run(attempts).await,
            Self::Ws => script::node("ws", attempts).await,
            Self::Undici => script::node("undici", attempts).await,
            Self::Websockets => script::python("websockets_client.py", attempts).await,
            Self::Java => script::java("JavaHttpClient.java", attempts).await,
            Self::Gorilla => script::go("gorilla.go", attempts).await,
        }
    }

    /// undici implements the browser's `WebSocket`, which does not show why a handshake failed.
    pub(crate) const fn sees_status(self) -> bool {
        !matches!(self, Self::Undici)
    }

    /// The number of handshakes per attempt that gets this status. undici tries again after 401, with the same token,
    /// because the fetch standard lets browsers ask for a password.
    pub(crate) const fn handshakes(self, status: u16) -> usize {
        if matches!(self, Self::Undici) && status == 401 { 2 } else { 1 }
    }
}
