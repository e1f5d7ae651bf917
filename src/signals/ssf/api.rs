//! Requests to a transmitter.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE},
};
use tokio::time::timeout;
use url::Url;

use super::{BearerToken, TransmitterError, TransmitterErrorKind};
use crate::http_client::{DynHttpClient, MAX_LEN};

/// How to reach a transmitter.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: Arc<dyn DynHttpClient>,
    pub(super) token: Option<BearerToken>,
    pub(super) timeout: Duration,
}

impl Api {
    /// Sends a request, and returns the response with any status. Redirects are not followed.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), TransmitterError> {
        let sending = async {
            let mut request = Request::builder().method(method).uri(url.as_str()).header(ACCEPT, "application/json");
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token.header().await?);
            }
            if body.is_some() {
                // The language is that of error descriptions (RFC 8936 §2.6).
                request = request.header(CONTENT_TYPE, "application/json").header(CONTENT_LANGUAGE, "en");
            }
            let request = request.body(Bytes::from(body.unwrap_or_default()));
            let request = request.map_err(|error| TransmitterErrorKind::Unreachable.with(error))?;
            self.client.send_boxed(request).await.map_err(|error| TransmitterErrorKind::Unreachable.with(error))
        };
        let response = timeout(self.timeout, sending).await.map_err(|_| TransmitterErrorKind::TimedOut.error())??;
        if response.body().len() > MAX_LEN {
            return Err(TransmitterErrorKind::Malformed.with("the response is too long"));
        }
        Ok((response.status(), response.into_body()))
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("token", &self.token).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
