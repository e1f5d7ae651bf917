//! Real WebSocket clients over loopback: what they make of the layer's answers. See `README.md` beside this file.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod cases;
mod chromium;
mod client;
mod protocols;
mod script;
mod server;
mod tungstenite;

use std::{iter, time::Duration};

use crate::{
    cases::{Attempt, Case, Outcome},
    client::Client,
    server::{Handshake, Server},
};

/// How long a client may take. None needs more than a few seconds; this is for those that hang.
const LIMIT: Duration = Duration::from_secs(60);

/// The same tests for every client that can send any header.
macro_rules! native_clients {
    ($($module:ident: $client:ident,)*) => {$(
        mod $module {
            use crate::{cases, check, client::Client};

            #[tokio::test]
            async fn a_good_token_opens_a_socket_that_echoes() {
                check(Client::$client, cases::good_tokens).await;
            }

            #[tokio::test]
            async fn no_token_or_a_bad_one_is_refused() {
                check(Client::$client, cases::bad_tokens).await;
            }

            #[tokio::test]
            async fn a_cookie_counts_from_the_right_origin_only() {
                check(Client::$client, cases::cookies).await;
            }

            #[tokio::test]
            async fn a_close_frame_says_why() {
                check(Client::$client, cases::closings).await;
            }

            #[tokio::test]
            async fn the_end_of_a_session_closes_the_socket() {
                check(Client::$client, cases::endings).await;
            }

            #[tokio::test]
            async fn a_close_frame_says_what_is_wrong_with_a_first_message() {
                check(Client::$client, cases::first_messages).await;
            }
        }
    )*};
}

native_clients! {
    tokio_tungstenite: Tungstenite,
    node_ws: Ws,
    node_undici: Undici,
    python_websockets: Websockets,
}

mod page_in_chromium {
    use crate::{Attempt, Case, Handshake, Outcome, Server, cases, check_page, chromium};

    #[tokio::test]
    async fn a_good_token_opens_a_socket_that_echoes() {
        check_page(cases::good_tokens).await;
    }

    #[tokio::test]
    async fn no_token_or_a_bad_one_is_refused() {
        check_page(cases::bad_tokens).await;
    }

    #[tokio::test]
    async fn a_close_frame_says_why() {
        check_page(cases::closings).await;
    }

    #[tokio::test]
    async fn the_end_of_a_session_closes_the_socket() {
        check_page(cases::endings).await;
    }

    #[tokio::test]
    async fn a_close_frame_says_what_is_wrong_with_a_first_message() {
        check_page(cases::first_messages).await;
    }

    #[tokio::test]
    async fn a_cookie_counts_from_a_page_of_the_same_origin() {
        let mut server = Server::start().await;
        let attempt = Attempt::new(&server, "/cookie");
        let case = Case::accepted("own page", attempt.clone(), "");
        server.page_runs(vec![attempt]);
        let url = server.login_then(&server.page());
        let outcomes = chromium::visit(&url, server.report()).await;

        assert_eq!(outcomes, [case.outcome]);
        let origin = Some(server.origin());
        assert_eq!(server.handshakes(), [Handshake { status: 101, with_cookie: true, origin }]);
    }

    /// Cookies know no ports: the browser sends this one with a foreign page's handshake, `SameSite=Strict` or not.
    #[tokio::test]
    async fn a_cookie_counts_for_nothing_from_a_page_of_another_origin() {
        let server = Server::start().await;
        let mut foreign = Server::start().await;
        foreign.page_runs(vec![
            Attempt::new(&server, "/cookie"),
            Attempt::new(&server, "/cookie/close"),
            // This one has a token of its own, and so needs no cookie.
            Attempt::new(&server, "/bearer").protocols(["bearer", &server.token]),
        ]);
        let url = server.login_then(&foreign.page());
        let outcomes = chromium::visit(&url, foreign.report()).await;

        let echoed = Outcome::Echoed { protocol: "bearer".to_owned(), text: "hello".to_owned(), code: 1000 };
        assert_eq!(outcomes, [Outcome::FAILED, Outcome::FAILED, echoed]);
        let handshake = |status| Handshake { status, with_cookie: true, origin: Some(foreign.origin()) };
        assert_eq!(server.handshakes(), [403, 403, 101].map(handshake));
    }
}

/// Runs the cases with a client and a server of its own, and compares what both ends saw.
async fn check(client: Client, cases: fn(&Server) -> Vec<Case>) {
    let server = Server::start().await;
    let cases = cases(&server);
    let attempts: Vec<_> = cases.iter().map(|case| case.attempt.clone()).collect();
    let run = tokio::time::timeout(LIMIT, client.run(&attempts));
    let Ok(outcomes) = run.await else { panic!("{client:?} takes longer than {LIMIT:?}") };
    compare_outcomes(&cases, &outcomes, client.sees_status());
    compare_statuses(&cases, &server, |status| client.handshakes(status));
}

/// The same with a page in Chromium. Pages cannot send headers.
async fn check_page(cases: fn(&Server) -> Vec<Case>) {
    let mut server = Server::start().await;
    let mut cases = cases(&server);
    cases.retain(|case| case.attempt.headers.is_empty());
    server.page_runs(cases.iter().map(|case| case.attempt.clone()).collect());
    let url = server.page();
    let outcomes = chromium::visit(&url, server.report()).await;
    compare_outcomes(&cases, &outcomes, false);
    compare_statuses(&cases, &server, |_| 1);
}

fn compare_outcomes(cases: &[Case], outcomes: &[Outcome], client_sees_status: bool) {
    assert_eq!(outcomes.len(), cases.len(), "{outcomes:?}");
    for (case, outcome) in cases.iter().zip(outcomes) {
        let expected = match &case.outcome {
            Outcome::Refused { .. } if !client_sees_status => &Outcome::FAILED,
            expected => expected,
        };
        assert_eq!(outcome, expected, "{}", case.name);
    }
}

fn compare_statuses(cases: &[Case], server: &Server, handshakes: impl Fn(u16) -> usize) {
    let statuses: Vec<_> = server.handshakes().iter().map(|handshake| handshake.status).collect();
    let expected: Vec<_> = cases.iter().flat_map(|case| iter::repeat_n(case.status, handshakes(case.status))).collect();
    assert_eq!(statuses, expected);
}
