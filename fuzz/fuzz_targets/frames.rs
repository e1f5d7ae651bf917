//! Any bytes, in chunks of any length, give the same messages and the same error as in tungstenite, with the exceptions
//! that `compare` lists.
#![no_main]

use axum::extract::ws::Message;
use axum_ws_auth::{
    WebSocketError,
    fuzzing::{Decoder, Limits},
};
use axum_ws_auth_fuzz::{
    comparison::{MAX_FRAME, MAX_MESSAGE, Outcome, compare},
    input,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((lens, bytes)) = input::lens(data) else { return };
    compare(bytes, &ours(bytes, lens));
});

fn ours(bytes: &[u8], lens: &[u8]) -> Outcome<WebSocketError> {
    let limits = Limits { max_frame: MAX_FRAME, max_message: MAX_MESSAGE, accept_unmasked: false, write_buffer: 1 };
    let mut decoder = Decoder::new(limits);
    let mut lens = input::cycle(lens);
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(lens().min(rest.len()));
        rest = behind;
        let mut chunk = chunk.to_vec();
        let mut chunk = chunk.as_mut_slice();
        while !chunk.is_empty() {
            match decoder.decode(chunk) {
                (_, Err(error)) => return Outcome { messages, failed: Some(error) },
                (taken, Ok(message)) => {
                    chunk = &mut chunk[taken..];
                    assert!(message.is_some() || chunk.is_empty(), "bytes are left, and no message");
                    let is_close = matches!(message, Some(Message::Close(_)));
                    messages.extend(message);
                    if is_close {
                        return Outcome { messages, failed: None };
                    }
                }
            }
        }
    }
    Outcome { messages, failed: None }
}
