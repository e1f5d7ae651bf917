//! A server in a process of its own, and what Linux shows of it.

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

/// The argument by which a program is the server; its name follows.
const SERVE: &str = "serve";

/// A server whose processor time and memory are nobody else's. It ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

/// Which server this process is to be, if any.
pub(crate) fn wanted() -> Option<String> {
    let mut arguments = env::args();
    arguments.find(|argument| argument == SERVE).and_then(|_| arguments.next())
}

/// Is the server, until the process that started this one is done with it or is no more.
pub(crate) fn be_server(app: Router) -> io::Result<()> {
    println!("{}", serve(app)?);
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

impl Server {
    /// Whether this system shows what is measured here.
    pub(crate) fn can_be_measured() -> bool {
        Path::new("/proc/self/schedstat").exists()
    }

    /// Starts this program once more, as the server of this name.
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

    /// The resident memory in KiB, once there is nothing more to do.
    pub(crate) async fn settled_memory(&self) -> io::Result<f64> {
        loop {
            let before = self.time()?;
            sleep(Duration::from_millis(100)).await;
            if self.time()? <= before {
                break;
            }
        }
        let pages = number(format!("/proc/{}/statm", self.process.id()).as_ref(), 1)?;
        // Of 4 KiB, as on nearly all machines.
        Ok(pages * 4.0)
    }
}

fn number(file: &Path, position: usize) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    let number = text.split_whitespace().nth(position).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number in {}", file.display())))
}

/// How many files a process may have open.
pub(crate) fn most_files() -> io::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().next()).and_then(|most| most.parse().ok());
    Ok(most.unwrap_or(usize::MAX))
}
