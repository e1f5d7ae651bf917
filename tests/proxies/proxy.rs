//! A running proxy.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    process::Child,
    time::{sleep, timeout},
};

use crate::{TIMEOUT, kind::Kind, script};

pub(crate) const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/test_keys/localhost.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/test_keys/p256.pem");

/// A text in the configuration, and what replaces it.
pub(crate) type Edit<'a> = (&'a str, &'a str);

/// Where a proxy runs.
pub(crate) struct Place<'a> {
    pub(crate) address: &'a str,
    pub(crate) upstream: &'a str,
    pub(crate) certificate: &'a str,
    pub(crate) key: &'a str,
    /// Certificate and key in one file.
    pub(crate) pair: PathBuf,
    pub(crate) directory: &'a Path,
}

/// It ends on drop. Its files are in a directory of its own.
pub(crate) struct Proxy {
    /// `localhost` and a port that is not the default of `https`.
    pub(crate) authority: String,
    pub(crate) port: u16,
    directory: PathBuf,
    process: Child,
}

impl Proxy {
    /// Starts it with the configuration of the guide.
    pub(crate) async fn start(kind: Kind, upstream: &str) -> Self {
        Self::start_edited(kind, upstream, &[]).await
    }

    /// The same after some edits.
    pub(crate) async fn start_edited(kind: Kind, upstream: &str, edits: &[Edit<'_>]) -> Self {
        let mut log = String::new();
        // Somebody else may take the port before the proxy does.
        for _ in 0..3 {
            match Self::try_start(kind, upstream, edits).await {
                Ok(proxy) => return proxy,
                Err(failed) => log = failed,
            }
        }
        panic!("{kind:?} does not start:\n{log}");
    }

    /// Fails with its log.
    async fn try_start(kind: Kind, upstream: &str, edits: &[Edit<'_>]) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("proxy-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&directory).expect("a new directory");
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let pair = directory.join("pair.pem");
        fs::write(&pair, [CERTIFICATE, KEY].map(|path| fs::read_to_string(path).expect("a test key")).concat())
            .expect("a new file");
        let place =
            Place { address: &address, upstream, certificate: CERTIFICATE, key: KEY, pair, directory: &directory };

        let mut configuration = kind.guide().to_owned();
        for (from, to) in edits {
            configuration = replaced(&configuration, from, to);
        }
        for (from, to) in kind.placeholders(&place) {
            configuration = replaced(&configuration, from, &to);
        }
        let file = directory.join("configuration");
        fs::write(&file, kind.surround(&configuration, &place)).expect("a new file");
        let output = File::create(directory.join("output.log")).expect("a new file");
        let errors = output.try_clone().expect("a second handle");
        let package = kind.package();
        let process = script::start(
            kind.command(&file, &directory).stdin(Stdio::null()).stdout(output).stderr(errors),
            &format!("{package} is missing: run tests/run, or apt-get install {package}"),
        );
        let mut proxy = Self { authority: format!("localhost:{port}"), port, directory, process };
        let listens = timeout(TIMEOUT, proxy.listens()).await.expect("it listens or ends");
        if listens { Ok(proxy) } else { Err(proxy.log()) }
    }

    /// Waits until it listens. `false` if it ends instead.
    async fn listens(&mut self) -> bool {
        loop {
            let listens = TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            if self.process.try_wait().expect("its status").is_some() {
                return false;
            }
            if listens {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        let files = ["access.log", "error.log", "output.log"];
        files.map(|file| fs::read_to_string(self.directory.join(file)).unwrap_or_default()).concat()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // `cargo clean` removes what is left.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the guide's configuration has no {from:?}");
    text.replace(from, to)
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
