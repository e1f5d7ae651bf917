//! No token is in the log of a proxy.

use std::time::Duration;

use http::Version;
use tokio::time::{sleep, timeout};

use crate::{
    TIMEOUT,
    app::{App, token},
    cases::ticket,
    client::{open, request},
    kind::Kind,
    proxy::{Edit, Proxy},
};

pub(crate) async fn log_holds_no_token(kind: Kind) {
    assert_eq!(secrets_in_log(kind, &[]).await, [""; 0]);
}

/// Each proxy's usual format holds the query, and so the ticket. Caddy's holds most headers too.
#[tokio::test]
async fn usual_formats_hold_tickets() {
    let edits: [(Kind, Edit<'_>); 3] = [
        (Kind::Nginx, ("chat.log chat;", "chat.log combined;")),
        (Kind::Haproxy, ("%HPO %HV", "%HU %HV")),
        (Kind::Apache, ("%m %U %H", "%r")),
    ];
    for (kind, edit) in edits {
        assert_eq!(secrets_in_log(kind, &[edit]).await, ["ticket"], "{kind:?}");
    }
    let edits = [("request>headers delete", ""), ("delete ticket", "delete other")];
    assert_eq!(secrets_in_log(Kind::Caddy, &edits).await, ["token", "ticket"]);
}

async fn secrets_in_log(kind: Kind, edits: &[Edit<'_>]) -> Vec<&'static str> {
    let app = App::start().await;
    let proxy = Proxy::start_edited(kind, &app.authority, edits).await;
    let token = token();
    let bearer = format!("Bearer {token}");
    let ticket = ticket(&proxy, &bearer).await;
    let redeem = format!("/redeem/chat?ticket={ticket}");
    let offer = format!("bearer, {token}");
    let cookie = format!("__Host-session={token}");
    let origin = format!("https://{}", proxy.authority);
    for (path, headers) in [
        (redeem.as_str(), vec![]),
        ("/chat", vec![("sec-websocket-protocol", offer.as_str())]),
        ("/chat", vec![("authorization", &bearer)]),
        ("/chat", vec![("cookie", &cookie), ("origin", &origin)]),
    ] {
        drop(open(&proxy, path, &headers).await.expect("a socket"));
    }
    // A second time it is refused, over HTTP/2 too.
    let redeem = format!("/redeem/events?ticket={ticket}");
    for version in [Version::HTTP_11, Version::HTTP_2] {
        assert_eq!(request(&proxy, version, "GET", &redeem, &[]).await.status(), 401);
    }
    // A line for each request, once it has ended.
    let all_logged = async {
        let expected = [("/ticket", 1), ("/chat", 4), ("/redeem/chat", 1), ("/redeem/events", 2)];
        while expected.iter().any(|(path, times)| proxy.log().matches(path).count() < *times) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(TIMEOUT, all_logged).await.is_ok(), "requests are missing:\n{}", proxy.log());
    let log = proxy.log();
    let secrets = [("token", token), ("ticket", ticket)];
    secrets.into_iter().filter(|(_, secret)| log.contains(secret)).map(|(name, _)| name).collect()
}
