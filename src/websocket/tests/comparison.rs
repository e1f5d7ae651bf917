//! What tungstenite makes of the same bytes. The fuzz targets include this file.
#![allow(unreachable_pub, reason = "public for the fuzz targets")]

use std::io::{self, Cursor, Read, Write};

use axum::extract::ws::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{
    self, Error,
    error::CapacityError,
    protocol::{Role, WebSocketConfig},
};

use super::{WebSocketError, WebSocketErrorKind};

/// The most bytes of a frame.
pub const MAX_FRAME: usize = 3000;
/// The most bytes of a message.
pub const MAX_MESSAGE: usize = 5000;

/// What was read up to a close frame, a fault, or the end of the bytes.
#[derive(Debug)]
pub struct Outcome<E> {
    pub messages: Vec<Message>,
    pub failed: Option<E>,
}

/// How tungstenite reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The same messages and no fault.
    Sound,
    /// The same messages and the same fault.
    SameFault,
    /// The same messages. Then tungstenite is lax, or names another of several faults.
    Lax,
}

/// Compares what this crate made of the bytes with what tungstenite makes of them.
///
/// The messages before a fault must be the same. So must the fault be, with these exceptions:
///
/// - A length that is not in its shortest form, or has the highest bit set (RFC 6455 §5.2): tungstenite accepts it. In a control
///   frame, this crate reports what such a form is for: a payload of more than 125 bytes (§5.5).
/// - A close code that may not be sent (§7.4): tungstenite returns a close frame with code 1002 instead. If the reason is not
///   UTF-8 either (§5.5.1), it reports that.
/// - A frame that is larger than allowed and also breaks §5.1, §5.2, §5.4 or §5.5: tungstenite reports the size. The RFC gives
///   no order.
///
/// The close code 1014 may be sent, for IANA has registered it since (§7.4.2). tungstenite refuses it as above.
///
/// This crate reports a fault as soon as the bytes show it, as §8.1 and §10.7 allow, and tungstenite at the end of the frame. So
/// tungstenite is given the rest of a frame in which a fault was found.
///
/// # Panics
///
/// Panics if they differ otherwise.
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
        return Agreement::Sound;
    };
    let theirs = theirs(&[bytes, &[0; MAX_FRAME + 14]].concat());
    let rest = theirs.messages.strip_prefix(ours.messages.as_slice());
    let rest = rest.unwrap_or_else(|| panic!("other messages: {bytes:x?}\n{ours:?}\n{theirs:?}"));
    let description = failed.to_string();
    let is_as_allowed = match (failed.kind(), rest, theirs.failed) {
        (_, _, _) if description.ends_with("shortest form") => true,
        (_, [Message::Ping(_) | Message::Pong(_) | Message::Close(_), ..], _)
        | (_, [], Some(WebSocketErrorKind::InvalidUtf8))
            if description.ends_with("longer than 125 bytes") =>
        {
            true
        }
        (kind, [], Some(failed)) if kind == failed => return Agreement::SameFault,
        (_, [Message::Close(Some(CloseFrame { code: 1002, .. }))], None)
        | (_, [], Some(WebSocketErrorKind::InvalidUtf8)) => description.ends_with("may not be sent"),
        (WebSocketErrorKind::Protocol, [], Some(WebSocketErrorKind::TooLarge)) => !description.contains("close"),
        _ => false,
    };
    assert!(is_as_allowed, "another fault: {bytes:x?}\n{ours:?}\n{theirs:?}");
    Agreement::Lax
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
                messages.push(converted(message));
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

/// A message of tungstenite's as one of axum's.
pub fn converted(message: tungstenite::Message) -> Message {
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

/// Reads from memory, and then would block.
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
