//! Refreshes sessions over HTTP; see [`WsAuthLayer::refresh_route`](crate::WsAuthLayer::refresh_route).

mod answer;
mod route;
mod signalr;

pub(crate) use route::{Form, route};
