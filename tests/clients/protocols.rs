//! npm packages whose protocols the crate speaks, each against a small application.

use std::{
    future::{IntoFuture, Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, extract::ws::Message, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{
    AtLimit, AuthenticatedSocket, AuthenticatedUpgrade, FirstMessage, Limits, RefreshProtocol, Sessions, Verified,
    VerifyError, VerifyInput, WsAuthLayer,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::script;

/// Accepts `SUBJECT` and `SUBJECT.MILLISECONDS`: a token of this subject, which expires at this Unix time. `bad` is an
/// invalid token.
fn verify(input: &VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
    let token = input.token.expose();
    let (subject, until) = token.split_once('.').unwrap_or((token, ""));
    let verified = Verified::new(token.to_owned()).with_subject(subject);
    match until.parse().map(|until| UNIX_EPOCH + Duration::from_millis(until)) {
        _ if subject == "bad" => Err(VerifyError::invalid()),
        Ok(until) if until <= input.now => Err(VerifyError::expired()),
        Ok(until) => Ok(verified.with_expires_at(until)),
        Err(_) => Ok(verified),
    }
}

pub(crate) fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    ready(verify(&input))
}

pub(crate) struct Served {
    authority: String,
    serving: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(app: Router) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), app)
    }

    /// For an application that names its own address.
    pub(crate) fn start_on(listener: TcpListener, app: Router) -> Self {
        let authority = listener.local_addr().expect("an address").to_string();
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let serving = tokio::spawn(async {
            let _ = axum::serve(listener, app).into_future().await;
        });
        Self { authority, serving }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.authority)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers each command with the replies of `reply`.
pub(crate) async fn answer_commands(mut socket: AuthenticatedSocket<String>, reply: impl Fn(Value) -> Vec<Value>) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        for command in text.lines() {
            for reply in reply(serde_json::from_str(command).expect("JSON")) {
                if socket.send(reply.to_string().into()).await.is_err() {
                    return;
                }
            }
        }
    }
}

mod home_assistant {
    use super::*;

    async fn home(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |socket| {
            answer_commands(socket, |command| match command["type"].as_str() {
                Some("ping") => vec![json!({ "id": command["id"], "type": "pong" })],
                _ => vec![],
            })
            .await;
        })
    }

    async fn serve() -> Served {
        let busy = AtomicBool::new(true);
        // Unavailable for the first call.
        let busy = move |input: VerifyInput<'_>| {
            ready(match busy.swap(false, Ordering::SeqCst) {
                true => Err(VerifyError::unavailable(Duration::from_secs(1))),
                false => verify(&input),
            })
        };
        let protocol = FirstMessage::home_assistant;
        let one = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).expect("a limit"));
        let layer = WsAuthLayer::new(verifier);
        let app = Router::new()
            .route("/", any(home).layer(layer.clone().first_message(protocol())))
            .route("/newer", any(home).layer(layer.clone().first_message(FirstMessage::home_assistant_as("2026.11.1"))))
            .route("/one", any(home).layer(layer.clone().sessions(&one).first_message(protocol())))
            .route("/busy", any(home).layer(WsAuthLayer::new(busy).first_message(protocol())))
            .route("/short", any(home).layer(layer.first_message(protocol().timeout(Duration::from_millis(300)))));
        Served::start(app).await
    }

    #[tokio::test]
    async fn client_connects_and_reconnects_unless_its_token_is_invalid() {
        let served = serve().await;
        let connected = |version: &str, opened: u32| json!({ "connected": { "version": version, "opened": opened } });
        // `ERR_INVALID_AUTH` in the package.
        let failed = json!({ "failed": { "error": 2, "opened": 1 } });
        let own = "2022.8.0";
        let cases = [
            ("a good token", "connects", "/", "alice", connected(own, 1)),
            ("another version", "connects", "/newer", "alice", connected("2026.11.1", 1)),
            ("a bad token", "connects", "/", "bad", failed.clone()),
            ("an expired token", "connects", "/", "alice.1", failed.clone()),
            ("an empty token", "connects", "/", "", failed),
            ("verifier unavailable", "connects", "/busy", "alice", connected(own, 2)),
            ("too many", "waits_for_a_place", "/one", "alice", connected(own, 3)),
            ("too late", "is_late", "/short", "alice", connected(own, 2)),
        ];
        let input: Vec<Value> = cases
            .iter()
            .map(|(_, scenario, path, token, _)| json!({ "scenario": scenario, "url": served.url(path), "token": token }))
            .collect();
        let outcomes: Vec<Value> =
            script::node_script("home-assistant-js-websocket", "home_assistant.mjs", input).await;
        for ((name, _, _, _, expected), mut outcome) in cases.into_iter().zip(outcomes) {
            if name == "too many" {
                // The number of attempts depends on timing. The first two are the other connection and the refusal.
                let opened = outcome["connected"]["opened"].as_u64().expect("it connected");
                assert!(opened >= 2, "{outcome}");
                outcome["connected"]["opened"] = 3.into();
            }
            assert_eq!(outcome, expected, "{name}");
        }
    }
}

mod centrifugo {
    use super::*;

    fn reply(socket: &AuthenticatedSocket<String>, own_ttl: bool, command: &Value) -> Vec<Value> {
        let id = &command["id"];
        if command.get("connect").is_some() {
            let left = socket.session().expires_at().map(|end| end.duration_since(SystemTime::now()));
            let (expires, ttl) = match left {
                // A second before the end.
                Some(Ok(left)) if own_ttl => (true, left.as_secs().saturating_sub(1).max(1)),
                _ => (false, 0),
            };
            return vec![json!({ "id": id, "connect": { "client": "c", "expires": expires, "ttl": ttl } })];
        }
        match command.get("rpc") {
            Some(rpc) => vec![json!({ "id": id, "rpc": { "data": rpc["data"] } })],
            None => vec![],
        }
    }

    async fn serve() -> Served {
        let connections = |own_ttl: bool| {
            any(async move |upgrade: AuthenticatedUpgrade<String>| {
                upgrade.on_upgrade(async move |mut socket| {
                    while let Some(Ok(Message::Text(text))) = socket.recv().await {
                        for command in text.lines() {
                            let command: Value = serde_json::from_str(command).expect("JSON");
                            assert!(command.get("refresh").is_none(), "the handler sees no refresh");
                            for reply in reply(&socket, own_ttl, &command) {
                                let _ = socket.send(reply.to_string().into()).await;
                            }
                        }
                    }
                })
            })
        };
        let layer = WsAuthLayer::new(verifier)
            .first_message(FirstMessage::centrifugo())
            .refresh_protocol(RefreshProtocol::centrifugo());
        let app = Router::new()
            .route("/refreshes", connections(true).layer(layer.clone()))
            .route("/sleeps", connections(false).layer(layer));
        Served::start(app).await
    }

    #[tokio::test]
    async fn client_gets_a_new_token_when_its_token_has_expired() {
        let served = serve().await;
        let hour = 3_600_000;
        let run = |path, first: Value, next: Vec<i64>, until, times| json!({ "url": served.url(path), "first": first, "next": next, "until": until, "times": times });
        let seen = |fetched, connected, refused: &[u16]| {
            json!({
                "fetched": fetched, "connected": connected, "refused": refused, "state": "connected", "answered": true
            })
        };
        let lifetime = |lifetime: i64| json!({ "lifetime": lifetime });
        let cases = [
            ("its first token", run("/sleeps", Value::Null, vec![hour], "connected", 1), seen(1, 1, &[])),
            // For example after a laptop was asleep.
            ("an expired one", run("/sleeps", lifetime(-1000), vec![hour], "connected", 1), seen(1, 1, &[109])),
            ("two expired ones", run("/sleeps", lifetime(-1), vec![-1, hour], "connected", 1), seen(2, 1, &[109, 109])),
            ("one that expires", run("/sleeps", lifetime(1000), vec![hour], "connected", 2), seen(1, 2, &[109])),
            // On the same connection.
            ("refreshed in time", run("/refreshes", lifetime(3000), vec![3000, hour], "fetched", 2), seen(2, 1, &[])),
            (
                "an invalid one",
                run("/sleeps", json!({ "text": "bad" }), vec![hour], "connected", 1),
                json!({
                    "fetched": 0, "connected": 0, "refused": [], "answered": false,
                    "disconnected": { "code": 3500, "reason": "invalid_token" },
                }),
            ),
        ];
        let input: Vec<&Value> = cases.iter().map(|(_, input, _)| input).collect();
        let outcomes: Vec<Value> = script::node_script("centrifuge", "centrifuge.mjs", input).await;
        assert_eq!(outcomes.len(), cases.len());
        for ((name, _, expected), outcome) in cases.iter().zip(&outcomes) {
            assert_eq!(outcome, expected, "{name}");
        }
    }
}

mod graphql_ws {
    use super::*;

    async fn graphql(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |socket| {
            let me = Arc::clone(&socket.claims());
            answer_commands(socket, |command| {
                assert!(!command.to_string().contains("alice"), "the token is taken out: {command}");
                match command["type"].as_str() {
                    Some("connection_init") => vec![json!({ "type": "connection_ack" })],
                    Some("subscribe") => vec![
                        json!({ "id": command["id"], "type": "next", "payload": { "data": { "me": *me } } }),
                        json!({ "id": command["id"], "type": "complete" }),
                    ],
                    _ => vec![],
                }
            })
            .await;
        })
    }

    #[tokio::test]
    async fn token_is_found_in_every_member_that_clients_use() {
        let layer = WsAuthLayer::new(verifier).first_message(FirstMessage::graphql_ws());
        let served = Served::start(Router::new().route("/graphql", any(graphql).layer(layer))).await;
        let alice = |attempts: u32| json!({ "data": { "me": "alice" }, "attempts": attempts });
        let closed = |code: u16, reason: &str, attempts: u32| json!({ "closed": { "code": code, "reason": reason }, "attempts": attempts });
        let expired = json!({ "Authorization": "Bearer alice.1" });
        let cases = [
            ("Apollo Client", vec![json!({ "authToken": "alice" })], alice(1)),
            ("Apollo Server", vec![json!({ "authentication": "alice" })], alice(1)),
            ("Apollo iOS", vec![json!({ "Authorization": "Bearer alice" })], alice(1)),
            (
                "Hasura",
                vec![json!({ "headers": { "Authorization": "Bearer alice", "x-hasura-role": "user" } })],
                alice(1),
            ),
            ("Nhost", vec![json!({ "headers": { "authorization": "Bearer alice" } })], alice(1)),
            ("async-graphql", vec![json!({ "token": "alice" })], alice(1)),
            (
                "the same token twice",
                vec![json!({ "token": "alice", "headers": { "Authorization": "alice" } })],
                alice(1),
            ),
            // The client reconnects with the next parameters.
            ("expired at first", vec![expired, json!({ "token": "alice" })], alice(2)),
            ("not signed in at first", vec![json!({ "headers": {} }), json!({ "authToken": "alice" })], alice(2)),
            (
                "not signed in",
                vec![json!({ "Authorization": "", "authToken": null })],
                closed(4403, "missing_token", 3),
            ),
            (
                "two different tokens",
                vec![json!({ "token": "alice", "headers": { "Authorization": "bob" } })],
                closed(4403, "missing_token", 3),
            ),
            ("a bad token", vec![json!({ "token": "bad" })], closed(4403, "invalid_token", 3)),
            // The client gives up after this code.
            ("a token too long", vec![json!({ "token": "x".repeat(9000) })], closed(4400, "invalid_request", 1)),
            ("a message too large", vec![json!({ "junk": "x".repeat(2_000_000) })], closed(4400, "invalid_request", 1)),
        ];
        let input: Vec<Value> = cases
            .iter()
            .map(|(_, params, _)| json!({ "url": served.url("/graphql"), "params": params, "retries": 2 }))
            .collect();
        let outcomes: Vec<Value> = script::node_script("graphql-ws", "graphql_ws.mjs", input).await;
        assert_eq!(outcomes.len(), cases.len());
        for ((name, _, expected), outcome) in cases.iter().zip(&outcomes) {
            assert_eq!(outcome, expected, "{name}");
        }
    }
}
