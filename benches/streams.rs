//! What it costs that a response ends with its session: throughput, memory, and the time until it has ended.
//!
//! `-- throughput memory` runs only these parts. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use axum_ws_auth::{Sessions, Streams};
use futures_util::stream;
use http::{Request, header::CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tokio::{io::AsyncReadExt, net::TcpStream, task::yield_now};
use tower::ServiceExt;

use support::{
    goal::Goal,
    is_test,
    server::{Server, be_server, most_files, wanted},
    spread::Spread,
    tcp::{runtime, send, serve, to_bytes},
};

/// The routes of the server. The first one is what the others are compared with.
const BARE: &str = "/bare";
const UNTIED: &str = "/untied";
const OURS: &str = "/ours";

/// The length of a body, in frames of 16 KiB.
const GIB: usize = 65_536;

fn main() -> io::Result<()> {
    if wanted().is_some() {
        return be_server(app(&Sessions::new()));
    }
    if !Server::can_be_measured() {
        println!("not run: processor time and memory are read as Linux shows them");
        return Ok(());
    }
    let effort = if is_test() {
        Effort { rounds: 1, frames: 64, streams: 20, servers: 1 }
    } else {
        Effort { rounds: 15, frames: GIB, streams: 10_000, servers: 3 }
    };
    let runtime = runtime()?;
    if is_wanted("throughput") {
        runtime.block_on(throughput(&effort))?;
    }
    if is_wanted("memory") {
        runtime.block_on(memory(&effort))?;
    }
    if is_wanted("ends") {
        let sessions = Sessions::new();
        let server = serve(app(&sessions))?;
        runtime.block_on(ends(&sessions, server, &effort))?;
    }
    Ok(())
}

/// Whether a part is named on the command line. Without names, all run.
fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

/// How much is measured.
struct Effort {
    rounds: usize,
    frames: usize,
    streams: usize,
    servers: usize,
}

/// Copies each frame, as if it were read from a file.
struct Download {
    frames: usize,
    data: [u8; 16 << 10],
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.frames.checked_sub(1);
        self.frames = left.unwrap_or_default();
        Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::copy_from_slice(&self.data)))))
    }
}

/// The same handlers three times: without the layer, authenticated but not tied to the session, and as it is by
/// default.
fn app(sessions: &Sessions) -> Router {
    async fn download(Path(frames): Path<usize>) -> Body {
        Body::new(Download { frames, data: [7; 16 << 10] })
    }
    async fn events() -> Response {
        ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream::pending::<io::Result<Bytes>>()))
            .into_response()
    }
    let handlers = || Router::new().route("/download/{frames}", get(download)).route("/events", get(events));
    let layer = || support::layer().sessions(sessions);
    Router::new()
        .nest(BARE, handlers())
        .nest(UNTIED, handlers().layer(layer().streams(Streams::insecure_off())))
        .nest(OURS, handlers().layer(layer()))
}

/// A request as Chromium sends it.
fn request(path: &str, subject: &str) -> Request<Body> {
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
    let request = Request::get(path)
        .header("host", "chat.example.com")
        .header("connection", "close")
        .header("authorization", format!("Bearer {}", support::session_token(subject)))
        .header("user-agent", agent)
        .header("accept", "text/event-stream")
        .header("cache-control", "no-cache")
        .header("origin", "https://chat.example.com")
        .header("referer", "https://chat.example.com/")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-GB,en-US;q=0.9,en;q=0.8")
        .header("cookie", "preferences=theme=dark&language=en");
    request.body(Body::empty()).expect("a request")
}

async fn throughput(effort: &Effort) -> io::Result<()> {
    println!("| {} MiB in frames of 16 KiB, to the bare handler | goal | |\n| --- | --- | --- |", effort.frames / 64);
    in_process(effort).await?;
    over_loopback(effort).await
}

/// Reads a download from the router, without a connection.
async fn in_process(effort: &Effort) -> io::Result<()> {
    let app = app(&Sessions::new());
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        for (path, samples) in [BARE, BARE, OURS].into_iter().zip(&mut samples) {
            let request = request(&format!("{path}/download/{}", effort.frames), "alice");
            let response = app.clone().oneshot(request).await.expect("a router does not fail");
            assert!(response.status().is_success(), "{response:?}");
            let (start, mut body) = (Instant::now(), response.into_body());
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
            }
            assert!(read >= effort.frames * (16 << 10));
            samples.push(1.0 / start.elapsed().as_secs_f64());
        }
    }
    report("in process", &samples, Goal::None);
    Ok(())
}

/// Downloads from a server in a process of its own.
async fn over_loopback(effort: &Effort) -> io::Result<()> {
    let server = Server::start("all")?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let mut buffer = vec![0; 256 << 10];
    for round in 0..effort.rounds {
        let mut sides = [(BARE, 0), (BARE, 1), (OURS, 2)];
        // Each goes first equally often.
        sides.rotate_left(round % 3);
        for (path, side) in sides {
            let mut stream =
                send(server.address, &to_bytes(&request(&format!("{path}/download/{}", effort.frames), "alice")))
                    .await?;
            let (start, before) = (Instant::now(), server.time()?);
            let mut read = 0;
            while let count @ 1.. = stream.read(&mut buffer).await? {
                read += count;
            }
            assert!(read >= effort.frames * (16 << 10), "only {read} bytes");
            if let (Some(rates), Some(times)) = (rates.get_mut(side), times.get_mut(side)) {
                rates.push(1.0 / start.elapsed().as_secs_f64());
                times.push(1.0 / (server.time()? - before));
            }
        }
    }
    report("over loopback", &rates, Goal::AtLeast(0.98));
    report("over loopback, by processor time of the server", &times, Goal::AtLeast(0.98));
    Ok(())
}

/// Compares the second side, which is the first one again, and the third with the first in the same round.
fn report(name: &str, [first, again, ours]: &[Vec<f64>; 3], goal: Goal) {
    let to_first = |side: &[f64]| Spread::of(side.iter().zip(first).map(|(own, first)| own / first));
    goal.row(name, &to_first(ours));
    Goal::None.row(&format!("{name}, the bare handler again"), &to_first(again));
}

/// Reads the head of a response that sends no data.
async fn open(server: SocketAddr, path: &str, subject: &str) -> io::Result<TcpStream> {
    let mut stream = send(server, &to_bytes(&request(path, subject))).await?;
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Measures the resident memory of the server for each idle event stream.
async fn memory(effort: &Effort) -> io::Result<()> {
    let count = effort.streams.min(5000).min(most_files()?.saturating_sub(100));
    let mut measured = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.servers {
        for (path, measured) in [BARE, UNTIED, OURS].into_iter().zip(&mut measured) {
            let server = Server::start("all")?;
            let path = format!("{path}/events");
            // Allocates what is allocated once.
            let mut streams = vec![open(server.address, &path, "first").await?];
            let before = server.settled_memory().await?;
            for number in 0..count {
                streams.push(open(server.address, &path, &format!("user-{number}")).await?);
            }
            measured.push((server.settled_memory().await? - before) / count as f64);
        }
    }
    let [bare, untied, ours] = measured.map(Spread::of);
    println!("\n| resident for each of {count} idle event streams, KiB | goal | |\n| --- | --- | --- |");
    Goal::None.row("the bare handler", &bare);
    Goal::None.row("authenticated, and not tied to its session", &untied);
    Goal::None.row("tied to its session", &ours);
    let more = ours.median - untied.median;
    let goal = Goal::AtMost(1.0);
    println!("| which is more by | {goal} | {} |", goal.judge(more, &format!("{more:.2}")));
    Ok(())
}

/// Measures how long it takes until clients have read the end.
async fn ends(sessions: &Sessions, server: SocketAddr, effort: &Effort) -> io::Result<()> {
    let path = format!("{OURS}/events");
    let mut one = Vec::new();
    for _ in 0..effort.rounds * 10 {
        one.push(end_all(sessions, vec![open(server, &path, "alice").await?]).await?);
    }
    // Both ends are in this process.
    let count = effort.streams.min(most_files()?.saturating_sub(100) / 2);
    let mut many = Vec::new();
    for _ in 0..effort.servers {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            streams.push(open(server, &path, "alice").await?);
        }
        many.push(end_all(sessions, streams).await?);
    }
    println!("\n| from the end of the sessions to the last byte, ms | goal | |\n| --- | --- | --- |");
    Goal::AtMost(100.0).row("one event stream", &Spread::of(one));
    Goal::AtMost(1000.0).row(&format!("{count} event streams of one subject"), &Spread::of(many));
    Ok(())
}

/// Ends the sessions of these streams, and returns how long it took in milliseconds until all were read to their ends.
async fn end_all(sessions: &Sessions, streams: Vec<TcpStream>) -> io::Result<f64> {
    while sessions.count() < streams.len() {
        yield_now().await;
    }
    let start = Instant::now();
    assert_eq!(sessions.end_subject("alice"), streams.len());
    for mut stream in streams {
        let mut last = Vec::with_capacity(128);
        while stream.read_buf(&mut last).await? > 0 {}
        assert!(last.ends_with(b"\n\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&last));
    }
    let elapsed = start.elapsed();
    while sessions.count() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(elapsed.as_secs_f64() * 1000.0)
}
