//! Reading, sending, flushing, closing and discarding in any order never panics. The socket writes what was sent, in
//! order, in frames that a client accepts.
#![no_main]

use std::{
    collections::VecDeque,
    io::{self, Cursor},
    task::{Context, Poll, Waker},
};

use axum::extract::ws::{CloseFrame, Message};
use axum_ws_auth::fuzzing::{Limits, WebSocket};
use axum_ws_auth_fuzz::{
    comparison::{Stream, to_axum},
    input,
    wire::Wire,
};
use libfuzzer_sys::fuzz_target;
use tokio_tungstenite::tungstenite::{
    self, Error,
    protocol::{Role, WebSocketConfig},
};

fuzz_target!(|data: &[u8]| {
    let Some((&settings, rest)) = data.split_first() else { return };
    let Some((lens, steps)) = input::lens(rest) else { return };
    let mut wire = Wire::new(Vec::new());
    (wire.read_lens, wire.write_lens) = (Box::new(input::cycle(lens)), Box::new(input::cycle(lens)));
    (wire.is_slow, wire.is_vectored, wire.room) = (settings & 1 != 0, settings & 2 != 0, 0);
    let limits = Limits {
        max_frame: 3000,
        max_message: 5000,
        accept_unmasked: settings & 4 != 0,
        write_buffer: if settings & 8 == 0 { 1 } else { 40_000 },
    };
    let mut socket = WebSocket::new(wire, limits);
    let mut sent = VecDeque::new();
    let mut steps = Steps(steps);
    let mut cx = Context::from_waker(Waker::noop());
    let mut is_discarding = false;
    while let Some(step) = steps.next() {
        match step % 9 {
            0 => {
                let bytes = steps.take();
                socket.io().to_read.extend_from_slice(bytes);
            }
            1 => socket.io().is_ended = true,
            2 => socket.io().room += input::cycle(&[steps.next().unwrap_or_default()])(),
            // Once it discards, it receives nothing more.
            3 if !is_discarding => {
                if let Poll::Ready(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) =
                    socket.poll_next(&mut cx)
                    && socket.start_send(message.clone()).is_ok()
                {
                    sent.push_back(message);
                }
            }
            4 => {
                let message = steps.message();
                if socket.start_send(message.clone()).is_ok() {
                    sent.push_back(message);
                }
            }
            5 => _ = socket.poll_ready(&mut cx),
            6 => _ = socket.poll_flush(&mut cx),
            7 => _ = socket.poll_close(&mut cx),
            8 => {
                is_discarding = true;
                _ = socket.poll_discard(&mut cx);
            }
            _ => {}
        }
    }
    socket.io().room = usize::MAX;
    assert!(socket.poll_flush(&mut cx).is_ready(), "there is room, and a write is pending");
    assert!(is_discarding || socket.io().is_slow || socket.poll_next(&mut cx).is_ready() || !socket.io().is_ended);
    check(&socket.io().written, sent);
});

struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self) -> &'a [u8] {
        let len = self.next().map_or(0, usize::from).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn message(&mut self) -> Message {
        let kind = self.next().unwrap_or_default();
        let len = self.next().map_or(0, usize::from);
        match kind % 8 {
            0 => Message::Text("x".repeat(len).into()),
            1 => Message::Binary(vec![kind; len].into()),
            // Around the lengths at which the header grows, and at which payloads are not copied.
            2 => Message::Binary(vec![kind; 16_300 + len].into()),
            3 => Message::Text("y".repeat(65_400 + len).into()),
            4 => Message::Ping(vec![kind; len].into()),
            5 => Message::Pong(vec![kind; len].into()),
            6 => Message::Close(None),
            _ => Message::Close(Some(CloseFrame { code: 3000, reason: "z".repeat(len).into() })),
        }
    }
}

/// Lets a client read what was written.
fn check(written: &[u8], mut sent: VecDeque<Message>) {
    let config = WebSocketConfig::default().read_buffer_size(8192);
    let mut client = tungstenite::WebSocket::from_raw_socket(Stream(Cursor::new(written)), Role::Client, Some(config));
    let mut is_closed = false;
    loop {
        let message = match client.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        };
        assert!(!is_closed, "a message behind the close frame");
        is_closed = message.is_close();
        let is_answer = message.is_pong() || is_closed;
        let message = to_axum(message);
        if sent.front() == Some(&message) {
            sent.pop_front();
        } else {
            assert!(is_answer, "{message:?} was not sent, or not now: {:?}", sent.front());
        }
    }
    assert!(sent.is_empty(), "not written: {sent:?}");
}
