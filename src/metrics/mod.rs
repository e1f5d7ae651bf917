//! Numbers for operators, by the [`metrics`](https://docs.rs/metrics) facade. The feature `metrics` turns them on.
//!
//! The names below change only with a breaking release, and so do the names and values of their labels. Labels come
//! from fixed sets: no label holds a token, a subject, a path or anything else that a client sent. The program installs
//! a recorder, such as that of `metrics-exporter-prometheus`; a library never does. Without a recorder nothing is
//! measured.
//!
//! ```
//! use axum::{Router, routing::any};
//! use axum_ws_auth::{WsAuthLayer, metrics, test_util::{self, TestToken, handshake}};
//! use metrics_exporter_prometheus::PrometheusBuilder;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = PrometheusBuilder::new().install_recorder()?;
//! metrics::describe_metrics();
//!
//! let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>());
//! let app = Router::new().route("/", any(test_util::echo)).layer(layer);
//! let token = TestToken::new("alice").sign();
//! app.clone().oneshot(handshake().bearer_subprotocol(&token).build()).await?;
//! app.oneshot(handshake().build()).await?;
//!
//! let text = prometheus.render();
//! // Yes: the token was in the list of subprotocols.
//! let yes = r#"{kind="websocket",outcome="accepted",reason="none",source="subprotocol",http="1.1"} 1"#;
//! assert!(text.contains(&format!("{}{yes}\n", metrics::HANDSHAKES_TOTAL)));
//! // No: there was none.
//! let no = r#"{kind="websocket",outcome="refused",reason="missing_token",source="none",http="1.1"} 1"#;
//! assert!(text.contains(&format!("{}{no}\n", metrics::HANDSHAKES_TOTAL)));
//! # Ok(()) }
//! ```
//!
//! # Installing a recorder
//!
//! Install it before the server accepts connections. What happened before is not counted. A layer keeps the handles of
//! the first recorder that it sees, because looking one up takes longer than a handshake may spend on metrics. So a
//! test that installs a local recorder builds its layer within it. A recorder whose type is zero-sized is treated as
//! none: put it into a `Box`.
//!
//! `metrics-exporter-prometheus` without its listener keeps each measured time until it is asked to
//! [render](https://docs.rs/metrics-exporter-prometheus/0.18/metrics_exporter_prometheus/struct.PrometheusHandle.html)
//! or to run its upkeep: have a task call `run_upkeep` every few seconds. `examples/metrics.rs` shows it, with buckets
//! that suit the times below, and `examples/grafana.json` is a dashboard for Grafana.
//!
//! # Ages
//!
//! No gauge holds an age. A gauge is set only when something happens, so an age would stop growing when updates stop,
//! which is just when it matters. The times of the last success are exported instead, in Unix seconds, as Prometheus
//! advises. An age is then `time() - axum_ws_auth_revocations_synced_timestamp_seconds`, and grows even if the task
//! that sets it has died.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counter: requests that a layer has accepted, let through or refused.
///
/// | label | values |
/// | --- | --- |
/// | `kind` | `websocket`; `request` for any other request; `stream` for a response that was refused a place in the limits after its request was accepted |
/// | `outcome` | `accepted`; `anonymous`: there is no token and the layer is [optional](crate::WsAuthLayer::optional); `refused` |
/// | `reason` | `none`, or a name of [`Rejection::reason`](crate::Rejection::reason): `token_expired` is not `bad_signature`, and `not_bound` and `proof_…` are neither |
/// | `source` | where the token was: `authorization`, `header`, `cookie`, `query`, `subprotocol`, `first_message`; `none` if there was no token, or none that could be read |
/// | `http` | `1.0`, `1.1`, `2`, `3` |
///
/// A client that authenticates by its [first message](crate::FirstMessage) is counted when that message has come, or
/// when its time is over. A client that disconnects before it is answered is not counted.
pub const HANDSHAKES_TOTAL: &str = "axum_ws_auth_handshakes_total";

/// Histogram, in seconds: from finding a token to accepting or refusing it. It includes the verifier, and waiting for
/// revocations and limits.
///
/// | label | values |
/// | --- | --- |
/// | `outcome` | `accepted`, `refused` |
///
/// Requests that are refused without asking the verifier are not among them: there is nothing to wait for.
pub const HANDSHAKE_DURATION_SECONDS: &str = "axum_ws_auth_handshake_duration_seconds";

/// Histogram, in seconds: how long the verifier took for a token, in a handshake, a refresh or a recheck.
///
/// | label | values |
/// | --- | --- |
/// | `verifier` | [`Verifier::name`](crate::Verifier::name): `jwt`, `cached`, `alb`, `dpop`, `introspection`, `ticket`; `or` for two of them; `custom` |
pub const VERIFY_DURATION_SECONDS: &str = "axum_ws_auth_verify_duration_seconds";

/// Gauge: sessions that have been admitted and have not ended.
///
/// | label | values |
/// | --- | --- |
/// | `kind` | [`SessionKind::as_str`](crate::SessionKind::as_str): `websocket`, `stream`, `request` |
///
/// A session whose deadline has passed counts until something notices. Its socket or stream notices at once.
pub const SESSIONS: &str = "axum_ws_auth_sessions";

/// Histogram, in seconds: how long a session has lasted.
///
/// | label | values |
/// | --- | --- |
/// | `kind` | as for [`SESSIONS`] |
/// | `end_reason` | [`EndReason::as_str`](crate::EndReason::as_str) |
pub const SESSION_DURATION_SECONDS: &str = "axum_ws_auth_session_duration_seconds";

/// Counter: attempts to replace the token of a session.
///
/// | label | values |
/// | --- | --- |
/// | `outcome` | `accepted`, `refused` |
/// | `reason` | `none`, or a name of [`RefreshError::reason`](crate::RefreshError::reason); or of [`Rejection::reason`](crate::Rejection::reason), for a token that a [refresh route](crate::WsAuthLayer::refresh_route) refused before it looked for the session |
///
/// A request to such a route that names no session of this server is not counted.
pub const REFRESHES_TOTAL: &str = "axum_ws_auth_refreshes_total";

/// Counter: answers of verifiers that were asked again about the token of a session.
///
/// | label | values |
/// | --- | --- |
/// | `outcome` | `accepted`; `refused`: the session ended; `unavailable`: there was no answer |
/// | `reason` | `none`, or a name of [`RefreshError::reason`](crate::RefreshError::reason) |
pub const RECHECKS_TOTAL: &str = "axum_ws_auth_rechecks_total";

/// Counter: revocations that this node has made. Those of other nodes are counted there.
///
/// | label | values |
/// | --- | --- |
/// | `kind` | `token`, `session`, `provider_session`, `subject`, `issued_until` |
pub const REVOCATIONS_TOTAL: &str = "axum_ws_auth_revocations_total";

/// Gauge, in Unix seconds: when this node last knew all revocations of the store. Absent before the first load. It
/// advances every few seconds, because stores answer that often even if nothing was added.
///
/// A process with several [`Revocations`](crate::Revocations) exports the latest of their times.
pub const REVOCATIONS_SYNCED_TIMESTAMP_SECONDS: &str = "axum_ws_auth_revocations_synced_timestamp_seconds";

/// Counter: fetches of an issuer's keys.
///
/// | label | values |
/// | --- | --- |
/// | `issuer` | the issuer as configured; `rule` for all issuers that an [`IssuerRule`](crate::jwks::IssuerRule) allows, because there is no end of them |
/// | `outcome` | `changed`, `unchanged`, `failed` |
/// | `reason` | `none`, or a name of [`KeysErrorKind::as_str`](crate::jwks::KeysErrorKind::as_str) |
///
/// The label is the whole issuer and not its host, because realms of one host must not hide each other.
pub const KEYS_REFRESH_TOTAL: &str = "axum_ws_auth_keys_refresh_total";

/// Gauge, in Unix seconds: when the keys of an issuer were last fetched, or confirmed to be the same.
///
/// | label | values |
/// | --- | --- |
/// | `issuer` | the issuer as configured. Issuers of a rule have no such time |
pub const KEYS_REFRESHED_TIMESTAMP_SECONDS: &str = "axum_ws_auth_keys_refreshed_timestamp_seconds";

/// Counter: [tickets](crate::Tickets).
///
/// | label | values |
/// | --- | --- |
/// | `outcome` | `issued`, `not_issued`, `redeemed`, `not_redeemed` |
/// | `reason` | `none`; for `not_issued` a name of [`TicketErrorKind::as_str`](crate::TicketErrorKind::as_str); for `not_redeemed` one of [`VerifyErrorKind::as_str`](crate::VerifyErrorKind::as_str), such as `unknown_ticket` for one that is used up, expired or invented |
pub const TICKETS_TOTAL: &str = "axum_ws_auth_tickets_total";

/// Counter: operations of a [store](crate::store) or bus that have failed.
///
/// | label | values |
/// | --- | --- |
/// | `store` | `revocations`, `tickets`, `limits`, `proofs`, `bus` (messages between nodes) |
pub const STORE_ERRORS_TOTAL: &str = "axum_ws_auth_store_errors_total";

/// Counter: what identity providers have sent: log-out notices and security events.
///
/// | label | values |
/// | --- | --- |
/// | `event` | `log_out`, `universal_logout`; of Shared Signals `session_revoked`, `credential_change`, `token_claims_change`, `account_disabled` (any event that ends all of a user's sessions), `verification`, `stream_updated`, `unknown` (another type), `unreadable` (refused before its type was known); `poll`: the transmitter did not answer |
/// | `outcome` | `accepted`; `ignored`: acknowledged, and nothing changed; `refused`; `failed`: it has to be sent again |
/// | `reason` | `none`; for `refused` a name of `signals::SignalErrorKind::as_str` or `signals::SecurityEventErrorKind::as_str`; for `failed` `unavailable` |
pub const SIGNALS_TOTAL: &str = "axum_ws_auth_signals_total";

/// Counter: proofs of possession ([DPoP](crate::WsAuthLayer)) that came with valid tokens.
///
/// | label | values |
/// | --- | --- |
/// | `outcome` | `accepted`, `refused` |
/// | `reason` | `none`, or a name of [`VerifyErrorKind::as_str`](crate::VerifyErrorKind::as_str), such as `missing_proof` or `proof_replayed` |
pub const PROOFS_TOTAL: &str = "axum_ws_auth_proofs_total";

/// Describes all metrics to the recorder: units and texts. Call it once, after the recorder is installed.
pub fn describe_metrics() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, Unit::Count, *text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(*name, *unit, *text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *text);
    }
}

const COUNTERS: &[(&str, &str)] = &[
    (HANDSHAKES_TOTAL, "Requests that a layer has accepted, let through or refused"),
    (REFRESHES_TOTAL, "Attempts to replace the token of a session"),
    (RECHECKS_TOTAL, "Answers of verifiers that were asked again about the token of a session"),
    (REVOCATIONS_TOTAL, "Revocations that this node has made"),
    (KEYS_REFRESH_TOTAL, "Fetches of an issuer's keys"),
    (TICKETS_TOTAL, "Tickets issued, redeemed and refused"),
    (STORE_ERRORS_TOTAL, "Operations of a store that have failed"),
    (SIGNALS_TOTAL, "Log-out notices and security events of identity providers"),
    (PROOFS_TOTAL, "Proofs of possession that came with valid tokens"),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    (SESSIONS, Unit::Count, "Sessions that have been admitted and have not ended"),
    (REVOCATIONS_SYNCED_TIMESTAMP_SECONDS, Unit::Seconds, "When this node last knew all revocations (Unix time)"),
    (KEYS_REFRESHED_TIMESTAMP_SECONDS, Unit::Seconds, "When an issuer's keys were last fetched (Unix time)"),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (HANDSHAKE_DURATION_SECONDS, "From finding a token to accepting or refusing it"),
    (VERIFY_DURATION_SECONDS, "How long the verifier took for a token"),
    (SESSION_DURATION_SECONDS, "How long a session has lasted"),
];
