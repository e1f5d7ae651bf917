//! Secrets are overwritten when they are dropped: this process searches its own memory for them. Linux only.

#![cfg(all(target_os = "linux", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    any::Any,
    fs::{self, File},
    os::unix::fs::FileExt,
    time::{Duration, SystemTime},
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    Authenticated, Dpop, MemoryTickets, TicketOptions, Tickets, Token, Verified, Verifier, VerifyError, VerifyInput,
    WsAuthLayer,
    introspection::ClientAuth,
    jwks::{IssuerKeys, JwkSet},
    jwt::{Jwk, JwtKey, JwtVerifier},
    signals::BearerToken,
    test_util::handshake,
    verifier_fn,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tower::ServiceExt;
use zeroize::Zeroizing;

/// Something to search for. It is kept masked, so that the search does not find itself.
struct Needle(Vec<u8>);

/// Turns ASCII into something that is not.
const MASK: u8 = 0x80;

/// One search at a time: another one would find what this one has read.
static TURN: Mutex<()> = Mutex::const_new(());

impl Needle {
    /// Only the second half is searched for: memory that is freed is soon overwritten by others, from its beginning.
    fn of(secret: &[u8]) -> Self {
        Self(secret[secret.len() / 2..].iter().map(|byte| byte ^ MASK).collect())
    }

    /// How often the secret is in the memory that this process may write.
    fn count(&self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut count = 0;
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            if !rest.starts_with("rw") {
                continue;
            }
            let (begin, end) = range.split_once('-').unwrap();
            let (mut begin, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            while begin < end {
                let len = buffer.len().min(usize::try_from(end - begin).unwrap());
                // Fails if another test has given the memory back meanwhile.
                let read = memory.read_at(&mut buffer[..len], begin).unwrap_or(0);
                count += self.count_in(&buffer[..read]);
                // The buffer itself is searched too.
                buffer[..read].fill(0);
                // The next piece overlaps, in case the secret is on the border.
                begin += u64::try_from(if begin + len as u64 == end { len } else { len - self.0.len() }).unwrap();
            }
        }
        count
    }

    fn count_in(&self, memory: &[u8]) -> usize {
        let (first, rest) = self.0.split_first().unwrap();
        let is_here = |at: usize| {
            let rest_here = memory[at + 1..].iter().map(|byte| byte ^ MASK);
            memory.len() - at > rest.len() && rest_here.zip(rest).all(|(here, wanted)| here == *wanted)
        };
        memchr::memchr_iter(first ^ MASK, memory).filter(|&at| is_here(at)).count()
    }
}

/// Longer than anything that the search allocates and that could reuse its memory, and shorter than what malloc gives
/// back to the system.
const LONG: usize = 36 * 1024;

/// The text of this many random bytes, in base64url.
fn secret(bytes: usize) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(vec![0; bytes]);
    getrandom::fill(&mut bytes).unwrap();
    Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes))
}

fn jwk(secret: &str) -> Zeroizing<String> {
    Zeroizing::new([r#"{"kty":"oct","alg":"HS256","k":""#, secret, r#""}"#].concat())
}

struct Case {
    name: &'static str,
    /// Makes something that keeps the secret.
    make: fn(&str) -> Box<dyn Any>,
    /// Whether it keeps the bytes that the text stands for.
    decodes: bool,
}

const CASES: &[Case] = &[
    Case { name: "a token", make: |secret| Box::new(Token::new(secret)), decodes: false },
    Case { name: "clones of a token", make: |secret| Box::new(vec![Token::new(secret); 3]), decodes: false },
    Case {
        name: "the secret of a verifier",
        make: |secret| Box::new(JwtVerifier::<Value>::builder().secret(secret.as_bytes()).unwrap().build().unwrap()),
        decodes: false,
    },
    Case {
        name: "a JSON Web Key",
        make: |secret| Box::new(serde_json::from_str::<Jwk>(&jwk(secret)).unwrap()),
        decodes: false,
    },
    Case {
        name: "the secret of a JSON Web Key",
        make: |secret| Box::new(JwtKey::jwk(&serde_json::from_str(&jwk(secret)).unwrap()).unwrap()),
        decodes: true,
    },
    Case {
        name: "a key set",
        make: |secret| {
            let set = Zeroizing::new([r#"{"keys":["#, &jwk(secret), "]}"].concat());
            Box::new(serde_json::from_str::<JwkSet>(&set).unwrap())
        },
        decodes: false,
    },
    Case {
        name: "a verifier with a key set",
        make: |secret| {
            let set = Zeroizing::new([r#"{"keys":["#, &jwk(secret), "]}"].concat());
            let keys = IssuerKeys::jwks("https://id.example.com", serde_json::from_str(&set).unwrap());
            Box::new(JwtVerifier::<Value>::builder().issuer_keys(keys).audience("chat").build().unwrap())
        },
        decodes: true,
    },
    Case {
        name: "the key of DPoP nonces",
        make: |secret| {
            let verifier = JwtVerifier::<Value>::builder().secret(&[7; 32]).unwrap().build().unwrap();
            let verifier = Dpop::new(verifier, "https://chat.example.com").unwrap();
            Box::new(verifier.require_nonce_of(secret.as_bytes()).unwrap())
        },
        decodes: false,
    },
    Case {
        name: "a client secret, sent by Basic",
        make: |secret| Box::new(ClientAuth::basic("chat", secret)),
        decodes: false,
    },
    Case {
        name: "a client secret, sent in the form",
        make: |secret| Box::new(ClientAuth::post("chat", secret)),
        decodes: false,
    },
    Case { name: "the token of a transmitter", make: |secret| Box::new(BearerToken::from(secret)), decodes: false },
    #[cfg(feature = "redis")]
    Case {
        name: "the password of Redis",
        make: |secret| Box::new(axum_ws_auth::RedisCredentials::password(secret)),
        decodes: false,
    },
];

#[test]
fn nothing_of_a_secret_is_left_when_its_owner_is_dropped() {
    let _turn = TURN.blocking_lock();
    for Case { name, make, decodes } in CASES {
        let secret = secret(LONG);
        let text = Needle::of(secret.as_bytes());
        let decoded = Needle::of(&Zeroizing::new(URL_SAFE_NO_PAD.decode(&*secret).unwrap()));
        let owner = make(&secret);
        // The test's own copy of the text is not what is searched for.
        drop(secret);
        let kept = if *decodes { &decoded } else { &text };
        assert!(kept.count() > 0, "{name}: the search must find a secret that is there");
        drop(owner);
        assert_eq!((text.count(), decoded.count()), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn nothing_of_a_ticket_is_left_but_its_hash() {
    let _turn = TURN.lock().await;
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let ticket = tickets.issue_for(&Verified::new("alice".to_owned()), &TicketOptions::new()).await.unwrap();
    let needle = Needle::of(ticket.token().expose().as_bytes());
    assert!(needle.count() > 0, "the search must find a ticket that is there");
    let (parts, _) = handshake().build().into_parts();
    let input = VerifyInput::new(ticket.token(), &parts, SystemTime::now());
    tickets.verifier().verify(input).await.unwrap();
    drop(ticket);
    assert_eq!(needle.count(), 0);
}

/// A session keeps its token if it is to be verified again.
#[tokio::test]
async fn nothing_of_a_token_is_left_when_its_session_has_ended() {
    let _turn = TURN.lock().await;
    let verifier = verifier_fn(async |_: Token| {
        Ok::<_, VerifyError>(Verified::new(()).with_subject("alice").recheck_in(Duration::from_secs(3600)))
    });
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let handler = async move |Authenticated(session): Authenticated<()>| sender.send(session).unwrap();
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier));
    let response = app.oneshot(handshake().authorization("the.first.token").build()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let session = sessions.recv().await.unwrap();

    // A header would leave a copy, so the token comes by a refresh.
    let secret = secret(3072);
    let needle = Needle::of(secret.as_bytes());
    session.refresh(Token::new(secret.as_str())).await.unwrap();
    drop(secret);
    assert!(needle.count() > 0, "the session must keep the token");
    drop((session, response));
    let forgotten = async {
        while needle.count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await.unwrap();
}
