//! A page on which to try all of it: sign in, chat, refresh a token, sign out another device, try to break in, and
//! watch it as its operator.
//!
//! ```sh
//! cargo run --example demo          # tokens are valid for a minute
//! cargo run --example demo -- 20    # for 20 seconds
//! ```
//!
//! It listens on port 3000 of this machine only, or on any free port if that one is taken. `PORT` names another.
//!
//! | file | what |
//! | --- | --- |
//! | `people.rs` | who signs in, and what their tokens say |
//! | `app.rs` | **the layers and the routes: begin here** |
//! | `chat.rs` | the handler of the sockets |
//! | `devices.rs` | "where am I signed in", and signing out from elsewhere |
//! | `break_in.rs`, `raw.rs` | handshakes that must fail |
//! | `operator.rs` | live sessions, restarts, metrics |
//! | `page.rs`, `page/` | the page, its headers and its files |

#![allow(clippy::print_stdout, reason = "it talks to a person")]

mod app;
mod break_in;
mod chat;
mod devices;
mod operator;
mod page;
mod people;
mod raw;

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use axum::serve::ListenerExt;

use self::app::Demo;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(60), |seconds| seconds.parse())?;
    let listener = listen()?;
    let address = listener.local_addr()?;
    let demo = Demo::new(address, Duration::from_secs(seconds))?;
    println!("Open http://{address} in a browser, in two tabs or more. Ctrl-C ends it.");

    // Each round is one life of the server: the operator's button restarts it. A real server would end here, and its
    // process supervisor would start the next.
    loop {
        let sessions = app::new_sessions()?;
        let app = app::routes(&demo, &sessions)?;
        // `axum::serve` leaves Nagle's algorithm on, which delays small messages.
        let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let drained = operator::restart_requested(demo.clone(), sessions);
        axum::serve(listener, app).with_graceful_shutdown(drained).await?;
    }
}

/// Opens the port: of this machine only, because anybody may sign in here, and may restart the server.
fn listen() -> io::Result<TcpListener> {
    let any_port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = match std::env::var("PORT").ok() {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().map_err(io::Error::other)?)),
        None => match TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => any_port(),
            bound => bound,
        },
    }?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
