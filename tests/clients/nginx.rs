//! nginx in front of an application.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Stdio},
    time::Duration,
};

use futures_util::StreamExt;
use http::header::AUTHORIZATION;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    TIMEOUT, script,
    streams::{Application, curl, expiring_in},
};

/// A running nginx, which ends on drop. Its files are in a directory of its own.
struct Nginx {
    /// Where it speaks HTTP/1.1, and HTTP/2.
    authorities: [String; 2],
    directory: PathBuf,
    _process: Child,
}

impl Nginx {
    async fn start(upstream: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}", process::id()));
        fs::create_dir(&directory).expect("a new directory");
        let authorities = [(); 2].map(|()| free_authority());
        let [http1, http2] = &authorities;
        let configuration = format!(
            "daemon off;
            master_process off;
            pid nginx.pid;
            error_log stderr crit;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                server {{
                    listen {http1};
                    listen {http2} http2;
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    location / {{ proxy_pass http://{upstream}; }}
                    location /events {{ proxy_pass http://{upstream}; proxy_buffering off; }}
                    location /socket {{
                        proxy_pass http://{upstream};
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection upgrade;
                    }}
                }}
            }}"
        );
        fs::write(directory.join("nginx.conf"), configuration).expect("a new file");
        // Not every user has it on the path.
        let program = Path::new("/usr/sbin/nginx");
        let mut process = script::start(
            Command::new(if program.exists() { program } else { Path::new("nginx") })
                .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
                .arg(&directory)
                .stdin(Stdio::null()),
            "nginx is missing: run tests/run, or apt-get install nginx",
        );
        let listens = async {
            while TcpStream::connect(http2).await.is_err() {
                assert!(process.try_wait().expect("its status").is_none(), "nginx does not start");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(TIMEOUT, listens).await.expect("nginx listens");
        Self { authorities, directory, _process: process }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // `cargo clean` removes what is left.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Of a port that nobody listens on.
fn free_authority() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Opens a WebSocket. Returns the code and the reason with which it is closed.
async fn closed(authority: &str, token: &str, end: impl FnOnce()) -> (u16, String) {
    let mut request = format!("ws://{authority}/socket").into_client_request().expect("a URL");
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a header value"));
    let (mut socket, _) = connect_async(request).await.expect("a handshake");
    end();
    match timeout(TIMEOUT, socket.next()).await.expect("the server closes") {
        Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("instead of a close frame: {other:?}"),
    }
}

#[tokio::test]
async fn clients_behind_nginx_see_how_their_sessions_end() {
    let app = Application::start().await;
    let nginx = Nginx::start(app.served.authority()).await;
    let [http1, http2] = &nginx.authorities;
    curl::check(&app, "--http1.1", http1).await;
    curl::check(&app, "--http2-prior-knowledge", http2).await;

    let revoked = closed(http1, "alice", || assert_eq!(app.sessions.end_subject("alice"), 1)).await;
    assert_eq!(revoked, (3000, "revoked".to_owned()));
    let expired = closed(http1, &expiring_in(Duration::from_secs(2)), || {}).await;
    assert_eq!(expired, (3000, "token_expired".to_owned()));
}
