//! Requests through a router, without hyper or a socket: what a peer takes on top of the bare router of its axum.

use std::io;

use http::{Request, StatusCode};
use tokio::runtime::Runtime;

use crate::{
    Length,
    app::{App, IDLE, handshake},
    checks,
    keys::Algorithm,
    peers::{ALL, BARE, Peer},
    spread::Spread,
    tcp::runtime,
};

const ROUNDS: usize = 1000;

#[derive(Clone, Copy, Debug)]
enum Case {
    Accept,
    BadSignature,
    NoToken,
    Malformed,
}

/// A peer in one case.
struct Side {
    peer: &'static Peer,
    app: App,
    request: Request<()>,
    /// Nanoseconds in each round, less those of the bare router.
    costs: Vec<f64>,
}

pub(crate) fn run(length: Length) -> io::Result<()> {
    let runtime = runtime()?;
    checks::run(&runtime);
    println!("### In process\n");
    for algorithm in Algorithm::ALL {
        match length {
            Length::Full => report(algorithm, &Case::ALL.map(|case| measure(&runtime, algorithm, case, ROUNDS))),
            // Figures of one round would only mislead.
            Length::Test => {
                let peers = Case::ALL.map(|case| measure(&runtime, algorithm, case, 1).len());
                println!("{}: {} ways answer as they should.\n", algorithm.name(), peers[0]);
            }
        }
    }
    Ok(())
}

fn measure(runtime: &Runtime, algorithm: Algorithm, case: Case, rounds: usize) -> Vec<Side> {
    let [axum, axum_07, _] = BARE.each_ref().map(|peer| Side::new(peer, algorithm, case).expect("it needs no key"));
    let mut sides: Vec<Side> = ALL.iter().filter_map(|peer| Side::new(peer, algorithm, case)).collect();
    runtime.block_on(async {
        for side in &sides {
            // A case that is answered otherwise would measure something else.
            let status = side.app.answer(&side.request).await.status;
            assert_eq!(status, case.expected(), "{}, {algorithm:?}, {case:?}", side.peer.name);
        }
        // In turn, so that whatever else the machine does meets all of them.
        for _ in 0..rounds {
            let (bare, bare_07) = (axum.time().await, axum_07.time().await);
            for side in &mut sides {
                let bare = match side.app {
                    App::Axum(_) => bare,
                    App::Axum07(_) => bare_07,
                };
                side.costs.push(side.time().await - bare);
            }
        }
    });
    sides
}

/// A row for each peer, as the `README.md` has them.
fn report(algorithm: Algorithm, cases: &[Vec<Side>; 4]) {
    println!("| {}, to axum-ws-auth | accepted | bad signature | no token | malformed |", algorithm.name());
    println!("|{}", " --- |".repeat(1 + cases.len()));
    let peers = cases[0].len();
    for peer in 1..peers {
        print!("| {} |", cases[0][peer].peer.name);
        for sides in cases {
            let costs = sides[peer].costs.iter().zip(&sides[0].costs);
            let Spread { lower, median, upper, .. } = Spread::of(costs.map(|(theirs, ours)| theirs / ours));
            print!(" {median:.2} ({lower:.2} to {upper:.2}) |");
        }
        println!();
    }
    println!();
}

impl Case {
    const ALL: [Self; 4] = [Self::Accept, Self::BadSignature, Self::NoToken, Self::Malformed];

    fn request(self, peer: &Peer, algorithm: Algorithm) -> Request<()> {
        let token = match self {
            Self::Accept => Some(peer.good_token(algorithm)),
            Self::BadSignature => Some(peer.badly_signed_token(algorithm)),
            Self::NoToken => None,
            Self::Malformed => Some("malformed".to_owned()),
        };
        handshake(IDLE, token.as_deref())
    }

    const fn expected(self) -> StatusCode {
        match self {
            Self::Accept => StatusCode::OK,
            Self::BadSignature | Self::NoToken | Self::Malformed => StatusCode::UNAUTHORIZED,
        }
    }
}

impl Side {
    fn new(peer: &'static Peer, algorithm: Algorithm, case: Case) -> Option<Self> {
        let app = (peer.app)(algorithm)?;
        Some(Self { peer, app, request: case.request(peer, algorithm), costs: Vec::new() })
    }

    async fn time(&self) -> f64 {
        self.app.time(&self.request).await
    }
}
