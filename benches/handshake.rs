//! What the layer costs in process: the same router bare, behind the layer, and checked by hand.
//!
//! See `benches/README.md`.

mod support;

use std::{
    future::ready,
    time::{Duration, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    CachedVerifier, TokenSource, Verified, VerifyInput, WsAuthLayer,
    test_util::{HandshakeBuilder, TestToken, handshake},
};
use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use futures_util::FutureExt;
use http::StatusCode;
use support::keys;
use tokio::{runtime::Runtime, task::yield_now};
use tower::ServiceExt;

/// So few that they stay in the cache, where a request that was just parsed would be.
const BATCH: BatchSize = BatchSize::NumIterations(32);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut criterion = Criterion::default().configure_from_args();
    accept(&mut criterion, &runtime);
    algorithms(&mut criterion, &runtime);
    upgrade(&mut criterion, &runtime);
    refuse(&mut criterion, &runtime);
    find(&mut criterion, &runtime);
    criterion.final_summary();
}

/// Good tokens before a handler that does nothing, so that the layer's own cost shows.
fn accept(criterion: &mut Criterion, runtime: &Runtime) {
    let pair = handshake().bearer_subprotocol(&support::token());
    let authorization = handshake().authorization(&support::token());
    let layered = idle().layer(support::layer());
    let mut group = Group::new(criterion, runtime, "accept", StatusCode::OK);
    group.measure("bare", &idle(), &pair);
    group.measure("by hand", &support::check_by_hand(idle()), &authorization);
    group.measure("authorization", &layered, &authorization);
    group.measure("pair", &layered, &pair);
}

/// Good tokens by the algorithm that they are signed with, verified each time, and remembered by a `CachedVerifier`.
fn algorithms(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = Group::new(criterion, runtime, "algorithms", StatusCode::OK);
    group.measure("bare", &idle(), &handshake().authorization(&support::token()));
    for (algorithm, token, verifier) in keys::all() {
        let request = handshake().authorization(&token);
        group.measure(&format!("{algorithm}, verified"), &idle().layer(WsAuthLayer::new(verifier.clone())), &request);
        let cached = CachedVerifier::new(verifier);
        group.measure(&format!("{algorithm}, remembered"), &idle().layer(WsAuthLayer::new(cached)), &request);
    }
}

/// Good tokens before a handler that upgrades, up to the `101`.
fn upgrade(criterion: &mut Criterion, runtime: &Runtime) {
    let pair = handshake().bearer_subprotocol(&support::token());
    let authorization = handshake().authorization(&support::token());
    let mut group = Group::new(criterion, runtime, "upgrade", StatusCode::SWITCHING_PROTOCOLS);
    group.measure("bare", &support::unauthenticated(), &pair);
    group.measure("by hand", &support::authenticated_by_hand(), &authorization);
    group.measure("authorization", &support::authenticated(), &authorization);
    group.measure("pair", &support::authenticated(), &pair);
}

fn refuse(criterion: &mut Criterion, runtime: &Runtime) {
    let expired = TestToken::new("alice").expires_at(SystemTime::now() - Duration::from_secs(3600)).sign();
    let bad_signature = TestToken::new("alice").sign_with(b"TEST KEY of somebody else: never use it either");
    let layered = idle().layer(support::layer());
    let mut group = Group::new(criterion, runtime, "refuse", StatusCode::UNAUTHORIZED);
    group.measure("no token", &layered, &handshake());
    group.measure("malformed", &layered, &handshake().bearer_subprotocol("malformed"));
    group.measure("bad signature", &layered, &handshake().bearer_subprotocol(&bad_signature));
    group.measure("expired", &layered, &handshake().bearer_subprotocol(&expired));
}

/// Finding the token in each source and taking it out of there, with a verifier that accepts everything. The cookie's
/// share includes the check of the origin, which only a cookie needs.
fn find(criterion: &mut Criterion, runtime: &Runtime) {
    let token = &support::token();
    let cookies: Vec<String> = (0..9).map(|n| format!("preference-{n}=value-of-the-preference-{n}")).collect();
    let cookies = format!("{}; session={token}", cookies.join("; "));
    let sources = [
        ("pair", TokenSource::bearer_subprotocol(), handshake().bearer_subprotocol(token)),
        ("authorization", TokenSource::authorization(), handshake().authorization(token)),
        (
            "cookie among 10",
            TokenSource::cookie("session"),
            handshake().origin("http://localhost").header("cookie", cookies),
        ),
        (
            "query among 5",
            TokenSource::query("access_token"),
            handshake().path(format!("/?room=blue&page=2&sort=name&theme=dark&access_token={token}")),
        ),
    ];
    let mut group = Group::new(criterion, runtime, "find", StatusCode::OK);
    for (name, source, request) in sources {
        let layer = WsAuthLayer::new(|_: VerifyInput<'_>| ready(Ok(Verified::new(()))));
        let layer = layer.sources([source]).expect("one source, well spelled");
        group.measure(&format!("{name}, bare"), &idle(), &request);
        group.measure(&format!("{name}, layer"), &idle().layer(layer), &request);
    }
}

fn idle() -> Router {
    Router::new().route("/", any(async || {}))
}

/// Cases that are all answered with the same status.
struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    runtime: &'a Runtime,
    expected: StatusCode,
}

impl<'a> Group<'a> {
    fn new(criterion: &'a mut Criterion, runtime: &'a Runtime, name: &str, expected: StatusCode) -> Self {
        Self { group: criterion.benchmark_group(name), runtime, expected }
    }

    fn measure(&mut self, name: &str, app: &Router, request: &HandshakeBuilder) {
        // axum spawns a task for each socket.
        let _guard = self.runtime.enter();
        // A case that is answered otherwise would measure something else.
        assert_eq!(answer(app, request.clone()).status(), self.expected, "{name}");
        let prepare = || {
            // The tasks of the batch before: on a connection in memory there is no socket for them, so that they just
            // end.
            self.runtime.block_on(yield_now());
            request.clone().build()
        };
        let respond = |request| app.clone().oneshot(request).now_or_never().expect("nothing here waits");
        self.group.bench_function(name, |bencher| bencher.iter_batched(prepare, respond, BATCH));
    }
}

fn answer(app: &Router, request: HandshakeBuilder) -> Response {
    let answered = app.clone().oneshot(request.build()).now_or_never();
    answered.expect("nothing here waits").expect("a router does not fail")
}
