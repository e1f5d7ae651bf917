//! The server in Node.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    keys::SECRET,
    tokens::{AUDIENCE, ISSUER},
};

/// The program to start, or why there is none.
pub(crate) fn command() -> Result<Command, &'static str> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let succeeds = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !succeeds("node", &["--version"]) {
        return Err("Node is not run: there is no `node` here");
    }
    if !directory.join("node_modules").exists() && !succeeds("npm", &["ci", "--no-audit", "--no-fund"]) {
        return Err("Node is not run: `npm ci` in `benches/peers` failed");
    }
    let mut command = Command::new("node");
    command.arg("server.mjs").current_dir(directory);
    command.env("SECRET", SECRET).env("ISSUER", ISSUER).env("AUDIENCE", AUDIENCE);
    Ok(command)
}
