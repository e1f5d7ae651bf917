//! Bytes that were read together with a message, and wait for the next receive.

use std::future::poll_fn;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::{BINARY, FINAL, Limits, Seen, WebSocket, frame};

/// A handler may stop receiving at any message.
#[tokio::test]
async fn unread_bytes_hold_at_most_twice_their_size() {
    for (payload, count) in [(0, 9_000), (10, 1_000), (100, 500), (1_000, 60), (16_384, 3), (60_000, 1)] {
        let one = frame(FINAL | BINARY, &vec![1; payload]);
        let (mut client, server) = duplex(1 << 20);
        let mut socket = WebSocket::new(server, Limits::default());
        client.write_all(&one.repeat(count)).await.unwrap();
        for received in 1..=count {
            let next = Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
            assert_eq!(next, Seen::Binary(vec![1; payload]));
            let (capacity, unread) = (socket.capacity(), one.len() * (count - received));
            assert!(
                capacity >= unread && capacity <= (2 * unread).max(1024),
                "{payload}: {capacity} bytes for {unread}"
            );
        }
        assert_eq!(socket.capacity(), 0, "{payload}");
    }
}

/// The memory of a socket after each message, if all arrive together.
async fn capacities(len: usize, count: usize) -> Vec<usize> {
    async fn receive(socket: &mut WebSocket<DuplexStream>) -> usize {
        assert!(matches!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::Binary(_)));
        socket.capacity()
    }

    let (mut client, server) = duplex(1 << 20);
    let mut socket = WebSocket::new(server, Limits::default());
    client.write_all(&frame(FINAL | BINARY, &vec![1; len]).repeat(count)).await.unwrap();
    let mut capacities = Vec::new();
    for _ in 0..count {
        capacities.push(receive(&mut socket).await);
    }
    capacities
}

/// They are copied when they fill less than half of their buffer, and not before. Small buffers stay until they are
/// empty.
#[tokio::test]
async fn unread_bytes_are_copied_rarely() {
    // The buffer for reading has 65,792 bytes. Two frames are less than half of it, and one is half of two.
    let frame = 16_384 + 8;
    assert_eq!(capacities(16_384, 4).await, [65_792, 2 * frame, 2 * frame, 0]);
    // Frames of 128 bytes.
    assert_eq!(capacities(122, 9).await, [[1024; 8].as_slice(), &[0]].concat());
    assert_eq!(capacities(122, 10).await, [[1152; 5].as_slice(), &[512; 4], &[0]].concat());
}
