//! A client that controls every byte of its connection.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::model::{Answer, End};

/// What a server should do by now. A busy machine is slow, and every wait of the crate is shorter.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The pause after each byte of a slow client.
const PAUSE: Duration = Duration::from_millis(2);

const CONTINUES: u8 = 0x7f;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The close frames that the model knows.
const CLOSES: &[(u16, &str)] = &[
    (1002, ""),
    (1008, "too_many_sessions"),
    (1009, ""),
    (1012, "shutdown"),
    (3000, "revoked"),
    (3000, "token_expired"),
    (3008, "unresponsive"),
];

pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) is_slow: bool,
}

/// What a client answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    All,
    /// Never the close frame.
    Pings,
    Nothing,
}

impl Wire {
    /// `None` if nothing listens there.
    pub(crate) async fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream, unread: Vec::new(), is_slow: false })
    }

    /// The server may have closed the connection, which the next read notices.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        if !self.is_slow {
            let _ = self.stream.write_all(bytes).await;
            return;
        }
        for byte in bytes {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    pub(crate) async fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.send(&frame(opcode, payload)).await;
    }

    /// Ends the connection with a reset, which discards what is not sent or read yet.
    pub(crate) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    pub(crate) async fn shut_down(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads the head of a response.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = async {
            loop {
                if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    let head = self.unread.drain(..end + 4).collect::<Vec<_>>();
                    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                    return Answer::Status(status.expect("a status"));
                }
                if !self.fill().await {
                    return Answer::Cut;
                }
            }
        };
        timeout(PATIENCE, head).await.unwrap_or(Answer::Hung)
    }

    /// Sends a message, and waits for its echo. Returns how the socket has ended, if it has.
    pub(crate) async fn echo(&mut self, text: &str) -> Option<End> {
        self.send_frame(TEXT, text.as_bytes()).await;
        let echo = async {
            loop {
                let Some((opcode, payload)) = self.frame().await else { return Some(End::Cut) };
                match opcode {
                    PING => self.send_frame(PONG, &payload).await,
                    CLOSE => return Some(self.answer_close(&payload).await),
                    _ => {
                        assert_eq!(payload, text.as_bytes());
                        return None;
                    }
                }
            }
        };
        timeout(PATIENCE, echo).await.unwrap_or(Some(End::Hung))
    }

    /// Receives until the server ends the connection.
    pub(crate) async fn until_the_end(&mut self, answers: Answers) -> End {
        let mut end = End::Cut;
        let receiving = async {
            loop {
                let Some((opcode, payload)) = self.frame().await else { return };
                match opcode {
                    PING if answers != Answers::Nothing => self.send_frame(PONG, &payload).await,
                    CLOSE => {
                        end = read_close(&payload);
                        if answers == Answers::All {
                            self.send_frame(CLOSE, &payload).await;
                        }
                    }
                    _ => {}
                }
            }
        };
        if timeout(PATIENCE, receiving).await.is_err() { End::Hung } else { end }
    }

    /// Reads for so long. Returns how the socket has ended, if it has.
    pub(crate) async fn stay(&mut self, time: Duration) -> Option<End> {
        let until = Instant::now() + time;
        loop {
            // What was read of a frame is kept if the time is over. An answer is sent in full.
            let Ok(frame) = timeout_at(until, self.frame()).await else { return None };
            let Some((opcode, payload)) = frame else { return Some(End::Cut) };
            match opcode {
                PING => self.send_frame(PONG, &payload).await,
                CLOSE => return Some(self.answer_close(&payload).await),
                _ => {}
            }
        }
    }

    /// Answers the server's close frame, and waits for the end of the connection.
    async fn answer_close(&mut self, payload: &[u8]) -> End {
        self.send_frame(CLOSE, payload).await;
        if self.until_closed().await { read_close(payload) } else { End::Hung }
    }

    /// Discards what comes. Returns whether the server ends the connection.
    pub(crate) async fn until_closed(&mut self) -> bool {
        let discarding = async {
            while self.fill().await {
                self.unread.clear();
            }
        };
        timeout(PATIENCE, discarding).await.is_ok()
    }

    /// Closes as RFC 6455 §7.1.2 says: a close frame, that of the server, and the end of the connection.
    pub(crate) async fn close(&mut self) -> End {
        self.send_frame(CLOSE, &1000_u16.to_be_bytes()).await;
        match self.until_the_end(Answers::Pings).await {
            End::ClosedOtherwise(1000, reason) if reason.is_empty() => End::Left,
            other => other,
        }
    }

    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            // The server sends no long frame, and masks none.
            if let [opcode, len, ..] = self.unread[..]
                && let Some(frame) = self.unread.get(..2 + usize::from(len))
            {
                assert!(len <= 125 && opcode & !CONTINUES != 0);
                let payload = frame[2..].to_vec();
                self.unread.drain(..2 + usize::from(len));
                return Some((opcode, payload));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Returns `false` at the end of the connection.
    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes).await {
            Ok(len @ 1..) => {
                self.unread.extend_from_slice(&bytes[..len]);
                true
            }
            _ => false,
        }
    }
}

/// A frame with the masking key zero.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode];
    match u8::try_from(payload.len()) {
        Ok(len @ ..=125) => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).expect("a short payload").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// RFC 6455 §5.5.1.
fn read_close(payload: &[u8]) -> End {
    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or(&[])).into_owned();
    match CLOSES.iter().find(|(known, text)| (*known, *text) == (code, reason.as_str())) {
        Some((code, reason)) => End::Closed(*code, reason),
        None => End::ClosedOtherwise(code, reason),
    }
}
