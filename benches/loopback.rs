//! Handshakes per second over loopback: the layer, a check by hand, and axum without any.
//!
//! See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    env, io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ws::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::test_util::handshake;
use futures_util::future::try_join_all;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
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
    // As criterion decides it: `cargo bench` says `--bench`, and what says `--test` wants to see it run, not to
    // measure.
    let has = |wanted| env::args().any(|argument| argument == wanted);
    let is_test = has("--test") || !has("--bench");
    let (rounds, turn) = if is_test { (1, Duration::from_millis(50)) } else { (15, Duration::from_secs(1)) };

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

/// Serves in a thread of its own until the program ends.
fn serve(app: Router) -> io::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    Ok(address)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn to_bytes(request: &Request<Body>) -> Vec<u8> {
    let mut bytes = format!("GET {} HTTP/1.1\r\n", request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
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

/// Completes one handshake and leaves.
async fn connect(server: SocketAddr, request: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    // Closing by a reset leaves no port behind in TIME_WAIT, of which there would soon be none left.
    stream.set_zero_linger()?;
    stream.write_all(request).await?;
    let mut response = Vec::with_capacity(512);
    while !response.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut response).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if response.starts_with(b"HTTP/1.1 101 ") { Ok(()) } else { Err(io::Error::other("the handshake was refused")) }
}

fn report(sides: &[Side]) {
    let Some((ours, others)) = sides.split_first() else { return };
    println!("{:<38} {:>6.0} handshakes/s", ours.name, ours.rate().median);
    for side in others {
        let Spread { least, lower, median, upper, most } =
            Spread::of(ours.rates.iter().zip(&side.rates).map(|(ours, theirs)| ours / theirs));
        println!(
            "{:<38} {:>6.0} handshakes/s; the layer has {median:.2} times as many \
             (quartiles {lower:.2} to {upper:.2}, all {least:.2} to {most:.2})",
            side.name,
            side.rate().median
        );
    }
}

struct Spread {
    least: f64,
    lower: f64,
    median: f64,
    upper: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |quarter: usize| values.get(last * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { least: at(0), lower: at(1), median: at(2), upper: at(3), most: at(4) }
    }
}
