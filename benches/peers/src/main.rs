//! What other ways of authenticating on axum cost, next to this crate.
//!
//! See `README.md`.

mod app;
mod checks;
mod in_process;
mod keys;
mod loopback;
mod node;
mod peers;
mod server;
#[path = "../../support/spread.rs"]
#[allow(dead_code, reason = "shared with the benches of the crate")]
mod spread;
#[path = "../../support/tcp.rs"]
#[allow(dead_code, reason = "shared with the benches of the crate")]
mod tcp;
mod tokens;

use std::{env, io};

/// How long everything takes: `Test` shows that each case runs and is answered right, and measures nothing.
#[derive(Clone, Copy)]
enum Length {
    Full,
    Test,
}

fn main() -> io::Result<()> {
    // With two backends compiled in, as here by axum-jwt-auth, jsonwebtoken 10 wants to be told.
    jwt10::crypto::aws_lc::DEFAULT_PROVIDER.install_default().expect("nobody else installs one");

    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => run(Length::Full),
        ["--test"] => run(Length::Test),
        ["in-process"] => in_process::run(Length::Full),
        ["loopback"] => loopback::run(Length::Full),
        [server::SERVE, peer] => server::be_server(peer),
        _ => Err(io::Error::other("usage: peers [in-process | loopback | --test]")),
    }
}

fn run(length: Length) -> io::Result<()> {
    in_process::run(length)?;
    loopback::run(length)
}
