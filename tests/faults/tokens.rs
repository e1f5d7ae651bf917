//! The issuer, whose keys rotate, and the tokens of clients.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::issuer::{self, Key, Pair, TestIssuer};

/// An issuer publishes the newest keys. So a token that was signed before a rotation stays valid for a while.
const PUBLISHED: usize = 6;
/// After so many rotations, every node has noticed that a key was withdrawn.
const LONG_WITHDRAWN: usize = 2 * PUBLISHED;

pub(crate) struct Tokens {
    pub(crate) issuer: TestIssuer,
    newest: AtomicUsize,
}

fn key(number: usize) -> Key {
    let pairs = [Pair::P256, Pair::Ed25519, Pair::EdTest1, Pair::EdTest2];
    Key::new(pairs[number % pairs.len()], &format!("key-{number}"))
}

fn published(newest: usize) -> Vec<Key> {
    (0..PUBLISHED).map(|age| key(newest - age)).collect()
}

/// The time in so many seconds. Negative for the past.
fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_secs()).unwrap() + seconds
}

impl Tokens {
    pub(crate) async fn new() -> Self {
        let newest = LONG_WITHDRAWN;
        Self { issuer: TestIssuer::over_tcp(&published(newest)).await, newest: AtomicUsize::new(newest) }
    }

    /// Signs with a new key from now on.
    pub(crate) fn rotate(&self) {
        let newest = self.newest.load(SeqCst) + 1;
        self.issuer.publish(&published(newest));
        self.newest.store(newest, SeqCst);
    }

    fn claims(&self, subject: &str, id: &str, seconds: i64) -> Value {
        json!({
            "iss": self.issuer.name(), "aud": "chat", "sub": subject, "jti": id,
            "iat": in_seconds(0), "exp": in_seconds(seconds),
        })
    }

    /// A token that is valid for so many seconds.
    pub(crate) fn valid(&self, subject: &str, id: &str, seconds: i64) -> String {
        self.newest().sign(&self.claims(subject, id, seconds))
    }

    pub(crate) fn expired(&self) -> String {
        self.valid("mallory", "expired", -5)
    }

    pub(crate) fn of_other_audience(&self) -> String {
        let mut claims = self.claims("mallory", "other", 600);
        claims["aud"] = "mail".into();
        self.newest().sign(&claims)
    }

    /// The signature is not one.
    pub(crate) fn forged(&self) -> String {
        issuer::forged(self.issuer.name(), &format!("key-{}", self.newest.load(SeqCst)))
    }

    pub(crate) fn with_unknown_key(&self, number: usize) -> String {
        issuer::forged(self.issuer.name(), &format!("unknown-{number}"))
    }

    pub(crate) fn with_withdrawn_key(&self) -> String {
        key(self.newest.load(SeqCst) - LONG_WITHDRAWN).sign(&self.claims("mallory", "withdrawn", 600))
    }

    /// RFC 7519 §6.
    pub(crate) fn unsigned(&self) -> String {
        format!("{}.", issuer::message("none", None, &self.claims("mallory", "unsigned", 600)))
    }

    fn newest(&self) -> Key {
        key(self.newest.load(SeqCst))
    }
}
