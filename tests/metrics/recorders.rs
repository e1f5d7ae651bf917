//! Recorders that come, go, or are none.

use axum_ws_auth::{
    WsAuthLayer,
    metrics::{HANDSHAKES_TOTAL, SESSIONS, describe_metrics},
    test_util::{self, handshake},
};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::{
    scrape::Recording,
    support::{behind, connected, read_on, settle, timed},
};

#[tokio::test(start_paused = true)]
async fn a_recorder_that_comes_late_counts_from_then_on() {
    let app = behind(WsAuthLayer::new(timed), read_on);
    let early = connected(&app, "alice").await;
    let recording = Recording::start();
    let late = connected(&app, "bob").await;
    assert_eq!(recording.sum(HANDSHAKES_TOTAL, &[("outcome", "accepted")]), 1.0);
    assert_eq!(recording.sum(SESSIONS, &[("kind", "websocket")]), 1.0);

    // The end of a session whose begin was not counted.
    drop(early);
    settle().await;
    assert_eq!(recording.sum(SESSIONS, &[("kind", "websocket")]), 1.0);
    drop(late);
    settle().await;
    assert_eq!(recording.sum(SESSIONS, &[("kind", "websocket")]), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_do_nothing() {
    struct Nothing(#[allow(dead_code, reason = "a recorder has a size")] u8);

    impl Recorder for Nothing {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let recorder = Nothing(0);
    let _guard = metrics::set_default_local_recorder(&recorder);
    describe_metrics();
    let app = behind(WsAuthLayer::new(timed), read_on);
    drop(connected(&app, "alice").await);
    let refused = test_util::connect(app, handshake().bearer_subprotocol("bad").build()).await;
    assert!(refused.is_err());
}
