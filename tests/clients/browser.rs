//! Headless Chromium.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{io::AsyncReadExt, process::Command};

use crate::{TIMEOUT, script};

/// Opens the URL, and waits for the report of its page.
pub(crate) async fn visit<T>(url: &str, report: impl Future<Output = T>) -> T {
    let profile = Profile::new();
    let mut child = script::start(
        Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server"])
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped()),
        "chromium is missing: run tests/run, or apt-get install chromium",
    );
    let mut stderr = child.stderr.take().expect("it is piped");
    let errors = tokio::spawn(async move {
        let mut bytes = Vec::new();
        // On an error, shows what was read so far.
        let _ = stderr.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    });

    let reported = tokio::select! {
        reported = tokio::time::timeout(TIMEOUT, report) => reported.map_err(|_| format!("no report after {TIMEOUT:?}")),
        status = child.wait() => Err(format!("chromium ended by itself: {status:?}")),
    };
    // Fails if it has already ended.
    let _ = child.kill().await;
    // Its child processes share its standard error and end later. Only then can the profile be removed.
    let errors = tokio::time::timeout(TIMEOUT, errors).await.expect("chromium ends").expect("no panic");
    reported.unwrap_or_else(|problem| panic!("{problem}\n{errors}"))
}

/// A new, empty directory, which is removed on drop.
struct Profile(PathBuf);

impl Profile {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // After a panic Chromium may still be writing; `cargo clean` removes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}
