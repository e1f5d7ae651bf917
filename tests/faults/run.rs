//! A run: rounds of load and faults, and what is checked between them.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use futures_util::join;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
    time::sleep,
};

use crate::{
    CONCURRENCY, checks, clients,
    node::Node,
    plan::{Fault, Random, Visit},
    report::Report,
    saboteur,
    servers::Servers,
    stage::Stage,
    tokens::Tokens,
};

pub(crate) struct Form {
    /// At least so many. The last round goes on until its faults are over.
    pub(crate) handshakes: usize,
    /// The faults of each round.
    pub(crate) rounds: Vec<Vec<Fault>>,
    /// How much the resident memory may grow after the first round, in KiB.
    pub(crate) max_growth: usize,
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn run(form: &Form) {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, SeqCst);
        default(info);
    }));
    let seed = env::var("FAULTS_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FAULTS_SEED={seed}");

    // The nodes have a runtime of their own, whose tasks are counted.
    let of_nodes = runtime();
    let of_clients = runtime();
    of_clients.block_on(run_all(form, seed, of_nodes.handle()));
    drop(of_nodes);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn run_all(form: &Form, seed: u64, of_nodes: &Handle) {
    let mut servers = Servers::start().await;
    let tokens = Tokens::new().await;
    let descriptors = checks::descriptors();
    let start = async |number| Node::start(number, of_nodes, servers.url(), &tokens.issuer).await;
    let nodes = [start(0).await, start(1).await];
    let stage = Arc::new(Stage { nodes, tokens, weather: Default::default(), report: Report::new() });
    let visits = Arc::new(AtomicUsize::new(0));
    let mut resident = None;
    for (round, faults) in form.rounds.iter().enumerate() {
        let target = form.handshakes * (round + 1) / form.rounds.len();
        run_round(&stage, &mut servers, faults, &visits, (seed, round, target), of_nodes).await;
        checks::nothing_is_held(&stage, &servers).await;
        stage.nodes.iter().for_each(Node::bury);
        let now = checks::resident();
        println!(
            "round {round}: {} handshakes, {} KiB, {} tasks, {} descriptors, after {:.1?}",
            stage.report.handshakes(),
            now,
            checks::tasks(of_nodes),
            checks::descriptors(),
            stage.report.start.elapsed()
        );
        let first = *resident.get_or_insert(now);
        assert!(now <= first + form.max_growth, "the memory grew from {first} KiB to {now} KiB");
    }
    for node in &stage.nodes {
        node.shut_down().await;
        node.bury();
    }
    stage.report.print();
    checks::no_more_than(0, "tasks are left", || checks::tasks(of_nodes)).await;
    checks::no_more_than(descriptors, "descriptors are open", checks::descriptors).await;
    stage.report.assert_allowed();
    assert_eq!(PANICS.load(SeqCst), 0, "something panicked");
}

/// Clients come and go until there were enough and all faults are over. Then waits until all are gone.
async fn run_round(
    stage: &Arc<Stage>,
    servers: &mut Servers,
    faults: &[Fault],
    visits: &Arc<AtomicUsize>,
    (seed, round, target): (u64, usize, usize),
    of_nodes: &Handle,
) {
    let are_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CONCURRENCY {
        let (stage, visits, are_over) = (Arc::clone(stage), Arc::clone(visits), Arc::clone(&are_over));
        let delay = Random::new(seed, number).millis(0, 3000);
        clients.spawn(async move {
            sleep(delay).await;
            while !are_over.load(SeqCst) || stage.report.handshakes() < target {
                let visit = Visit::new(seed, visits.fetch_add(1, SeqCst));
                // Whoever is refused does not come again at once, or the load would grow with the refusals.
                let pause = sleep(visit.stay);
                join!(clients::visit(&stage, visit), pause);
            }
        });
    }
    let address = servers.address();
    let part = |number| Random::new(!seed, 2 * round + number);
    let all = async {
        saboteur::run(stage, servers, faults, part(0)).await;
        are_over.store(true, SeqCst);
        while let Some(client) = clients.join_next().await {
            client.expect("no client panics");
        }
    };
    tokio::select! {
        () = all => {}
        () = saboteur::rotate_keys(stage, part(1)) => {}
        () = saboteur::watch_redis(stage, of_nodes, address) => {}
    }
}
