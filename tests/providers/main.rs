//! Real OpenID providers over loopback: their tokens open sockets, and their words close them.
//!
//! Needs Node with the npm packages of this folder, Glewlwyd and `sqlite3`. `tests/run` installs them.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod glewlwyd;
mod node;
mod oidc_provider;
mod script;
mod sign_in;

use std::time::Duration;

/// The timeout for a program that hangs. None needs more than a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
