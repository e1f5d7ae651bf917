//! The same bytes, in any chunks and with cancelled reads, give the same messages, the same error and the same
//! responses. Memory is proportional to the bytes received.
#![no_main]

use std::task::{Context, Poll, Waker};

use axum::extract::ws::Message;
use axum_ws_auth::{
    WebSocketErrorKind,
    fuzzing::{Limits, WebSocket},
};
use axum_ws_auth_fuzz::{input, wire::Wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[settings, quota, extra], rest)) = data.split_first_chunk() else { return };
    let Some((first, rest)) = input::lens(rest) else { return };
    let Some((second, bytes)) = input::lens(rest) else { return };
    // The fuzzer rarely generates many bytes, so repeat them for a large message.
    let extra = if settings & 1 == 0 { 0 } else { usize::from(extra) << 7 };
    let bytes: Vec<u8> =
        bytes.iter().copied().cycle().take(bytes.len() + if bytes.is_empty() { 0 } else { extra }).collect();
    let limits = Limits {
        max_frame: if settings & 2 == 0 { 1 << 20 } else { 3000 },
        max_message: if settings & 4 == 0 { 1 << 20 } else { 5000 },
        accept_unmasked: settings & 8 != 0,
        write_buffer: 1000,
    };
    let quota = (settings & 16 != 0).then_some(usize::from(quota));
    let first = run(&bytes, first, settings & 32 != 0, limits, quota);
    let second = run(&bytes, second, settings & 64 != 0, limits, quota);
    assert!(first == second, "{first:?}\n{second:?}");
});

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    messages: Vec<Message>,
    failed: Option<WebSocketErrorKind>,
    sent: Vec<u8>,
}

fn run(bytes: &[u8], lens: &[u8], is_slow: bool, limits: Limits, quota: Option<usize>) -> Seen {
    let mut wire = Wire::new(bytes.to_vec());
    wire.is_ended = true;
    wire.is_slow = is_slow;
    (wire.read_lens, wire.write_lens) = (Box::new(input::cycle(lens)), Box::new(input::cycle(lens)));
    let mut socket = WebSocket::new(wire, limits);
    socket.set_read_quota(quota);
    let (mut messages, mut failed) = (Vec::new(), None);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // A pending read is cancelled: the next call begins a new one.
        let next = socket.poll_next(&mut cx);
        let arrived = socket.io().taken;
        assert!(socket.capacity() <= 6 * arrived + 1024, "{} for {arrived} bytes", socket.capacity());
        match next {
            Poll::Pending => {}
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(message))) => {
                assert!(failed.is_none(), "a message behind a fault");
                messages.push(message);
            }
            Poll::Ready(Some(Err(error))) => {
                assert!(failed.is_none(), "two faults");
                failed = Some(error.kind());
            }
        }
    }
    Seen { messages, failed, sent: socket.io().written.clone() }
}
