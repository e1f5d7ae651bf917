//! Tokens of an AWS Application Load Balancer.

use std::sync::{Arc, Mutex};

use axum_ws_auth::jwt::{AlbVerifier, AlbVerifierBuilder, Algorithm};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use http::{Request, Response};
use jsonwebtoken::EncodingKey;

use super::*;
use crate::support::issuer::signed;

const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/chat/50dc6c495c0c9188";
const KID: &str = "abb8289f-e3a4-4a34-9472-c2105e2b2482";
const OTHER_KID: &str = "00000000-e3a4-4a34-9472-c2105e2b2482";
const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool";

/// The keys of a region, and the URLs that were requested.
#[derive(Clone, Default)]
struct Region {
    requests: Arc<Mutex<Vec<String>>>,
}

impl Region {
    fn builder(&self) -> AlbVerifierBuilder<Value> {
        let this = self.clone();
        AlbVerifier::builder(ARN).fetch(move |request: Request<()>| {
            let url = request.uri().to_string();
            this.requests.lock().unwrap().push(url.clone());
            let pem = match url.rsplit('/').next().unwrap() {
                KID => Some(include_str!("../test_keys/p256.pub.pem")),
                "11111111-e3a4-4a34-9472-c2105e2b2482" => Some(include_str!("../test_keys/ed25519.pub.pem")),
                "22222222-e3a4-4a34-9472-c2105e2b2482" => Some("<html>"),
                _ => None,
            };
            async move {
                let status = if pem.is_some() { 200 } else { 404 };
                Ok(Response::builder().status(status).body(pem.unwrap_or_default().as_bytes().to_vec())?)
            }
        })
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn header() -> Value {
    json!({"typ": "JWT", "kid": KID, "alg": "ES256", "iss": ISSUER, "client": "chat", "signer": ARN, "exp": NOW + 120})
}

fn user() -> Value {
    json!({"sub": "alice", "email": "alice@example.com", "username": "alice", "exp": NOW + 120, "iss": ISSUER})
}

/// The value with this member replaced, or removed by `null`.
fn with(mut value: Value, member: &str, to: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    if to.is_null() {
        members.remove(member)
    } else {
        members.insert(member.to_owned(), to)
    };
    value
}

/// Padded, as the load balancer writes it.
fn padded(header: &Value, user: &Value) -> String {
    let message = format!("{}.{}", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(user.to_string()));
    let key = EncodingKey::from_ec_pem(include_bytes!("../test_keys/p256.pem")).unwrap();
    let token = signed(&message, Algorithm::ES256, &key);
    // A signature of 64 bytes takes two characters of padding.
    format!("{token}==")
}

async fn outcome(verifier: &AlbVerifier<Value>, token: &str) -> Result<(), Kind> {
    verified(verifier, token).await.map(drop).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn a_padded_token_of_the_load_balancer_is_accepted() {
    let region = Region::default();
    let verifier = region.builder().client("other").client("chat").build().unwrap();
    // Headers and claims of all lengths, so that every amount of padding occurs.
    for length in 0..4 {
        let user = with(user(), "name", "x".repeat(length).into());
        let header = with(header(), "x", "x".repeat(length).into());
        let verified = verified(&verifier, &padded(&header, &user)).await.unwrap();
        assert_eq!(verified.subject.as_deref(), Some("alice"));
        assert_eq!(verified.issuer.as_deref(), Some(ISSUER));
        assert_eq!(verified.expires_at, Some(UNIX_EPOCH + seconds(NOW + 150)), "with 30 seconds of leeway");
        assert_eq!(verified.claims["email"], "alice@example.com");
    }
    let expected = format!("https://public-keys.auth.elb.eu-west-1.amazonaws.com/{KID}");
    assert_eq!(region.requests(), [expected], "one fetch for all");
}

#[tokio::test(start_paused = true)]
async fn only_this_verifier_accepts_padding() {
    let keys: JwkSet = serde_json::from_value(set(&[Key::new(Pair::P256, KID)])).unwrap();
    let verifier = JwtVerifier::<Value>::builder().issuer_keys(IssuerKeys::jwks(ISSUER, keys)).build().unwrap();
    let token = padded(&header(), &user());
    assert_eq!(super::outcome(&verifier, &token).await, Err(Kind::Malformed));

    // The padding is signed: without it, the signature does not verify.
    let region = Region::default();
    let verifier = region.builder().build().unwrap();
    assert!(token.contains("=."));
    assert_eq!(outcome(&verifier, &token.replace('=', "")).await, Err(Kind::BadSignature));
    assert_eq!(outcome(&verifier, token.trim_end_matches('=')).await, Ok(()), "that of the signature is not");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refused_unless_all_of_it_is_right() {
    struct Case {
        name: &'static str,
        token: String,
        expected: Kind,
    }
    let token = |member: &str, to: Value| padded(&with(header(), member, to), &user());
    let of_user = |member: &str, to: Value| padded(&header(), &with(user(), member, to));
    let stranger = ARN.replace("50dc", "ffff");
    let forged = {
        let token = padded(&header(), &user());
        let (message, _) = token.rsplit_once('.').unwrap();
        format!("{message}.{}", URL_SAFE.encode([7; 64]))
    };
    let mut cases = vec![
        Case { name: "another load balancer", token: token("signer", stranger.into()), expected: Kind::WrongIssuer },
        Case { name: "no signer", token: token("signer", Value::Null), expected: Kind::Malformed },
        Case { name: "another client", token: token("client", "mail".into()), expected: Kind::WrongAudience },
        Case { name: "no client", token: token("client", Value::Null), expected: Kind::WrongAudience },
        Case { name: "expired", token: token("exp", (NOW - 30).into()), expected: Kind::Expired },
        Case { name: "no expiry", token: token("exp", Value::Null), expected: Kind::Malformed },
        Case { name: "expiry as text", token: token("exp", "4102444800".into()), expected: Kind::Malformed },
        Case { name: "expired claims", token: of_user("exp", (NOW - 30).into()), expected: Kind::Expired },
        Case {
            name: "claims of another issuer",
            token: of_user("iss", "https://b.example".into()),
            expected: Kind::WrongIssuer,
        },
        Case { name: "no issuer", token: token("iss", Value::Null), expected: Kind::Malformed },
        Case { name: "an empty issuer", token: token("iss", "".into()), expected: Kind::WrongIssuer },
        Case { name: "not yet valid", token: of_user("nbf", (NOW + 60).into()), expected: Kind::NotYetValid },
        Case { name: "bound to a key", token: of_user("cnf", json!({})), expected: Kind::SenderConstrained },
        Case { name: "another algorithm", token: token("alg", "HS256".into()), expected: Kind::WrongAlgorithm },
        Case { name: "none", token: token("alg", "none".into()), expected: Kind::WrongAlgorithm },
        Case { name: "another type", token: token("typ", "logout+jwt".into()), expected: Kind::WrongType },
        Case { name: "a critical header", token: token("crit", json!([])), expected: Kind::CriticalHeader },
        Case { name: "forged", token: forged, expected: Kind::BadSignature },
        Case { name: "two parts", token: "a.b".into(), expected: Kind::Malformed },
        Case { name: "not base64", token: "a.b.c".into(), expected: Kind::Malformed },
        Case {
            name: "too much padding",
            token: padded(&header(), &user()).replace('.', "=."),
            expected: Kind::Malformed,
        },
        Case { name: "a header that is no object", token: padded(&json!([]), &user()), expected: Kind::Malformed },
        Case {
            name: "claims that are no object",
            token: padded(&header(), &json!([])),
            expected: Kind::MalformedClaim,
        },
        Case {
            name: "a key of another kind",
            token: token("kid", "11111111-e3a4-4a34-9472-c2105e2b2482".into()),
            expected: Kind::WrongAlgorithm,
        },
        Case {
            name: "a key that is not PEM",
            token: token("kid", "22222222-e3a4-4a34-9472-c2105e2b2482".into()),
            expected: Kind::Unavailable,
        },
        Case { name: "a key that does not exist", token: token("kid", OTHER_KID.into()), expected: Kind::Unavailable },
    ];
    for kid in
        ["", "../x", "a?b", "a/b", "1", &KID.to_uppercase(), &KID.replace('-', "0"), &format!("{KID}0"), &KID[1..]]
    {
        cases.push(Case {
            name: "a key id that is no UUID",
            token: token("kid", kid.into()),
            expected: Kind::UnknownKey,
        });
    }
    let region = Region::default();
    let verifier = region.builder().client("chat").build().unwrap();
    for Case { name, token, expected } in cases {
        assert_eq!(outcome(&verifier, &token).await, Err(expected), "{name}");
    }
    assert!(
        region.requests().iter().all(|url| url.ends_with("-e3a4-4a34-9472-c2105e2b2482")),
        "{:?}",
        region.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_key_ids_cause_few_fetches_and_no_harm() {
    let region = Region::default();
    let verifier = region.builder().build().unwrap();
    let good = padded(&header(), &user());
    assert_eq!(outcome(&verifier, &good).await, Ok(()));
    for attack in 0..10_000 {
        let kid = format!("{attack:08x}-0000-4000-8000-000000000000");
        let error = verified(&verifier, &padded(&with(header(), "kid", kid.into()), &user())).await.unwrap_err();
        assert!(error.is_unavailable() && error.retry_after().is_some(), "{error}");
        if attack % 1000 == 0 {
            assert!(verified(&verifier, &good).now_or_never().is_some_and(|verified| verified.is_ok()));
        }
    }
    assert!(region.requests().len() <= 17, "{}", region.requests().len());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_used_is_kept() {
    let region = Region::default();
    let verifier = region.builder().build().unwrap();
    let good = padded(&header(), &user());
    assert_eq!(outcome(&verifier, &good).await, Ok(()));
    advance(seconds(60)).await;
    settle().await;
    assert!(verified(&verifier, &good).now_or_never().is_some_and(|verified| verified.is_ok()), "it is still there");
}

#[tokio::test]
async fn the_name_of_the_load_balancer_says_where_its_keys_are() {
    let build = |arns: &[&str]| {
        let (first, others) = arns.split_first().unwrap();
        others.iter().fold(AlbVerifier::<Value>::builder(*first), |builder, arn| builder.signer(*arn))
    };
    let second = ARN.replace("chat/50dc", "mail/60dc");
    assert!(build(&[ARN, &second]).build().is_ok());
    for arn in [
        "",
        "chat",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/chat/50dc6c495c0c9188",
        "arn:aws:elasticloadbalancing::123456789012:loadbalancer/app/chat/50dc6c495c0c9188",
        "arn:aws:elasticloadbalancing:evil.example/:123456789012:loadbalancer/app/chat/50dc6c495c0c9188",
        "arn:aws:s3:eu-west-1:123456789012:loadbalancer/app/chat/50dc6c495c0c9188",
        "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:loadbalancer/app/chat/50dc6c495c0c9188",
    ] {
        assert!(matches!(build(&[arn]).build(), Err(ConfigError::InvalidArn { .. })), "{arn}");
    }
    let far = ARN.replace("eu-west-1", "us-east-1");
    assert!(matches!(build(&[ARN, &far]).build(), Err(ConfigError::InvalidArn { .. })), "of two regions");
    let china = ARN.replace("arn:aws:", "arn:aws-cn:");
    assert!(build(&[&china]).keys_url("https://keys.example/prod/").build().is_ok());
    assert!(matches!(build(&[&china]).keys_url("http://keys.example").build(), Err(ConfigError::InvalidUrl { .. })));
    assert_eq!(build(&[ARN]).client("").build().map(drop), Err(ConfigError::Empty("client id")));
    assert_eq!(build(&[ARN]).leeway(seconds(3601)).build().map(drop), Err(ConfigError::LongLeeway(seconds(3601))));
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_the_verifier_have_an_effect() {
    let region = Region::default();
    let verifier = region.builder().keys_url("https://keys.example/prod/").leeway(seconds(0)).build().unwrap();
    assert_eq!(outcome(&verifier, &padded(&with(header(), "exp", NOW.into()), &user())).await, Err(Kind::Expired));
    assert_eq!(outcome(&verifier, &padded(&with(header(), "client", "any".into()), &user())).await, Ok(()));
    assert_eq!(region.requests(), [format!("https://keys.example/prod/{KID}")]);
    assert!(!format!("{verifier:?}").contains("PUBLIC KEY"));
    assert!(region.builder().leeway(seconds(3600)).build().is_ok());
    assert!(region.builder().leeway(seconds(3601)).build().is_err());
}
