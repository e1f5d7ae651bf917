//! Whose limits, and what happens without an address.

use axum_ws_auth::{ConfigError, TrustedProxies};
use tracing::Level;

use crate::{
    support::{http2, log::captured},
    *,
};

#[tokio::test]
async fn ipv6_addresses_share_limits_by_prefix() {
    let limits = || attempts(1);
    for (name, limits, first, second, share) in [
        ("one /64", limits(), "2001:db8:0:1::1", "2001:db8:0:1:ffff::9", true),
        ("two /64", limits(), "2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("one /48", limits().ipv6_prefix(48).unwrap(), "2001:db8:0:1::1", "2001:db8:0:2::1", true),
        ("two /48", limits().ipv6_prefix(48).unwrap(), "2001:db8:0:1::1", "2001:db8:1:1::1", false),
        ("one address", limits().ipv6_prefix(128).unwrap(), "2001:db8::1", "2001:db8::1", true),
        ("two addresses", limits().ipv6_prefix(128).unwrap(), "2001:db8::1", "2001:db8::2", false),
        ("one bit", limits().ipv6_prefix(1).unwrap(), "2001:db8::1", "7fff::2", true),
        ("IPv4 as IPv6", limits(), "192.0.2.1", "::ffff:192.0.2.1", true),
        ("two IPv4 as IPv6", limits(), "::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("IPv4 beside IPv6", limits(), "0.0.0.0", "::", false),
        ("two IPv4", limits().ipv6_prefix(1).unwrap(), "192.0.2.1", "192.0.2.2", false),
    ] {
        let app = app(timed_layer(&limits));
        assert_eq!(try_with(&from(&app, first), "bad").await, INVALID, "{name}");
        assert_eq!(try_with(&from(&app, first), "alice").await, TOO_MANY_ATTEMPTS, "{name}");
        let expected = if share { TOO_MANY_ATTEMPTS } else { ADMITTED };
        assert_eq!(try_with(&from(&app, second), "alice").await, expected, "{name}");
    }
}

#[tokio::test]
async fn layers_with_clones_of_limits_count_together() {
    let limits = AddressLimits::new().connections(1).unwrap().failed_attempts(1, MINUTE).unwrap();
    let one = from(&app(timed_layer(&limits)), ALICE);
    let two = from(&app(timed_layer(&limits.clone())), ALICE);
    let socket = connected(&one, "alice").await;
    assert_eq!(try_with(&two, "alice").await, TOO_MANY_CONNECTIONS);
    drop(socket);
    assert_freed(&two, "of the other layer").await;
    assert_eq!(try_with(&one, "bad").await, INVALID);
    assert_eq!(try_with(&two, "alice").await, TOO_MANY_ATTEMPTS);
    // Another setting makes other limits.
    let own = from(&app(timed_layer(&limits.connections(1).unwrap())), ALICE);
    assert_eq!(try_with(&own, "alice").await, ADMITTED);
}

#[tokio::test]
async fn a_client_without_an_address_is_refused_and_an_event_says_why() {
    const EVENT: &str = "peer address unknown";
    for limits in [connections(5), attempts(5), AddressLimits::new()] {
        let app = app(timed_layer(&limits));
        let requests = async { (try_with(&app, "alice").await, try_with(&app, "bad").await) };
        let (answers, log) = captured(Level::ERROR, requests).await;
        assert_eq!(answers, ((503, Some("address_unknown")), (503, Some("address_unknown"))));
        assert_eq!(log.matches(EVENT).count(), 1, "{log}");
        let response = answer(&app, handshake().build()).await;
        assert_eq!(refusal(&response).unwrap().0, RejectionKind::Unavailable);
        assert!(response.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn behind_proxies_the_client_is_limited_and_not_the_proxy() {
    let proxies = TrustedProxies::x_forwarded(["10.0.0.1"]).unwrap();
    let app = from(&app(timed_layer(&attempts(1)).trusted_proxies(proxies)), "10.0.0.1");
    let request = |client: &str, token: &str| {
        let request = handshake().bearer_subprotocol(token).header("x-forwarded-for", client.to_owned());
        answer(&app, request.build())
    };
    assert_eq!(request(ALICE, "bad").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(request(ALICE, "alice").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(request(&format!("{BOB}, {ALICE}"), "alice").await.status(), StatusCode::TOO_MANY_REQUESTS, "forged");
    assert_eq!(request(BOB, "alice").await.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(is_refused_with(&request("unknown", "alice").await, StatusCode::SERVICE_UNAVAILABLE, "address_unknown"));
}

#[tokio::test]
async fn requests_that_the_layer_lets_through_are_not_limited() {
    let app = from(&app(timed_layer(&attempts(1)).handshakes_only()), ALICE);
    assert_eq!(try_with(&app, "bad").await, INVALID);
    assert_eq!(try_with(&app, "alice").await, TOO_MANY_ATTEMPTS);
    let plain = Request::get("/none").body(Body::empty()).unwrap();
    assert_eq!(answer(&app, plain).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn anonymous_sockets_count_during_the_handshake_only() {
    async fn anonymous(upgrade: axum::extract::ws::WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |mut socket| while socket.recv().await.is_some() {})
    }
    let app = Router::new().route("/", any(anonymous)).layer(timed_layer(&connections(1)).optional());
    let app = from(&app, ALICE);
    let open = || axum_ws_auth::test_util::connect(app.clone(), handshake().build());
    let (_one, _two) = (open().await.unwrap(), open().await.unwrap());
}

#[tokio::test]
async fn sockets_over_http2_count_and_free_their_places() {
    let proxies = TrustedProxies::insecure_x_forwarded_by_any_peer();
    let layer = opaque_layer().address_limits(&connections(1)).trusted_proxies(proxies);
    let mut client = http2::Client::of(layer).await;
    let bearer = format!("Bearer {TOKEN}");
    let alice = [("authorization", &*bearer), ("x-forwarded-for", ALICE)];
    let bob = [("authorization", &*bearer), ("x-forwarded-for", BOB)];
    let first = client.connect("/", &alice).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(client.connect("/", &alice).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(client.connect("/", &bob).await.status(), StatusCode::OK);
    drop(http2::socket_of(first).await);
    for _ in 0..1_000 {
        if client.connect("/", &alice).await.status() == StatusCode::OK {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the place is not free");
}

#[test]
fn settings_are_checked_and_shown() {
    let limits = AddressLimits::new;
    assert!(matches!(limits().connections(0), Err(ConfigError::ZeroLimit(_))));
    assert!(matches!(limits().failed_attempts(0, MINUTE), Err(ConfigError::ZeroLimit(_))));
    assert!(matches!(limits().failed_attempts(1, Duration::ZERO), Err(ConfigError::ZeroLimit(_))));
    assert!(limits().failed_attempts(u32::MAX, Duration::MAX).is_ok());
    assert!(matches!(limits().capacity(0), Err(ConfigError::ZeroLimit(_))));
    for bits in [0, 129, 255] {
        assert!(matches!(limits().ipv6_prefix(bits), Err(ConfigError::InvalidIpv6Prefix(b)) if b == bits));
    }
    let limits = limits().connections(9).unwrap().failed_attempts(7, MINUTE).unwrap();
    let limits = limits.capacity(100).unwrap().ipv6_prefix(56).unwrap();
    let expected =
        "AddressLimits { connections: Some(9), failed_attempts: Some((7, 60s)), ipv6_prefix: 56, capacity: 100, .. }";
    assert_eq!(format!("{limits:?}"), expected);
}

#[tokio::test]
async fn the_capacity_bounds_how_many_addresses_are_remembered() {
    // One bucket of 16. The 17th address takes the place of one that failed once, and not of the one at its limit.
    let limits = attempts(3).capacity(16).unwrap();
    let app = app(timed_layer(&limits));
    for _ in 0..3 {
        assert_eq!(try_with(&from(&app, ALICE), "bad").await, INVALID);
    }
    for last in 10..200 {
        for _ in 0..2 {
            assert_eq!(try_with(&from(&app, &format!("192.0.2.{last}")), "bad").await, INVALID);
        }
    }
    assert_eq!(try_with(&from(&app, ALICE), "alice").await, TOO_MANY_ATTEMPTS);
}
