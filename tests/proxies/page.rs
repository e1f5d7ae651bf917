//! A page in headless Chromium.

use serde_json::{Value, json};

use crate::{
    app::App,
    browser::{Browser, visit},
    kind::Kind,
    proxy::Proxy,
};

/// What the page finds after its sign-in.
pub(crate) async fn found(app: &mut App, proxy: &Proxy) -> Value {
    visit(Browser::Chromium, &format!("https://{}/sign-in", proxy.authority), app.report()).await
}

pub(crate) async fn page_over_http2_opens_sockets(kind: Kind) {
    let mut app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let found = found(&mut app, &proxy).await;
    let all = json!({ "version": "h2", "cookie": "hello, 1000", "bearer": "hello, 1000", "events": "hello" });
    assert_eq!(found, all);
}
