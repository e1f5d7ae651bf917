//! Whole handshakes over loopback, and the processor time that they take of the server.

use std::{
    io,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use axum::body::Body;
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Length,
    app::{SOCKET, handshake},
    keys::Algorithm,
    node,
    peers::{ALL, BARE, Peer, SMALL_BUFFER},
    server::{self, Server},
    spread::Spread,
    tcp::{connect, runtime, to_bytes},
};

/// Enough that neither the server's thread nor the client's runs dry.
const CONNECTIONS: usize = 8;

/// How often, and for how long.
struct Effort {
    /// Servers are started anew: what a large buffer costs depends on how a heap happens to lie.
    starts: usize,
    rounds: usize,
    turn: Duration,
}

/// What one server is asked, and what that took.
struct Side {
    name: &'static str,
    command: Command,
    good: Vec<u8>,
    /// None where nothing is refused.
    badly_signed: Option<Vec<u8>>,
    turns: Vec<Turn>,
}

/// Of each handshake.
struct Turn {
    seconds: f64,
    processor: f64,
}

pub(crate) fn run(length: Length) -> io::Result<()> {
    println!("### Over loopback\n");
    if !Server::can_be_measured() {
        println!("Not run: processor time is read as Linux shows it.");
        return Ok(());
    }
    let effort = match length {
        Length::Full => Effort { starts: 5, rounds: 5, turn: Duration::from_millis(400) },
        Length::Test => Effort { starts: 1, rounds: 1, turn: Duration::from_millis(20) },
    };
    let mut sides = sides()?;
    runtime()?.block_on(measure(&mut sides, &effort))?;
    match length {
        Length::Full => report(&sides),
        Length::Test => println!("{} servers answer as they should.", sides.len()),
    }
    Ok(())
}

fn sides() -> io::Result<Vec<Side>> {
    let algorithm = Algorithm::Hs256;
    let request = |token: &str| to_bytes(&handshake(SOCKET, Some(token)).map(|()| Body::empty()));
    let side = |name, command, peer: &Peer| Side {
        name,
        command,
        good: request(&peer.good_token(algorithm)),
        badly_signed: Some(request(&peer.badly_signed_token(algorithm))),
        turns: Vec::new(),
    };
    let mut sides = Vec::new();
    for peer in ALL.iter().chain([&SMALL_BUFFER]) {
        sides.push(side(peer.name, server::command(peer)?, peer));
    }
    for peer in &BARE {
        sides.push(Side { badly_signed: None, ..side(peer.name, server::command(peer)?, peer) });
    }
    match node::command() {
        // The same tokens as for this crate.
        Ok(command) => sides.push(side("Node, ws and jsonwebtoken", command, &ALL[0])),
        Err(why) => println!("{why}.\n"),
    }
    Ok(sides)
}

async fn measure(sides: &mut [Side], effort: &Effort) -> io::Result<()> {
    for _ in 0..effort.starts {
        let servers = sides.iter_mut().map(|side| Server::start(&mut side.command));
        let servers: Vec<Server> = servers.collect::<io::Result<_>>()?;
        for (side, server) in sides.iter().zip(&servers) {
            if let Some(badly_signed) = &side.badly_signed {
                let status = status(server.address, badly_signed).await?;
                assert_eq!(status, "401", "{}, bad signature", side.name);
            }
            // Node compiles what it runs often.
            turn(server, &side.good, effort.turn).await?;
        }
        // In turn, so that whatever else the machine does meets all of them.
        for _ in 0..effort.rounds {
            for (side, server) in sides.iter_mut().zip(&servers) {
                side.turns.push(turn(server, &side.good, effort.turn).await?);
            }
        }
    }
    Ok(())
}

async fn turn(server: &Server, request: &[u8], length: Duration) -> io::Result<Turn> {
    let (before, start) = (server.time()?, Instant::now());
    let counts = try_join_all((0..CONNECTIONS).map(async |_| {
        let mut count = 0.0;
        while start.elapsed() < length {
            connect(server.address, request).await?;
            count += 1.0;
        }
        io::Result::Ok(count)
    }));
    let count: f64 = counts.await?.into_iter().sum();
    Ok(Turn { seconds: start.elapsed().as_secs_f64() / count, processor: (server.time()? - before) / count })
}

/// The status of an answer that may have a body and leave the connection open.
async fn status(server: SocketAddr, request: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request).await?;
    let mut line = [0; "HTTP/1.1 401".len()];
    stream.read_exact(&mut line).await?;
    Ok(String::from_utf8_lossy(&line).split(' ').nth(1).unwrap_or_default().to_owned())
}

/// A row for each peer, as the `README.md` has them.
fn report(sides: &[Side]) {
    let Some((ours, others)) = sides.split_first() else { return };
    println!("| HS256, to axum-ws-auth | time for a handshake | processor time of the server |");
    println!("| --- | --- | --- |");
    for side in others {
        let ratio = |of: fn(&Turn) -> f64| {
            let turns = side.turns.iter().zip(&ours.turns);
            let Spread { lower, median, upper, .. } = Spread::of(turns.map(|(theirs, ours)| of(theirs) / of(ours)));
            format!("{median:.2} ({lower:.2} to {upper:.2})")
        };
        println!("| {} | {} | {} |", side.name, ratio(|turn| turn.seconds), ratio(|turn| turn.processor));
    }
}
