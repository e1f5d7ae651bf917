//! Settings that can never work, and what is printed.

use std::time::Duration;

use axum_ws_auth::{ConfigError, Token, jwt::Algorithm};

use super::*;

#[test]
fn bad_settings_are_refused() {
    for base in ["", "ws.example.com", "http://ws.example.com", "https://ws.example.com?a=b"] {
        let error = Dpop::new(test_util::verifier::<Value>(), base).unwrap_err();
        assert!(matches!(error, ConfigError::InvalidUrl { .. }), "{base}: {error}");
    }
    let error = |outcome: Result<Dpop<Value>, ConfigError>| outcome.unwrap_err();
    assert_eq!(error(dpop().algorithms([])), ConfigError::Empty("list of algorithms"));
    assert_eq!(
        error(dpop().algorithms([Algorithm::ES256, Algorithm::HS256])),
        ConfigError::SymmetricProof("HS256".to_owned())
    );
    assert_eq!(error(dpop().max_age(Duration::ZERO)), ConfigError::ZeroDuration("age of a proof"));
    assert!(matches!(error(dpop().max_age(Duration::from_secs(3601))), ConfigError::LongProofAge(_)));
    assert!(matches!(error(dpop().require_nonce_of(b"short")), ConfigError::WeakKey { .. }));
}

#[tokio::test]
async fn each_setting_changes_something() {
    let key = DpopKey::first();
    let token = bound(&key);
    let iat = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 120;
    let old = key.proof_with("GET", URI, &token, &json!({ "iat": iat }));
    let age = dpop().max_age(Duration::from_secs(180)).unwrap();
    assert_eq!(reason(&app(&dpop()), native(&token, &old)).await, "proof_stale");
    assert_eq!(reason(&app(&age), native(&token, &old)).await, "accepted");

    let es256 = dpop().algorithms([Algorithm::ES256]).unwrap();
    let proof = key.proof("GET", URI, &token);
    assert_eq!(reason(&app(&es256), native(&token, &proof)).await, "proof_wrong_algorithm");

    let base = Dpop::new(test_util::verifier::<Value>(), "https://example.com/ws").unwrap();
    let proof = key.proof("GET", "https://example.com/ws/chat", &token);
    assert_eq!(reason(&app(&base), native(&token, &proof)).await, "accepted");
}

#[test]
fn nothing_prints_a_proof_or_a_key() {
    let token = Token::new("secret").with_dpop_proof("proof");
    assert_eq!(format!("{token:?}"), "Token(..)");
    let dpop = dpop().require_nonce_of(b"nonce key of thirty-two bytes....").unwrap();
    let printed = format!("{dpop:?}");
    assert!(printed.starts_with("Dpop {") && !printed.contains("nonce key"), "{printed}");
    assert_eq!(
        format!("{:?}", DpopKey::first()),
        r#"DpopKey { public: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", .. }"#
    );
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn no_event_has_a_proof() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = app(&dpop());
    let proof = key.proof("GET", URI, &token);
    let replayed = async {
        assert_eq!(reason(&app, native(&token, &proof)).await, "accepted");
        assert_eq!(reason(&app, native(&token, &proof)).await, "proof_replayed");
        assert_eq!(reason(&app, native(&token, &format!("{proof}.a"))).await, "proof_malformed");
    };
    let ((), log) = log::captured(tracing::Level::TRACE, replayed).await;
    assert!(log.contains("proof_replayed") && log.contains("proof_malformed"), "{log}");
    for part in proof.split('.').chain(token.split('.')) {
        assert!(!log.contains(part), "{log}");
    }
}
