//! Identity providers over loopback: their tokens open sockets, and their notices close them.
//!
//! Needs Node with the npm packages of this folder, Glewlwyd and `sqlite3`. `tests/run` installs them.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "a test may panic")]

mod dpop;
mod glewlwyd;
mod introspection;
mod log_out;
mod node;
mod oidc_provider;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/redis.rs"]
mod redis;
mod script;
mod shared_signals;
mod sign_in;
mod transmitter;

use std::time::Duration;

/// The timeout for a program that hangs. None needs more than a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// For providers whose notices are of no interest: nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";
