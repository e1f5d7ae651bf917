use std::{error::Error as StdError, fmt, io};

/// Why a WebSocket failed.
///
/// It is the source of the [`axum::Error`] that [`AuthenticatedSocket`](crate::AuthenticatedSocket) returns, and never holds
/// what the client sent.
#[derive(Debug)]
pub struct WebSocketError {
    kind: WebSocketErrorKind,
    cause: Cause,
}

/// What failed; see [`WebSocketError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebSocketErrorKind {
    /// The connection broke, or ended without a close frame.
    Io,
    /// The client broke RFC 6455. It is sent a close frame with code 1002.
    Protocol,
    /// A text is not UTF-8. The client is sent a close frame with code 1007.
    InvalidUtf8,
    /// A frame or message is larger than allowed. The client is sent a close frame with code 1009.
    TooLarge,
    /// The server sends after the close frame.
    Closed,
    /// The server sends a ping, pong or close reason that is too long for a control frame (RFC 6455 §5.5).
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

    /// The code of the close frame that the client is sent (RFC 6455 §7.4.1).
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
            (WebSocketErrorKind::Protocol, Cause::Protocol(what)) => write!(f, "the client broke the protocol: {what}"),
            (WebSocketErrorKind::Protocol, _) => f.write_str("the client broke the protocol"),
            (WebSocketErrorKind::Io, _) => f.write_str("the connection broke"),
            (WebSocketErrorKind::InvalidUtf8, _) => f.write_str("a text is not UTF-8"),
            (WebSocketErrorKind::TooLarge, _) => f.write_str("a frame or message is larger than allowed"),
            (WebSocketErrorKind::Closed, _) => f.write_str("the connection is closed"),
            (WebSocketErrorKind::LongControlFrame, _) => f.write_str("a control frame holds 125 bytes at most"),
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
