//! Redis servers, sentinels and clusters, started for one test.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum_ws_auth::Redis;

/// Stops when it is dropped. Its data is in a temporary directory, and survives a kill.
pub(crate) struct RedisServer {
    /// `--port` or `--tls-port`.
    port_option: &'static str,
    port: u16,
    directory: PathBuf,
    options: Vec<&'static str>,
    process: Child,
}

/// Three servers, each with a third of the slots.
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

    /// Starts a server that accepts TLS only.
    pub(crate) fn start_with_tls(options: impl IntoIterator<Item = &'static str>) -> Self {
        Self::start_at("--tls-port", ["--port", "0"].into_iter().chain(options))
    }

    fn start_at(port_option: &'static str, options: impl IntoIterator<Item = &'static str>) -> Self {
        let (port, options) = (free_port(), options.into_iter().collect::<Vec<_>>());
        let directory = std::env::temp_dir().join(format!("axum-ws-auth-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let process = spawn(port_option, port, &directory, &options);
        Self { port_option, port, directory, options, process }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its data.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the server has loaded its data.
    pub(crate) fn wait_until_ready(&self) {
        let begin = Instant::now();
        while !self.query("PING").starts_with("+PONG") {
            assert!(begin.elapsed() < Duration::from_secs(10), "the server does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn store(&self) -> Redis {
        Redis::new(&self.url()).expect("a url")
    }

    /// Ends the process without notice.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port_option, self.port, &self.directory, &self.options);
    }

    /// Restarts the server without its data.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(&self.directory).expect("a directory");
        fs::create_dir_all(&self.directory).expect("a directory");
        self.restart();
    }

    /// Runs a command that answers `+OK`.
    pub(crate) fn run(&self, command: &str) {
        let answer = self.query(command);
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
    }

    /// Runs a command, and returns the beginning of the answer.
    pub(crate) fn query(&self, command: &str) -> String {
        query(self.port, command)
    }

    /// Suspends the process: it accepts connections, and does not answer.
    pub(crate) fn suspend(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
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

/// A sentinel that monitors one server under the name `mymaster`, together with other sentinels.
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

    pub(crate) fn query(&self, command: &str) -> String {
        query(self.port, command)
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
            server.run(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
            for other in &servers {
                server.run(&format!("CLUSTER MEET 127.0.0.1 {}", other.port));
            }
        }
        let cluster = Self { servers };
        cluster.wait();
        cluster
    }

    /// Waits until all servers know all slots.
    pub(crate) fn wait(&self) {
        let begin = Instant::now();
        let knows_all = |server: &RedisServer| {
            let state = server.query("CLUSTER INFO");
            state.contains("cluster_state:ok") && state.contains("cluster_slots_ok:16384")
        };
        while !self.servers.iter().all(knows_all) {
            assert!(begin.elapsed() < Duration::from_secs(30), "the cluster does not form");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn store(&self) -> Redis {
        // These name the third server.
        Redis::cluster(self.servers.iter().take(2).map(RedisServer::url)).expect("urls")
    }
}

/// A free port whose cluster bus port, which is higher by ten thousand, is free too.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if port.checked_add(10_000).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

fn spawn(port_option: &str, port: u16, directory: &PathBuf, options: &[&str]) -> Child {
    let process = Command::new("redis-server")
        .args([port_option, &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"])
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

fn query(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut answer = [0; 4096];
    let len = stream.read(&mut answer).expect("it answers");
    String::from_utf8_lossy(answer.get(..len).unwrap_or_default()).into_owned()
}
