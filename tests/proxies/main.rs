//! Reverse proxies in front of an application, each with the configuration that the guide prints. See `README.md` in
//! this folder.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod app;
#[path = "../clients/browser.rs"]
#[allow(dead_code, reason = "Firefox is not used here")]
mod browser;
mod cases;
mod client;
mod forwarded;
mod idle;
mod kind;
#[path = "../support/log.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod log;
mod logs;
mod mistakes;
mod page;
mod proxy;
mod script;
mod sockets_over_http2;

use std::time::Duration;

/// The timeout for what should take no more than a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The tests of every proxy.
macro_rules! proxies {
    ($($module:ident: $kind:ident,)*) => {$(
        mod $module {
            use crate::{cases, forwarded, idle, kind::Kind, logs, page};

            #[tokio::test]
            async fn every_token_source_opens_a_socket() {
                cases::every_token_source_opens_a_socket(Kind::$kind).await;
            }

            #[tokio::test]
            async fn largest_token_passes() {
                cases::largest_token_passes(Kind::$kind).await;
            }

            #[tokio::test]
            async fn refusals_reach_the_client() {
                cases::refusals_reach_the_client(Kind::$kind).await;
            }

            #[tokio::test]
            async fn refused_handshake_leaves_no_tunnel() {
                cases::refused_handshake_leaves_no_tunnel(Kind::$kind).await;
            }

            #[tokio::test]
            async fn end_of_the_session_reaches_the_client() {
                cases::end_of_the_session_reaches_the_client(Kind::$kind).await;
            }

            #[tokio::test]
            async fn events_pass_at_once_and_end_with_their_session() {
                cases::events_pass_at_once_and_end_with_their_session(Kind::$kind).await;
            }

            #[tokio::test]
            async fn download_that_is_cut_fails() {
                cases::download_that_is_cut_fails(Kind::$kind).await;
            }

            #[tokio::test]
            async fn keep_alive_holds_what_would_be_cut() {
                idle::keep_alive_holds_what_would_be_cut(Kind::$kind).await;
            }

            #[tokio::test]
            async fn proxy_names_the_client_and_its_host() {
                forwarded::proxy_names_the_client_and_its_host(Kind::$kind).await;
            }

            #[tokio::test]
            async fn log_holds_no_token() {
                logs::log_holds_no_token(Kind::$kind).await;
            }

            #[tokio::test]
            async fn page_over_http2_opens_sockets() {
                page::page_over_http2_opens_sockets(Kind::$kind).await;
            }
        }
    )*};
}

proxies! {
    nginx: Nginx,
    haproxy: Haproxy,
    caddy: Caddy,
    apache: Apache,
}
