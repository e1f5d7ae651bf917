//! A server in its own process, with its processor time and memory as Linux reports them.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::Router;
use tokio::time::sleep;

use super::tcp::serve;

/// The argument that makes this program the server; the server's name follows.
const SERVE: &str = "serve";

/// How long to wait for a server to become idle, in tenths of a second.
const MOST_WAITS: usize = 50;

/// A server in its own process. It ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

/// The server that this process must run, if any.
pub(crate) fn wanted() -> Option<String> {
    let mut arguments = env::args();
    arguments.find(|argument| argument == SERVE).and_then(|_| arguments.next())
}

/// Runs the server until the parent process closes its end of the pipe or ends.
pub(crate) fn be_server(app: Router) -> io::Result<()> {
    println!("{}", serve(app)?);
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

impl Server {
    /// Whether this system reports processor time and memory.
    pub(crate) fn can_be_measured() -> bool {
        Path::new("/proc/self/schedstat").exists()
    }

    /// Starts this program again, as the named server.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.args([SERVE, name]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { process, address })
    }

    /// The processor time so far, of all threads, in microseconds.
    pub(crate) fn time(&self) -> io::Result<f64> {
        let mut nanoseconds = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            nanoseconds += number(&thread?.path().join("schedstat"), 0)?;
        }
        Ok(nanoseconds / 1000.0)
    }

    /// The resident memory in KiB, once the server is idle, or after five seconds.
    pub(crate) async fn settled_memory(&self) -> io::Result<f64> {
        // A server that is pinged does not become idle.
        for _ in 0..MOST_WAITS {
            let before = self.time()?;
            sleep(Duration::from_millis(100)).await;
            if self.time()? <= before {
                break;
            }
        }
        self.memory()
    }

    /// The resident memory in KiB.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        let pages = number(format!("/proc/{}/statm", self.process.id()).as_ref(), 1)?;
        // Pages of 4 KiB, as on nearly all machines.
        Ok(pages * 4.0)
    }
}

fn number(file: &Path, position: usize) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    let number = text.split_whitespace().nth(position).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number in {}", file.display())))
}

/// The limit of open files.
pub(crate) fn most_files() -> io::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().next()).and_then(|most| most.parse().ok());
    Ok(most.unwrap_or(usize::MAX))
}
