//! Challenges: what the response to a refusal asks of the client (RFC 9110 §11.6.1).

mod challenges;
mod write;

use std::sync::Arc;

use http::HeaderValue;

pub(crate) use challenges::Challenges;

/// The lines of `WWW-Authenticate`: one for each scheme that the client may use.
#[derive(Clone, Debug)]
pub(crate) struct Challenge(Arc<[HeaderValue]>);

impl Challenge {
    pub(super) fn lines(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter()
    }
}
