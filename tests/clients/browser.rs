//! Headless browsers.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{io::AsyncReadExt, process::Command};

use crate::{TIMEOUT, script};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Browser {
    Chromium,
    Firefox,
}

/// Lets attempts follow each other at once, as in Chromium, and keeps Firefox from doing anything else.
const FIREFOX_PREFERENCES: &str = r#"
user_pref("network.websocket.delay-failed-reconnects", false);
user_pref("network.proxy.type", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("services.settings.server", "data:,");
"#;

impl Browser {
    /// A command that opens the URL.
    fn command(self, profile: &Profile, url: &str) -> Command {
        match self {
            Self::Chromium => {
                let mut command = Command::new("chromium");
                command
                    .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
                    .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
                    .args(["--disable-dev-shm-usage", "--no-proxy-server"])
                    // The tests' certificates are signed by themselves.
                    .arg("--ignore-certificate-errors")
                    .arg(format!("--user-data-dir={}", profile.0.display()))
                    .arg(url);
                command
            }
            Self::Firefox => {
                fs::write(profile.0.join("user.js"), FIREFOX_PREFERENCES).expect("a writable profile");
                let mut command = Command::new("firefox-esr");
                command.args(["--headless", "--no-remote", "--profile"]).arg(&profile.0).arg(url);
                command
            }
        }
    }

    const fn missing(self) -> &'static str {
        match self {
            Self::Chromium => "chromium is missing: run tests/run, or apt-get install chromium",
            Self::Firefox => "firefox-esr is missing: apt-get install firefox-esr",
        }
    }
}

/// Opens the URL, and waits for the report of its page.
pub(crate) async fn visit<T>(browser: Browser, url: &str, report: impl Future<Output = T>) -> T {
    let profile = Profile::new();
    let mut child = script::start(
        browser.command(&profile, url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()),
        browser.missing(),
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
        status = child.wait() => Err(format!("{browser:?} ended by itself: {status:?}")),
    };
    // Fails if it has already ended.
    let _ = child.kill().await;
    // Its child processes share its standard error and end later. Only then can the profile be removed.
    let errors = tokio::time::timeout(TIMEOUT, errors).await.expect("its processes end").expect("no panic");
    reported.unwrap_or_else(|problem| panic!("{problem}\n{errors}"))
}

/// A new, empty directory, which is removed on drop.
struct Profile(PathBuf);

impl Profile {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("browser-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // After a panic the browser may still be writing; `cargo clean` removes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}
