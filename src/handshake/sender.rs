//! Step zero: learns who sent the request, from the connection or from trusted proxies.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use axum::extract::{ConnectInfo, connect_info::MockConnectInfo};
use http::request::Parts;

use super::{config::Config, request::RequestKind};
use crate::{
    address_limits::{AddressLimitError, Visit},
    forwarded::{ClientAddr, Sender, TrustedProxies},
    rejection::Rejection,
    telemetry,
};

/// Puts what is known of the sender into the request, in place of what another layer may have put there.
pub(super) fn learn_sender(config: &Config, parts: &mut Parts) {
    let peer = peer(parts);
    let needs_peer =
        config.trusted_proxies.as_ref().map_or(config.address_limits.is_some(), TrustedProxies::needs_peer);
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

/// Lets the sender in, unless its address has reached a limit. A handshake takes a place among the connections at once;
/// whether a plain request is a connection shows later.
pub(super) fn enter(config: &Config, kind: RequestKind, parts: &Parts) -> Result<Option<Box<Visit>>, Rejection> {
    let Some(limits) = &config.address_limits else { return Ok(None) };
    let client = parts.extensions.get::<ClientAddr>().ok_or(AddressLimitError::AddressUnknown);
    let entered = client.and_then(|client| {
        let mut visit = limits.enter(client.ip())?;
        if kind == RequestKind::Handshake {
            visit.take_place()?;
        }
        // Boxed, because most layers have no such limits.
        Ok(Some(Box::new(visit)))
    });
    entered.map_err(|error| Rejection::address(error, &config.challenges, parts.version))
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
