use std::sync::Arc;

use tokio::time::timeout;

use super::{LONG, SHORT, WORKS};
use crate::store::{Delivery, NodeBus, NodeId, NodeInbox};

/// Tests a bus between nodes. Takes a few seconds. The two values are the buses of two nodes, which reach each other.
///
/// # Panics
///
/// If the bus breaks a rule of [`NodeBus`].
pub async fn bus(one: impl NodeBus, other: impl NodeBus) {
    let (one, other) = (Arc::new(one), Arc::new(other));
    let [first, second, third] = [(); 3].map(|()| NodeId::random());
    let mut first_inbox = one.listen(first).await.expect(WORKS);
    let mut second_inbox = other.listen(second).await.expect(WORKS);

    // A message arrives as it was sent, whatever it holds and whichever node sends it.
    let messages = [Vec::new(), b"{}".to_vec(), (0..=255).collect(), b"\r\n\0\xff".repeat(16 * 1024)];
    for message in &messages {
        for sender in [&one.send(first, message.clone()).await, &other.send(first, message.clone()).await] {
            assert_eq!(*sender.as_ref().expect(WORKS), Delivery::Sent, "a node listens");
            let received = timeout(LONG, first_inbox.receive()).await.expect("a message arrives").expect(WORKS);
            assert!(received == *message, "a message arrives as it was sent");
        }
    }

    // It goes to the one node that it is for.
    one.send(second, b"for the second".to_vec()).await.expect(WORKS);
    let received = timeout(LONG, second_inbox.receive()).await.expect("a message arrives").expect(WORKS);
    assert_eq!(received, b"for the second", "a message arrives as it was sent");
    assert!(timeout(SHORT, first_inbox.receive()).await.is_err(), "a node receives no message to another one");

    // A message that is sent while nobody waits arrives later, once.
    other.send(first, b"early".to_vec()).await.expect(WORKS);
    tokio::time::sleep(SHORT).await;
    let received = timeout(LONG, first_inbox.receive()).await.expect("a message arrives").expect(WORKS);
    assert_eq!(received, b"early", "a message that is sent while nobody waits arrives");
    assert!(timeout(SHORT, first_inbox.receive()).await.is_err(), "a message arrives once");

    // Nothing is kept for a node that does not listen, or no longer.
    one.send(third, b"to nobody".to_vec()).await.expect(WORKS);
    drop(second_inbox);
    tokio::time::sleep(SHORT).await;
    one.send(second, b"too late".to_vec()).await.expect(WORKS);
    for node in [second, third] {
        let mut inbox = other.listen(node).await.expect(WORKS);
        assert!(timeout(SHORT, inbox.receive()).await.is_err(), "no message is kept for a node that does not listen");
    }
}
