//! Discovery documents and redirects of an issuer. The verifier sends exactly the requests that OpenID Connect
//! Discovery 1.0 §4.3 and its rules for URLs lead to, and takes the keys only if the document names this issuer.
//!
//! The input is a byte of settings, and the responses, with a zero byte between them: each has a byte for its status,
//! its `Location`, a line break, and its body. The body `keys` stands for a key set.
#![no_main]

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex},
};

use axum_ws_auth::{
    jwks::{IssuerKeys, KeysErrorKind as Kind, StartError},
    jwt::JwtVerifier,
};
use axum_ws_auth_fuzz::documents::{
    object::Object,
    refused::{Outcome, refused, rule},
    runtime::block_on,
    url_rule::UrlRule,
};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::LOCATION};
use libfuzzer_sys::fuzz_target;
use url::Url;

const ISSUERS: [&str; 3] = ["https://id.example.com", "https://id.example.com/tenant/", "http://127.0.0.1:8080"];
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    location: Option<HeaderValue>,
    body: Vec<u8>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let issuer = ISSUERS[usize::from(settings >> 1) % ISSUERS.len()];
    let rule = UrlRule { issuer, insecure_http: settings & 1 != 0 };
    let answers: VecDeque<Answer> = data.split(|byte| *byte == 0).take(16).filter_map(answer).collect();
    let (requests, outcome) = start(rule, answers.clone());
    let mut issuer = Issuer { rule, answers, requests: Vec::new() };
    let expected = issuer.keys();
    assert_eq!(requests, issuer.requests, "{expected:?}");
    match (expected, outcome) {
        (Ok(set), Ok(())) => assert!(is_object(&set), "accepted a key set that is not an object"),
        (Ok(set), Err(kind)) => assert!(set != KEYS.as_bytes(), "refused as {kind:?}"),
        (Err(why), Ok(())) => panic!("accepted, but {why:?}"),
        (Err(_), Err(_)) => {}
    }
});

fn answer(input: &[u8]) -> Option<Answer> {
    let (&status, input) = input.split_first()?;
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (location, body) = (&input[..end], &input[end + 1..]);
    let status = [200, 301, 302, 303, 307, 308, 300, 304, 404, 503][usize::from(status.wrapping_sub(b'0')) % 10];
    Some(Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        location: HeaderValue::from_bytes(location).ok().filter(|location| !location.is_empty()),
        body: if body == b"keys" { KEYS.into() } else { body.to_vec() },
    })
}

/// Starts a verifier. Returns the requests that it has sent.
fn start(UrlRule { issuer, insecure_http }: UrlRule, answers: VecDeque<Answer>) -> (Vec<String>, Result<(), Kind>) {
    let state = Arc::new(Mutex::new((answers, Vec::new())));
    let client = {
        let state = Arc::clone(&state);
        move |request: Request<()>| {
            let (answers, requests) = &mut *state.lock().expect("the lock");
            requests.push(request.uri().to_string());
            ready(answers.pop_front().ok_or_else(|| "there is no further answer".into()).map(|answer| {
                let mut response = Response::new(answer.body);
                *response.status_mut() = answer.status;
                response.headers_mut().extend(answer.location.map(|location| (LOCATION, location)));
                response
            }))
        }
    };
    let outcome = block_on(async {
        let mut keys = IssuerKeys::discover(issuer).fetch(client);
        if insecure_http {
            keys = keys.insecure_http();
        }
        match JwtVerifier::<()>::builder().issuer_keys(keys).await {
            Ok(_) => Ok(()),
            Err(StartError::Keys { source, .. }) => Err(source.kind()),
            Err(other) => panic!("{other:?}"),
        }
    });
    let requests = std::mem::take(&mut state.lock().expect("the lock").1);
    (requests, outcome)
}

/// The reference: what is requested of the issuer, in which order, and which key set is taken.
struct Issuer {
    rule: UrlRule,
    answers: VecDeque<Answer>,
    requests: Vec<String>,
}

impl Issuer {
    fn keys(&mut self) -> Outcome<Vec<u8>> {
        let slash = if self.rule.issuer.ends_with('/') { "" } else { "/" };
        let document = format!("{}{slash}.well-known/openid-configuration", self.rule.issuer);
        let document = self.get(Url::parse(&document).expect("a url"))?;
        let document = Object::read(document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&document))?;
        rule(document.text("issuer")?.as_deref() == Some(self.rule.issuer), "of another issuer")?;
        let Some(keys) = document.text("jwks_uri")? else { return refused("without keys") };
        let Ok(keys) = Url::parse(&keys) else { return refused("not a url") };
        self.rule.check(&keys)?;
        self.get(keys)
    }

    fn get(&mut self, mut url: Url) -> Outcome<Vec<u8>> {
        for _ in 0..4 {
            url.set_fragment(None);
            // The `url` crate takes a few hosts that the `http` crate refuses.
            rule(url.as_str().parse::<Uri>().is_ok(), "not a URI")?;
            self.requests.push(url.to_string());
            let Some(answer) = self.answers.pop_front() else { return refused("no response") };
            match answer.status.as_u16() {
                200 => return Ok(answer.body),
                301 | 302 | 303 | 307 | 308 => {}
                _ => return refused("another status"),
            }
            let location = answer.location.as_ref().and_then(|location| location.to_str().ok());
            let Some(target) = location.and_then(|location| url.join(location).ok()) else {
                return refused("without a location");
            };
            self.rule.check(&target)?;
            url = target;
        }
        refused("too many redirects")
    }
}

fn is_object(set: &[u8]) -> bool {
    Object::read(set.strip_prefix(b"\xef\xbb\xbf").unwrap_or(set)).is_ok()
}
