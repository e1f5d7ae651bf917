//! Handshakes and refusals over loopback: their rate, and the server's processor time.
//!
//! See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "prints figures")]

mod support;

use std::{
    io,
    time::{Duration, Instant},
};

use axum::{Router, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::{
    CachedVerifier, WsAuthLayer,
    test_util::{HandshakeBuilder, handshake},
};
use futures_util::future::try_join_all;
use http::StatusCode;
use jsonwebtoken::Algorithm;

use support::{
    goal::Goal,
    keys::{Fault, Key},
    server::{Server, be_server, wanted},
    spread::Spread,
    tcp::{be_refused, connect, runtime, to_bytes},
};

/// Enough to keep the server's thread and the client's busy.
const CONNECTIONS: usize = 8;
/// A server's speed depends on the layout of its heap, so one server is not enough.
const ROUNDS_OF_A_SERVER: usize = 6;

fn main() -> io::Result<()> {
    if let Some(name) = wanted() {
        let side = sides().into_iter().find(|side| side.name == name).ok_or(io::ErrorKind::NotFound)?;
        return be_server((side.app)());
    }
    if !Server::can_be_measured() {
        println!("not run: reading processor time needs Linux");
        return Ok(());
    }
    let (rounds, turn) =
        if support::is_test() { (1, Duration::from_millis(50)) } else { (48, Duration::from_millis(250)) };

    let runtime = runtime()?;
    let mut sides = sides();
    let mut servers = Vec::new();
    for round in 0..rounds {
        if round % ROUNDS_OF_A_SERVER == 0 {
            servers = sides.iter().map(|side| Server::start(side.name)).collect::<io::Result<_>>()?;
        }
        // Alternate, so other load on the machine affects all sides.
        for (side, server) in sides.iter_mut().zip(&servers) {
            let sample = runtime.block_on(sample(server, side, turn))?;
            side.samples.push(sample);
        }
    }
    report(&sides);
    Ok(())
}

/// One kind of server, and what its client sends: no more than the server reads.
struct Side {
    name: &'static str,
    app: fn() -> Router,
    request: Vec<u8>,
    is_refused: bool,
    /// The side that it is compared with.
    baseline: &'static str,
    goal: Goal,
    samples: Vec<Sample>,
}

/// The result of one turn.
struct Sample {
    /// Handshakes per second.
    rate: f64,
    /// The server's processor time for each, in microseconds.
    time: f64,
}

const UNAUTHENTICATED: &str = "axum, no authentication";
const BARE_REFUSAL: &str = "axum, handler that answers 401";

fn sides() -> Vec<Side> {
    let pair = |algorithm| handshake().bearer_subprotocol(&Key::of(algorithm).token(Fault::None));
    let authorization = handshake().authorization(&support::token());
    let bad = handshake().bearer_subprotocol(&Key::of(Algorithm::HS256).token(Fault::Signature));
    // The layer's refusals close the connection, too.
    let closing = handshake().header("connection", "close");
    let side = |name, app, request: HandshakeBuilder, baseline, goal| {
        let request = to_bytes(&request.build());
        Side { name, app, request, is_refused: baseline == BARE_REFUSAL, baseline, goal, samples: Vec::new() }
    };
    let accepted = |name, app, request, goal| side(name, app, request, UNAUTHENTICATED, goal);
    let refused = |name, app, request, goal| side(name, app, request, BARE_REFUSAL, goal);
    let fast = Goal::AtLeast(1.6);
    vec![
        accepted("ours, HS256", support::authenticated, pair(Algorithm::HS256), fast),
        accepted("ours, ES256 remembered", || remembering(Algorithm::ES256), pair(Algorithm::ES256), fast),
        accepted("ours, RS256 remembered", || remembering(Algorithm::RS256), pair(Algorithm::RS256), fast),
        accepted("by hand, HS256", support::authenticated_by_hand, authorization, Goal::None),
        accepted("axum, no authentication, 8 KiB", with_small_buffer, handshake(), Goal::None),
        accepted(UNAUTHENTICATED, support::unauthenticated, handshake(), Goal::None),
        refused("ours, no token", support::authenticated, handshake(), Goal::AtLeast(0.97)),
        refused("ours, bad signature", support::authenticated, bad, Goal::AtLeast(0.9)),
        refused(BARE_REFUSAL, refusing, closing, Goal::None),
    ]
}

fn remembering(algorithm: Algorithm) -> Router {
    support::authenticated_with(WsAuthLayer::new(CachedVerifier::new(Key::of(algorithm).ours)))
}

/// Shows how much of a difference comes from the buffer and not from authentication.
fn with_small_buffer() -> Router {
    async fn handler(upgrade: WebSocketUpgrade) -> Response {
        support::drain(upgrade.read_buffer_size(8 * 1024))
    }
    Router::new().route("/", any(handler))
}

fn refusing() -> Router {
    Router::new().route("/", any(async || StatusCode::UNAUTHORIZED))
}

async fn sample(server: &Server, side: &Side, turn: Duration) -> io::Result<Sample> {
    let (start, before) = (Instant::now(), server.time()?);
    let counts = try_join_all((0..CONNECTIONS).map(async |_| {
        let mut count = 0.0;
        while start.elapsed() < turn {
            if side.is_refused {
                be_refused(server.address, &side.request).await?;
            } else {
                connect(server.address, &side.request).await?;
            }
            count += 1.0;
        }
        io::Result::Ok(count)
    }));
    let count: f64 = counts.await?.into_iter().sum();
    Ok(Sample { rate: count / start.elapsed().as_secs_f64(), time: (server.time()? - before) / count })
}

fn report(sides: &[Side]) {
    println!("| over loopback | per second | processor time of the server for each, µs |\n| --- | --- | --- |");
    for side in sides {
        let [rate, time] = [|sample: &Sample| sample.rate, |sample: &Sample| sample.time]
            .map(|of| Spread::of(side.samples.iter().map(of)).median);
        println!("| {} | {rate:.0} | {time:.1} |", side.name);
    }
    println!("\n| ratio | goal | of rates | of processor time |\n| --- | --- | --- | --- |");
    for side in sides {
        let Some(baseline) = sides.iter().find(|other| other.name == side.baseline && other.name != side.name) else {
            continue;
        };
        let ratios = |of: fn(&Sample) -> f64| {
            Spread::of(side.samples.iter().zip(&baseline.samples).map(|(own, other)| of(own) / of(other)))
        };
        let rates = ratios(|sample| sample.rate);
        let judged = side.goal.judge(rates.median, &rates.to_string());
        println!("| {} ÷ {} | {} | {judged} | {} |", side.name, side.baseline, side.goal, ratios(|sample| sample.time));
    }
}
