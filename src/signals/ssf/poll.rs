//! The task that polls a transmitter for events (RFC 8936).

use std::{
    convert::Infallible,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use url::Url;

use super::{
    BearerToken, TransmitterError, TransmitterErrorKind,
    api::Api,
    error::SecurityEventError,
    poll_message::{Outcomes, PollResponse},
    receiver::Receiver,
};
use crate::{
    error::ConfigError,
    http_client::{HttpClient, Pooling, ReqwestClient, UrlPolicy},
    telemetry,
};

/// Where and how to poll; see [`SharedSignals::poll`](super::SharedSignals::poll).
#[derive(Clone, Debug)]
#[must_use]
pub struct Poll {
    url: Url,
    api: Api,
    interval: Duration,
}

/// Polls until it is dropped; see [`SharedSignals::poll`](super::SharedSignals::poll).
#[must_use = "polling stops when this is dropped"]
pub struct Polling(AbortHandle);

/// The first delay after a failure. It doubles with each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Longer than transmitters hold a request that has no events yet.
const TIMEOUT: Duration = Duration::from_secs(90);

impl Poll {
    /// Polls this URL.
    ///
    /// # Errors
    ///
    /// If the URL is not `https` to another machine, or there is no HTTP client.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let (url, _) = UrlPolicy::parse(url, false)?;
        let client = Arc::new(ReqwestClient::new(Pooling::Kept)?);
        Ok(Self::with_api(url, Api { client, token: None, timeout: TIMEOUT }))
    }

    pub(super) fn with_api(url: Url, api: Api) -> Self {
        Self { url, api: Api { timeout: TIMEOUT, ..api }, interval: Duration::from_secs(1) }
    }

    /// Sets the access token. Defaults to none.
    pub fn token(mut self, token: impl Into<BearerToken>) -> Self {
        self.api.token = Some(token.into());
        self
    }

    /// Sets the HTTP client. Defaults to reqwest with rustls and the certificates that the operating system trusts.
    pub fn client(mut self, client: impl HttpClient) -> Self {
        self.api.client = Arc::new(client);
        self
    }

    /// Sets the shortest time from one poll to the next if there are no events. Defaults to a second. A transmitter
    /// that holds a request until there is an event (long polling) is asked again when it answers.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        if interval.is_zero() {
            return Err(ConfigError::ZeroDuration("interval of polls"));
        }
        self.interval = interval;
        Ok(self)
    }
}

impl Polling {
    pub(super) fn start(receiver: Arc<Receiver>, poll: Poll) -> Result<Self, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        Ok(Self(runtime.spawn(run(receiver, poll)).abort_handle()))
    }

    /// Whether the task has ended, because its tokio runtime has shut down.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("is_finished", &self.is_finished()).finish()
    }
}

async fn run(receiver: Arc<Receiver>, poll: Poll) -> Infallible {
    let mut backoff = MIN_BACKOFF;
    let mut outcomes = Outcomes::default();
    loop {
        let begin = Instant::now();
        match poll_once(&poll, outcomes.to_request()).await {
            Ok(response) => {
                receiver.health.note_polled();
                // A transmitter that does not take note of acknowledgements must not be asked without pause.
                let has_new = response.sets.iter().any(|(id, _)| !outcomes.mentions(id));
                outcomes = Outcomes::default();
                if receive_all(&receiver, response.sets, &mut outcomes).await {
                    backoff = MIN_BACKOFF;
                    if !has_new {
                        sleep_until(begin + poll.interval).await;
                    }
                    continue;
                }
            }
            Err(error) => telemetry::signal_poll_failed(&error, backoff == MIN_BACKOFF),
        }
        sleep(with_jitter(backoff)).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

async fn poll_once(poll: &Poll, body: Vec<u8>) -> Result<PollResponse, TransmitterError> {
    let (status, body) = poll.api.send(Method::POST, &poll.url, Some(body)).await?;
    match status {
        StatusCode::OK => PollResponse::from_bytes(&body).ok_or_else(|| TransmitterErrorKind::Malformed.error()),
        // Some transmitters answer so if there are no events.
        StatusCode::NO_CONTENT => Ok(PollResponse { sets: Vec::new() }),
        status => Err(TransmitterErrorKind::Status(status).error()),
    }
}

/// Returns whether all events could be processed.
async fn receive_all(receiver: &Arc<Receiver>, sets: Vec<(String, String)>, outcomes: &mut Outcomes) -> bool {
    let mut is_available = true;
    for (id, token) in sets {
        let receiver = Arc::clone(receiver);
        // In a task of its own: a resolver or fallback that panics must not end the polls.
        let receiving = tokio::spawn(async move { receiver.receive(&token).await });
        let outcome = receiving.await.unwrap_or_else(|_| Err(SecurityEventError::unavailable()));
        is_available &= !matches!(&outcome, Err(error) if error.is_unavailable());
        outcomes.note(id, &outcome);
    }
    is_available
}

/// Between half of the delay and all of it, so that nodes do not poll at one moment.
fn with_jitter(delay: Duration) -> Duration {
    const STEPS: u32 = 1024;
    let random = u32::try_from(RandomState::new().hash_one(()) % u64::from(STEPS)).unwrap_or_default();
    delay / 2 + (delay / 2 / STEPS) * random
}
