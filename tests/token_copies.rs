//! What is left of a header after copies of the token were removed from it: exactly the rest.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum::body::Body;
use axum_ws_auth::{
    Verified, VerifyError, VerifyInput, WsAuthLayer,
    test_util::{base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Request;
use support::{answer, text};

/// Its base64 has padding, and differs between the two alphabets.
const TOKEN: &str = "opaque~token~>>?+==";

/// The value of `x-copy` that a handler sees.
async fn rest_of(token: &str, value: &str) -> String {
    let any = |_: VerifyInput<'_>| std::future::ready(Ok::<_, VerifyError>(Verified::new(String::new())));
    let layer = WsAuthLayer::new(any).sources([axum_ws_auth::TokenSource::header("x-token")]).unwrap();
    let inner = async |request: Request<Body>| {
        let value = request.headers().get("x-copy").unwrap();
        assert!(!value.is_empty() || value.is_sensitive());
        value.to_str().unwrap().to_owned()
    };
    let app = axum::Router::new().fallback(inner).layer(layer);
    text(answer(&app, handshake().header("x-token", token).header("x-copy", value).build()).await).await
}

#[tokio::test]
async fn exactly_the_copies_are_removed() {
    let (standard, url_safe) = (STANDARD.encode(TOKEN), base64url(TOKEN));
    assert!(standard.ends_with('=') && standard.contains(['+', '/']) && url_safe.contains(['-', '_']));
    let escaped: String = TOKEN.bytes().map(|b| format!("%{b:02X}")).collect();
    let (another, beginning) = (STANDARD.encode("another~token~>>?+=="), base64url("opaque~token~>>?, not more"));
    let twice = escaped.replace('%', "%25");
    for (name, value, rest) in [
        ("literal", format!("a {TOKEN} b"), "a  b"),
        ("at both ends", format!("{TOKEN} b {TOKEN}"), " b "),
        ("adjacent", format!("a{TOKEN}{TOKEN}b"), "ab"),
        ("escaped", format!("a{escaped}b"), "ab"),
        ("escaped, alone", escaped.clone(), ""),
        ("escaped, after another escape", format!("%20{escaped}%20"), "%20%20"),
        ("escaped twice", format!("%2520{twice}%2520"), "%2520%2520"),
        ("half of an escape before it", format!("%2{TOKEN}"), "%2"),
        ("an escape without digits before it", format!("%zz{escaped}%"), "%zz%"),
        ("one digit after it", format!("{escaped}%2"), "%2"),
        ("base64", standard.clone(), ""),
        ("base64 with text around", format!("a {standard} b"), "a  b"),
        ("base64 of the other alphabet", format!("a.{url_safe}.b"), "a..b"),
        ("base64 after an escape", format!("a=%3D{standard}&b"), "a=%3D&b"),
        ("base64 after a percent sign that ends the text", format!("{standard}%"), "%"),
        ("second of two runs", format!("abc.{url_safe}.def"), "abc..def"),
        ("two runs", format!("{standard},{url_safe}"), ","),
        // Whoever decodes the run reads the token, so all of it goes.
        ("within a longer run of base64", format!("Basic {} b", STANDARD.encode(format!("me:{TOKEN}:x"))), "Basic  b"),
        ("base64 of another text", another.clone(), &another),
        ("base64 of the token's beginning", beginning.clone(), &beginning),
        ("in several ways", format!("{TOKEN};{escaped};{standard};"), ";;;"),
        ("cut at its end", TOKEN[..TOKEN.len() - 1].to_owned() + " b", "opaque~token~>>?+= b"),
    ] {
        assert_eq!(rest_of(TOKEN, &value).await, rest, "{name}: {value}");
    }
}

/// The rest of `aaTOKENbb` can be the token again. Then nothing is left.
#[tokio::test]
async fn a_copy_within_a_copy_leaves_nothing() {
    let (start, end) = TOKEN.split_at(6);
    assert_eq!(rest_of(TOKEN, &format!("a {start}{TOKEN}{end} b")).await, "");
}

/// A token of fewer than 16 bytes may occur in other text by chance, so only a whole value is a copy.
#[tokio::test]
async fn short_tokens_are_removed_only_as_a_whole() {
    for (token, value, rest) in [
        ("fifteen-bytes-x", "fifteen-bytes-x", ""),
        ("fifteen-bytes-x", "a fifteen-bytes-x", "a fifteen-bytes-x"),
        ("sixteen-bytes-xy", "a sixteen-bytes-xy", "a "),
    ] {
        assert_eq!(rest_of(token, value).await, rest, "{value}");
    }
}

/// Of a token that has escapes itself, both readings are copies.
#[tokio::test]
async fn a_token_with_escapes_is_found_decoded() {
    let token = "opaque%20token%20with%2520escapes";
    for (value, rest) in [
        (format!("a {token} b"), "a  b"),
        ("a opaque%20%74oken%20with%2520escapes b".to_owned(), "a  b"),
        (format!("a%20{}%20b", token.replace('%', "%25")), "a%20%20b"),
    ] {
        assert_eq!(rest_of(token, &value).await, rest, "{value}");
    }
}
