//! Tickets, revocations and limits of several nodes in a real Redis or Redis Cluster.
//!
//! Needs `redis-server` on the path.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may panic, and shares its servers with others"
)]

#[path = "redis/access.rs"]
mod access;
#[path = "redis/failover.rs"]
mod failover;
#[path = "redis/load.rs"]
mod load;
#[path = "support/node_process.rs"]
mod node_process;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "redis/of_subject.rs"]
mod of_subject;
#[path = "redis/outages.rs"]
mod outages;
#[path = "redis/processes.rs"]
mod processes;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/redis.rs"]
mod redis;
#[path = "redis/refresh.rs"]
mod refresh;
#[path = "redis/stores.rs"]
mod stores;
mod support;
#[cfg(feature = "redis-tls")]
#[path = "redis/tls.rs"]
mod tls;

use axum::Router;
use axum_ws_auth::{
    Limits, Sessions, Ticket, TicketError, TicketOptions, Tickets, TokenSource, Verified, WsAuthLayer,
    test_util::handshake,
};
use nodes::{node_behind, verifier};
use serde_json::{Value, json};
use support::answer;

fn limited_node(limits: Limits) -> Router {
    node_behind(WsAuthLayer::new(verifier).sessions(&Sessions::with_limits(limits)))
}

/// Issues a ticket without a subject.
async fn issue(tickets: &Tickets<Value>) -> Result<Ticket, TicketError> {
    tickets.issue_for(&Verified::new(json!({})), &TicketOptions::new()).await
}

fn redeeming_layer(tickets: &Tickets<Value>) -> WsAuthLayer {
    WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap()
}

/// The status of the answer to a handshake with a ticket.
async fn redeem(app: &Router, ticket: &str) -> u16 {
    answer(app, handshake().path(format!("/?ticket={ticket}")).build()).await.status().as_u16()
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
