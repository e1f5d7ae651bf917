//! A flood of bad handshakes is a handful of events.

use std::time::Duration;

use axum::{Router, extract::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::{Authenticated, AuthenticatedSocket, RefreshProtocol, WsAuthLayer, test_util::handshake};
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use tokio::time::{advance, sleep};
use tracing::Level;

use crate::{
    captured,
    support::{log::Log, *},
};

/// The numbers of left out events, in their order.
fn suppressed(log: &str) -> Vec<u64> {
    let of_line = |line: &str| line.split_once("suppressed=").map(|(_, rest)| rest.split(' ').next().unwrap().parse());
    log.lines().filter_map(of_line).map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn flood_is_ten_events_and_then_one_a_second() {
    const FLOOD: u64 = 20_000;
    const SECONDS: u64 = 5;
    let app = echo_behind(opaque_layer());
    let ((), log) = captured(Level::INFO, async {
        for number in 0..FLOOD {
            if number % (FLOOD / SECONDS) == 0 {
                advance(Duration::from_secs(1)).await;
            }
            answer(&app, handshake().build()).await;
        }
    })
    .await;
    let counts = suppressed(&log);
    let lines = u64::try_from(log.lines().count()).unwrap();
    assert_eq!(lines, 10 + SECONDS - 1, "{log}");
    // The rest is not reported yet.
    assert_eq!(counts, [FLOOD / SECONDS - 10, 3_999, 3_999, 3_999], "{log}");
}

/// Nothing follows the flood that could say how many were left out.
#[tokio::test(start_paused = true)]
async fn end_of_a_flood_is_an_event() {
    let log = Log::default();
    let _logging = log.capture(Level::INFO);
    let app = echo_behind(opaque_layer());
    for _ in 0..25 {
        answer(&app, handshake().build()).await;
    }
    assert_eq!((log.text().lines().count(), suppressed(&log.text())), (10, vec![]));
    sleep(Duration::from_secs(3)).await;
    let text = log.text();
    assert!(text.ends_with("INFO axum_ws_auth: handshakes refused kind=\"missing_token\" suppressed=15\n"), "{text}");
    // Once.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.text(), text);
    for _ in 0..10 {
        answer(&app, handshake().build()).await;
    }
    assert_eq!((log.text().lines().count(), suppressed(&log.text())), (21, vec![15]), "the throttle has recovered");
}

#[tokio::test(start_paused = true)]
async fn flood_of_one_kind_hides_no_other() {
    let app = echo_behind(opaque_layer());
    let ((), log) = captured(Level::INFO, async {
        for _ in 0..1000 {
            answer(&app, handshake().build()).await;
        }
        answer(&app, handshake().bearer_subprotocol("wrong").build()).await;
    })
    .await;
    assert!(log.lines().last().unwrap().contains("kind=\"invalid_token\" reason=\"token_invalid\""), "{log}");
}

/// One layer's flood hides nothing of another's.
#[tokio::test(start_paused = true)]
async fn each_layer_has_a_throttle_of_its_own() {
    let (app, other) = (echo_behind(opaque_layer()), echo_behind(opaque_layer()));
    let ((), log) = captured(Level::INFO, async {
        for _ in 0..1000 {
            answer(&app, handshake().build()).await;
        }
        answer(&other, handshake().origin("https://other.example.com").build()).await;
    })
    .await;
    assert!(log.lines().last().unwrap().contains("https://other.example.com"), "{log}");
}

/// Anybody can send these too, and at `warn`.
#[tokio::test(start_paused = true)]
async fn flood_of_incomplete_handshakes_is_bounded() {
    let app = echo_behind(opaque_layer());
    let ((), log) = captured(Level::WARN, async {
        for _ in 0..1000 {
            let mut request = handshake().build();
            request.headers_mut().remove("upgrade");
            answer(&app, request).await;
        }
        sleep(Duration::from_secs(3)).await;
    })
    .await;
    assert_eq!(log.lines().count(), 11, "{log}");
    assert!(log.lines().all(|line| line.contains("WARN axum_ws_auth: handshake")), "{log}");
    assert!(log.ends_with("handshakes incomplete suppressed=990\n"), "{log}");
}

/// What a handler or a hook does wrong, each client can have it do.
#[tokio::test(start_paused = true)]
async fn flood_by_mistakes_of_the_application_is_bounded() {
    let handler = async |mut upgrade: WebSocketUpgrade| {
        upgrade.set_selected_protocol(HeaderValue::from_static("imagined"));
        upgrade.on_upgrade(async |_| {})
    };
    let layer = opaque_layer().on_rejection(|_| Response::default());
    let app = Router::new().route("/", any(handler)).layer(layer);
    let ((), log) = captured(Level::WARN, async {
        for _ in 0..1000 {
            answer(&app, handshake().build()).await;
            answer(&app, handshake().bearer_subprotocol(TOKEN).build()).await;
        }
        sleep(Duration::from_secs(3)).await;
    })
    .await;
    for message in ["ERROR axum_ws_auth: rejection hook answer", "WARN axum_ws_auth: subprotocol"] {
        assert_eq!(log.matches(message).count(), 11, "{message}: {log}");
    }
    assert_eq!((log.lines().count(), suppressed(&log)), (22, vec![990, 990]), "{log}");
}

/// Anybody can ask for a route that lacks its layer.
#[tokio::test(start_paused = true)]
async fn flood_of_requests_without_a_layer_is_bounded() {
    let app = Router::new().route("/", any(async |_: Authenticated<String>| {}));
    let ((), log) = captured(Level::ERROR, async {
        for _ in 0..1000 {
            answer(&app, handshake().build()).await;
        }
        sleep(Duration::from_secs(3)).await;
    })
    .await;
    assert_eq!(log.matches("ERROR axum_ws_auth: no session in the request:").count(), 10, "{log}");
    assert_eq!((log.lines().count(), suppressed(&log)), (11, vec![990]), "{log}");
    assert!(log.ends_with("requests without a session suppressed=990\n"), "{log}");
}

/// Each connection has attempts of its own.
#[tokio::test(start_paused = true)]
async fn flood_of_refused_refreshes_on_many_sockets_is_bounded() {
    let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
    let app =
        behind(layer, async |mut socket: AuthenticatedSocket<String>| while let Some(Ok(_)) = socket.recv().await {});
    for refused in [r#"{"type":"auth.refresh","token":"bad"}"#, r#"{"type":"auth.refresh"}"#] {
        let log = Log::default();
        let _logging = log.capture(Level::INFO);
        for _ in 0..20 {
            let mut client = connected(&app, "alice.60").await;
            for _ in 0..5 {
                client.send(refused.into()).await.unwrap();
                client.next().await.unwrap().unwrap();
            }
        }
        // Until the throttle has recovered.
        sleep(Duration::from_secs(30)).await;
        let log = log.text();
        assert_eq!(log.matches("axum_ws_auth: refresh refused").count(), 10, "{refused}: {log}");
        assert_eq!((log.lines().count(), suppressed(&log)), (11, vec![90]), "{refused}: {log}");
        assert!(log.ends_with("refreshes refused suppressed=90\n"), "{refused}: {log}");
    }
}
