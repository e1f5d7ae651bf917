//! Allocations of a request, and the bytes that an idle session keeps.
//!
//! Counts are the same on a busy machine. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "prints figures")]

mod support;

use std::{convert::Infallible, future::ready};

use allocation_counter::measure;
use axum::{
    Router,
    extract::{Request, ws::WebSocketUpgrade},
    response::{IntoResponse, Response},
    routing::{Route, any},
};
use axum_ws_auth::{Rejection, Sessions, test_util};
use jsonwebtoken::Algorithm;
use tokio::{runtime::Builder, task::yield_now};
use tower::{layer::layer_fn, service_fn};

use support::{
    by_hand::Answer,
    cases::{self, Case, Check, Sent, respond},
    goal::Goal,
};

fn main() {
    requests();
    sessions(if support::is_test() { 20 } else { 1000 });
}

fn requests() {
    println!("| allocations for one request | goal | counted |\n| --- | --- | --- |");
    let refused = hs256(Check::Ours, Sent::NoToken);
    let [by_layer, by_handler] = same_answer(&refused);
    let [refused, by_layer, by_handler] = [&refused, &by_layer, &by_handler].map(allocations);
    println!(
        "| refused without a token, beyond a layer that only gives this answer | 0 | {} |",
        judged(refused - by_layer)
    );
    // axum boxes a service and a future for each layer, whatever the layer does.
    println!("| the same, beyond a handler that only gives this answer, with no layer | | {} |", refused - by_handler);
    let bare = allocations(&cases::bare());
    let by_hand = Check::ByHand(Answer::Challenge);
    for (check, sent) in [
        (Check::Ours, Sent::Authorization),
        (Check::Ours, Sent::Pair),
        (Check::Remembered, Sent::Authorization),
        (by_hand, Sent::Authorization),
    ] {
        let case = hs256(check, sent);
        println!("| accepted, {}, beyond the bare router | | {} |", case.name, allocations(&case) - bare);
    }
}

fn judged(count: i64) -> String {
    Goal::AtMost(0.0).judge(count as f64, &count.to_string())
}

fn hs256(check: Check, sent: Sent) -> Case {
    cases::case(check, Algorithm::HS256, sent)
}

/// The same response to the same request, from a layer that does nothing else and from a handler in a bare router.
fn same_answer(refused: &Case) -> [Case; 2] {
    let (app, request) = refused.prepare();
    let rejection = respond(app, request).extensions().get::<Rejection>().cloned().expect("the layer puts it there");
    let answer = move || rejection.clone().into_response();
    let handler = Router::new().route(
        "/",
        any({
            let answer = answer.clone();
            move || ready(answer())
        }),
    );
    let layer = layer_fn(move |inner: Route| {
        let answer = answer.clone();
        service_fn(move |_: Request| {
            // The service is cloned for each request, and the inner service with it.
            let _ = &inner;
            ready(Ok::<_, Infallible>(answer()))
        })
    });
    [cases::idle().layer(layer), handler]
        .map(|app| Case::new("the same answer".to_owned(), app, refused.request.clone(), refused.expected))
}

fn allocations(case: &Case) -> i64 {
    // Warms up: allocates what is allocated only once.
    case.assert_answered();
    let (app, request) = case.prepare();
    let mut response = None;
    let counted = measure(|| response = Some(respond(app, request)));
    i64::try_from(counted.count_total).unwrap_or(i64::MAX)
}

fn sessions(count: usize) {
    let registry = Sessions::new();
    let ours = support::authenticated_with(support::layer().sessions(&registry));
    let theirs = Router::new().route("/", any(unauthenticated));
    let [ours, theirs] = [&ours, &theirs].map(|app| bytes(app, count));
    println!("\n| bytes on the heap for each of {count} idle sessions, with both ends of the pipe | goal | counted |");
    println!("| --- | --- | --- |");
    println!("| axum's `WebSocket`, read buffer of 8 KiB | | {theirs:.0} |");
    let goal = Goal::AtMost(theirs / 2.0);
    println!("| `AuthenticatedSocket`, registered | ≤ half of that | {} |", goal.judge(ours, &format!("{ours:.0}")));
}

/// Selects the subprotocol that the layer selects, because the client refuses the response otherwise.
async fn unauthenticated(upgrade: WebSocketUpgrade) -> Response {
    support::drain(upgrade.read_buffer_size(8 * 1024).protocols(["bearer"]))
}

/// The bytes that each connection holds when all are idle.
fn bytes(app: &Router, count: usize) -> f64 {
    // One thread, because allocations are counted per thread.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let requests: Vec<_> = (0..=count).map(|number| support::chromium(&format!("user-{number}")).build()).collect();
    let mut requests = requests.into_iter();
    let mut open = async || {
        let request = requests.next().expect("one for each");
        let (socket, _) = test_util::connect(app.clone(), request).await.expect("a good token");
        // Let the server's tasks become idle.
        for _ in 0..10 {
            yield_now().await;
        }
        socket
    };
    let mut sockets = Vec::with_capacity(count + 1);
    // Warms up: allocates what is allocated only once.
    sockets.push(runtime.block_on(open()));
    let counted = measure(|| {
        runtime.block_on(async {
            for _ in 0..count {
                sockets.push(open().await);
            }
        });
    });
    counted.bytes_current as f64 / count as f64
}
