//! Step zero: learns who sent the request, from the connection or from trusted proxies.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use axum::extract::{ConnectInfo, connect_info::MockConnectInfo};
use http::request::Parts;

use super::config::Config;
use crate::{
    forwarded::{ClientAddr, Sender, TrustedProxies},
    telemetry,
};

/// Puts what is known of the sender into the request, in place of what another layer may have put there.
pub(super) fn learn_sender(config: &Config, parts: &mut Parts) {
    let peer = peer(parts);
    let needs_peer = config.trusted_proxies.as_ref().is_some_and(TrustedProxies::needs_peer);
    if needs_peer && peer.is_none() && !config.warned_of_no_peer.swap(true, Ordering::Relaxed) {
        telemetry::peer_unknown();
    }
    let Sender { client, external } = match &config.trusted_proxies {
        Some(proxies) => proxies.sender(peer, &parts.headers),
        None => Sender { client: peer, external: None },
    };
    set(parts, client.map(ClientAddr::new));
    set(parts, external);
}

/// The address of the connection's other end, as axum tells it.
fn peer(parts: &Parts) -> Option<IpAddr> {
    let real = parts.extensions.get().map(|ConnectInfo::<SocketAddr>(address)| address);
    let address = real.or_else(|| parts.extensions.get().map(|MockConnectInfo(address)| address));
    address.map(|address| address.ip().to_canonical())
}

fn set<T: Clone + Send + Sync + 'static>(parts: &mut Parts, value: Option<T>) {
    match value {
        Some(value) => parts.extensions.insert(value),
        None => parts.extensions.remove(),
    };
}
