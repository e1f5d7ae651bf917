use std::fmt;

/// What a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionKind {
    /// A WebSocket.
    WebSocket,
    /// A response that goes on, such as Server-Sent Events.
    Stream,
    /// Any other request.
    Request,
}

impl SessionKind {
    /// A stable name; the [crate docs](crate#stable-names) list them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Stream => "stream",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for SessionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
