//! Issuers with several names, or none in their tokens.

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, ScopedId, Session, Sessions, WsAuthLayer};
use futures_util::StreamExt;
use support::{closed, connected};

use super::*;

const GOOGLE: &str = "https://accounts.google.com";
const SHORT: &str = "accounts.google.com";
const ADFS: &str = "https://fs.example/adfs";
const TRUST: &str = "http://fs.example/adfs/services/trust";

fn google() -> TestIssuer {
    TestIssuer::in_process(GOOGLE, &[key("google")])
}

fn without_iss(key: &Key) -> String {
    key.sign(&json!({"aud": "chat", "sub": "alice", "exp": EXP}))
}

#[tokio::test(start_paused = true)]
async fn an_alias_has_the_keys_and_the_name_of_its_issuer() {
    let (google, adfs) = (google(), TestIssuer::in_process("https://fs.example", &[key("adfs")]));
    let verifier = builder()
        .issuer_keys(google.discovered().alias(SHORT))
        .issuer_keys(
            IssuerKeys::jwks_url(ADFS, adfs.url(KEYS)).fetch(adfs.client()).alias("http://old.example").alias(TRUST),
        )
        .await
        .unwrap();
    struct Case {
        key: &'static str,
        iss: &'static str,
        expected: Result<&'static str, Kind>,
    }
    for Case { key: id, iss, expected } in [
        Case { key: "google", iss: GOOGLE, expected: Ok(GOOGLE) },
        Case { key: "google", iss: SHORT, expected: Ok(GOOGLE) },
        Case { key: "adfs", iss: ADFS, expected: Ok(ADFS) },
        Case { key: "adfs", iss: TRUST, expected: Ok(ADFS) },
        Case { key: "adfs", iss: "http://old.example", expected: Ok(ADFS) },
        Case { key: "adfs", iss: SHORT, expected: Err(Kind::UnknownKey) },
        Case { key: "google", iss: "google.com", expected: Err(Kind::WrongIssuer) },
    ] {
        let verified = verified(&verifier, &key(id).token(iss)).await;
        let named = verified.as_ref().map(|verified| verified.issuer.as_deref().unwrap()).map_err(VerifyError::kind);
        assert_eq!(named, expected, "{id}: {iss}");
        if let Ok(verified) = verified {
            assert_eq!(verified.claims["iss"], iss, "the claims keep what the token says");
        }
    }
    assert_eq!(verifier.status().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_among_all_issuers() {
    let keys = |name: &str| IssuerKeys::jwks(name, serde_json::from_value(set(&[key("1")])).unwrap());
    for (case, keys, repeated) in [
        ("two aliases", vec![keys("a").alias("c"), keys("b").alias("c")], "c"),
        ("an alias and a name", vec![keys("a").alias("b"), keys("b")], "b"),
        ("a name and an alias", vec![keys("a"), keys("b").alias("a")], "a"),
        ("its own name", vec![keys("a").alias("a")], "a"),
        ("the same alias twice", vec![keys("a").alias("b").alias("b")], "b"),
    ] {
        let built = support::issuer::verifier(keys).build().map(drop);
        assert_eq!(built, Err(ConfigError::DuplicateIssuer(repeated.to_owned())), "{case}");
    }
    assert_eq!(builder().issuer_keys(keys("a").alias("")).build().map(drop), Err(ConfigError::Empty("issuer")));
    let twice = builder().issuer_keys(keys("a").allow_missing_iss()).issuer_keys(keys("b").allow_missing_iss());
    assert_eq!(twice.build().map(drop), Err(ConfigError::DuplicateMissingIssuer("b".to_owned())));
}

async fn refreshed_by_text(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let session: Session<Value> = socket.session().clone();
            let answer = match session.refresh(Token::new(message.into_text().unwrap().as_str())).await {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.reason().to_owned(),
            };
            let _ = socket.send(answer.into()).await;
        }
    })
}

#[tokio::test]
async fn a_session_is_refreshed_under_another_name_of_its_issuer() {
    let google = google();
    let other = TestIssuer::in_process("https://other.example", &[key("other")]);
    let verifier = builder().issuer_keys(google.keys().alias(SHORT)).issuer_keys(other.keys()).await.unwrap();
    let sessions = Sessions::new();
    let app = Router::new().route("/", any(refreshed_by_text)).layer(WsAuthLayer::new(verifier).sessions(&sessions));
    let mut socket = connected(&app, &key("google").token(SHORT)).await;
    for (name, token, expected) in [
        ("its own name", key("google").token(GOOGLE), "ok"),
        ("the alias", key("google").token(SHORT), "ok"),
        ("another issuer", key("other").token("https://other.example"), "other_issuer"),
    ] {
        futures_util::SinkExt::send(&mut socket, token.into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), expected, "{name}");
    }
    // A revocation by the issuer's own name ends sessions under all names.
    let mut under_its_name = connected(&app, &key("google").token(GOOGLE)).await;
    assert_eq!(sessions.end_subject(ScopedId::of(SHORT, "alice")), 0);
    assert_eq!(sessions.end_subject(ScopedId::of(GOOGLE, "alice")), 2);
    assert_eq!(closed(&mut socket).await.1, "revoked");
    assert_eq!(closed(&mut under_its_name).await.1, "revoked");
}

#[tokio::test(start_paused = true)]
async fn tokens_without_an_issuer_are_verified_if_an_issuer_allows_it() {
    let (a, b) = (key("tenant-a"), key("tenant-b"));
    let (of_a, of_b) = (
        TestIssuer::in_process("https://a.example", std::slice::from_ref(&a)),
        TestIssuer::in_process("https://b.example", std::slice::from_ref(&b)),
    );
    let both = |with: IssuerKeys| builder().issuer_keys(of_b.keys()).issuer_keys(with);
    let allowing = both(of_a.keys().allow_missing_iss()).await.unwrap();
    let strict = both(of_a.keys()).await.unwrap();
    let named = both(of_a.keys().allow_missing_iss()).issuer("https://c.example").await.unwrap();
    let empty = a.sign(&json!({"iss": "", "aud": "chat", "sub": "alice", "exp": EXP}));
    let null = a.sign(&json!({"iss": null, "aud": "chat", "sub": "alice", "exp": EXP}));
    for (name, token, expected) in [
        ("no issuer", without_iss(&a), Ok(())),
        ("an empty issuer", empty, Ok(())),
        ("a null issuer", null, Ok(())),
        ("this issuer", a.token("https://a.example"), Ok(())),
        ("another issuer, this key", a.token("https://b.example"), Err(Kind::UnknownKey)),
        ("an unknown issuer, this key", a.token("https://c.example"), Err(Kind::WrongIssuer)),
        ("no issuer, the key of another", without_iss(&b), Err(Kind::UnknownKey)),
    ] {
        assert_eq!(outcome(&allowing, &token).await, expected, "{name}");
        // A token that names an issuer is treated alike, and one that names none is refused.
        let names_one = token == a.token("https://a.example") || expected == Err(Kind::WrongIssuer);
        if !names_one && expected.is_ok() {
            assert_eq!(outcome(&strict, &token).await, Err(Kind::MissingClaim), "{name}");
            assert_eq!(outcome(&named, &token).await, Ok(()), "{name}, with an allowed issuer");
        }
    }
    let verified = verified(&allowing, &without_iss(&a)).await.unwrap();
    assert_eq!(verified.issuer.as_deref(), Some("https://a.example"));
}
