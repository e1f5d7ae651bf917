//! Child processes.

use std::io::ErrorKind;

use tokio::process::{Child, Command};

/// Starts a program, which is killed when the test ends.
pub(crate) fn start(command: &mut Command, missing: &str) -> Child {
    match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{missing}"),
        Err(error) => panic!("{command:?} does not start: {error}"),
    }
}
