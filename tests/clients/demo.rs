//! The demo, in headless Chromium.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::script;

/// The script builds the demo, and then waits for tokens to expire.
const TIMEOUT: Duration = Duration::from_secs(600);

#[tokio::test]
async fn all_of_the_demo_works_in_chromium() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let installed = here.join("node_modules/playwright-core").is_dir();
    assert!(installed, "the npm package playwright-core is missing: run tests/run, or npm ci in tests/clients");
    let mut command = Command::new("node");
    command.args(["--test-reporter=spec", "demo/demo.mjs"]).current_dir(here);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let script = script::start(&mut command, "node is missing: run tests/run, or apt-get install nodejs npm");
    let Ok(output) = timeout(TIMEOUT, script.wait_with_output()).await else { panic!("no end after {TIMEOUT:?}") };
    let output = output.expect("the script's output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
