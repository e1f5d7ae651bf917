//! Decodes the same bytes with tungstenite. The fuzz targets include this file.
#![allow(unreachable_pub, reason = "public for the fuzz targets")]

use std::io::{self, Cursor, Read, Write};

use axum::extract::ws::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{
    self, Error,
    error::CapacityError,
    protocol::{Role, WebSocketConfig},
};

use super::{WebSocketError, WebSocketErrorKind};

/// The maximum payload of a frame.
pub const MAX_FRAME: usize = 3000;
/// The maximum size of a message.
pub const MAX_MESSAGE: usize = 5000;

/// What was received up to a close frame, an error, or the end of the bytes.
#[derive(Debug)]
pub struct Outcome<E> {
    pub messages: Vec<Message>,
    pub failed: Option<E>,
}

/// How the results compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The same messages and no error.
    NoError,
    /// The same messages and the same error.
    SameError,
    /// The same messages. Then tungstenite accepts a violation, or reports another of several violations.
    Lenient,
}

/// Compares what this crate received with what tungstenite receives from the same bytes.
///
/// The messages before an error must be the same. The error must be the same too, with these exceptions:
///
/// - A length that is not minimally encoded, or has the highest bit set (RFC 6455 §5.2): tungstenite accepts it. In a
///   control frame, this crate reports a payload of more than 125 bytes (§5.5), which is what such an encoding
///   announces.
/// - A close code that must not be sent (§7.4): tungstenite returns a close frame with code 1002 instead. If the reason
///   is also not UTF-8 (§5.5.1), it reports that.
/// - A frame that is too large and also violates §5.1, §5.2, §5.4 or §5.5: tungstenite reports the size. The RFC gives
///   no order.
///
/// Close code 1014 may be sent: IANA has registered it since (§7.4.2). tungstenite rejects it as above.
///
/// This crate reports a violation as soon as the bytes show it, as §8.1 and §10.7 allow. tungstenite reports it at the
/// end of the frame. So tungstenite is given the rest of a frame that has an error.
///
/// # Panics
///
/// Panics if there is any other difference.
pub fn compare(bytes: &[u8], ours: &Outcome<WebSocketError>) -> Agreement {
    let Some(failed) = &ours.failed else {
        let mut theirs = theirs(bytes);
        if let (Some(Message::Close(Some(ours))), Some(Message::Close(Some(theirs)))) =
            (ours.messages.last(), theirs.messages.last_mut())
            && (ours.code, theirs.code) == (1014, 1002)
        {
            theirs.clone_from(ours);
        }
        assert!(theirs.failed.is_none() && theirs.messages == ours.messages, "{bytes:x?}\n{ours:?}\n{theirs:?}");
        return Agreement::NoError;
    };
    let theirs = theirs(&[bytes, &[0; MAX_FRAME + 14]].concat());
    let rest = theirs.messages.strip_prefix(ours.messages.as_slice());
    let rest = rest.unwrap_or_else(|| panic!("other messages: {bytes:x?}\n{ours:?}\n{theirs:?}"));
    let description = failed.to_string();
    let is_exception = match (failed.kind(), rest, theirs.failed) {
        (_, _, _) if description.ends_with("not minimally encoded") => true,
        (_, [Message::Ping(_) | Message::Pong(_) | Message::Close(_), ..], _)
        | (_, [], Some(WebSocketErrorKind::InvalidUtf8))
            if description.ends_with("longer than 125 bytes") =>
        {
            true
        }
        (kind, [], Some(failed)) if kind == failed => return Agreement::SameError,
        (_, [Message::Close(Some(CloseFrame { code: 1002, .. }))], None)
        | (_, [], Some(WebSocketErrorKind::InvalidUtf8)) => description.ends_with("must not be sent"),
        (WebSocketErrorKind::Protocol, [], Some(WebSocketErrorKind::TooLarge)) => !description.contains("close"),
        _ => false,
    };
    assert!(is_exception, "another error: {bytes:x?}\n{ours:?}\n{theirs:?}");
    Agreement::Lenient
}

fn theirs(bytes: &[u8]) -> Outcome<WebSocketErrorKind> {
    let config = WebSocketConfig::default()
        .read_buffer_size(8192)
        .max_frame_size(Some(MAX_FRAME))
        .max_message_size(Some(MAX_MESSAGE));
    let stream = Stream(Cursor::new(bytes));
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    let failed = loop {
        match socket.read() {
            Ok(message) => {
                let is_close = message.is_close();
                messages.push(to_axum(message));
                if is_close {
                    break None;
                }
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
            Err(Error::Utf8(_)) => break Some(WebSocketErrorKind::InvalidUtf8),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => break Some(WebSocketErrorKind::TooLarge),
            Err(Error::Protocol(_)) => break Some(WebSocketErrorKind::Protocol),
            Err(error) => panic!("{error}"),
        }
    };
    Outcome { messages, failed }
}

/// Converts a message of tungstenite into one of axum.
pub fn to_axum(message: tungstenite::Message) -> Message {
    match message {
        tungstenite::Message::Text(text) => Message::Text(text.as_str().into()),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(frame) => Message::Close(
            frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() }),
        ),
        tungstenite::Message::Frame(_) => panic!("tungstenite never reads one"),
    }
}

/// Reads from memory. At the end it would block.
pub struct Stream<'a>(pub Cursor<&'a [u8]>);

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
