//! The task that listens to other nodes: it refreshes and rechecks sessions of this node for them, and receives their
//! answers.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Answer, Remote, TIMEOUT, message::Message};
use crate::{
    id::NodeId,
    session::{RefreshReply, Registry},
    store::{DynNodeInbox, StoreError},
    telemetry,
};

/// The first pause after a failure. It doubles with each further failure.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Other nodes wait longer than this for a node that does not listen.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// How many requests of other nodes a node works on at a time. Further ones get no answer.
const MAX_REQUESTS: usize = 256;

/// Runs until it is dropped.
pub(super) async fn run(remote: Arc<Remote>, registry: Weak<Registry>) -> Infallible {
    let mut backoff = MIN_BACKOFF;
    loop {
        let error = match remote.bus.listen_boxed(remote.node).await {
            Ok(inbox) => {
                let begin = Instant::now();
                remote.is_listening.send_replace(true);
                let error = serve(&remote, &registry, inbox).await;
                remote.is_listening.send_replace(false);
                if begin.elapsed() > MAX_BACKOFF {
                    backoff = MIN_BACKOFF;
                }
                error
            }
            Err(error) => error,
        };
        if backoff == MIN_BACKOFF {
            telemetry::node_bus_unavailable(&error, &remote.failures);
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// Receives messages until that fails.
async fn serve(remote: &Arc<Remote>, registry: &Weak<Registry>, mut inbox: Box<dyn DynNodeInbox>) -> StoreError {
    // Dropped, and so ended, with this task.
    let mut requests = JoinSet::new();
    loop {
        let message = match inbox.receive_boxed().await {
            Ok(message) => message,
            Err(error) => return error,
        };
        while requests.try_join_next().is_some() {}
        match Message::from_bytes(&message) {
            Some(Message::Answer { number, reply }) => remote.answered(number, Answer::Refresh(reply)),
            Some(Message::Rechecked { number, sessions }) => remote.answered(number, Answer::Recheck(sessions)),
            Some(request) if requests.len() < MAX_REQUESTS => {
                // Upgraded for this request only: the registry, and this task with it, ends with its last owner.
                let Some(registry) = registry.upgrade() else { continue };
                requests.spawn(work_on(request, registry, Arc::clone(remote)));
            }
            // Another version, or too much to do.
            Some(_) | None => {}
        }
    }
}

async fn work_on(request: Message, registry: Arc<Registry>, remote: Arc<Remote>) {
    match request {
        Message::Refresh { number, from, session, token, sender } => {
            let refresh = registry.refresh_here(session, token.into(), sender);
            // The other node does not wait for a later answer.
            let reply = timeout(TIMEOUT, refresh).await.unwrap_or(RefreshReply::UNAVAILABLE);
            answer(&remote, from, Message::Answer { number, reply }).await;
        }
        Message::Recheck { number, from, subject, or_end } => {
            let sessions = registry.recheck_here(&subject, or_end);
            answer(&remote, from, Message::Rechecked { number, sessions }).await;
        }
        Message::Answer { .. } | Message::Rechecked { .. } => {}
    }
}

async fn answer(remote: &Remote, to: NodeId, message: Message) {
    let Some(message) = message.to_bytes() else { return };
    if let Err(error) = remote.bus.send_boxed(to, message).await {
        telemetry::node_bus_unavailable(&error, &remote.failures);
    }
}
