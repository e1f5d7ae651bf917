//! The client of tokio-tungstenite.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::cases::{Attempt, Outcome};

pub(crate) async fn run(attempts: &[Attempt]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for attempt in attempts {
        outcomes.push(run_one(attempt).await);
    }
    outcomes
}

async fn run_one(attempt: &Attempt) -> Outcome {
    let mut request = attempt.url.as_str().into_client_request().expect("a URL");
    if !attempt.protocols.is_empty() {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value(&attempt.protocols.join(", ")));
    }
    for (name, text) in &attempt.headers {
        request.headers_mut().insert(*name, value(text));
    }
    let (mut socket, response) = match connect_async(request).await {
        Ok(connected) => connected,
        Err(Error::Http(response)) => return Outcome::Refused { status: response.status().as_u16() },
        Err(error) => panic!("{error}"),
    };
    let protocol =
        response.headers().get(SEC_WEBSOCKET_PROTOCOL).map_or("", |name| name.to_str().expect("ASCII")).to_owned();

    // May fail if the server has already closed. The next line shows.
    let _ = socket.send(attempt.text.as_str().into()).await;
    let mut next = socket.next().await;
    while let Some(Ok(Message::Ping(_))) = next {
        next = socket.next().await;
    }
    match next {
        Some(Ok(Message::Text(text))) => {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            socket.close(Some(frame)).await.expect("an open socket");
            let code = match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
                other => panic!("instead of a close frame: {other:?}"),
            };
            Outcome::Echoed { protocol, text: text.to_string(), code }
        }
        Some(Ok(Message::Close(Some(frame)))) => {
            Outcome::Closed { protocol, code: frame.code.into(), reason: frame.reason.to_string() }
        }
        other => panic!("instead of an echo: {other:?}"),
    }
}

fn value(text: &str) -> HeaderValue {
    text.parse().expect("a header value")
}
