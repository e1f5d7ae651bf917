//! How to run each proxy: what its guide's configuration needs around it on a test machine.

use std::path::Path;

use tokio::process::Command;

use crate::proxy::Place;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
    Apache,
}

impl Kind {
    /// The configuration that the guide prints.
    pub(crate) const fn guide(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("../../src/guides/behind_a_proxy/nginx.conf"),
            Self::Haproxy => include_str!("../../src/guides/behind_a_proxy/haproxy.cfg"),
            Self::Caddy => include_str!("../../src/guides/behind_a_proxy/Caddyfile"),
            Self::Apache => include_str!("../../src/guides/behind_a_proxy/apache.conf"),
        }
    }

    /// What to replace in it: addresses and paths.
    pub(crate) fn placeholders(self, place: &Place<'_>) -> Vec<(&'static str, String)> {
        let Place { address, upstream, certificate, key, pair, directory } = place;
        let log = directory.join("access.log").display().to_string();
        let mut placeholders = vec![("127.0.0.1:3000", (*upstream).to_owned())];
        placeholders.extend(match self {
            Self::Nginx => vec![
                ("listen 443 ssl", format!("listen {address} ssl")),
                ("/etc/ssl/chat.example.com.pem", (*certificate).to_owned()),
                ("/etc/ssl/chat.example.com.key", (*key).to_owned()),
                ("/var/log/nginx/chat.log", log),
            ],
            Self::Haproxy => vec![
                ("bind :443", format!("bind {address}")),
                ("/etc/haproxy/chat.example.com.pem", pair.display().to_string()),
            ],
            Self::Caddy => {
                let (host, port) = address.split_once(':').expect("a host and a port");
                let site = format!("https://localhost:{port} {{\n\tbind {host}\n\ttls {certificate} {key}");
                vec![("chat.example.com {", site)]
            }
            Self::Apache => vec![
                ("*:443", (*address).to_owned()),
                ("/etc/ssl/chat.example.com.pem", (*certificate).to_owned()),
                ("/etc/ssl/chat.example.com.key", (*key).to_owned()),
                ("/var/log/apache2/chat.log", log),
            ],
        });
        placeholders
    }

    /// Adds what a system's own configuration has: a place for files, and no background process.
    pub(crate) fn surround(self, configuration: &str, place: &Place<'_>) -> String {
        match self {
            Self::Nginx => format!(
                "daemon off;
                master_process off;
                pid nginx.pid;
                error_log error.log;
                events {{}}
                http {{
                    client_body_temp_path body;
                    proxy_temp_path proxy;
                    fastcgi_temp_path fastcgi;
                    uwsgi_temp_path uwsgi;
                    scgi_temp_path scgi;
                    {configuration}
                }}"
            ),
            Self::Haproxy => configuration.to_owned(),
            Self::Caddy => format!(
                "{{
                    admin off
                    auto_https disable_redirects
                    servers {{
                        protocols h1 h2
                    }}
                }}
                {configuration}"
            ),
            Self::Apache => {
                let directory = place.directory.display();
                let modules: String = ["mpm_event", "authz_core", "headers", "http2", "proxy", "proxy_http", "ssl"]
                    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
                    .concat();
                format!(
                    "ServerRoot {directory}
                    ServerName localhost
                    DefaultRuntimeDir {directory}
                    PidFile {directory}/pid
                    ErrorLog {directory}/error.log
                    Listen {}
                    User www-data
                    Group www-data
                    {modules}
                    {configuration}",
                    place.address
                )
            }
        }
    }

    /// Runs in the foreground, in one process.
    pub(crate) fn command(self, configuration: &Path, directory: &Path) -> Command {
        let mut command = Command::new(self.program());
        match self {
            Self::Nginx => command.args(["-e", "error.log", "-p"]).arg(directory).arg("-c").arg(configuration),
            Self::Haproxy => command.arg("-db").arg("-f").arg(configuration),
            Self::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration)
                .env("HOME", directory)
                .env("XDG_CONFIG_HOME", directory)
                .env("XDG_DATA_HOME", directory),
            Self::Apache => command.arg("-X").arg("-f").arg(configuration),
        };
        command
    }

    fn program(self) -> String {
        // Not every user has it on the path.
        let installed = format!("/usr/sbin/{}", self.package());
        if Path::new(&installed).exists() { installed } else { self.package().to_owned() }
    }

    /// The name of the Debian package, and of its program.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Apache => "apache2",
        }
    }
}
