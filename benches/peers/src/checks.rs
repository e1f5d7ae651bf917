//! What each peer refuses. Being quick is easy for one that looks at less.

use http::{
    StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use jsonwebtoken::Header;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::{
    app::{IDLE, handshake},
    keys::Algorithm,
    peers::{ALL, Peer},
    tokens::now,
};

/// A token that should be refused, although its signature is good.
struct Flaw {
    name: &'static str,
    make: fn(&mut Header, &mut Map<String, Value>),
}

const FLAWS: [Flaw; 8] = [
    Flaw { name: "`iss` of another", make: |_, claims| set(claims, "iss", "https://example.net") },
    Flaw { name: "no `iss`", make: |_, claims| drop(claims.remove("iss")) },
    Flaw { name: "`aud` of another", make: |_, claims| set(claims, "aud", "mail") },
    Flaw { name: "no `aud`", make: |_, claims| drop(claims.remove("aud")) },
    Flaw { name: "no `exp`", make: |_, claims| drop(claims.remove("exp")) },
    Flaw { name: "expired 45 s ago", make: |_, claims| set(claims, "exp", now() - 45) },
    Flaw { name: "`nbf` in an hour", make: |_, claims| set(claims, "nbf", now() + 3600) },
    Flaw { name: "unknown `crit`", make: |header, _| header.crit = Some(vec!["example".to_owned()]) },
];

pub(crate) fn run(runtime: &Runtime) {
    println!("### What is refused\n");
    print!("| |");
    FLAWS.iter().for_each(|flaw| print!(" {} |", flaw.name));
    println!(" challenge to no token | its content type |");
    println!("|{}", " --- |".repeat(1 + FLAWS.len() + 2));
    for peer in &ALL {
        let row = runtime.block_on(row(peer));
        println!("| {} | {} |", peer.name, row.join(" | "));
    }
    println!();
}

async fn row(peer: &Peer) -> Vec<String> {
    let algorithm = Algorithm::Hs256;
    let app = (peer.app)(algorithm).expect("all know HMAC");
    let mut cells = Vec::new();
    for flaw in &FLAWS {
        let token = peer.token(algorithm, flaw.make);
        cells.push(match app.answer(&handshake(IDLE, Some(&token))).await.status {
            StatusCode::UNAUTHORIZED => "yes".to_owned(),
            StatusCode::OK => "**no**".to_owned(),
            other => format!("with {}", other.as_u16()),
        });
    }
    let refusal = app.answer(&handshake(IDLE, None)).await;
    for name in [WWW_AUTHENTICATE, CONTENT_TYPE] {
        let value = refusal.headers.get(name).and_then(|value| value.to_str().ok());
        cells.push(value.map_or("none".to_owned(), |value| format!("`{}`", value.trim())));
    }
    cells
}

fn set(claims: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    claims.insert(name.to_owned(), value.into());
}
