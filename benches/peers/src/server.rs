//! A server in a process of its own, whose processor time is nobody else's.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use crate::{
    app::App,
    keys::Algorithm,
    peers::{ALL, BARE, Peer, SMALL_BUFFER},
    tcp::{runtime, serve},
};

/// The argument by which a program is the server of the peer that follows.
pub(crate) const SERVE: &str = "serve";

/// It ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

/// Is the server, until the process that started this one is done with it or is no more.
pub(crate) fn be_server(name: &str) -> io::Result<()> {
    let peer = ALL
        .iter()
        .chain(&BARE)
        .chain([&SMALL_BUFFER])
        .find(|peer| peer.name == name)
        .ok_or_else(|| io::Error::other("no such peer"))?;
    let address = match (peer.app)(Algorithm::Hs256).expect("all know HMAC") {
        App::Axum(router) => serve(router)?,
        App::Axum07(router) => serve_07(router)?,
    };
    println!("{address}");
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn serve_07(app: axum07::Router) -> io::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || runtime.block_on(async { axum07::serve(listener, app).tcp_nodelay(true).await }));
    Ok(address)
}

/// Starts this program once more.
pub(crate) fn command(peer: &Peer) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args([SERVE, peer.name]);
    Ok(command)
}

impl Server {
    /// Whether this system shows the processor time as it is read here.
    pub(crate) fn can_be_measured() -> bool {
        Path::new("/proc/self/schedstat").exists()
    }

    /// Starts a program that says where it listens, and stays until its input ends.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { process, address })
    }

    /// The processor time so far, of all threads, in microseconds.
    pub(crate) fn time(&self) -> io::Result<f64> {
        let mut nanoseconds = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let number = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
            nanoseconds += number.ok_or_else(|| io::Error::other("no number in schedstat"))?;
        }
        Ok(nanoseconds / 1000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // What is left of it is nobody's concern.
        let _ = self.process.wait();
    }
}
