//! Exports metrics to Prometheus. `examples/grafana.json` is a dashboard for them.
//!
//! ```sh
//! cargo run --example metrics
//! curl http://127.0.0.1:9100/metrics
//! ```
//!
//! Other addresses than `127.0.0.1:3000` and `127.0.0.1:9100` are arguments.
//!
//! The metrics have a listener of their own: what a server does and refuses is nobody's business outside. In
//! production, bind it to an address that only Prometheus reaches.

#![allow(clippy::print_stdout, reason = "an example")]

use std::{error::Error, time::Duration};

use axum::{
    Router,
    response::Response,
    routing::{any, get},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, WsAuthLayer,
    metrics::{HANDSHAKE_DURATION_SECONDS, SESSION_DURATION_SECONDS, VERIFY_DURATION_SECONDS, describe_metrics},
    test_util::{self, TestToken},
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, time::interval};

#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before anything is served.
    let prometheus = install_recorder()?;

    // Instead of the test verifier: `JwtVerifier::discover("https://id.example.com")`, for example.
    let layer = WsAuthLayer::new(test_util::verifier::<Claims>());
    let app = Router::new().route("/chat", any(chat)).layer(layer);
    let operator = Router::new().route("/metrics", get(async move || prometheus.render()));

    let mut addresses = std::env::args().skip(1);
    let mut bind = |default: &str| TcpListener::bind(addresses.next().unwrap_or_else(|| default.to_owned()));
    let (public, private) = (bind("127.0.0.1:3000").await?, bind("127.0.0.1:9100").await?);
    println!("ws://{}/chat takes {}", public.local_addr()?, TestToken::new("alice").sign());
    println!("http://{}/metrics", private.local_addr()?);
    tokio::spawn(async move { axum::serve(private, operator).await });
    axum::serve(public, app).await?;
    Ok(())
}

/// Call it in a tokio runtime.
fn install_recorder() -> Result<PrometheusHandle, BuildError> {
    // Without buckets, the exporter would compute quantiles, which cannot be added up over several servers.
    let prometheus = PrometheusBuilder::new()
        // A token verified here takes microseconds; one that another service is asked about, milliseconds.
        .set_buckets_for_metric(Matcher::Full(VERIFY_DURATION_SECONDS.into()), &SHORT)?
        .set_buckets_for_metric(Matcher::Full(HANDSHAKE_DURATION_SECONDS.into()), &SHORT)?
        // A token lives for minutes or hours, and a session as long, or for days if it is refreshed.
        .set_buckets_for_metric(Matcher::Full(SESSION_DURATION_SECONDS.into()), &LONG)?
        .install_recorder()?;
    describe_metrics();

    // The exporter keeps each measured time until this, or a scrape, moves it into its bucket.
    let handle = prometheus.clone();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            handle.run_upkeep();
        }
    });
    Ok(prometheus)
}

const SHORT: [f64; 11] = [0.000_01, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];
const LONG: [f64; 11] =
    [1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 4.0 * 3600.0, 8.0 * 3600.0, 24.0 * 3600.0, 7.0 * 24.0 * 3600.0];

async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        println!("{} is here", socket.claims().sub);
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}
