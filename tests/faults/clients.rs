//! Clients with a valid token, good ones and others.

use std::time::{Duration, Instant};

use futures_util::join;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    hostile,
    model::{Answer, End, Kind},
    node::{COOKIE, MAX_MESSAGE, PAGE},
    plan::{Source, Visit},
    stage::{Opened, Stage},
    tokens::Tokens,
    wire::{Answers, CLOSE, TEXT, Wire, frame},
};

/// How soon an evicted session ends. Without Redis it does not.
const EVICTION: Duration = Duration::from_secs(10);
/// How long a token is valid that lasts longer than its visit, and one that does not, in seconds.
const LONG: i64 = 600;
const SHORT: i64 = 12;

pub(crate) async fn visit(stage: &Stage, mut visit: Visit) {
    let (kind, node, number) = (visit.kind, visit.node, visit.number);
    let (subject, id) = (format!("user-{number}"), format!("token-{number}"));
    let seconds = match kind {
        Kind::Expires | Kind::IgnoresClose | Kind::Refreshes => SHORT,
        _ => LONG,
    };
    let valid = |tokens: &Tokens| head("/chat", &credentials(visit.source, &tokens.valid(&subject, &id, seconds)));
    match kind {
        Kind::ComesByTicket => return comes_by_ticket(stage, &visit, subject).await,
        Kind::IsEvicted => return is_evicted(stage, &visit, &subject).await,
        Kind::ResetsInHead | Kind::ResetsAfterHead => {
            let mut head = valid(&stage.tokens);
            if kind == Kind::ResetsInHead {
                head.truncate(visit.random.below(head.len()));
            }
            return resets_early(stage, &visit, &head).await;
        }
        _ if hostile::is_hostile(kind) => return hostile::visit(stage, visit).await,
        _ => {}
    }
    let head = valid(&stage.tokens);
    let Some(mut opened) = stage.shake(kind, node, &head, kind == Kind::ChatsSlowly).await else { return };
    let wire = &mut opened.wire;
    let end = match kind {
        Kind::Chats | Kind::ChatsSlowly => chats(wire, visit.stay).await,
        Kind::Refreshes => refreshes(wire, &stage.tokens.valid(&subject, &id, LONG)).await,
        Kind::Expires => wire.until_the_end(Answers::All).await,
        Kind::IgnoresClose => wire.until_the_end(Answers::Pings).await,
        Kind::FallsSilent => wire.until_the_end(Answers::Nothing).await,
        Kind::ShutsDown => {
            wire.shut_down().await;
            wire.until_the_end(Answers::Nothing).await
        }
        Kind::ResetsInFrame | Kind::ResetsInClose => {
            let opcode = if kind == Kind::ResetsInFrame { TEXT } else { CLOSE };
            let frame = frame(opcode, &[3, 232]);
            // A frame that is cut off ends in the frame, a whole close frame in the close.
            let len = visit.random.below(frame.len()) + usize::from(kind == Kind::ResetsInClose);
            wire.send(&frame[..len]).await;
            sleep(visit.random.millis(0, 20)).await;
            opened.reset(stage);
            return;
        }
        Kind::SendsUnmasked => {
            wire.send(&[TEXT, 2, b'h', b'i']).await;
            wire.until_the_end(Answers::All).await
        }
        Kind::SendsTooMuch => {
            wire.send_frame(TEXT, &[b'a'; MAX_MESSAGE + 1]).await;
            wire.until_the_end(Answers::All).await
        }
        Kind::IsRevoked => return is_revoked(stage, &visit, opened, &subject, id).await,
        other => unreachable!("{other:?}"),
    };
    opened.finish(stage, end);
}

/// The lines that hold a token.
pub(crate) fn credentials(source: Source, token: &str) -> String {
    match source {
        Source::Subprotocol => format!("Sec-WebSocket-Protocol: bearer, {token}\r\n"),
        Source::Authorization => format!("Authorization: Bearer {token}\r\n"),
        Source::Cookie => {
            format!("Cookie: {COOKIE}={token}\r\nOrigin: {PAGE}\r\n")
        }
    }
}

pub(crate) fn head(path: &str, lines: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    head.into_bytes()
}

/// Has a message echoed, stays, and closes.
async fn chats(wire: &mut Wire, stay: Duration) -> End {
    let mut end = wire.echo("hello").await;
    if end.is_none() {
        end = wire.stay(stay).await;
    }
    match end {
        Some(end) => end,
        None => wire.close().await,
    }
}

/// Sends a longer token, and stays until the first one has expired.
async fn refreshes(wire: &mut Wire, token: &str) -> End {
    wire.send_frame(TEXT, json!({ "type": "auth.refresh", "token": token }).to_string().as_bytes()).await;
    match wire.stay(Duration::from_secs(SHORT.unsigned_abs() + 1)).await {
        Some(end) => end,
        None => wire.close().await,
    }
}

async fn comes_by_ticket(stage: &Stage, visit: &Visit, subject: String) {
    let from = Instant::now();
    let Some(running) = stage.nodes[visit.node].running() else { return };
    let ticket = running.ticket(subject).await;
    drop(running);
    let status = if ticket.is_some() { 200 } else { 503 };
    stage.note(Kind::AsksForTicket, visit.node, (Answer::Status(status), (from, Instant::now())), None);
    let Some(ticket) = ticket else { return };
    let head = head(&format!("/by-ticket?ticket={ticket}"), "");
    let Some(mut opened) = stage.shake(Kind::ComesByTicket, visit.node, &head, false).await else { return };
    let end = chats(&mut opened.wire, visit.stay).await;
    opened.finish(stage, end);
    stage.shake_in_vain(Kind::HasUsedTicket, visit.other, &head, false).await;
}

async fn is_revoked(stage: &Stage, visit: &Visit, mut opened: Opened, subject: &str, id: String) {
    let early = opened.wire.stay(visit.stay / 4).await;
    let running = stage.nodes[visit.other].running();
    let (Some(running), None) = (running, &early) else {
        opened.kind = Kind::Chats;
        let end = match early {
            Some(end) => end,
            None => opened.wire.close().await,
        };
        return opened.finish(stage, end);
    };
    let revoke = async {
        let is_confirmed = running.revoke(id.clone()).await;
        let here = running.address;
        drop(running);
        // In effect at once on the node that revokes, whether Redis knows of it or not.
        let token = stage.tokens.valid(subject, &id, LONG);
        if is_confirmed || stage.nodes[visit.other].running().is_some_and(|running| running.address == here) {
            let head = head("/chat", &credentials(visit.source, &token));
            stage.shake_in_vain(Kind::HasRevokedToken, visit.other, &head, false).await;
        }
    };
    let (end, ()) = join!(opened.wire.until_the_end(Answers::All), revoke);
    opened.finish(stage, end);
}

/// Opens three sockets, when two are allowed.
async fn is_evicted(stage: &Stage, visit: &Visit, subject: &str) {
    let open = async |kind, node, number| {
        let token = stage.tokens.valid(subject, &format!("token-{}-{number}", visit.number), LONG);
        stage.shake(kind, node, &head("/chat", &credentials(visit.source, &token)), false).await
    };
    let Some(mut first) = open(Kind::IsEvicted, visit.node, 1).await else { return };
    let mut second = open(Kind::Chats, visit.other, 2).await;
    let mut third = open(Kind::Chats, visit.node, 3).await;
    let mut end = None;
    if let (Some(second), Some(third)) = (&mut second, &mut third) {
        let (of_first, of_second, of_third) =
            join!(first.wire.stay(EVICTION), second.wire.stay(EVICTION), third.wire.stay(EVICTION));
        end = of_first;
        second.end = of_second;
        third.end = of_third;
    } else {
        // Nothing evicts it.
        first.kind = Kind::Chats;
    }
    first.end = end;
    for opened in [Some(first), second, third].into_iter().flatten() {
        opened.close(stage).await;
    }
}

async fn resets_early(stage: &Stage, visit: &Visit, head: &[u8]) {
    let from = Instant::now();
    let (kind, node) = (visit.kind, visit.node);
    let answer = match stage.connect(node).await {
        Some(mut wire) => {
            wire.send(head).await;
            sleep(visit.random.clone().millis(0, 20)).await;
            wire.reset();
            Answer::Left
        }
        None => Answer::NoListener,
    };
    stage.note(kind, node, (answer, (from, Instant::now())), None);
}
