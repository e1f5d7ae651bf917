//! The Autobahn test suite against `AuthenticatedSocket`. See `README.md` beside this file.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use axum::{Router, extract::ws::Message, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{
    AuthenticatedUpgrade, TokenSource, WsAuthLayer,
    test_util::{self, TestToken},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/autobahn/.site");
const REPORTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/autobahn");
/// The suite's name for what it tests.
const AGENT: &str = "axum-ws-auth";
/// All but those of compression. A run that ends early has fewer.
const CASES: usize = 301;
/// It takes less than a minute. This is for a client that hangs.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_passes_every_case_of_the_suite() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    // The suite sends no headers or subprotocols of ours, so the token is in the URL.
    let layer = WsAuthLayer::new(test_util::verifier::<Value>());
    let layer = layer.sources([TokenSource::query("access_token")]).expect("a query parameter");
    let app = Router::new().route("/", any(echo).layer(layer));
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let token = TestToken::new("autobahn").expires_in(Duration::from_secs(3600)).sign();
    run_suite(&format!("ws://{address}/?access_token={token}")).await;
    serving.abort();

    let index = fs::read(Path::new(REPORTS).join("index.json")).expect("the suite's report");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    check(index[AGENT].as_object().expect("a result for each case"));
}

async fn echo(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            // Pings and pongs are received as well, and not to be echoed.
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// Lets the suite's client open a socket per case.
async fn run_suite(url: &str) {
    let python = std::env::var_os("AUTOBAHN_PYTHON").expect("a Python 2.7 with the suite: run tests/autobahn/run");
    let _ = fs::remove_dir_all(REPORTS);
    fs::create_dir_all(REPORTS).expect("a folder");
    let specification = Path::new(REPORTS).join("specification.json");
    let content = json!({
        "outdir": REPORTS,
        "servers": [{ "agent": AGENT, "url": url }],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    fs::write(&specification, content.to_string()).expect("a file");
    let client = Command::new(python)
        .args(["-W", "ignore", "-c", "from autobahntestsuite.wstest import run; run()", "-m", "fuzzingclient", "-s"])
        .arg(specification)
        .current_dir(REPORTS)
        .env("PYTHONPATH", SITE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(output) = tokio::time::timeout(LIMIT, client).await else { panic!("the suite takes longer than {LIMIT:?}") };
    let output = output.expect("the suite's output");
    let [lines, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{lines}{errors}");
}

#[allow(clippy::print_stdout, reason = "it is a summary for a person")]
fn check(results: &serde_json::Map<String, Value>) {
    let mut categories = BTreeMap::<u32, (usize, usize)>::new();
    let mut failures = Vec::new();
    for (case, result) in results {
        let category = case.split('.').next().and_then(|category| category.parse().ok()).expect("a category");
        let (passed, cases) = categories.entry(category).or_default();
        *cases += 1;
        if ["behavior", "behaviorClose"].iter().all(|key| result[key] == "OK" || result[key] == "INFORMATIONAL") {
            *passed += 1;
        } else {
            failures.push(format!("{case}: {result}"));
        }
    }
    for (category, (passed, cases)) in categories {
        println!("category {category}: {passed} of {cases} passed");
    }
    assert!(failures.is_empty(), "see {REPORTS} about\n{}", failures.join("\n"));
    assert_eq!(results.len(), CASES);
}
