//! The layers and the routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{request::Parts, uri::Authority},
    middleware::from_fn_with_state,
    routing::{any, delete, get, post},
};
use axum_ws_auth::{
    AtLimit, ConfigError, Limits, MemoryRevocations, MemoryTickets, PathParams, RefreshProtocol, RevocationOptions,
    Revocations, SessionMeta, Sessions, TicketOptions, Tickets, TokenSource, Verifier, VerifyError, WsAuthLayer,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;

use super::{
    break_in,
    chat::{self, Room},
    devices, operator, page,
    people::{self, Claims, Issuer},
    raw::{self, Reasons},
};

/// What outlives a restart. A real server keeps it elsewhere: keys at the identity provider, revocations and tickets in
/// [`Redis`](axum_ws_auth::Redis), messages in a database.
#[derive(Clone)]
pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) revocations: Revocations,
    pub(crate) tickets: Tickets<Claims>,
    pub(crate) room: Room,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) reasons: Reasons,
    /// Asks for a restart.
    pub(crate) restart: Arc<Notify>,
}

impl Demo {
    pub(crate) fn new(address: SocketAddr, lifetime: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        // Issuer and server have one clock here. So whoever signs out everywhere can sign in again at once.
        let one_clock = RevocationOptions::new().clock_skew(Duration::ZERO)?;
        Ok(Self {
            address,
            issuer: Arc::new(Issuer::new(lifetime)?),
            revocations: Revocations::with_options(MemoryRevocations::new(), one_clock),
            tickets: Tickets::new(MemoryTickets::new()),
            room: Room::new(),
            metrics: operator::record_metrics()?,
            reasons: Reasons::default(),
            restart: Arc::new(Notify::new()),
        })
    }

    /// The origins of the page. A list rather than "same origin", because this server is on a loopback address: another
    /// site could have its own name resolve to it (DNS rebinding), and would then be of the same origin.
    pub(crate) fn origins(&self) -> [String; 2] {
        let port = self.address.port();
        [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")]
    }

    /// Whether a `Host` or the host of an `Origin` is this server's.
    pub(crate) fn is_own_host(&self, host: &str) -> bool {
        let host = host.parse::<Authority>();
        host.is_ok_and(|host| {
            host.port_u16() == Some(self.address.port()) && matches!(host.host(), "127.0.0.1" | "localhost")
        })
    }
}

/// At most 500 sockets, and 20 of one person, who loses the oldest then.
pub(crate) fn new_sessions() -> Result<Sessions, ConfigError> {
    Ok(Sessions::with_limits(Limits::new().total(500)?.per_subject(20, AtLimit::EvictOldest)?))
}

/// Everything that is served during one life of the server.
///
/// Each tab is a device of its own, with a path of its own, so that its cookie is not that of the tab beside it. Your
/// application needs no such thing: there, a device is a browser.
pub(crate) fn routes(demo: &Demo, sessions: &Sessions) -> Result<Router, Box<dyn std::error::Error>> {
    let tokens = demo.issuer.verifier()?.authorize(of_this_device);
    // A ticket opens the socket. What refreshes it later is a token.
    let tickets = demo.tickets.verifier().authorize(of_this_device).or(tokens.clone());

    // What all layers share.
    let lifetime = demo.issuer.lifetime;
    let set_up = |layer: WsAuthLayer| {
        layer
            .allow_origin(demo.origins().to_vec())?
            .sessions(sessions)
            .revocations(&demo.revocations)
            // Tells the page its session and how long its token is valid, and asks for the next one in time.
            .refresh_protocol(RefreshProtocol::json().greeting().ask(lifetime / 3))
            // Tokens are short here, and people press the button.
            .refresh_limit(30, Duration::from_secs(60))
            .keep_alive(Duration::from_secs(30), Duration::from_secs(20))
    };
    // By default a token may be a subprotocol, or in `Authorization`. The browser client uses the second to ask why a
    // handshake failed.
    let by_protocol = set_up(WsAuthLayer::new(tokens.clone()))?;
    let by_ticket = set_up(WsAuthLayer::new(tickets))?.sources([TokenSource::ticket()])?;
    // Over TLS its name would be `__Host-session`, which no other site of the domain can set.
    let cookie = TokenSource::cookie(people::COOKIE);
    let by_cookie = set_up(WsAuthLayer::new(tokens.clone()))?.sources([cookie.clone()])?;
    let requests = set_up(WsAuthLayer::new(tokens))?.sources([cookie, TokenSource::authorization()])?;

    let refresh = by_cookie.refresh_route()?;
    let device = Router::new()
        .route("/token", post(people::renew))
        .route("/ticket", demo.tickets.route(TicketOptions::new().asking_origin()))
        .route("/devices", get(devices::list).delete(devices::sign_out_everywhere))
        .route("/devices/{session}", delete(devices::sign_out))
        .layer(requests)
        .route("/chat/subprotocol", any(chat::chat).layer(by_protocol.session_meta(note("subprotocol"))))
        .route("/chat/ticket", any(chat::chat).layer(by_ticket.session_meta(note("ticket"))))
        .route("/chat/cookie", any(chat::chat).layer(by_cookie.session_meta(note("cookie"))))
        .route("/refresh/{session}", refresh);
    let app = Router::new()
        .nest("/device/{device}", device)
        .route("/sign-in", post(people::sign_in))
        .route("/break-in/{attempt}", post(break_in::attempt))
        .merge(operator::routes())
        .merge(page::routes())
        .layer(axum::Extension(sessions.clone()))
        .layer(from_fn_with_state(demo.clone(), raw::note_reason))
        .layer(from_fn_with_state(demo.clone(), page::own_page_only))
        .with_state(demo.clone());
    Ok(app)
}

/// Refuses the token of one device on the path of another.
fn of_this_device(claims: &Claims, parts: &Parts) -> Result<(), VerifyError> {
    let is_own = PathParams::of(parts).get("device") == Some(&claims.sid);
    if is_own { Ok(()) } else { Err(VerifyError::forbidden()) }
}

/// What lists of sessions say about a connection.
fn note(connected_by: &'static str) -> impl Fn(&Parts) -> SessionMeta + Send + Sync + 'static {
    move |parts| {
        let agent = parts.headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let device = PathParams::of(parts).get("device").unwrap_or_default().to_owned();
        SessionMeta::new().with("browser", browser(agent)).with("by", connected_by).with("device", device)
    }
}

/// The browser of a `User-Agent`, in words.
fn browser(agent: &str) -> String {
    let first =
        |names: &[(&str, &'static str)]| names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name);
    // Most browsers also name the ones that they resemble, so the order matters.
    let browser =
        [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let system = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    match (first(&browser), first(&system)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Unknown client".to_owned(),
    }
}
