use std::{error::Error as StdError, fmt, io};

/// Why a WebSocket failed.
///
/// It is the source of the [`axum::Error`] that [`AuthenticatedSocket`](crate::AuthenticatedSocket) returns. It never
/// contains data from the client.
#[derive(Debug)]
pub struct WebSocketError {
    kind: WebSocketErrorKind,
    cause: Cause,
}

/// What failed; see [`WebSocketError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebSocketErrorKind {
    /// The connection failed, or ended without a close frame.
    Io,
    /// The client violated RFC 6455. It is closed with code 1002.
    Protocol,
    /// A text message or close reason is not UTF-8. The client is closed with code 1007.
    InvalidUtf8,
    /// A frame or message exceeds its maximum size. The client is closed with code 1009.
    TooLarge,
    /// The application sent a message after a close frame.
    Closed,
    /// The application sent a ping, pong or close reason that is too long for a control frame (RFC 6455 §5.5).
    LongControlFrame,
}

#[derive(Debug)]
enum Cause {
    None,
    Io(io::Error),
    Protocol(&'static str),
}

impl WebSocketError {
    pub(super) const fn protocol(what: &'static str) -> Self {
        Self { kind: WebSocketErrorKind::Protocol, cause: Cause::Protocol(what) }
    }

    pub(super) const fn invalid_utf8() -> Self {
        Self { kind: WebSocketErrorKind::InvalidUtf8, cause: Cause::None }
    }

    pub(super) const fn too_large() -> Self {
        Self { kind: WebSocketErrorKind::TooLarge, cause: Cause::None }
    }

    pub(super) const fn closed() -> Self {
        Self { kind: WebSocketErrorKind::Closed, cause: Cause::None }
    }

    pub(super) const fn long_control_frame() -> Self {
        Self { kind: WebSocketErrorKind::LongControlFrame, cause: Cause::None }
    }

    /// What failed.
    #[must_use]
    pub const fn kind(&self) -> WebSocketErrorKind {
        self.kind
    }

    /// The code of the close frame that reports it to the client (RFC 6455 §7.4.1).
    pub(super) const fn close_code(&self) -> Option<u16> {
        match self.kind {
            WebSocketErrorKind::Protocol => Some(1002),
            WebSocketErrorKind::InvalidUtf8 => Some(1007),
            WebSocketErrorKind::TooLarge => Some(1009),
            WebSocketErrorKind::Io | WebSocketErrorKind::Closed | WebSocketErrorKind::LongControlFrame => None,
        }
    }
}

impl From<io::Error> for WebSocketError {
    fn from(error: io::Error) -> Self {
        Self { kind: WebSocketErrorKind::Io, cause: Cause::Io(error) }
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.cause) {
            (WebSocketErrorKind::Protocol, Cause::Protocol(what)) => {
                write!(f, "the client violated the protocol: {what}")
            }
            (WebSocketErrorKind::Protocol, _) => f.write_str("the client violated the protocol"),
            (WebSocketErrorKind::Io, _) => f.write_str("the connection failed"),
            (WebSocketErrorKind::InvalidUtf8, _) => f.write_str("text is not valid UTF-8"),
            (WebSocketErrorKind::TooLarge, _) => f.write_str("a frame or message is too large"),
            (WebSocketErrorKind::Closed, _) => f.write_str("the connection is closed"),
            (WebSocketErrorKind::LongControlFrame, _) => f.write_str("a control frame is longer than 125 bytes"),
        }
    }
}

impl StdError for WebSocketError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::None | Cause::Protocol(_) => None,
        }
    }
}
