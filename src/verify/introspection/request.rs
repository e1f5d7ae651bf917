//! The request to the introspection endpoint (RFC 7662 §2.1).

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{
    Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use url::Url;

use super::{
    client_auth::Credentials,
    failure::{Failure, Reason},
};

/// The request about a token. The token is in the body, because URLs end up in logs.
pub(super) fn request(
    url: &Url,
    accept: &'static str,
    credentials: &Credentials<'_>,
    token: &str,
) -> Result<Request<Bytes>, Failure> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "access_token");
    let mut request =
        Request::post(url.as_str()).header(ACCEPT, accept).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match credentials {
        Credentials::Header(value) => request = request.header(AUTHORIZATION, value),
        Credentials::Form { client_id, secret } => {
            form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose());
        }
    }
    let body = Bytes::from(form.finish());
    request.body(body).map_err(|error| Failure::new(Reason::Unreachable).with_source(error))
}
