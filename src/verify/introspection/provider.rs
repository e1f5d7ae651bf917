//! One request to the provider about a token.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::Response;

use super::{
    answer::Answer,
    client_auth::ClientAuth,
    endpoint::Endpoint,
    failure::{Failure, Reason},
    request::request,
    response::{self, has_type},
    signed::{self, SignedAnswers},
};
use crate::http_client::{DynHttpClient, TooLarge};

/// The provider, and how to talk to it.
pub(super) struct Provider {
    pub(super) endpoint: Endpoint,
    pub(super) client: Arc<dyn DynHttpClient>,
    pub(super) auth: ClientAuth,
    /// Set if answers must be signed.
    pub(super) signed: Option<SignedAnswers>,
}

impl Provider {
    /// Asks about a token at the time `now`.
    pub(super) async fn ask(&self, token: &str, now: SystemTime) -> Result<Answer, Failure> {
        let url = self.endpoint.url(&self.client).await?;
        let credentials = self.auth.credentials().await?;
        let accept = if self.signed.is_some() { signed::CONTENT_TYPE } else { "application/json" };
        let response = self.client.send_boxed(request(url, accept, &credentials, token)?).await.map_err(|error| {
            let reason = if error.is::<TooLarge>() { Reason::TooLarge } else { Reason::Unreachable };
            Failure::new(reason).with_source(error)
        })?;
        self.read(&response, now).await
    }

    async fn read(&self, response: &Response<Bytes>, now: SystemTime) -> Result<Answer, Failure> {
        let text = response::text(response)?;
        match &self.signed {
            None => Answer::parse(text),
            // An attacker who can change responses must not be able to leave the signature out.
            Some(_) if !has_type(response.headers(), signed::CONTENT_TYPE) => Err(Failure::new(Reason::NotSigned)),
            Some(signed) => signed.open(text, now).await,
        }
    }
}
