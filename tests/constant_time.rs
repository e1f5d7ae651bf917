//! How long a wrong secret takes to be refused does not tell how much of it is right.
//!
//! Two tests: one counts instructions, which are the same on a busy machine, and one takes times. Both must find the
//! difference in `==`, or they would prove nothing. Comparisons of 32 bytes by `==` are a single instruction on some
//! processors, so that no test finds them there: for these, that both sides are hashes, or that the library compares in
//! constant time, is what counts.

#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it did not do"
)]

#[path = "constant_time/instructions.rs"]
mod instructions;
#[path = "constant_time/times.rs"]
mod times;

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body};
use axum_ws_auth::{
    MemoryRevocations, MemoryTickets, Revocations, TicketOptions, Tickets, Token, Verified, Verifier, VerifyInput,
    jwks::IssuerKeys,
    jwt::JwtVerifier,
    signals::SharedSignals,
    test_util::{TEST_SECRET, TestToken, base64url, handshake},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use http::{HeaderValue, Request, request::Parts};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Presents a guess. Returns whether it was accepted.
type Attempt = Box<dyn Fn() -> bool>;

/// Something that compares what a client presents with a secret.
struct Subject {
    name: &'static str,
    secret: Vec<u8>,
    present: Box<dyn Fn(Vec<u8>) -> Attempt>,
}

impl Subject {
    /// A guess whose first bytes are right, and no other. There are several, because the hash of one may happen to be
    /// like that of the secret.
    fn attempt(&self, matching: usize, variant: u8) -> Attempt {
        // Letters become other letters, because not every byte may be in a header.
        let wrong = |byte: &u8| byte ^ (1 + variant % 7);
        let (right, rest) = self.secret.split_at(matching);
        (self.present)(right.iter().copied().chain(rest.iter().map(wrong)).collect())
    }
}

/// Stops at the first difference, and must be found.
fn control() -> Subject {
    let secret = vec![b'd'; 16 * 1024];
    let own = secret.clone();
    let present = move |guess: Vec<u8>| -> Attempt {
        let own = own.clone();
        Box::new(move || black_box(&guess) == black_box(&own))
    };
    Subject { name: "`==`", secret, present: Box::new(present) }
}

fn subjects() -> [Subject; 4] {
    [static_token(), signature(), ticket(), authorization()]
}

#[test]
fn the_right_secret_is_accepted() {
    for Subject { name, secret, present } in [control()].into_iter().chain(subjects()) {
        assert!(present(secret)(), "{name}");
    }
}

/// A token from the configuration.
fn static_token() -> Subject {
    let secret = "abcdefgh".repeat(256);
    let own = secret.clone();
    let present = move |guess: Vec<u8>| -> Attempt {
        let (token, own) = (Token::new(String::from_utf8(guess).unwrap()), own.clone());
        Box::new(move || token.equals(&own))
    };
    Subject { name: "a static token", secret: secret.into_bytes(), present: Box::new(present) }
}

/// The code of a token that is signed with a shared secret.
fn signature() -> Subject {
    let token = TestToken::new("alice").sign();
    let (message, code) = token.rsplit_once('.').unwrap();
    let (message, secret) = (message.to_owned(), URL_SAFE_NO_PAD.decode(code).unwrap());
    let verifier = JwtVerifier::<Value>::builder().secret(TEST_SECRET).unwrap().build().unwrap();
    let present = move |guess: Vec<u8>| -> Attempt {
        let token = Token::new(format!("{message}.{}", base64url(guess)));
        let (verifier, parts) = (verifier.clone(), parts());
        Box::new(move || {
            let input = VerifyInput::new(&token, &parts, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
            verifier.verify_now(input).unwrap().is_ok()
        })
    };
    Subject { name: "an HS256 signature", secret, present: Box::new(present) }
}

fn ticket() -> Subject {
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let verified = Verified::new("alice".to_owned());
    let ticket = tickets.issue_for(&verified, &TicketOptions::new()).now_or_never().unwrap().unwrap();
    let secret = URL_SAFE_NO_PAD.decode(ticket.token().expose()).unwrap();
    let present = move |guess: Vec<u8>| -> Attempt {
        let (token, verifier, parts) = (Token::new(base64url(guess)), tickets.verifier(), parts());
        Box::new(move || {
            let input = VerifyInput::new(&token, &parts, SystemTime::UNIX_EPOCH);
            verifier.verify(input).now_or_never().unwrap().is_ok()
        })
    };
    Subject { name: "a ticket", secret, present: Box::new(present) }
}

/// The `Authorization` of pushed events.
fn authorization() -> Subject {
    let secret = "abcdefgh".repeat(256);
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let set = serde_json::from_value(json!({"keys": [key]})).unwrap();
    let signals = SharedSignals::with_keys(
        IssuerKeys::jwks("https://id.example.com", set),
        &Revocations::new(MemoryRevocations::new()),
    );
    let signals = signals.audience("chat").push_authorization(&HeaderValue::from_str(&secret).unwrap());
    let app = Router::new().route("/", signals.build().unwrap().push_route());
    let present = move |guess: Vec<u8>| -> Attempt {
        let (app, authorization) = (app.clone(), HeaderValue::from_bytes(&guess).unwrap());
        Box::new(move || {
            let request = Request::post("/").header("authorization", &authorization).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).now_or_never().unwrap().unwrap();
            // Without a content type, what is authorized is refused too, but for another reason.
            let body = axum::body::to_bytes(response.into_body(), 1024).now_or_never().unwrap().unwrap();
            !String::from_utf8_lossy(&body).contains("authentication_failed")
        })
    };
    Subject { name: "the authorization of a push", secret: secret.into_bytes(), present: Box::new(present) }
}

fn parts() -> Parts {
    handshake().build().into_parts().0
}

/// Odd, because allocations often alternate between two alignments.
const PREFIXES: usize = 5;

/// How many bytes match: from none to all but one.
fn prefixes(secret: &[u8]) -> [usize; PREFIXES] {
    let len = secret.len();
    [0, 1, len / 2, len - 2, len - 1]
}
