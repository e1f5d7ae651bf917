//! Restarts of Redis while nodes revoke, issue and redeem.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{AtLimit, Limits, Revocations, Sessions, Tickets, WsAuthLayer};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    alive_tasks, issue,
    nodes::{eventually, node, node_behind, status, verifier},
    redeem, redeeming_layer,
    redis::RedisServer,
    support::echo_behind,
};

/// What happened on one node.
#[derive(Default)]
struct Record {
    /// The ids of tokens that the node has revoked, and whether the store confirmed it.
    revoked: Mutex<Vec<(String, bool)>>,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    wrongly_admitted: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_lose_nothing() {
    let mut server = RedisServer::start_with(["--appendfsync", "always"]);
    assert_eq!(alive_tasks(), 0);
    let redeemed_tickets: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let is_done = Arc::new(AtomicBool::new(false));
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            let limits = Limits::new().per_subject(1000, AtLimit::RefuseNew).unwrap().across_nodes(server.store());
            let (revocations, tickets) = (Revocations::new(server.store()), Tickets::<Value>::new(server.store()));
            let sessions = Sessions::with_limits(limits);
            let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations);
            let by_ticket = echo_behind(redeeming_layer(&tickets).revocations(&revocations));
            (node_behind(layer), by_ticket, revocations, tickets)
        })
        .collect();
    let records: Vec<Arc<Record>> = (0..2).map(|_| Arc::default()).collect();

    let mut load = JoinSet::new();
    for (number, ((by_token, _, revocations, tickets), record)) in nodes.iter().zip(&records).enumerate() {
        for worker in 0..4 {
            let (app, record, is_done) = (by_token.clone(), Arc::clone(record), Arc::clone(&is_done));
            load.spawn(async move {
                for turn in 0.. {
                    if is_done.load(SeqCst) {
                        return;
                    }
                    // A revoked token and a valid one, in turn.
                    let revoked = {
                        let revoked = record.revoked.lock().unwrap();
                        let one = revoked.get(turn / 2 % revoked.len().max(1)).map(|(id, _)| id.clone());
                        one.filter(|_| turn % 2 == 0)
                    };
                    match &revoked {
                        Some(id) => {
                            let status = status(&app, &format!("alice.{id}")).await;
                            record.refused.fetch_add(1, SeqCst);
                            record.wrongly_admitted.fetch_add(usize::from(status != 401), SeqCst);
                        }
                        None => {
                            assert_eq!(status(&app, &format!("alice.good-{worker}")).await, 101);
                            record.admitted.fetch_add(1, SeqCst);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        let (revocations, record, done) = (revocations.clone(), Arc::clone(record), Arc::clone(&is_done));
        load.spawn(async move {
            for turn in 0.. {
                if done.load(SeqCst) {
                    return;
                }
                let id = format!("{number}-{turn}");
                let confirmed = revocations.revoke_token(id.clone()).await.is_ok();
                record.revoked.lock().unwrap().push((id, confirmed));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        // Each ticket is offered to both nodes at once.
        let apps = [nodes[0].1.clone(), nodes[1].1.clone()];
        let (tickets, redeemed_tickets, done) = (tickets.clone(), Arc::clone(&redeemed_tickets), Arc::clone(&is_done));
        load.spawn(async move {
            while !done.load(SeqCst) {
                if let Ok(ticket) = issue(&tickets).await {
                    let ticket = ticket.token().expose().to_owned();
                    let offers = (0..4).map(|offer| redeem(&apps[offer % 2], &ticket));
                    let redeemed = futures_util::future::join_all(offers).await;
                    redeemed_tickets
                        .lock()
                        .unwrap()
                        .push((ticket, redeemed.iter().filter(|status| **status == 101).count()));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    is_done.store(true, SeqCst);
    while let Some(outcome) = load.join_next().await {
        outcome.unwrap();
    }

    // Every revocation, confirmed or not, is in effect on both nodes and on a new one.
    let late = Revocations::new(server.store());
    let late_tickets = Tickets::<Value>::new(server.store());
    let (late_app, late_by_ticket) = (node(&late), echo_behind(redeeming_layer(&late_tickets)));
    let mut unconfirmed = 0;
    for record in &records {
        assert_eq!(record.wrongly_admitted.load(SeqCst), 0, "no handshake is admitted after its revocation");
        let revoked = record.revoked.lock().unwrap().clone();
        unconfirmed += revoked.iter().filter(|(_, confirmed)| !confirmed).count();
        for app in [&nodes[0].0, &nodes[1].0, &late_app] {
            for (id, confirmed) in &revoked {
                eventually(&format!("{id}, confirmed: {confirmed}"), async || {
                    status(app, &format!("alice.{id}")).await == 401
                })
                .await;
            }
        }
    }
    // A ticket whose answers were lost may still be valid, once.
    let (mut redeemed, mut redeemed_later) = (0, 0);
    let tickets = redeemed_tickets.lock().unwrap().clone();
    for (ticket, times) in &tickets {
        let again = usize::from(redeem(&late_by_ticket, ticket).await == 101);
        assert!(times + again <= 1, "a ticket was redeemed {times} times, and {again} time later");
        redeemed += times;
        redeemed_later += again;
    }
    let count = |counter: fn(&Record) -> &AtomicUsize| -> usize {
        records.iter().map(|record| counter(record).load(SeqCst)).sum()
    };
    let (admitted, refused) = (count(|record| &record.admitted), count(|record| &record.refused));
    println!("{admitted} admitted, {refused} refused; {unconfirmed} revocations unconfirmed");
    println!("of {} tickets {redeemed} redeemed, {redeemed_later} later", tickets.len());
    assert!(admitted > 100 && refused > 100 && unconfirmed > 0 && redeemed > 20);

    drop((nodes, late, late_tickets, late_app, late_by_ticket));
    eventually("no task is left", async || alive_tasks() == 0).await;
}
