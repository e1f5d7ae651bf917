//! Glewlwyd of Debian, an OpenID provider in C.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;
use tokio::process::{Child, Command};

use crate::script::{Script, start};

/// Where Debian installs the tables of its database.
const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
/// The audience of its access tokens.
pub(crate) const AUDIENCE: &str = "https://chat.example.com";
/// The secret of the client `web`.
pub(crate) const SECRET: &str = "web-secret-web-secret-web";

#[derive(serde::Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) id_token: String,
}

/// Killed when it is dropped.
pub(crate) struct Glewlwyd {
    script: Script,
    _process: Child,
    directory: PathBuf,
    pub(crate) issuer: String,
}

impl Glewlwyd {
    /// Log-out notices go to the URL.
    pub(crate) async fn start(backchannel: &str) -> Self {
        let port = free_port();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("glewlwyd-{port}"));
        // Left behind by a test that was killed.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a new directory");
        let database = directory.join("database");
        let schema = File::open(SCHEMA).expect("glewlwyd is missing: run tests/run, or apt-get install glewlwyd");
        let made = start(Command::new("sqlite3").arg(&database).stdin(schema)).wait().await;
        assert!(made.is_ok_and(|status| status.success()), "no database");
        let file = directory.join("glewlwyd.conf");
        fs::write(&file, configuration(port, &database)).expect("a file");

        let process = start(Command::new("glewlwyd").arg("--config-file").arg(file).stdout(Stdio::null()));
        let server = format!("http://127.0.0.1:{port}");
        let settings = [("GLEWLWYD", server.as_str()), ("BACKCHANNEL", backchannel)];
        let (script, ready) = Script::start("glewlwyd.mjs", settings).await;
        let issuer = ready["issuer"].as_str().expect("an issuer").to_owned();
        Self { script, _process: process, directory, issuer }
    }

    /// Signs in with a new browser.
    pub(crate) async fn sign_in(&mut self, browser: &str, account: &str) -> Tokens {
        let tokens = self.script.ask(json!({"command": "sign_in", "browser": browser, "account": account})).await;
        serde_json::from_value(tokens).expect("tokens")
    }

    pub(crate) async fn revoke(&mut self, token: &str) {
        assert_eq!(self.script.ask(json!({"command": "revoke", "token": token})).await, 200);
    }

    /// Ends the session of this browser. The provider sends its notices afterwards.
    pub(crate) async fn sign_out(&mut self, browser: &str) {
        self.script.ask(json!({"command": "sign_out", "browser": browser})).await;
    }
}

impl Drop for Glewlwyd {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn configuration(port: u16, database: &Path) -> String {
    format!(
        r#"
port = {port}
bind_address = "127.0.0.1"
external_url = "http://127.0.0.1:{port}"
login_url = "login.html"
session_key = "GLEWLWYD_SESSION"
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
log_mode = "console"
log_level = "NONE"
database = {{ type = "sqlite3"; path = "{}"; }};
"#,
        database.display()
    )
}

/// It takes a port number, and does not say which port the system chose.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
