//! A Redis server of one's own, on a port of its own; and a cluster of them.

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
    /// What kind of port it is.
    kind: &'static str,
    port: u16,
    directory: PathBuf,
    options: Vec<&'static str>,
    process: Child,
}

/// Three servers with a third of the slots each.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with([])
    }

    pub(crate) fn start_with(options: impl IntoIterator<Item = &'static str>) -> Self {
        Self::start_at("--port", options)
    }

    /// One that speaks TLS and nothing else.
    pub(crate) fn start_with_tls(options: impl IntoIterator<Item = &'static str>) -> Self {
        Self::start_at("--tls-port", ["--port", "0"].into_iter().chain(options))
    }

    fn start_at(kind: &'static str, options: impl IntoIterator<Item = &'static str>) -> Self {
        let (port, options) = (free_port(), options.into_iter().collect::<Vec<_>>());
        let directory = std::env::temp_dir().join(format!("axum-ws-auth-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let process = run(kind, port, &directory, &options);
        Self { kind, port, directory, options, process }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Until it has read what it had.
    pub(crate) fn wait(&self) {
        let begin = Instant::now();
        while !self.ask("PING").starts_with("+PONG") {
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn store(&self) -> Redis {
        Redis::new(&self.url()).expect("a url")
    }

    /// As a machine that loses its power, but for what the kernel has.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    pub(crate) fn restart(&mut self) {
        self.process = run(self.kind, self.port, &self.directory, &self.options);
    }

    /// Starts again without what it had.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(&self.directory).expect("a directory");
        fs::create_dir_all(&self.directory).expect("a directory");
        self.restart();
    }

    /// Has it carry out a command, in the words of its protocol.
    pub(crate) fn tell(&self, command: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
    }

    /// The beginning of the answer to a command.
    pub(crate) fn ask(&self, command: &str) -> String {
        ask(self.port, command)
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

/// Watches one server under the name `mymaster`, together with others of its kind.
pub(crate) struct SentinelServer {
    port: u16,
    directory: PathBuf,
    process: Child,
}

impl SentinelServer {
    pub(crate) fn start(primary: u16) -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("axum-ws-auth-sentinel-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let config = directory.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n",
            directory.display()
        );
        fs::write(&config, text).expect("a file");
        let mut command = Command::new("redis-server");
        let process = command.arg(&config).arg("--sentinel").stdout(Stdio::null()).spawn().expect("redis-server");
        wait_for(port);
        Self { port, directory, process }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn ask(&self, command: &str) -> String {
        ask(self.port, command)
    }
}

impl Drop for SentinelServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        Self::start_with([])
    }

    pub(crate) fn start_with(more: impl IntoIterator<Item = &'static str>) -> Self {
        let mut options = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        options.extend(more);
        let servers: Vec<_> = (0..3).map(|_| RedisServer::start_with(options.iter().copied())).collect();
        for (server, slots) in servers.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            server.tell(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
            for other in &servers {
                server.tell(&format!("CLUSTER MEET 127.0.0.1 {}", other.port));
            }
        }
        let cluster = Self { servers };
        cluster.wait();
        cluster
    }

    /// Until all of them know all slots.
    pub(crate) fn wait(&self) {
        let begin = Instant::now();
        let knows_all = |server: &RedisServer| {
            let state = server.ask("CLUSTER INFO");
            state.contains("cluster_state:ok") && state.contains("cluster_slots_ok:16384")
        };
        while !self.servers.iter().all(knows_all) {
            assert!(begin.elapsed() < Duration::from_secs(30), "there is no cluster");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn store(&self) -> Redis {
        // The others are learned.
        Redis::cluster(self.servers.iter().take(2).map(RedisServer::url)).expect("urls")
    }
}

/// One that leaves room for the port of the cluster's bus, which is higher by ten thousand.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if port.checked_add(10_000).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

fn run(kind: &str, port: u16, directory: &PathBuf, options: &[&str]) -> Child {
    let process = Command::new("redis-server")
        .args([kind, &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .spawn();
    let process = process.expect("redis-server is needed for this test: apt-get install redis-server");
    wait_for(port);
    process
}

fn wait_for(port: u16) {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "redis-server does not listen");
        thread::sleep(Duration::from_millis(10));
    }
}

fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut answer = [0; 4096];
    let len = stream.read(&mut answer).expect("it answers");
    String::from_utf8_lossy(answer.get(..len).unwrap_or_default()).into_owned()
}
