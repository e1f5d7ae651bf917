//! Programs of Node that answer commands; see `lines.mjs`.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::TIMEOUT;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers");

/// Killed when it is dropped.
pub(crate) struct Script {
    name: &'static str,
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Returns what the script says when it is ready, too.
    pub(crate) async fn start<const N: usize>(name: &'static str, settings: [(&str, &str); N]) -> (Self, Value) {
        let installed = Path::new(HERE).join("node_modules").is_dir();
        assert!(installed, "npm packages are missing: run tests/run, or npm ci in tests/providers");
        let mut process = start(
            Command::new("node")
                .arg(name)
                .envs(settings)
                .current_dir(HERE)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let commands = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut script = Self { name, _process: process, commands, answers };
        let ready = script.answer("when it starts").await;
        (script, ready)
    }

    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        self.commands.write_all(line.as_bytes()).await.expect("it reads");
        self.answer(&line).await
    }

    async fn answer(&mut self, command: &str) -> Value {
        let name = self.name;
        let Ok(line) = timeout(TIMEOUT, self.answers.next_line()).await else {
            panic!("{name} does not answer {command}")
        };
        let line = line.expect("text").unwrap_or_else(|| panic!("{name} has ended: {command}"));
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer.get("error").is_none(), "{name} answers {command} with {line}");
        answer
    }
}

/// Starts a program, which is killed when it is dropped.
pub(crate) fn start(command: &mut Command) -> Child {
    command
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start, run tests/run: {error}"))
}
