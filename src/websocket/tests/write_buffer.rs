//! What waits to be written, and in what form.

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message},
};

use super::super::write_buffer::WriteBuffer;

fn binary(len: usize) -> Message {
    Message::Binary(vec![7; len].into())
}

#[test]
fn a_payload_of_16_kib_is_written_from_its_own_buffer() {
    for (len, is_vectored, has_own) in
        [(16 * 1024 - 1, true, false), (16 * 1024, true, true), (100_000, true, true), (100_000, false, false)]
    {
        let mut buffer = WriteBuffer::new();
        buffer.push(binary(len), is_vectored).unwrap();
        assert_eq!(buffer.next_slices().is_some(), has_own, "{len}");
        assert!(buffer.len() > len, "it is unwritten in either case");
    }
}

/// A client that sends pings and does not read must not cost memory.
#[test]
fn pings_and_pongs_wait_while_a_kibibyte_is_unwritten() {
    for (unwritten, has_room) in [(1023, true), (1024, false), (100_000, false)] {
        let fill = || {
            let mut buffer = WriteBuffer::new();
            // The header takes 4 bytes, or 10.
            buffer.push(binary(unwritten - if unwritten > 0xffff { 10 } else { 4 }), true).unwrap();
            assert_eq!(buffer.len(), unwritten);
            buffer
        };
        let (mut pong, mut ping) = (fill(), fill());
        pong.set_pong(Bytes::new());
        ping.set_ping();
        for mut buffer in [pong, ping] {
            buffer.encode_responses();
            assert_eq!(buffer.len() > unwritten, has_room, "{unwritten}");
        }
    }
}

/// Only then does the reader write.
#[test]
fn a_response_is_pending_until_it_is_flushed() {
    let close = Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }));
    let mut buffer = WriteBuffer::new();
    buffer.push(binary(10), false).unwrap();
    buffer.push(close, false).unwrap();
    assert!(!buffer.has_response(), "the application sent these");
    buffer.set_pong(Bytes::new());
    assert!(buffer.has_response());
    buffer.encode_responses();
    buffer.advance(buffer.len());
    assert!(buffer.is_empty() && buffer.has_response());
    buffer.set_flushed();
    assert!(!buffer.has_response());
}
