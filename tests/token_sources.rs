//! Every token source, with valid and malformed input.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum::body::Body;
use axum_ws_auth::{
    ConfigError, RejectionKind as Kind, TokenSource, Verified, VerifyError, VerifyInput, WsAuthLayer,
    test_util::{HandshakeBuilder, base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use support::*;

enum Expected {
    /// Accepted. The response selects the first; the handler sees the second offered.
    Selects(Option<&'static str>, &'static str),
    /// Refused with this reason.
    Refused(Kind, &'static str),
    /// Refused because there is no token.
    Missing,
}
use Expected::{Missing, Refused, Selects};

struct Case {
    name: &'static str,
    source: TokenSource,
    request: HandshakeBuilder,
    expected: Expected,
}

fn case(name: &'static str, source: TokenSource, request: HandshakeBuilder, expected: Expected) -> Case {
    Case { name, source, request, expected }
}

const EMPTY: Expected = Refused(Kind::InvalidRequest, "empty_token");
const REPEATED: Expected = Refused(Kind::InvalidRequest, "repeated_token");
const CONFLICTING: Expected = Refused(Kind::InvalidRequest, "conflicting_tokens");
const TOO_LARGE: Expected = Refused(Kind::InvalidRequest, "token_too_large");
const UNDECODABLE: Expected = Refused(Kind::InvalidToken, "undecodable_token");
const NOTHING_TO_SELECT: Expected = Refused(Kind::InvalidRequest, "nothing_to_select");
const UNKNOWN: Expected = Refused(Kind::InvalidToken, "token_invalid");

/// Offers a list of subprotocols, exactly as given.
fn offer(list: impl AsRef<[u8]>) -> HandshakeBuilder {
    handshake().header("sec-websocket-protocol", HeaderValue::from_bytes(list.as_ref()).expect("a header value"))
}

fn header(name: &str, value: impl AsRef<[u8]>) -> HandshakeBuilder {
    handshake().header(name, HeaderValue::from_bytes(value.as_ref()).expect("a header value"))
}

/// Runs each case against a layer with that source, once for the response, and once for what a handler can see.
async fn check(cases: Vec<Case>) {
    for Case { name, source, request, expected } in cases {
        let layer = || opaque_layer().sources([source.clone()]).expect("a valid source");
        let response = answer(&echo_behind(layer()), request.clone().build()).await;
        match expected {
            Selects(selection, offered) => {
                assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{name}: {:?}", refusal(&response));
                assert_eq!(selected(&response), selection, "{name}");
                let seen = text(answer(&mirror_behind(layer()), request.clone().build()).await).await;
                assert!(!contains_token(&seen), "{name}: {seen}");
                let line = seen.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: ")).unwrap_or("");
                assert_eq!(line, offered, "{name}");
            }
            Refused(kind, reason) => assert_eq!(refusal(&response), Some((kind, reason)), "{name}"),
            Missing => assert_eq!(refusal(&response), Some((Kind::MissingToken, "missing_token")), "{name}"),
        }
    }
}

/// Whether a text contains the token, literally or in base64.
fn contains_token(text: &str) -> bool {
    let unpadded = STANDARD.encode(TOKEN);
    [TOKEN, &base64url(TOKEN), unpadded.trim_end_matches('=')].iter().any(|encoded| text.contains(encoded))
}

#[tokio::test]
async fn subprotocol_pair_is_parsed() {
    let pair = TokenSource::bearer_subprotocol;
    check(vec![
        case("alone", pair(), offer(format!("bearer, {TOKEN}")), Selects(Some("bearer"), "bearer")),
        case("no space", pair(), offer(format!("bearer,{TOKEN}")), Selects(Some("bearer"), "bearer")),
        case("much space", pair(), offer(format!("  bearer \t ,\t{TOKEN}  ")), Selects(Some("bearer"), "bearer")),
        case("case", pair(), offer(format!("BeareR, {TOKEN}")), Selects(Some("BeareR"), "BeareR")),
        case("other names", pair(), offer(format!("a, bearer, {TOKEN}, b")), Selects(Some("bearer"), "a, bearer, b")),
        case("empty elements", pair(), offer(format!(",, bearer,,{TOKEN},")), Selects(Some("bearer"), "bearer")),
        case("trailing comma", pair(), offer(format!("bearer, {TOKEN},")), Selects(Some("bearer"), "bearer")),
        case(
            "several lines",
            pair(),
            offer("a, bearer").header("sec-websocket-protocol", TOKEN).header("sec-websocket-protocol", "b"),
            Selects(Some("bearer"), "a, bearer, b"),
        ),
        case(
            "token repeated as a name",
            pair(),
            offer(format!("{TOKEN}, bearer, {TOKEN}")),
            Selects(Some("bearer"), "bearer"),
        ),
        case("marker alone", pair(), offer("bearer"), EMPTY),
        case("marker last", pair(), offer("chat, bearer"), EMPTY),
        case("marker and empty elements", pair(), offer("bearer, ,"), EMPTY),
        case("marker twice", pair(), offer("bearer, bearer"), REPEATED),
        case("two pairs", pair(), offer(format!("bearer, {TOKEN}, bearer, {TOKEN}")), REPEATED),
        case("reversed", pair(), offer(format!("{TOKEN}, bearer")), EMPTY),
        case("name between", pair(), offer(format!("bearer, chat, {TOKEN}")), UNKNOWN),
        case("no marker", pair(), offer(TOKEN), Missing),
        case("other marker", pair(), offer(format!("token, {TOKEN}")), Missing),
        case("longer marker", pair(), offer(format!("bearers, {TOKEN}")), Missing),
        case("padding", pair(), offer("bearer, abc="), UNDECODABLE),
        case("slash", pair(), offer("bearer, a/c"), UNDECODABLE),
        case("space", pair(), offer("bearer, a c"), UNDECODABLE),
        case("quotes", pair(), offer(format!("bearer, \"{TOKEN}\"")), UNDECODABLE),
        case("not ASCII", pair(), offer("bearer, tökén"), UNDECODABLE),
        case("not UTF-8", pair(), offer(b"bearer, \xff\xfe"), UNDECODABLE),
        case("too long", pair(), offer(format!("bearer, {}", "a".repeat(8193))), TOO_LARGE),
        case("maximum length", pair(), offer(format!("bearer, {}", "a".repeat(8192))), UNKNOWN),
        case("no list", pair(), handshake(), Missing),
        case("empty list", pair(), offer(""), Missing),
    ])
    .await;

    let custom = || TokenSource::subprotocol_pair("access_token");
    check(vec![
        case(
            "custom marker",
            custom(),
            offer(format!("access_token, {TOKEN}")),
            Selects(Some("access_token"), "access_token"),
        ),
        case("not bearer", custom(), offer(format!("bearer, {TOKEN}")), Missing),
    ])
    .await;
}

#[tokio::test]
async fn subprotocol_pair_is_found_among_a_hundred_names() {
    let names: Vec<String> = (0..98).map(|n| format!("name-{n}")).collect();
    let list = format!("{}, bearer, {TOKEN}", names.join(", "));
    let response = answer(&echo_behind(opaque_layer()), offer(list).build()).await;
    assert_eq!(selected(&response), Some("bearer"));

    // In one line each, which splits the pair.
    let mut request = offer("bearer").header("sec-websocket-protocol", TOKEN);
    for name in &names {
        request = request.header("sec-websocket-protocol", name.as_str());
    }
    let response = answer(&echo_behind(opaque_layer()), request.build()).await;
    assert_eq!(selected(&response), Some("bearer"));
}

#[tokio::test]
async fn subprotocol_prefix_is_parsed() {
    let prefix = || TokenSource::subprotocol_prefix("bearer.");
    check(vec![
        case("first", prefix(), offer(format!("bearer.{TOKEN}, app.v1")), Selects(Some("app.v1"), "app.v1")),
        case("last", prefix(), offer(format!("app.v1, bearer.{TOKEN}")), Selects(Some("app.v1"), "app.v1")),
        case("case", prefix(), offer(format!("app.v1, BEARER.{TOKEN}")), Selects(Some("app.v1"), "app.v1")),
        case("alone", prefix(), offer(format!("bearer.{TOKEN}")), NOTHING_TO_SELECT),
        case("with the bare token", prefix(), offer(format!("bearer.{TOKEN}, {TOKEN}")), NOTHING_TO_SELECT),
        case("with an invalid name", prefix(), offer(format!("bearer.{TOKEN}, a/b")), NOTHING_TO_SELECT),
        case("empty", prefix(), offer("bearer., app.v1"), EMPTY),
        case("twice", prefix(), offer(format!("bearer.{TOKEN}, bearer.{TOKEN}, app.v1")), REPEATED),
        case("two tokens", prefix(), offer(format!("bearer.{TOKEN}, bearer.other, app.v1")), CONFLICTING),
        case("invalid", prefix(), offer("bearer.a=, app.v1"), UNDECODABLE),
        case("without the dot", prefix(), offer("bearer, app.v1"), Missing),
        case("too long", prefix(), offer(format!("bearer.{}, a", "a".repeat(8193))), TOO_LARGE),
        case("maximum length", prefix(), offer(format!("bearer.{}, a", "a".repeat(8192))), UNKNOWN),
    ])
    .await;
}

#[tokio::test]
async fn kubernetes_subprotocol_is_parsed() {
    let source = TokenSource::kubernetes;
    let encoded = |token: &str| format!("base64url.bearer.authorization.k8s.io.{}", base64url(token));
    let valid = encoded(TOKEN);
    check(vec![
        case(
            "first",
            source(),
            offer(format!("{valid}, v4.channel.k8s.io")),
            Selects(Some("v4.channel.k8s.io"), "v4.channel.k8s.io"),
        ),
        case("last", source(), offer(format!("a, b, {valid}")), Selects(Some("a"), "a, b")),
        case("several lines", source(), offer(&valid).header("sec-websocket-protocol", "a"), Selects(Some("a"), "a")),
        case(
            "padded",
            source(),
            offer(format!("base64url.bearer.authorization.k8s.io.{}, a", STANDARD.encode(TOKEN))),
            Selects(Some("a"), "a"),
        ),
        case("alone", source(), offer(&valid), NOTHING_TO_SELECT),
        case("repeated", source(), offer(format!("{valid}, {valid}, a")), REPEATED),
        case("empty", source(), offer("base64url.bearer.authorization.k8s.io., a"), Missing),
        case("invalid symbol", source(), offer("base64url.bearer.authorization.k8s.io.a!b, a"), UNDECODABLE),
        case("one symbol too many", source(), offer("base64url.bearer.authorization.k8s.io.abcde, a"), UNDECODABLE),
        case("not canonical", source(), offer("base64url.bearer.authorization.k8s.io.YR, a"), UNDECODABLE),
        case("misplaced padding", source(), offer("base64url.bearer.authorization.k8s.io.YQ==YQ, a"), UNDECODABLE),
        case("too much padding", source(), offer("base64url.bearer.authorization.k8s.io.YQ===, a"), UNDECODABLE),
        case("only padding", source(), offer("base64url.bearer.authorization.k8s.io.==, a"), UNDECODABLE),
        case("not UTF-8", source(), offer("base64url.bearer.authorization.k8s.io.__79, a"), UNDECODABLE),
        case("a line break", source(), offer(format!("{}, a", encoded("one\ntwo"))), UNDECODABLE),
        case("a space", source(), offer(format!("{}, a", encoded("one two"))), UNDECODABLE),
        case("another token", source(), offer(format!("{}, a", encoded("other"))), UNKNOWN),
        case(
            "the raw token",
            source(),
            offer(format!("base64url.bearer.authorization.k8s.io.{TOKEN}, a")),
            UNDECODABLE,
        ),
    ])
    .await;
}

#[tokio::test]
async fn phoenix_subprotocol_is_parsed() {
    let unpadded = STANDARD.encode(TOKEN).trim_end_matches('=').to_owned();
    let name = format!("base64url.bearer.phx.{unpadded}");
    check(vec![
        case(
            "as its client sends it",
            TokenSource::phoenix(),
            offer(format!("phoenix, {name}")),
            Selects(Some("phoenix"), "phoenix"),
        ),
        case(
            "reversed",
            TokenSource::phoenix(),
            offer(format!("{name}, phoenix")),
            Selects(Some("phoenix"), "phoenix"),
        ),
        case(
            "other names first",
            TokenSource::phoenix(),
            offer(format!("a, {name}, phoenix")),
            Selects(Some("phoenix"), "a, phoenix"),
        ),
        case("no marker", TokenSource::phoenix(), offer(format!("{name}, a")), Selects(Some("a"), "a")),
        case("alone", TokenSource::phoenix(), offer(&name), NOTHING_TO_SELECT),
        case("marker only", TokenSource::phoenix(), offer("phoenix"), Missing),
        case("empty", TokenSource::phoenix(), offer("phoenix, base64url.bearer.phx."), EMPTY),
    ])
    .await;
}

#[tokio::test]
async fn both_base64_alphabets_are_accepted() {
    // The alphabets differ in the encoding of `~~~???`.
    for (encoded, token) in [("fn5-Pz8_", "~~~???"), ("fn5+Pz8/", "~~~???")] {
        let layer = axum_ws_auth::WsAuthLayer::new(move |input: axum_ws_auth::VerifyInput<'_>| {
            assert_eq!(input.token.expose(), token);
            std::future::ready(Ok(axum_ws_auth::Verified::new(())))
        });
        let app = echo_behind(layer.sources([TokenSource::kubernetes()]).unwrap());
        let response = answer(&app, offer(format!("base64url.bearer.authorization.k8s.io.{encoded}, a")).build()).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{encoded}: {:?}", refusal(&response));
    }
}

#[tokio::test]
async fn quarkus_and_jupyter_subprotocols_are_parsed() {
    let quarkus =
        |token: &str| format!("bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20{token}");
    let jupyter = |token: &str| format!("v1.token.websocket.jupyter.org, v1.token.websocket.jupyter.org.{token}");
    let escaped = TOKEN.replace('.', "%2E").replace('e', "%65");
    let marker = "bearer-token-carrier";
    let jupyter_marker = "v1.token.websocket.jupyter.org";
    let source = TokenSource::quarkus;
    check(vec![
        case("quarkus", source(), offer(quarkus(TOKEN)), Selects(Some(marker), marker)),
        case("escaped", source(), offer(quarkus(&escaped)), Selects(Some(marker), marker)),
        case("lower-case escapes", source(), offer(quarkus(&escaped.to_ascii_lowercase())), UNKNOWN),
        case(
            "basic",
            source(),
            offer("bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Basic%20abc"),
            Missing,
        ),
        case("percent sign only", source(), offer(quarkus("a%")), UNDECODABLE),
        case("incomplete escape", source(), offer(quarkus("a%2")), UNDECODABLE),
        case("not hexadecimal", source(), offer(quarkus("a%zz")), UNDECODABLE),
        case("a sign in an escape", source(), offer(quarkus("a%+2")), UNDECODABLE),
        case("an escaped line break", source(), offer(quarkus("a%0Ab")), UNDECODABLE),
        case("an escaped NUL", source(), offer(quarkus("a%00b")), UNDECODABLE),
        case("escaped invalid UTF-8", source(), offer(quarkus("a%FFb")), UNDECODABLE),
        case("escaped twice", source(), offer(quarkus(&TOKEN.replace('.', "%252E"))), UNKNOWN),
        case("empty", source(), offer(quarkus("")), EMPTY),
        case("jupyter", TokenSource::jupyter(), offer(jupyter(TOKEN)), Selects(Some(jupyter_marker), jupyter_marker)),
        case(
            "jupyter escaped",
            TokenSource::jupyter(),
            offer(jupyter(&escaped)),
            Selects(Some(jupyter_marker), jupyter_marker),
        ),
        case("jupyter marker only", TokenSource::jupyter(), offer(jupyter_marker), Missing),
        case("jupyter empty", TokenSource::jupyter(), offer(jupyter("")), EMPTY),
    ])
    .await;
}

#[tokio::test]
async fn openai_and_appsync_subprotocols_are_parsed() {
    let appsync = |json: &str| format!("aws-appsync-event-ws, header-{}", base64url(json));
    let marker = "aws-appsync-event-ws";
    let source = TokenSource::appsync_events;
    check(vec![
        case(
            "openai",
            TokenSource::openai_realtime(),
            offer(format!("realtime, openai-insecure-api-key.{TOKEN}, openai-beta.realtime-v1")),
            Selects(Some("realtime"), "realtime, openai-beta.realtime-v1"),
        ),
        case("openai empty", TokenSource::openai_realtime(), offer("realtime, openai-insecure-api-key."), EMPTY),
        case(
            "appsync",
            source(),
            offer(appsync(&format!(r#"{{"host":"h","Authorization":"{TOKEN}"}}"#))),
            Selects(Some(marker), marker),
        ),
        case(
            "appsync bearer",
            source(),
            offer(appsync(&format!(r#"{{"Authorization":"bearer {TOKEN}"}}"#))),
            Selects(Some(marker), marker),
        ),
        case(
            "appsync escaped",
            source(),
            offer(appsync(&format!(r#"{{"Authorization":"{}"}}"#, TOKEN.replace('.', "\\u002e")))),
            Selects(Some(marker), marker),
        ),
        case("appsync API key", source(), offer(appsync(r#"{"host":"h","x-api-key":"k"}"#)), Missing),
        case("appsync null", source(), offer(appsync(r#"{"Authorization":null}"#)), Missing),
        case("appsync twice", source(), offer(appsync(r#"{"Authorization":"a","Authorization":"b"}"#)), UNDECODABLE),
        case("appsync array", source(), offer(appsync(&format!(r#"["{TOKEN}"]"#))), UNDECODABLE),
        case("appsync number", source(), offer(appsync(r#"{"Authorization":1}"#)), UNDECODABLE),
        case("appsync not JSON", source(), offer(appsync("nope")), UNDECODABLE),
        case("appsync empty token", source(), offer(appsync(r#"{"Authorization":""}"#)), EMPTY),
        case("appsync scheme only", source(), offer(appsync(r#"{"Authorization":"Bearer "}"#)), EMPTY),
        case("appsync empty", source(), offer("aws-appsync-event-ws, header-"), EMPTY),
        case("appsync deeply nested", source(), offer(appsync(&format!(r#"{{"x":{}"#, "[".repeat(1000)))), UNDECODABLE),
    ])
    .await;
}

#[tokio::test]
async fn raw_subprotocol_selects_the_token() {
    let raw = TokenSource::insecure_raw_subprotocol;
    let layer = || opaque_layer().sources([raw()]).unwrap();
    let response = answer(&echo_behind(layer()), offer(TOKEN).build()).await;
    assert_eq!(selected(&response), Some(TOKEN));
    assert!(!format!("{response:?}").contains(TOKEN), "the name is marked sensitive");
    let seen = text(answer(&mirror_behind(layer()), offer(TOKEN).build()).await).await;
    assert!(!contains_token(&seen), "{seen}");
    check(vec![
        case("with another name", raw(), offer(format!("{TOKEN}, chat")), Missing),
        case("invalid", raw(), offer("a/b"), UNDECODABLE),
        case("another token", raw(), offer("other"), UNKNOWN),
    ])
    .await;
}

#[tokio::test]
async fn authorization_header_is_parsed() {
    let source = TokenSource::authorization;
    let line = |value: &str| header("authorization", value);
    check(vec![
        case("bearer", source(), line(&format!("Bearer {TOKEN}")), Selects(None, "")),
        case("case", source(), line(&format!("bEARER {TOKEN}")), Selects(None, "")),
        case("spaces", source(), line(&format!("Bearer   {TOKEN}")), Selects(None, "")),
        case("token68 padding", source(), line("Bearer abc=="), UNKNOWN),
        case("tab", source(), line(&format!("Bearer\t{TOKEN}")), UNDECODABLE),
        case("space and tab", source(), line(&format!("Bearer \t{TOKEN}")), UNDECODABLE),
        case("no token", source(), line("Bearer"), EMPTY),
        case("only a space", source(), line("Bearer "), EMPTY),
        case("two tokens", source(), line(&format!("Bearer {TOKEN} {TOKEN}")), UNDECODABLE),
        case("a list", source(), line(&format!("Bearer {TOKEN}, Bearer {TOKEN}")), UNDECODABLE),
        case("quotes", source(), line(&format!("Bearer \"{TOKEN}\"")), UNDECODABLE),
        case("padding inside", source(), line("Bearer a=b"), UNDECODABLE),
        case("only padding", source(), line("Bearer =="), UNDECODABLE),
        case("comma", source(), line(&format!("Bearer,{TOKEN}")), UNDECODABLE),
        case("not UTF-8", source(), header("authorization", b"Bearer \xff"), UNDECODABLE),
        case("two lines", source(), line(&format!("Bearer {TOKEN}")).authorization(TOKEN), REPEATED),
        case("basic in another line", source(), line("Basic YTpi").authorization(TOKEN), REPEATED),
        case("joined after basic", source(), line(&format!("Basic YTpi, Bearer {TOKEN}")), UNDECODABLE),
        case("basic", source(), line("Basic YTpi"), Missing),
        case("basic twice", source(), line("Basic YTpi").header("authorization", "Basic YTpi"), Missing),
        case("another scheme", source(), line(&format!("Bearertoken {TOKEN}")), Missing),
        case("empty", source(), line(""), Missing),
        case("too long", source(), line(&format!("Bearer {}", "a".repeat(8193))), TOO_LARGE),
        case("maximum length", source(), line(&format!("Bearer {}", "a".repeat(8192))), UNKNOWN),
    ])
    .await;
    let layer = || opaque_layer().optional();
    let seen = text(answer(&mirror_behind(layer()), line("Basic YTpi").build()).await).await;
    assert!(seen.contains("authorization: Basic YTpi"), "other schemes are unchanged: {seen}");
}

#[tokio::test]
async fn custom_header_is_parsed() {
    let source = || TokenSource::header("X-Auth-Token");
    check(vec![
        case("valid", source(), header("x-auth-token", TOKEN), Selects(None, "")),
        case("empty", source(), header("x-auth-token", ""), EMPTY),
        case("two lines", source(), header("x-auth-token", TOKEN).header("x-auth-token", TOKEN), REPEATED),
        case("a scheme", source(), header("x-auth-token", format!("Bearer {TOKEN}")), UNDECODABLE),
        case("not UTF-8", source(), header("x-auth-token", b"\xff"), UNDECODABLE),
        case("too long", source(), header("x-auth-token", "a".repeat(8193)), TOO_LARGE),
        case("maximum length", source(), header("x-auth-token", "a".repeat(8192)), UNKNOWN),
        case("another header", source(), header("x-token", TOKEN), Missing),
    ])
    .await;
}

#[tokio::test]
async fn cookie_is_parsed() {
    let source = || TokenSource::cookie("__Host-session");
    let cookie = |line: &str| header("cookie", line).origin("https://localhost");
    check(vec![
        case("alone", source(), cookie(&format!("__Host-session={TOKEN}")), Selects(None, "")),
        case("among others", source(), cookie(&format!("a=b; __Host-session={TOKEN};c=d")), Selects(None, "")),
        case("in quotes", source(), cookie(&format!("__Host-session=\"{TOKEN}\"")), Selects(None, "")),
        case(
            "several lines",
            source(),
            cookie("a=b").header("cookie", format!("__Host-session={TOKEN}")),
            Selects(None, ""),
        ),
        case("spaces", source(), cookie(&format!(" __Host-session = {TOKEN} ")), Selects(None, "")),
        case("twice", source(), cookie(&format!("__Host-session={TOKEN}; __Host-session={TOKEN}")), REPEATED),
        case(
            "twice in two lines",
            source(),
            cookie(&format!("__Host-session={TOKEN}")).cookie("__Host-session", "x"),
            REPEATED,
        ),
        // An empty cookie remains after signing out.
        case("empty", source(), cookie("__Host-session="), Missing),
        case("empty, in quotes", source(), cookie("__Host-session=\"\""), Missing),
        case("only white space", source(), cookie("a=b; __Host-session=  ; c=d"), Missing),
        case("empty twice", source(), cookie("__Host-session=").cookie("__Host-session", ""), Missing),
        case("empty before a token", source(), cookie(&format!("__Host-session=; __Host-session={TOKEN}")), REPEATED),
        case("empty after a token", source(), cookie(&format!("__Host-session={TOKEN}; __Host-session=")), REPEATED),
        case("one quote", source(), cookie("__Host-session=\""), UNKNOWN),
        case("without a value", source(), cookie("__Host-session"), Missing),
        case("another case", source(), cookie(&format!("__host-session={TOKEN}")), Missing),
        case("a longer name", source(), cookie(&format!("__Host-session2={TOKEN}")), Missing),
        case("a space inside", source(), cookie("__Host-session=a b"), UNDECODABLE),
        case("not ASCII", source(), cookie("__Host-session=é"), UNDECODABLE),
        case("not UTF-8", source(), header("cookie", b"__Host-session=\xff").origin("https://localhost"), UNDECODABLE),
        case(
            "another cookie that is not UTF-8",
            source(),
            header("cookie", [b"x=\xff; __Host-session=".as_slice(), TOKEN.as_bytes()].concat())
                .origin("https://localhost"),
            Selects(None, ""),
        ),
        // Any subdomain can set these, and parsers that trim Unicode white space read them as `__Host-session`.
        case("a no-break space before", source(), cookie(&format!("\u{a0}__Host-session={TOKEN}")), UNDECODABLE),
        case("a line separator after", source(), cookie(&format!("__Host-session\u{2028}={TOKEN}")), UNDECODABLE),
        case("too long", source(), cookie(&format!("__Host-session={}", "a".repeat(8193))), TOO_LARGE),
        case("maximum length", source(), cookie(&format!("__Host-session={}", "a".repeat(8192))), UNKNOWN),
    ])
    .await;

    // Other cookies are unchanged, even in a line that is not UTF-8.
    let request = header("cookie", format!("a=b;  c=\"d e\"; __Host-session={TOKEN} ;f"))
        .origin("https://localhost")
        .header("cookie", HeaderValue::from_bytes(b"x=\xff").unwrap());
    let app = mirror_behind(opaque_layer().sources([source()]).unwrap());
    let seen = text(answer(&app, request.build()).await).await;
    assert!(seen.contains("cookie: a=b;  c=\"d e\";f\n"), "{seen}");
    assert!(seen.contains("cookie: x=\u{fffd}\n"), "{seen}");
    assert!(seen.contains(r#""cookie": Sensitive"#), "{seen}");
}

#[tokio::test]
async fn query_parameter_is_parsed() {
    let source = || TokenSource::query("access_token");
    let path = |query: &str| handshake().path(format!("/{query}"));
    check(vec![
        case("alone", source(), path(&format!("?access_token={TOKEN}")), Selects(None, "")),
        case("among others", source(), path(&format!("?a=b&access_token={TOKEN}&c=d")), Selects(None, "")),
        case("escaped", source(), path(&format!("?access_token={}", TOKEN.replace('e', "%65"))), Selects(None, "")),
        case("an escaped name", source(), path(&format!("?acc%65ss_token={TOKEN}")), Selects(None, "")),
        case("twice", source(), path(&format!("?access_token={TOKEN}&access_token={TOKEN}")), REPEATED),
        case("twice, once escaped", source(), path(&format!("?access_token={TOKEN}&acc%65ss_token={TOKEN}")), REPEATED),
        case("empty", source(), path("?access_token="), EMPTY),
        case("without a value", source(), path("?access_token"), EMPTY),
        case("another case", source(), path(&format!("?Access_Token={TOKEN}")), Missing),
        case("not UTF-8", source(), path("?access_token=%ff"), UNDECODABLE),
        case("a plus sign is a space", source(), path("?access_token=a+b"), UNDECODABLE),
        case("a line break", source(), path("?access_token=a%0ab"), UNDECODABLE),
        case("escaped twice", source(), path("?access_token=%2565"), UNKNOWN),
        case("a semicolon is not a separator", source(), path(&format!("?a=b;access_token={TOKEN}")), Missing),
        case("too long", source(), path(&format!("?access_token={}", "a".repeat(8193))), TOO_LARGE),
        case("maximum length", source(), path(&format!("?access_token={}", "a".repeat(8192))), UNKNOWN),
        case("no query", source(), path(""), Missing),
    ])
    .await;
}

#[tokio::test]
async fn the_token_is_removed_from_every_copy_of_the_uri() {
    let layer = || opaque_layer().sources([TokenSource::query("access_token"), TokenSource::query("t")]).unwrap();
    let app = mirror_behind(layer());
    for (target, expected) in [
        (format!("/?access_token={TOKEN}"), "/"),
        (format!("/?a=b&access_token={TOKEN}&&c=%20d&e"), "/?a=b&&c=%20d&e"),
        (format!("/?acc%65ss_token={TOKEN}&x"), "/?x"),
        (format!("/?access_token={TOKEN}&t={TOKEN}"), "/"),
    ] {
        let seen = text(answer(&app, handshake().path(&target).build()).await).await;
        assert!(seen.starts_with(&format!("uri {expected}\noriginal {expected}\n")), "{target}: {seen}");
        assert!(!contains_token(&seen), "{target}: {seen}");
    }
    // Nested, and with an authority.
    let seen = text(answer(&app, handshake().path(format!("/nested?a&t={TOKEN}")).build()).await).await;
    assert!(seen.starts_with("uri /?a\noriginal /nested?a\n"), "{seen}");
    // (axum empties the body of an answer to `CONNECT`.)
    let mut request = handshake().http2().path(format!("/?a&t={TOKEN}")).build();
    *request.method_mut() = http::Method::GET;
    let seen = text(answer(&app, request).await).await;
    assert!(seen.starts_with("uri http://localhost/?a\noriginal http://localhost/?a\n"), "{seen}");
}

#[tokio::test]
async fn equal_tokens_in_two_sources_are_merged_and_different_ones_refused() {
    let sources = || {
        [
            TokenSource::bearer_subprotocol(),
            TokenSource::subprotocol_prefix("bearer."),
            TokenSource::authorization(),
            TokenSource::header("x-token"),
            TokenSource::query("token"),
            TokenSource::cookie("session"),
            TokenSource::cookie("other"),
        ]
    };
    let app = || echo_behind(opaque_layer().sources(sources()).unwrap());
    let build = |request: HandshakeBuilder| request.origin("https://localhost").build();

    let everywhere = || {
        offer(format!("bearer, {TOKEN}, bearer.{TOKEN}"))
            .authorization(TOKEN)
            .header("x-token", TOKEN)
            .cookie("session", TOKEN)
            .path(format!("/?token={TOKEN}"))
    };
    assert_eq!(answer(&app(), build(everywhere())).await.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mirror = mirror_behind(opaque_layer().sources(sources()).unwrap());
    let seen = text(answer(&mirror, build(everywhere())).await).await;
    assert!(!contains_token(&seen), "{seen}");

    for (name, request) in [
        ("pair and header", offer(format!("bearer, {TOKEN}")).authorization("other")),
        ("header and pair", offer("bearer, other").authorization(TOKEN)),
        ("query and header", handshake().path("/?token=other").header("x-token", TOKEN)),
        ("prefix and pair", offer(format!("bearer.other, bearer, {TOKEN}"))),
        ("two cookies", handshake().cookie("session", TOKEN).cookie("other", "other")),
    ] {
        let response = answer(&app(), build(request)).await;
        assert_eq!(refusal(&response), Some((Kind::InvalidRequest, "conflicting_tokens")), "{name}");
    }

    // An explicit token takes precedence over any cookie, which is still removed.
    for cookies in ["session=other", "session=a; session=b", "session="] {
        let request = || build(handshake().authorization(TOKEN).header("cookie", cookies));
        assert_eq!(answer(&app(), request()).await.status(), StatusCode::SWITCHING_PROTOCOLS, "{cookies}");
        let seen = text(answer(&mirror, request()).await).await;
        assert!(!seen.contains("session="), "{seen}");
    }
    // A cookie does not make up for an invalid explicit token.
    for invalid in [handshake().authorization(""), handshake().authorization("other"), offer("bearer")] {
        let response = answer(&app(), build(invalid.cookie("session", TOKEN))).await;
        assert!(response.status().is_client_error());
    }
}

#[test]
fn invalid_sources_do_not_build() {
    let build = |source: TokenSource| opaque_layer().sources([source]).map(|_| ()).unwrap_err();
    for name in ["", "x token", "x:token", "authorization", "Cookie", "sec-websocket-protocol", "Host", "Origin"] {
        assert_eq!(build(TokenSource::header(name)), ConfigError::InvalidHeaderName(name.to_owned()));
    }
    for name in ["", "a b", "a=b", "a;b", "ä"] {
        assert_eq!(build(TokenSource::cookie(name)), ConfigError::InvalidCookieName(name.to_owned()));
    }
    for part in ["", "a b", "a,b", "a/b", "a=", "ä"] {
        assert_eq!(build(TokenSource::subprotocol_pair(part)), ConfigError::InvalidSubprotocol(part.to_owned()));
        assert_eq!(build(TokenSource::subprotocol_prefix(part)), ConfigError::InvalidSubprotocol(part.to_owned()));
    }
    assert_eq!(build(TokenSource::query("")), ConfigError::InvalidQueryName(String::new()));
    for (twice, name) in [
        ([TokenSource::cookie("a"), TokenSource::cookie("a")], "cookie a"),
        ([TokenSource::header("X-A"), TokenSource::header("x-a")], "header x-a"),
        ([TokenSource::bearer_subprotocol(), TokenSource::subprotocol_pair("Bearer")], "subprotocol pair bearer"),
    ] {
        let error = opaque_layer().sources(twice).map(|_| ()).unwrap_err();
        assert_eq!(error, ConfigError::DuplicateTokenSource(name.to_owned()));
    }
    assert!(opaque_layer().sources([TokenSource::cookie("a"), TokenSource::cookie("A")]).is_ok());
}

/// The token is also removed from formats that are not sources of the layer. Another token in such a format stays: it
/// may be an ordinary name.
#[tokio::test]
async fn copies_of_the_token_in_other_formats_are_not_shown() {
    let offers = |token: &str| {
        [
            token.to_owned(),
            format!("base64url.bearer.authorization.k8s.io.{}", base64url(token)),
            format!("base64url.bearer.phx.{}", STANDARD.encode(token).trim_end_matches('=')),
            format!("quarkus-http-upgrade%23Authorization%23Bearer%20{}", token.replace('.', "%2E")),
            format!("v1.token.websocket.jupyter.org.{token}"),
            format!("openai-insecure-api-key.{token}"),
            format!("header-{}", base64url(format!(r#"{{"Authorization":"Bearer {token}"}}"#))),
        ]
    };
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(String::new())));
    // Only a name in a known format holds the short one: elsewhere, it may occur by chance.
    for token in [TOKEN, "a.short.one"] {
        for (offered, other) in offers(token).into_iter().zip(offers("another.one")) {
            let request = handshake().authorization(token).subprotocols([&*offered, "chat", &*other]);
            let seen = text(answer(&mirror_behind(WsAuthLayer::new(any)), request.build()).await).await;
            let kept = format!("sec-websocket-protocol: chat, {other}\n");
            assert!(seen.contains(&kept) && !seen.contains(&offered), "{offered}: {seen}");
        }
    }
    let request = handshake().authorization(TOKEN).subprotocols([&*format!("bearer.{TOKEN}")]);
    let seen = text(answer(&mirror_behind(opaque_layer()), request.build()).await).await;
    assert!(!seen.contains("sec-websocket-protocol"), "an empty list is removed: {seen}");
    // And from `Authorization`, where other credentials stay.
    for token in [TOKEN, "a.short.one"] {
        let only_pair = WsAuthLayer::new(any).sources([TokenSource::bearer_subprotocol()]).unwrap();
        let app = mirror_behind(only_pair);
        let request = handshake().authorization(token).bearer_subprotocol(token);
        let seen = text(answer(&app, request.build()).await).await;
        assert!(!seen.contains("authorization: ") && !seen.contains(token), "{seen}");
        for other in ["Bearer another.one", "Basic YTpi"] {
            let request = handshake().header("authorization", other).bearer_subprotocol(token);
            let seen = text(answer(&app, request.build()).await).await;
            assert!(seen.contains(&format!("authorization: {other}\n")), "{seen}");
        }
    }
}

/// Another name in the list may be a token in an unknown format.
#[tokio::test]
async fn a_list_that_held_the_token_is_marked_sensitive() {
    for (request, is_sensitive) in [
        (offer(format!("bearer, {TOKEN}, chat")), true),
        (offer("bearer, ").header("sec-websocket-protocol", format!("{TOKEN}, chat")), true),
        (handshake().authorization(TOKEN).subprotocols(["chat", TOKEN]), true),
        (handshake().authorization(TOKEN).subprotocols(["chat"]), false),
        (offer("chat").header("sec-websocket-protocol", "v2").authorization(TOKEN), false),
    ] {
        let inner =
            async |request: Request<Body>| request.headers()["sec-websocket-protocol"].is_sensitive().to_string();
        let app = axum::Router::new().fallback(inner).layer(opaque_layer());
        let response = answer(&app, request.clone().build()).await;
        assert_eq!(text(response).await, is_sensitive.to_string(), "{request:?}");
    }
}

/// The longest header that hyper accepts, from a client without a token. Quadratic work would take minutes.
#[tokio::test]
async fn the_longest_possible_list_takes_linear_time() {
    let pairs = "bearer,abcdef,".repeat(29_000);
    let distinct: String = (0..20_000).map(|n| format!("bearer.{n},")).collect();
    let names = "name,".repeat(80_000);
    let long = format!("{},x", "a".repeat(390_000));
    for list in [&pairs, &distinct, &names, &long] {
        for request in [offer(list), offer(list).authorization(&format!("{}b", "a".repeat(8000)))] {
            let layer = opaque_layer().sources(all_presets()).unwrap();
            assert!(answer(&echo_behind(layer), request.build()).await.status().is_client_error());
        }
    }
}

/// One element of an offer: known names, the token in all formats, or random bytes.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let fixed = [
        "bearer".to_owned(),
        "BEARER".to_owned(),
        TOKEN.to_owned(),
        format!("bearer.{TOKEN}"),
        format!("base64url.bearer.authorization.k8s.io.{}", base64url(TOKEN)),
        "base64url.bearer.authorization.k8s.io.".to_owned(),
        format!("base64url.bearer.phx.{}", base64url(TOKEN)),
        "phoenix".to_owned(),
        format!("quarkus-http-upgrade%23Authorization%23Bearer%20{TOKEN}"),
        "bearer-token-carrier".to_owned(),
        format!("v1.token.websocket.jupyter.org.{TOKEN}"),
        "v1.token.websocket.jupyter.org".to_owned(),
        "realtime".to_owned(),
        format!("openai-insecure-api-key.{TOKEN}"),
        "aws-appsync-event-ws".to_owned(),
        format!("header-{}", base64url(format!(r#"{{"Authorization":"{TOKEN}"}}"#))),
        "chat.v1".to_owned(),
        " ".to_owned(),
        String::new(),
    ];
    prop_oneof![
        8 => proptest::sample::select(fixed.map(String::into_bytes).to_vec()),
        1 => proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7fu8, 0x80..=0xffu8], 0..12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RFC 6455 §4.2.2.
    #[test]
    fn the_selected_name_was_offered_and_is_never_the_token(
        lines in proptest::collection::vec(proptest::collection::vec(element(), 0..6), 0..3),
        authorized in any::<bool>(),
        accepts_then_closes in any::<bool>(),
        sets_protocol in proptest::option::of(proptest::sample::select(vec!["chat.v1", "bearer", "not-offered", TOKEN])),
    ) {
        let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.join(&b',')).collect();
        let mut request = if authorized { handshake().authorization(TOKEN) } else { handshake() };
        for line in &lines {
            request = request.header("sec-websocket-protocol", HeaderValue::from_bytes(line).unwrap());
        }
        let mut layer = opaque_layer().sources(all_presets()).unwrap();
        if accepts_then_closes {
            layer = layer.accept_then_close().subprotocols(["chat.v1"]).unwrap();
        }
        let reckless = move |mut upgrade: axum::extract::WebSocketUpgrade| async move {
            let seen = format!("{:?}", upgrade.requested_protocols().collect::<Vec<_>>());
            assert!(!contains_token(&seen), "{seen}");
            if let Some(name) = sets_protocol {
                upgrade.set_selected_protocol(HeaderValue::from_static(name));
            }
            upgrade.on_upgrade(async |_| {})
        };
        let app = axum::Router::new().route("/", axum::routing::any(reckless)).layer(layer);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(answer(&app, request.build()));

        prop_assert!(response.status() == StatusCode::SWITCHING_PROTOCOLS || response.status().is_client_error());
        if let Some(selected) = selected(&response) {
            let offered = lines.iter().any(|line| line.split(|&b| b == b',').any(|name| name.trim_ascii() == selected.as_bytes()));
            prop_assert!(offered, "{selected} was not offered");
            prop_assert!(!contains_token(selected), "{selected}");
        }
        for (name, value) in response.headers() {
            prop_assert!(!contains_token(&String::from_utf8_lossy(value.as_bytes())), "{name}");
        }
    }

    /// Any header and query without the token is refused, without a panic.
    #[test]
    fn random_requests_are_refused(
        name in proptest::sample::select(vec!["authorization", "cookie", "sec-websocket-protocol", "x-token", "origin", "host"]),
        value in proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7fu8, 0x80..=0xffu8], 0..64),
        query in "[!-~&&[^#<>\"`{}]]{0,40}",
    ) {
        let mut sources = all_presets();
        sources.extend([TokenSource::cookie("a"), TokenSource::query("a"), TokenSource::header("x-token")]);
        let app = echo_behind(opaque_layer().sources(sources).unwrap());
        let Ok(uri) = format!("/?{query}").parse::<http::Uri>() else { return Ok(()) };
        let mut request: Request<Body> = handshake().header(name, HeaderValue::from_bytes(&value).unwrap()).build();
        *request.uri_mut() = uri;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(answer(&app, request));
        prop_assert!(response.status().is_client_error());
    }
}
