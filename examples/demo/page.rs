//! The page, its files, and what protects them.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};

use super::app::Demo;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// All files, compiled in. The page loads nothing from elsewhere.
const FILES: [(&str, &str, &str); 12] = [
    ("style.css", CSS, include_str!("page/style.css")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("app.js", JS, include_str!("page/app.js")),
    ("chat.js", JS, include_str!("page/chat.js")),
    ("life.js", JS, include_str!("page/life.js")),
    ("devices.js", JS, include_str!("page/devices.js")),
    ("break_in.js", JS, include_str!("page/break_in.js")),
    ("operator.js", JS, include_str!("page/operator.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("elsewhere.html", HTML, include_str!("page/elsewhere.html")),
    ("elsewhere.js", JS, include_str!("page/elsewhere.js")),
    // The browser client of this repository.
    ("client.js", JS, include_str!("../../clients/js/index.js")),
];

/// Scripts, styles and connections from this server only. Nothing inline, so that text of a person that ends up in the
/// page by mistake is no script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(crate) fn routes() -> Router<Demo> {
    let index = || async { with_headers(HTML, include_str!("page/index.html")) };
    Router::new().route("/", get(index)).route("/page/{file}", get(file))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, content_type, text)) => with_headers(content_type, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn with_headers(content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// Refuses requests that another site makes with the visitor's browser. It would not need a token: signing in takes one
/// click here, and the operator's buttons none.
pub(crate) async fn own_page_only(State(demo): State<Demo>, request: Request, next: Next) -> Response {
    if is_from_own_page(&demo, request.method(), request.headers()) {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn is_from_own_page(demo: &Demo, method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A site whose name resolves to this address (DNS rebinding) is recognized by the host.
    let is_own_host = text(HOST).is_some_and(|host| demo.is_own_host(host));
    // Browsers send it with every request that may change something. Handshakes are `GET`: the layers check theirs.
    let is_own_origin = text(ORIGIN).is_none_or(|origin| demo.origins().iter().any(|own| own == origin));
    is_own_host && (is_own_origin || method.is_safe())
}
