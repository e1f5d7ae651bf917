//! Clients in other languages: a script reads the attempts from standard input and prints a line for each.

use std::{io::ErrorKind, path::Path, process::Stdio};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::cases::{Attempt, Outcome};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Runs the script for an npm package.
pub(crate) async fn node(package: &str, attempts: &[Attempt]) -> Vec<Outcome> {
    node_script(package, &format!("{package}.mjs"), attempts).await
}

/// Runs a script that uses an npm package, with its own types of input and output.
pub(crate) async fn node_script<T: DeserializeOwned>(package: &str, script: &str, input: impl Serialize) -> Vec<T> {
    let missing = "node is missing: run tests/run, or apt-get install nodejs npm";
    let installed = Path::new(HERE).join("node_modules").join(package).is_dir();
    assert!(installed, "the npm package {package} is missing: run tests/run, or npm ci in tests/clients");
    run(Command::new("node").arg(script), missing, &json(input)).await
}

pub(crate) async fn python(script: &str, attempts: &[Attempt]) -> Vec<Outcome> {
    let missing = "python3 is missing: run tests/run, or apt-get install python3-venv";
    let virtual_environment = Path::new(HERE).join(".venv/bin/python");
    let python = if virtual_environment.exists() { virtual_environment } else { "python3".into() };
    run(Command::new(python).arg(script), missing, &json(attempts)).await
}

/// Java has no parser of JSON.
pub(crate) async fn java(script: &str, attempts: &[Attempt]) -> Vec<Outcome> {
    let to_record = |Attempt { url, protocols, headers, text }: &Attempt| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{url}\t{}\t{}\t{text}", protocols.join(","), headers.join("\u{1f}"))
    };
    let records: Vec<_> = attempts.iter().map(to_record).collect();
    let missing = "java is missing: apt-get install default-jdk-headless";
    run(Command::new("java").arg(script), missing, records.join("\u{1e}").as_bytes()).await
}

/// Finds packages where Debian installs them.
pub(crate) async fn go(script: &str, attempts: &[Attempt]) -> Vec<Outcome> {
    let missing = "go is missing: apt-get install golang-go golang-github-gorilla-websocket-dev";
    let mut command = Command::new("go");
    command.args(["run", script]).env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    run(&mut command, missing, &json(attempts)).await
}

/// Checks a file with the TypeScript compiler.
pub(crate) async fn type_check(file: &str) {
    let mut command = Command::new("node_modules/.bin/tsc");
    command.args(["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]);
    // Types of Node are of no use in a page.
    command.args(["--types", "", file]).current_dir(HERE).kill_on_drop(true);
    let missing = "the npm package typescript is missing: run tests/run, or npm ci in tests/clients";
    let output = command.output().await.expect(missing);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Starts a program, which is killed when the test ends.
pub(crate) fn start(command: &mut Command, missing: &str) -> Child {
    match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{missing}"),
        Err(error) => panic!("{command:?} does not start: {error}"),
    }
}

fn json(input: impl Serialize) -> Vec<u8> {
    serde_json::to_vec(&input).expect("JSON")
}

async fn run<T: DeserializeOwned>(command: &mut Command, missing: &str, input: &[u8]) -> Vec<T> {
    command.current_dir(HERE).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(command, missing);
    if let Some(mut stdin) = child.stdin.take() {
        // If the script ends without reading, its error is reported below.
        let _ = stdin.write_all(input).await;
    }
    let output = child.wait_with_output().await.expect("the script's output");
    let (lines, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", errors.trim_end());
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}\n{errors}")))
        .collect()
}
