//! What is checked in a proof.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_ws_auth::{
    Token, Verifier, VerifyInput,
    jwt::{Algorithm, JwtVerifier},
    test_util::base64url,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

fn seconds_ago(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() - seconds
}

/// Replaces one part of a JWS.
fn with_part(jws: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<&str> = jws.split('.').collect();
    parts[index] = part;
    parts.join(".")
}

#[tokio::test]
async fn each_bad_proof_is_refused_for_its_reason() {
    let (key, other) = (DpopKey::first(), DpopKey::second());
    let token = bound(&key);
    let with = |claims: Value| key.proof_with("GET", URI, &token, &claims);
    let good = with(json!({}));
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let good_header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk });
    let header = |name: &str, value: Value| {
        let mut header = good_header.clone();
        header[name] = value;
        with_part(&good, 0, &base64url(header.to_string()))
    };
    let jwk = |name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        header("jwk", jwk)
    };
    let raw = |index, text: &str| with_part(&good, index, &base64url(text));
    let cases = [
        ("empty", String::new(), "proof_malformed"),
        ("no jws", "proof".to_owned(), "proof_malformed"),
        ("two parts", "a.b".to_owned(), "proof_malformed"),
        ("four parts", format!("{good}.a"), "proof_malformed"),
        ("padding", format!("{good}="), "proof_malformed"),
        ("too long", format!("{good}{}", "a".repeat(4096)), "proof_malformed"),
        ("no json", raw(0, "{"), "proof_malformed"),
        ("array", raw(0, "[]"), "proof_malformed"),
        ("deep", raw(0, &"[".repeat(2000)), "proof_malformed"),
        ("no type", header("typ", Value::Null), "proof_malformed"),
        ("a token as proof", header("typ", json!("JWT")), "proof_malformed"),
        ("critical", header("crit", json!(["exp"])), "proof_malformed"),
        ("no key", header("jwk", Value::Null), "proof_malformed"),
        ("no algorithm", header("alg", Value::Null), "proof_malformed"),
        ("unsigned", header("alg", json!("none")), "proof_wrong_algorithm"),
        ("symmetric", header("alg", json!("HS256")), "proof_wrong_algorithm"),
        ("not accepted", header("alg", json!("RS256")), "proof_wrong_algorithm"),
        ("of another key type", header("alg", json!("ES256")), "proof_malformed"),
        ("private key", jwk("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")), "proof_malformed"),
        ("key for encryption", jwk("use", json!("enc")), "proof_malformed"),
        ("key for another algorithm", jwk("alg", json!("ES256")), "proof_malformed"),
        ("key without a member", jwk("x", Value::Null), "proof_malformed"),
        ("other key", other.proof("GET", URI, &token), "proof_wrong_key"),
        ("other key in the header", jwk("x", json!("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw")), "proof_wrong_key"),
        ("other signer", other.sign(&good_header, &json!({})), "proof_bad_signature"),
        ("changed claims", raw(1, "{}"), "proof_bad_signature"),
        ("no signature", with_part(&good, 2, ""), "proof_bad_signature"),
        ("no claims", key.sign(&good_header, &json!({})), "proof_malformed"),
        ("claims are no object", key.sign(&good_header, &json!([])), "proof_malformed"),
        ("no id", with(json!({ "jti": null })), "proof_malformed"),
        ("empty id", with(json!({ "jti": "" })), "proof_malformed"),
        ("long id", with(json!({ "jti": "a".repeat(257) })), "proof_malformed"),
        ("no hash", with(json!({ "ath": null })), "proof_malformed"),
        ("other token", key.proof("GET", URI, &bound(&other)), "proof_for_other_token"),
        ("other method", key.proof("POST", URI, &token), "proof_for_elsewhere"),
        ("method in lower case", key.proof("get", URI, &token), "proof_for_elsewhere"),
        ("other path", key.proof("GET", "https://ws.example.com/other", &token), "proof_for_elsewhere"),
        ("other host", key.proof("GET", "https://localhost/chat", &token), "proof_for_elsewhere"),
        ("other scheme", key.proof("GET", "http://ws.example.com/chat", &token), "proof_for_elsewhere"),
        ("path alone", key.proof("GET", "/chat", &token), "proof_for_elsewhere"),
        ("no time", with(json!({ "iat": null })), "proof_malformed"),
        ("text as time", with(json!({ "iat": "now" })), "proof_malformed"),
        ("before the epoch", with(json!({ "iat": -1 })), "proof_malformed"),
        ("after all time", with(json!({ "iat": 1e300 })), "proof_malformed"),
        ("old", with(json!({ "iat": seconds_ago(62) })), "proof_stale"),
        ("early", with(json!({ "iat": seconds_ago(-13) })), "proof_stale"),
    ];
    let app = app(&dpop());
    for (name, proof, reason) in cases {
        let response = answer(&app, native(&token, &proof).build()).await;
        assert_eq!(response.status(), 401, "{name}");
        assert_eq!(refusal(&response).unwrap().1, reason, "{name}");
        let expected = r#"DPoP realm="websocket", error="invalid_dpop_proof", algs="ES256 EdDSA Ed25519""#;
        assert_eq!(challenges(&response), [expected], "{name}");
        assert!(!response.headers().contains_key("dpop-nonce"), "{name}");
    }
    assert_eq!(reason(&app, native(&token, &good)).await, "accepted", "none of them used up the good one");
}

#[tokio::test]
async fn a_proof_may_be_4096_bytes_long() {
    let key = DpopKey::first();
    let token = bound(&key);
    let good = key.proof("GET", URI, &token);
    let part = |index| {
        let json = URL_SAFE_NO_PAD.decode(good.split('.').nth(index).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()
    };
    // Base64 has no text of 4n + 1 symbols, so that both parts are filled.
    let proof = |in_header: usize, in_claims: usize| {
        let (mut header, mut claims) = (part(0), part(1));
        header["fill"] = "a".repeat(in_header).into();
        claims["fill"] = "a".repeat(in_claims).into();
        key.sign(&header, &claims)
    };
    let of_len = |len: usize| {
        let least = (len - proof(0, 0).len()) * 3 / 4 - 6;
        let fills = (0..4).flat_map(|header| (least..least + 9).map(move |claims| (header, claims)));
        fills.map(|(header, claims)| proof(header, claims)).find(|proof| proof.len() == len).unwrap()
    };
    let app = app(&dpop());
    for (len, expected) in [(4096, "accepted"), (4097, "proof_malformed"), (4098, "proof_malformed")] {
        assert_eq!(reason(&app, native(&token, &of_len(len))).await, expected, "{len}");
    }
}

#[tokio::test]
async fn good_proofs_are_accepted_in_all_forms() {
    let key = DpopKey::first();
    let token = bound(&key);
    let with = |claims: Value| key.proof_with("GET", URI, &token, &claims);
    let cases = [
        ("plain", with(json!({}))),
        ("connect", with(json!({ "htm": "CONNECT" }))),
        ("the url of a page", with(json!({ "htu": "wss://ws.example.com/chat" }))),
        ("query and fragment", with(json!({ "htu": "https://ws.example.com/chat?room=1#top" }))),
        ("not normalized", with(json!({ "htu": "HTTPS://WS.example.com:443/%63hat" }))),
        ("fraction", with(json!({ "iat": seconds_ago(1) as f64 + 0.5 }))),
        ("almost old", with(json!({ "iat": seconds_ago(57) }))),
        ("almost early", with(json!({ "iat": seconds_ago(-8) }))),
        ("long id", with(json!({ "jti": "a".repeat(256) }))),
        ("a nonce that nobody asked for", with(json!({ "nonce": "a" }))),
        ("more claims", with(json!({ "exp": 1, "iss": "me" }))),
    ];
    let app = app(&dpop());
    for (name, proof) in cases {
        assert_eq!(reason(&app, native(&token, &proof)).await, "accepted", "{name}");
    }
    // Over HTTP/2, the method is `CONNECT`. A page may still have signed `GET`.
    for method in ["GET", "CONNECT"] {
        let proof = key.proof(method, URI, &token);
        assert_eq!(reason(&app, native(&token, &proof).http2()).await, "accepted", "{method}");
    }
}

#[tokio::test]
async fn the_path_is_that_of_the_client() {
    let key = DpopKey::first();
    let token = bound(&key);
    let nested = Router::new().nest("/api", app(&dpop()));
    let request = |path: &str| native(&token, &key.proof("GET", &format!("https://ws.example.com{path}"), &token));
    assert_eq!(reason(&nested, request("/api/chat").path("/api/chat?room=1")).await, "accepted");
    assert_eq!(reason(&nested, request("/chat").path("/api/chat")).await, "proof_for_elsewhere");
}

#[tokio::test]
async fn plain_requests_have_proofs_for_their_own_method() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = mirror_behind(layer(&dpop()));
    for (method, htm, status) in [
        ("GET", "GET", 200),
        ("GET", "CONNECT", 401),
        ("GET", "POST", 401),
        ("POST", "POST", 405),
        ("POST", "GET", 401),
    ] {
        let request = http::Request::builder().method(method).uri("/");
        let request = request.header("authorization", format!("DPoP {token}"));
        let proof = key.proof(htm, "https://ws.example.com/", &token);
        let request = request.header("dpop", proof).body(axum::body::Body::empty()).unwrap();
        let status_of = answer(&app, request).await.status();
        // The route of the mirror takes any method.
        let expected = if status == 405 { 200 } else { status };
        assert_eq!(status_of, expected, "{method} {htm}");
    }
}

#[tokio::test]
async fn rsa_proofs_are_accepted_if_set() {
    let key = issuer::Key::without_id(issuer::Pair::Rsa);
    let jwk: Value = key.jwk();
    let members = format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]);
    let thumbprint = base64url(sha256(&members));
    let token = TestToken::new("alice").claim("cnf", json!({ "jkt": thumbprint })).sign();
    let proof = |id: &str, algorithm: Algorithm| {
        let header = json!({ "typ": "dpop+jwt", "alg": format!("{algorithm:?}"), "jwk": jwk });
        let claims = json!({
            "jti": id, "htm": "GET", "htu": URI, "iat": seconds_ago(0), "ath": base64url(sha256(&token)),
        });
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let pem = include_bytes!("../test_keys/rsa2048.pem");
        issuer::signed(&message, algorithm, &jsonwebtoken::EncodingKey::from_rsa_pem(pem).unwrap())
    };
    let rsa = dpop().algorithms([Algorithm::RS256, Algorithm::PS256]).unwrap();
    for (name, dpop, proof, expected) in [
        ("default", dpop(), proof("1", Algorithm::RS256), "proof_wrong_algorithm"),
        ("RS256", rsa.clone(), proof("2", Algorithm::RS256), "accepted"),
        ("PS256", rsa.clone(), proof("3", Algorithm::PS256), "accepted"),
        ("RS512", rsa.clone(), proof("4", Algorithm::RS512), "proof_wrong_algorithm"),
    ] {
        assert_eq!(reason(&app(&dpop), native(&token, &proof)).await, expected, "{name}");
    }
    let response = answer(&app(&rsa), handshake().build()).await;
    assert_eq!(challenges(&response), [r#"DPoP realm="websocket", algs="RS256 PS256""#]);
}

fn sha256(text: &str) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).to_vec()
}

#[tokio::test]
async fn the_time_is_that_of_the_request() {
    let key = DpopKey::first();
    let token = bound(&key);
    let made = SystemTime::now() - Duration::from_secs(3600);
    let iat = made.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let proof = key.proof_with("GET", URI, &token, &json!({ "iat": iat }));
    let (parts, ()) = http::Request::get("/chat").body(()).unwrap().into_parts();
    let verifier = dpop();
    let token = Token::new(token).with_dpop_proof(proof);
    assert!(verifier.verify(VerifyInput::new(&token, &parts, SystemTime::now())).await.is_err());
    assert!(verifier.verify(VerifyInput::new(&token, &parts, made)).await.is_ok());
}

#[tokio::test]
async fn the_token_is_verified_first() {
    let key = DpopKey::first();
    let verifier = JwtVerifier::<Value>::builder().secret(test_util::TEST_SECRET).unwrap().audience("chat").build();
    let dpop = Dpop::new(verifier.unwrap(), "https://ws.example.com").unwrap();
    let cnf = json!({ "jkt": key.thumbprint() });
    let for_other = TestToken::new("alice").claim("aud", "other").claim("cnf", cnf.clone()).sign();
    let expired = TestToken::new("alice").claim("aud", "chat").claim("cnf", cnf).claim("exp", 1).sign();
    for (token, expected) in [(for_other, "wrong_audience"), (expired, "token_expired")] {
        let request = native(&token, &key.proof("GET", URI, &token));
        let response = answer(&app(&dpop), request.build()).await;
        assert_eq!(refusal(&response).unwrap().1, expected);
        assert_eq!(
            challenges(&response),
            [r#"DPoP realm="websocket", error="invalid_token", algs="ES256 EdDSA Ed25519""#]
        );
    }
}

#[tokio::test]
async fn tokens_that_are_bound_in_another_way_stay_refused() {
    let key = DpopKey::first();
    let jkt = key.thumbprint();
    for cnf in [
        json!({ "x5t#S256": "bN7qLJ6KZWv-ggUZlr8V8oZc3IcVjIcjOi8Qq8E6J0A" }),
        json!({ "jkt": jkt, "x5t#S256": "bN7qLJ6KZWv-ggUZlr8V8oZc3IcVjIcjOi8Qq8E6J0A" }),
        json!({ "jkt": [jkt] }),
        json!({ "jkt": null }),
        json!({}),
        json!([jkt]),
        json!(jkt),
        json!(null),
    ] {
        let token = TestToken::new("alice").claim("cnf", cnf.clone()).sign();
        let app = app(&dpop().accept_bearer());
        assert_eq!(reason(&app, native(&token, &key.proof("GET", URI, &token))).await, "sender_constrained", "{cnf}");
        assert_eq!(reason(&app, handshake().authorization(&token)).await, "sender_constrained", "{cnf}");
    }
}
