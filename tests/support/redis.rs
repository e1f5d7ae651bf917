//! A Redis server of one's own, on a port of its own.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum_ws_auth::Redis;

/// Ended when it is dropped. What it has it keeps in a directory of its own, also when it is killed.
pub(crate) struct RedisServer {
    port: u16,
    directory: PathBuf,
    process: Child,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let directory = std::env::temp_dir().join(format!("axum-ws-auth-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let process = run(port, &directory);
        Self { port, directory, process }
    }

    pub(crate) fn store(&self) -> Redis {
        Redis::new(&format!("redis://127.0.0.1:{}", self.port)).expect("a url")
    }

    /// As a machine that loses its power, but for what the kernel has.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    pub(crate) fn restart(&mut self) {
        self.process = run(self.port, &self.directory);
    }

    /// Starts again without what it had.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(&self.directory).expect("a directory");
        fs::create_dir_all(&self.directory).expect("a directory");
        self.restart();
    }

    /// Has it carry out a command, in the words of its protocol.
    pub(crate) fn tell(&self, command: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"+OK", "{command}");
    }

    /// It is there, and does not answer.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn run(port: u16, directory: &PathBuf) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .spawn();
    let process = process.expect("redis-server is needed for this test: apt-get install redis-server");
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "redis-server does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    process
}
