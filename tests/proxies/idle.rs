//! Proxies cut what is silent. Keep-alive holds it.

use std::time::Duration;

use http::Version;
use tokio::time::timeout;

use crate::{
    app::{App, token},
    client::{assert_echoes, end_of, next_part, open_with_token, request, text_until},
    kind::Kind,
    proxy::{Edit, Proxy},
};

/// Longer than the time-outs below.
const LONG: Duration = Duration::from_secs(8);

/// Replaces the time-outs of the guide by three seconds. Caddy has none.
const fn time_outs(kind: Kind) -> &'static [Edit<'static>] {
    match kind {
        Kind::Nginx => &[("proxy_read_timeout 60s", "proxy_read_timeout 3s")],
        Kind::Haproxy => &[("timeout tunnel 60s", "timeout tunnel 3s"), ("timeout server 60s", "timeout server 3s")],
        Kind::Apache => &[("Timeout 60", "Timeout 3")],
        Kind::Caddy => &[],
    }
}

pub(crate) async fn keep_alive_holds_what_would_be_cut(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start_edited(kind, &app.authority, time_outs(kind)).await;
    let (proxy, cuts) = (&proxy, kind != Kind::Caddy);

    let socket = async {
        let mut socket = open_with_token(proxy, "/chat", &token()).await;
        let end = timeout(LONG, end_of(&mut socket)).await;
        assert_eq!(end.is_ok(), cuts, "without keep-alive");
        assert_eq!(end.unwrap_or_default(), None, "the page sees 1006");
    };
    let kept_socket = async {
        let mut socket = open_with_token(proxy, "/kept/chat", &token()).await;
        assert!(timeout(LONG, end_of(&mut socket)).await.is_err(), "with keep-alive");
        assert_echoes(&mut socket).await;
    };
    let events = async |path| {
        let bearer = format!("Bearer {}", token());
        let answer = request(proxy, Version::HTTP_2, "GET", path, &[("authorization", &bearer)]).await;
        let mut body = answer.into_body();
        text_until(&mut body, "data: hello\n\n").await;
        let end = async { while let Some(Ok(_)) = next_part(&mut body).await {} };
        timeout(LONG, end).await.is_ok()
    };
    let (.., cut, kept_cut) = tokio::join!(socket, kept_socket, events("/events"), events("/kept/events"));
    assert_eq!((cut, kept_cut), (cuts, false), "events without keep-alive, and with");
}
