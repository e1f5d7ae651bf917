//! `Sessions::recheck_subject` with sessions on several nodes.

use std::time::Duration;

use axum_ws_auth::{Limits, Sessions, VerifyError, test_util::MemoryBus};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    Answers, accepted, accepted_for_good, layer,
    limits::MemoryLimits,
    open,
    support::{closed, log::Log, settle},
};

fn sessions(store: &MemoryLimits) -> Sessions {
    Sessions::with_limits(Limits::new().across_nodes(store.clone()))
}

#[tokio::test(start_paused = true)]
async fn sessions_on_other_nodes_are_rechecked() {
    let (store, bus) = (MemoryLimits::new(), MemoryBus::default());
    let [one, two, three] = [(); 3].map(|()| sessions(&store).reachable_through(bus.clone()));
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
    let new = |sessions| layer(answers.clone()).sessions(sessions);
    let (mut alice, _) = open(new(&two), "alice.1").await;
    let (mut also_alice, _) = open(new(&three), "alice.2").await;
    let (_bob, bob) = open(new(&two), "bob.1").await;
    let (_for_good, for_good) =
        open(layer(Answers::new(|token| Ok(accepted_for_good(token)))).sessions(&two), "alice.3").await;
    answers.set(|_| Err(VerifyError::forbidden()));

    assert_eq!(one.recheck_subject("alice"), 0, "it counts its own sessions only");
    for socket in [&mut alice, &mut also_alice] {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
    }
    settle().await;
    assert_eq!((bob.end_reason(), for_good.end_reason(), answers.count()), (None, None, 5));
}

#[tokio::test(start_paused = true)]
async fn node_that_cannot_be_reached_is_logged() {
    let (store, bus) = (MemoryLimits::new(), MemoryBus::default());
    // The second node is not on the bus.
    let (one, two) = (sessions(&store).reachable_through(bus), sessions(&store));
    let (_socket, session) = open(layer(Answers::yes()).sessions(&two), "alice.1").await;
    let log = Log::default();
    let _capture = log.capture(Level::WARN);
    for node in [&one, &sessions(&store)] {
        let before = log.text().len();
        assert_eq!(node.recheck_subject("alice"), 0);
        sleep(Duration::from_secs(3)).await;
        if cfg!(feature = "tracing") {
            assert!(log.text()[before..].contains("session recheck not sent"), "{}", log.text());
        }
    }
    assert_eq!(session.end_reason(), None);
}
