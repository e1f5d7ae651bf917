//! What a transmitter of security events says of itself and of a stream (Shared Signals Framework 1.0 §7 and §8.1). The
//! receiver sends exactly the requests that the answers lead to, none at a URL that is not allowed, and its access
//! token only to the endpoints that the configuration names. It takes a stream only of this issuer and with the
//! delivery that it asked for.
//!
//! The input is a byte of settings, and the responses, with a zero byte between them: each has a byte for its status
//! and its body.
#![no_main]

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex},
};

use axum::body::Bytes;
use axum_ws_auth::signals::{Stream, StreamRequest, StreamState, Transmitter, TransmitterError};
use axum_ws_auth_fuzz::documents::{
    object::Object,
    refused::{Outcome, refused, rule},
    runtime::block_on,
    url_rule::UrlRule,
};
use http::{Method, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::Url;

const ISSUERS: [&str; 2] = ["https://id.example.com/eu", "http://127.0.0.1:8080/eu"];
const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";
const PUSH_URL: &str = "https://chat.example.com/events";

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// A request: whether it has the access token, its method and its URL.
type Sent = (bool, Method, String);

#[derive(Debug, PartialEq)]
struct Found {
    id: String,
    audiences: Vec<String>,
    events: Vec<String>,
    state: Option<StreamState>,
    can_be_polled: bool,
    /// The members of subjects that must be understood.
    critical: Vec<String>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let is_push = settings & 1 != 0;
    let rule =
        UrlRule { issuer: ISSUERS[usize::from(settings >> 2) % ISSUERS.len()], insecure_http: settings & 2 != 0 };
    let answers: VecDeque<Answer> = data.split(|byte| *byte == 0).take(8).filter_map(answer).collect();
    let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
    let found = block_on(receive(rule, is_push, answers.clone(), Arc::clone(&sent)));
    let mut transmitter = Reference { rule, is_push, answers, sent: Vec::new() };
    let expected = transmitter.found();
    assert_eq!(*sent.lock().expect("the lock"), transmitter.sent, "{expected:?}, {found:?}");
    match (expected, found) {
        (Ok(expected), Ok(found)) => assert_eq!(found, expected),
        (Err(_), Err(_)) => {}
        (expected, found) => panic!("{expected:?}, {found:?}"),
    }
});

fn answer(input: &[u8]) -> Option<Answer> {
    let (&status, body) = input.split_first()?;
    let status = [200, 201, 409, 202, 204, 404, 503, 302][usize::from(status.wrapping_sub(b'0')) % 8];
    Some(Answer { status: StatusCode::from_u16(status).expect("a status"), body: body.to_vec() })
}

async fn receive(
    UrlRule { issuer, insecure_http }: UrlRule,
    is_push: bool,
    answers: VecDeque<Answer>,
    sent: Arc<Mutex<Vec<Sent>>>,
) -> Result<Found, TransmitterError> {
    let answers = Mutex::new(answers);
    let client = move |request: Request<Bytes>| {
        let has_token = request.headers().contains_key(AUTHORIZATION);
        sent.lock().expect("the lock").push((has_token, request.method().clone(), request.uri().to_string()));
        let answer = answers.lock().expect("the lock").pop_front();
        ready(answer.ok_or_else(|| "there is no further answer".into()).map(|answer| {
            let mut response = Response::new(Bytes::from(answer.body));
            *response.status_mut() = answer.status;
            response
        }))
    };
    let mut discovery = Transmitter::discover(issuer).client(client).token("access token");
    if insecure_http {
        discovery = discovery.insecure_http();
    }
    let transmitter = discovery.await?;
    assert!(!format!("{transmitter:?}").contains("access token"), "`Debug` shows the token");
    let request = if is_push { StreamRequest::push(PUSH_URL, None) } else { StreamRequest::poll() };
    let stream: Stream = transmitter.create_stream(&request).await?;
    Ok(Found {
        id: stream.id().to_owned(),
        audiences: stream.audiences().to_vec(),
        events: stream.events_delivered().to_vec(),
        state: transmitter.stream_state(&stream).await.ok(),
        can_be_polled: transmitter.poll(&stream).is_ok(),
        critical: transmitter.critical_subject_members().to_vec(),
    })
}

/// What the answers lead to.
struct Reference {
    rule: UrlRule,
    is_push: bool,
    answers: VecDeque<Answer>,
    sent: Vec<Sent>,
}

struct Configuration {
    streams: Option<String>,
    status: Option<String>,
    critical: Vec<String>,
}

struct Offered {
    found: Found,
    issuer: String,
    method: String,
    url: Option<String>,
}

impl Reference {
    fn found(&mut self) -> Outcome<Found> {
        let Configuration { streams, status, critical } = self.configuration()?;
        let mut offered = self.stream(&self.endpoint(streams)?)?;
        rule(offered.issuer == self.rule.issuer, "of another issuer")?;
        rule(self.is_requested(&offered), "with another delivery")?;
        offered.found.state = self.state(status, &offered.found.id).ok();
        offered.found.can_be_polled = !self.is_push && self.endpoint(offered.url).is_ok();
        Ok(Found { critical, ..offered.found })
    }

    fn send(&mut self, has_token: bool, method: Method, url: &Url) -> Outcome<Answer> {
        // The `url` crate takes a few hosts that the `http` crate refuses.
        let Ok(url) = url.as_str().parse::<Uri>() else { return refused("not a URI") };
        self.sent.push((has_token, method, url.to_string()));
        self.answers.pop_front().ok_or(()).or_else(|()| refused("no response"))
    }

    fn configuration(&mut self) -> Outcome<Configuration> {
        let url = self.rule.issuer.replace("/eu", "/.well-known/ssf-configuration/eu");
        let url = Url::parse(&url).expect("a url");
        let answer = self.send(false, Method::GET, &url)?;
        rule(answer.status == StatusCode::OK, "another status")?;
        let document = Object::read(&answer.body)?;
        rule(document.text("issuer")?.as_deref() == Some(self.rule.issuer), "of another issuer")?;
        document.text("verification_endpoint")?;
        texts(document.value("delivery_methods_supported")?)?;
        Ok(Configuration {
            streams: document.text("configuration_endpoint")?,
            status: document.text("status_endpoint")?,
            critical: texts(document.value("critical_subject_members")?)?,
        })
    }

    fn stream(&mut self, url: &Url) -> Outcome<Offered> {
        let answer = self.send(true, Method::POST, url)?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => return offered(&answer.body),
            StatusCode::CONFLICT => {}
            _ => return refused("another status"),
        }
        let answer = self.send(true, Method::GET, url)?;
        rule(answer.status == StatusCode::OK, "another status")?;
        let Ok(list) = serde_json::from_slice::<Value>(&answer.body) else { return refused("not JSON") };
        let streams = match list {
            Value::Array(streams) => {
                streams.iter().filter_map(|stream| offered(stream.to_string().as_bytes()).ok()).collect()
            }
            _ => vec![offered(&answer.body)?],
        };
        let requested = streams.into_iter().find(|stream| self.is_requested(stream));
        requested.ok_or(()).or_else(|()| refused("no such stream"))
    }

    fn is_requested(&self, stream: &Offered) -> bool {
        if self.is_push {
            stream.method == PUSH && stream.url.as_deref() == Some(PUSH_URL)
        } else {
            stream.method == POLL
        }
    }

    fn state(&mut self, url: Option<String>, id: &str) -> Outcome<StreamState> {
        let mut url = self.endpoint(url)?;
        url.query_pairs_mut().append_pair("stream_id", id);
        let last = url.query_pairs().last().expect("a pair");
        assert_eq!(last, ("stream_id".into(), id.into()));
        let answer = self.send(true, Method::GET, &url)?;
        rule(answer.status == StatusCode::OK, "another status")?;
        Ok(match Object::read(&answer.body)?.text("status")?.as_deref() {
            Some("enabled") => StreamState::Enabled,
            Some("paused") => StreamState::Paused,
            Some("disabled") => StreamState::Disabled,
            Some(_) => StreamState::Unknown,
            None => return refused("without a status"),
        })
    }

    fn endpoint(&self, url: Option<String>) -> Outcome<Url> {
        let Some(Ok(url)) = url.map(|url| Url::parse(&url)) else { return refused("no url") };
        self.rule.check(&url)?;
        Ok(url)
    }
}

fn offered(json: &[u8]) -> Outcome<Offered> {
    let stream = Object::read(json)?;
    let (Some(id), Some(issuer)) = (stream.text("stream_id")?, stream.text("iss")?) else {
        return refused("without an id or an issuer");
    };
    let audiences = match stream.value("aud")? {
        Some(Value::String(one)) => vec![one],
        Some(several @ Value::Array(_)) => texts(Some(several))?,
        _ => return refused("without an audience"),
    };
    let events = texts(stream.value("events_delivered")?)?;
    let Some(delivery) = stream.raw("delivery")? else { return refused("without a delivery") };
    let delivery = Object::read(delivery.as_bytes())?;
    let Some(method) = delivery.text("method")? else { return refused("without a method") };
    let url = delivery.text("endpoint_url")?;
    let found = Found { id, audiences, events, state: None, can_be_polled: false, critical: Vec::new() };
    Ok(Offered { found, issuer, method, url })
}

/// An array of strings. Without the member, it is empty.
fn texts(value: Option<Value>) -> Outcome<Vec<String>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    serde_json::from_value(value).or_else(|_| refused("not an array of strings"))
}
