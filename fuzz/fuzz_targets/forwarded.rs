//! Requests that come over proxies: whatever the client writes into the headers of proxies, its address is the one that
//! the outermost proxy saw, or unknown, and its page is allowed only if it is of the host that the outermost proxy saw.
//! All forms in which proxies write it are read.
//!
//! The input is the settings, how proxies write, the host that the client asks for, if it is not the own one, and a
//! header of the client in each line, whose first byte selects the name.
#![no_main]

use std::{
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use axum::{body::Body, extract::ConnectInfo};
use axum_ws_auth::{ClientAddr, TokenSource, TrustedProxies, Verified, VerifyError, VerifyInput, WsAuthLayer};
use axum_ws_auth_fuzz::{
    handshake::{handshake, send},
    input,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";
const NAMES: [&str; 5] = [FORWARDED, FOR, HOST, PROTO, "x-other"];
const CLIENTS: [&str; 4] = ["198.51.100.7", "2001:db8:2::7", "::ffff:198.51.100.7", "192.0.2.1"];
/// The nearest to the client first.
const PROXIES: [&str; 3] = ["10.1.2.3", "2001:db8:1::1", "10.0.0.1"];
const OWN_PAGE: &str = "https://chat.example";

/// Trusts `X-Forwarded-*`, or `Forwarded`.
static LAYERS: LazyLock<[WsAuthLayer; 2]> = LazyLock::new(|| {
    let networks = ["10.0.0.0/8", "2001:db8:1::/48"];
    [TrustedProxies::x_forwarded(networks), TrustedProxies::forwarded(networks)].map(|proxies| {
        let verifier = |_: VerifyInput<'_>| ready(Ok::<_, VerifyError>(Verified::new(())));
        let layer = WsAuthLayer::new(verifier)
            .sources([TokenSource::authorization(), TokenSource::cookie("session")])
            .expect("valid sources");
        layer.trusted_proxies(proxies.expect("valid networks"))
    })
});

fuzz_target!(|data: &[u8]| {
    let Some((&settings, rest)) = data.split_first() else { return };
    let Some((spelling, lines)) = input::lens(rest) else { return };
    let settings = Settings::of(settings);
    let Some((mut request, host)) = settings.request(lines) else { return };
    // What a client has written into the same line can make it malformed.
    let is_alone = settings.is_new_line || !request.headers().contains_key(FORWARDED);
    let is_unambiguous = !settings.is_rfc7239 || (settings.is_own_host && is_alone);
    let mut spelling = Spelling { bytes: spelling, at: 0 };
    for proxy in 0..settings.proxies {
        settings.pass_on(proxy, request.headers_mut(), &host, &mut spelling);
    }
    let shown = format!("{:?}", request.headers());
    let layer = &LAYERS[usize::from(settings.is_rfc7239)];

    let with = |name: &'static str, value: &'static str| {
        let mut other = Request::new(Body::empty());
        (*other.headers_mut(), *other.extensions_mut()) = (request.headers().clone(), request.extensions().clone());
        other.headers_mut().insert(name, HeaderValue::from_static(value));
        send(layer, other).1
    };
    // A token that the client chose to send is accepted from everywhere.
    let seen = with("authorization", "Bearer t").expect("it is accepted");
    let found = seen.extensions.get::<ClientAddr>().map(|client| client.ip());
    let is_unknown = found.is_none() && !is_unambiguous;
    assert!(is_unknown || found == Some(settings.client.to_canonical()), "{found:?} for {shown}");

    if settings.is_own_host {
        let is_accepted = with("origin", OWN_PAGE).is_some();
        assert!(is_accepted || !is_unambiguous, "the own page is refused: {shown}");
        assert!(send(layer, request).1.is_none(), "a foreign page is accepted: {shown}");
    }
});

#[derive(Clone, Copy)]
struct Settings {
    is_rfc7239: bool,
    client: IpAddr,
    proxies: usize,
    /// Proxies append a line to the header, and not to its last line.
    is_new_line: bool,
    /// The client asks for the own host, and not for one from the input.
    is_own_host: bool,
    /// The origin of the client's page.
    page: &'static str,
}

impl Settings {
    fn of(settings: u8) -> Self {
        let proxies = usize::from(settings >> 3) % 4;
        Self {
            is_rfc7239: settings & 1 != 0,
            client: CLIENTS[usize::from(settings >> 1) % 4].parse().expect("an address"),
            proxies,
            is_new_line: settings & 0x20 != 0,
            is_own_host: settings & 0x80 == 0,
            // Without a proxy, nobody knows the scheme.
            page: if settings & 0x40 != 0 && proxies > 0 { "http://chat.example" } else { "https://evil.example" },
        }
    }

    /// The request as the client sends it, over a connection of the last proxy, and the host that it asks for.
    fn request(&self, lines: &[u8]) -> Option<(Request<Body>, String)> {
        let mut request = handshake("/")?;
        let peer = self.proxies.checked_sub(1).map_or(self.client, |last| PROXIES[last].parse().expect("an address"));
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 40_000)));
        let headers = request.headers_mut();
        headers.insert("origin", HeaderValue::from_static(self.page));
        headers.insert("cookie", HeaderValue::from_static("session=t"));
        if self.proxies > 0 {
            headers.insert("host", HeaderValue::from_static("backend:3000"));
        }
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // No proxy passes on a host with quotes.
        let is_host =
            |host: &&str| host.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        let host =
            if self.is_own_host { None } else { Some(str::from_utf8(lines.next()?).ok().filter(is_host)?.to_owned()) };
        // With more, the head can become too large.
        for line in lines.take(64) {
            let (selector, value) = line.split_first()?;
            let name = HeaderName::from_static(NAMES[usize::from(*selector) % NAMES.len()]);
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some((request, host.unwrap_or_default()))
    }

    /// Does what a proxy does. The outermost sets host and scheme, and all append from whom the request came.
    fn pass_on(&self, proxy: usize, headers: &mut HeaderMap, host: &str, spelling: &mut Spelling<'_>) {
        let is_outermost = proxy == 0;
        let from = if is_outermost { self.client } else { PROXIES[proxy - 1].parse().expect("an address") };
        let host = if self.is_own_host { spelling.host() } else { host.to_owned() };
        if self.is_rfc7239 {
            let mut pairs = vec![("for", spelling.address(from))];
            if is_outermost || spelling.choose([false, true]) {
                pairs.push(("host", if is_outermost { host } else { "backend:3000".to_owned() }));
                pairs.push(("proto", if is_outermost { spelling.scheme() } else { "http".to_owned() }));
            }
            pairs.push(("by", "_proxy".to_owned()));
            pairs.rotate_left(spelling.choose([0, 1]));
            let element = spelling.element(&pairs);
            self.append(headers, FORWARDED, &element);
            return;
        }
        let address = spelling.address(from);
        self.append(headers, FOR, &address);
        if is_outermost {
            for (name, value) in [(HOST, host), (PROTO, spelling.scheme())] {
                headers.insert(name, HeaderValue::try_from(value).expect("a value"));
            }
        } else if spelling.choose([false, true]) {
            self.append(headers, HOST, "backend:3000");
            self.append(headers, PROTO, "http");
        }
    }

    fn append(&self, headers: &mut HeaderMap, name: &'static str, value: &str) {
        let last = headers.get_all(name).iter().last().cloned();
        let Some(last) = last.filter(|_| !self.is_new_line) else {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
            return;
        };
        let mut lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
        lines.pop();
        let joined = [last.as_bytes(), b", ", value.as_bytes()].concat();
        lines.push(HeaderValue::from_bytes(&joined).expect("a value"));
        headers.remove(name);
        headers.extend(lines.into_iter().map(|line| (HeaderName::from_static(name), line)));
    }
}

/// How proxies write, by the input.
struct Spelling<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Spelling<'_> {
    fn next(&mut self) -> u8 {
        self.at += 1;
        // The rotation makes each round through the bytes another one.
        let round = self.at / self.bytes.len().max(1);
        self.bytes.get(self.at % self.bytes.len().max(1)).map_or(0, |byte| byte.rotate_left(round as u32))
    }

    fn choose<T: Copy, const N: usize>(&mut self, among: [T; N]) -> T {
        among[usize::from(self.next()) % N]
    }

    fn address(&mut self, address: IpAddr) -> String {
        let port = self.choose(["", ":80", ":65535"]);
        match address {
            IpAddr::V6(address) if port.is_empty() && self.choose([false, true]) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]{port}"),
            IpAddr::V4(address) => format!("{address}{port}"),
        }
    }

    fn host(&mut self) -> String {
        self.choose(["chat.example", "chat.example:443", "CHAT.example"]).to_owned()
    }

    fn scheme(&mut self) -> String {
        self.choose(["https", "wss", "HTTPS"]).to_owned()
    }

    fn element(&mut self, pairs: &[(&str, String)]) -> String {
        let mut element = String::new();
        for (name, value) in pairs {
            element.push_str(self.choose(["", " ", ";", "\t; "]));
            let name = self.choose([*name, &name.to_uppercase()]).to_owned();
            let value = self.value(value);
            element.push_str(&format!("{name}={value}"));
            element.push_str(self.choose([";", " ;", ";;"]));
        }
        element
    }

    /// Plain, quoted, or quoted with escapes.
    fn value(&mut self, value: &str) -> String {
        let escape = match self.choose([0, 1, 2, 3]) {
            0 if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:[]-_".contains(&byte)) => {
                return value.to_owned();
            }
            0 | 1 => 0,
            _ => self.next(),
        };
        let escaped = value.char_indices().map(|(at, c)| match escape.rotate_left(at as u32) & 1 {
            0 => c.to_string(),
            _ => format!("\\{c}"),
        });
        format!("\"{}\"", escaped.collect::<String>())
    }
}
