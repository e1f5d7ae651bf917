//! Real WebSocket clients over loopback. See `README.md` in this folder.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod browser;
mod cases;
mod client;
mod demo;
mod js_client;
mod js_recipes;
mod protocols;
mod refresh;
mod script;
mod server;
mod sign_in;
mod streams;
mod tungstenite;

use std::{iter, time::Duration};

use crate::{
    browser::Browser,
    cases::{Attempt, Case, Outcome},
    client::Client,
    server::{Handshake, Server},
};

/// The timeout for a client that hangs. None needs more than a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The tests of every client that can send any header.
macro_rules! native_clients {
    ($($(#[$ignore:meta])* $module:ident: $client:ident,)*) => {$(
        mod $module {
            use crate::{cases, check, client::Client};

            #[tokio::test]
            $(#[$ignore])*
            async fn valid_token_opens_a_socket() {
                check(Client::$client, cases::good_tokens).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn missing_or_invalid_token_is_refused() {
                check(Client::$client, cases::bad_tokens).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn cookie_is_accepted_from_the_right_origin_only() {
                check(Client::$client, cases::cookies).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn accept_then_close_gives_a_close_code() {
                check(Client::$client, cases::accept_then_close).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn end_of_the_session_closes_the_socket() {
                check(Client::$client, cases::endings).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn bad_first_message_gets_a_close_code() {
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
    #[ignore = "needs a JDK"]
    java_http_client: Java,
    #[ignore = "needs Go"]
    go_gorilla: Gorilla,
}

/// The tests of every browser, in which a page cannot send headers.
macro_rules! browsers {
    ($($(#[$ignore:meta])* $module:ident: $browser:ident,)*) => {$(
        mod $module {
            use crate::{
                Attempt, Case, Handshake, Outcome, Server,
                browser::{Browser, visit},
                cases, check_page, refresh,
            };

            #[tokio::test]
            $(#[$ignore])*
            async fn valid_token_opens_a_socket() {
                check_page(Browser::$browser, cases::good_tokens).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn missing_or_invalid_token_is_refused() {
                check_page(Browser::$browser, cases::bad_tokens).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn accept_then_close_gives_a_close_code() {
                check_page(Browser::$browser, cases::accept_then_close).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn end_of_the_session_closes_the_socket() {
                check_page(Browser::$browser, cases::endings).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn bad_first_message_gets_a_close_code() {
                check_page(Browser::$browser, cases::first_messages).await;
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn cookie_from_a_page_of_the_same_origin_is_accepted() {
                let mut server = Server::start().await;
                let attempt = Attempt::new(&server, "/cookie");
                let case = Case::accepted("own page", attempt.clone(), "");
                server.page_runs(vec![attempt]);
                let url = server.login_then(&server.page());
                let outcomes = visit(Browser::$browser, &url, server.report()).await;

                assert_eq!(outcomes, [case.outcome]);
                let origin = Some(server.origin());
                assert_eq!(server.handshakes(), [Handshake { status: 101, with_cookie: true, origin }]);
            }

            #[tokio::test]
            $(#[$ignore])*
            async fn cookie_that_no_page_can_read_refreshes_the_session() {
                refresh::check(Browser::$browser).await;
            }

            /// Cookies ignore ports, so the browser sends this one with a foreign page's handshake, even with
            /// `SameSite=Strict`.
            #[tokio::test]
            $(#[$ignore])*
            async fn cookie_from_a_page_of_another_origin_is_refused() {
                let server = Server::start().await;
                let mut foreign = Server::start().await;
                foreign.page_runs(vec![
                    Attempt::new(&server, "/cookie"),
                    Attempt::new(&server, "/cookie/close"),
                    // This one sends a token, so it needs no cookie.
                    Attempt::new(&server, "/bearer").protocols(["bearer", &server.token]),
                ]);
                let url = server.login_then(&foreign.page());
                let outcomes = visit(Browser::$browser, &url, foreign.report()).await;

                let echoed = Outcome::Echoed { protocol: "bearer".to_owned(), text: "hello".to_owned(), code: 1000 };
                assert_eq!(outcomes, [Outcome::FAILED, Outcome::FAILED, echoed]);
                let handshake = |status| Handshake { status, with_cookie: true, origin: Some(foreign.origin()) };
                assert_eq!(server.handshakes(), [403, 403, 101].map(handshake));
            }
        }
    )*};
}

browsers! {
    page_in_chromium: Chromium,
    #[ignore = "needs Firefox"]
    page_in_firefox: Firefox,
}

/// Runs the cases with a client and a new server, and compares what both ends saw.
async fn check(client: Client, cases: fn(&Server) -> Vec<Case>) {
    let server = Server::start().await;
    let cases = cases(&server);
    let attempts: Vec<_> = cases.iter().map(|case| case.attempt.clone()).collect();
    let run = tokio::time::timeout(TIMEOUT, client.run(&attempts));
    let Ok(outcomes) = run.await else { panic!("{client:?} takes longer than {TIMEOUT:?}") };
    compare_outcomes(&cases, &outcomes, client.sees_status());
    compare_statuses(&cases, &server, |status| client.handshakes(status));
}

/// The same with a page, which cannot send headers.
async fn check_page(browser: Browser, cases: fn(&Server) -> Vec<Case>) {
    let mut server = Server::start().await;
    let mut cases = cases(&server);
    cases.retain(|case| case.attempt.headers.is_empty());
    server.page_runs(cases.iter().map(|case| case.attempt.clone()).collect());
    let url = server.page();
    let outcomes = browser::visit(browser, &url, server.report()).await;
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
