//! Handshakes per second over loopback: the layer, a check by hand, and axum without any.
//!
//! See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::test_util::handshake;
use futures_util::future::try_join_all;
use http::Request;

use support::{
    spread::Spread,
    tcp::{connect, runtime, serve, to_bytes},
};

/// Enough that neither the server's thread nor the client's runs dry.
const CONNECTIONS: usize = 8;

/// One server, and what its client sends.
struct Side {
    name: &'static str,
    address: SocketAddr,
    request: Vec<u8>,
    /// Handshakes per second in each round.
    rates: Vec<f64>,
}

fn main() -> io::Result<()> {
    let (rounds, turn) = if support::is_test() { (1, Duration::from_millis(50)) } else { (15, Duration::from_secs(1)) };

    let runtime = runtime()?;
    let mut sides = sides()?;
    // In turn, so that whatever else the machine does meets all of them.
    for _ in 0..rounds {
        for side in &mut sides {
            let rate = runtime.block_on(rate(side.address, &side.request, turn))?;
            side.rates.push(rate);
        }
    }
    report(&sides);
    Ok(())
}

/// This crate first: the others are what it is compared with. Each client sends no more than its server looks at.
fn sides() -> io::Result<[Side; 4]> {
    let token = support::token();
    let pair = handshake().bearer_subprotocol(&token).build();
    let authorization = handshake().authorization(&token).build();
    let plain = handshake().build();
    Ok([
        Side::new("layer and AuthenticatedUpgrade", support::authenticated(), &pair)?,
        Side::new("no authentication", support::unauthenticated(), &plain)?,
        Side::new("no authentication, 8 KiB read buffer", with_small_buffer(), &plain)?,
        Side::new("check by hand", support::authenticated_by_hand(), &authorization)?,
    ])
}

/// Shows how much of a difference is the buffer's and not that of the authentication.
fn with_small_buffer() -> Router {
    async fn handler(upgrade: WebSocketUpgrade) -> Response {
        support::drain(upgrade.read_buffer_size(8 * 1024))
    }
    Router::new().route("/", any(handler))
}

impl Side {
    fn new(name: &'static str, app: Router, request: &Request<Body>) -> io::Result<Self> {
        Ok(Self { name, address: serve(app)?, request: to_bytes(request), rates: Vec::new() })
    }

    fn rate(&self) -> Spread {
        Spread::of(self.rates.iter().copied())
    }
}

async fn rate(server: SocketAddr, request: &[u8], turn: Duration) -> io::Result<f64> {
    let start = Instant::now();
    let counts = try_join_all((0..CONNECTIONS).map(async |_| {
        let mut count = 0.0;
        while start.elapsed() < turn {
            connect(server, request).await?;
            count += 1.0;
        }
        io::Result::Ok(count)
    }));
    let total: f64 = counts.await?.into_iter().sum();
    Ok(total / start.elapsed().as_secs_f64())
}

fn report(sides: &[Side]) {
    let Some((ours, others)) = sides.split_first() else { return };
    println!("{:<38} {:>6.0} handshakes/s", ours.name, ours.rate().median);
    for side in others {
        let Spread { lower, median, upper } =
            Spread::of(ours.rates.iter().zip(&side.rates).map(|(ours, theirs)| ours / theirs));
        println!(
            "{:<38} {:>6.0} handshakes/s; the layer has {median:.2} times as many \
             (quartiles {lower:.2} to {upper:.2})",
            side.name,
            side.rate().median
        );
    }
}
