//! The layer's cost in process: the same router bare, behind the layer, and with a check by hand.
//!
//! See `benches/README.md`.

mod support;

use std::future::ready;

use axum_ws_auth::{TokenSource, Verified, VerifyInput, WsAuthLayer, test_util::handshake};
use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use http::StatusCode;
use jsonwebtoken::Algorithm;
use tokio::{runtime::Runtime, task::yield_now};

use support::{
    by_hand::Answer,
    cases::{self, Case, Check, REFUSED, Sent, idle},
    keys::ALGORITHMS,
};

const BY_HAND: Check = Check::ByHand(Answer::Challenge);

/// Few enough to stay in the CPU cache, as a request that was just parsed does.
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

/// Good tokens, and a handler that does nothing, so the layer's own cost shows.
fn accept(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = Group::new(criterion, runtime, "accept");
    group.measure("bare", &cases::bare());
    group.measure("by hand", &hs256(BY_HAND, Sent::Authorization));
    group.measure("authorization", &hs256(Check::Ours, Sent::Authorization));
    group.measure("pair", &hs256(Check::Ours, Sent::Pair));
}

/// Good tokens of each algorithm, verified each time and remembered by a `CachedVerifier`.
fn algorithms(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = Group::new(criterion, runtime, "algorithms");
    group.measure("bare", &cases::bare());
    for algorithm in ALGORITHMS {
        for (name, check) in [("by hand", BY_HAND), ("verified", Check::Ours), ("remembered", Check::Remembered)] {
            let case = cases::case(check, algorithm, Sent::Authorization);
            group.measure(&format!("{algorithm:?}, {name}"), &case);
        }
    }
}

/// Good tokens, and a handler that upgrades, up to the `101`.
fn upgrade(criterion: &mut Criterion, runtime: &Runtime) {
    let pair = handshake().bearer_subprotocol(&support::token());
    let authorization = handshake().authorization(&support::token());
    let mut group = Group::new(criterion, runtime, "upgrade");
    for (name, app, request) in [
        ("bare", support::unauthenticated(), &pair),
        ("by hand", support::authenticated_by_hand(), &authorization),
        ("authorization", support::authenticated(), &authorization),
        ("pair", support::authenticated(), &pair),
    ] {
        let expected = StatusCode::SWITCHING_PROTOCOLS;
        group.measure(name, &Case::new(name.to_owned(), app, request.clone(), expected));
    }
}

fn refuse(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = Group::new(criterion, runtime, "refuse");
    for sent in REFUSED {
        group.measure(sent.name(), &hs256(Check::Ours, sent));
        group.measure(&format!("{}, by hand", sent.name()), &hs256(BY_HAND, sent));
    }
}

/// Finding the token in each source and removing it, with a verifier that accepts everything. The cookie includes the
/// origin check, which only a cookie needs.
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
    let mut group = Group::new(criterion, runtime, "find");
    for (name, source, request) in sources {
        let layer = WsAuthLayer::new(|_: VerifyInput<'_>| ready(Ok(Verified::new(()))));
        let layer = layer.sources([source]).expect("one valid source");
        for (with, app) in [("bare", idle()), ("layer", idle().layer(layer))] {
            let name = format!("{name}, {with}");
            group.measure(&name, &Case::new(name.clone(), app, request.clone(), StatusCode::OK));
        }
    }
}

fn hs256(check: Check, sent: Sent) -> Case {
    cases::case(check, Algorithm::HS256, sent)
}

struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    runtime: &'a Runtime,
}

impl<'a> Group<'a> {
    fn new(criterion: &'a mut Criterion, runtime: &'a Runtime, name: &str) -> Self {
        Self { group: criterion.benchmark_group(name), runtime }
    }

    fn measure(&mut self, name: &str, case: &Case) {
        // axum spawns a task for each socket.
        let _guard = self.runtime.enter();
        case.assert_answered();
        let prepare = || {
            // Lets the tasks of the previous batch end. They have no connection.
            self.runtime.block_on(yield_now());
            case.prepare()
        };
        let respond = |(app, request)| cases::respond(app, request);
        self.group.bench_function(name, |bencher| bencher.iter_batched(prepare, respond, BATCH));
    }
}
