//! Stands in for reqwest. The targets pass HTTP clients of their own, so no request is ever sent, and the build needs
//! neither TLS nor a C library for it.

use std::{convert::Infallible, error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

/// The error of every request.
#[derive(Debug)]
pub struct Error;

#[derive(Clone, Debug)]
pub struct Client;

#[derive(Debug)]
pub struct ClientBuilder;

#[derive(Debug)]
pub struct RequestBuilder;

/// There is none.
#[derive(Debug)]
pub struct Response(Infallible);

pub mod redirect {
    #[derive(Debug)]
    pub struct Policy;

    impl Policy {
        pub fn none() -> Self {
            Self
        }
    }
}

impl Client {
    pub fn builder() -> ClientBuilder {
        ClientBuilder
    }

    pub fn request(&self, _: Method, _: Url) -> RequestBuilder {
        RequestBuilder
    }
}

impl ClientBuilder {
    pub fn user_agent(self, _: &str) -> Self {
        self
    }

    pub fn redirect(self, _: redirect::Policy) -> Self {
        self
    }

    pub fn pool_idle_timeout(self, _: Duration) -> Self {
        self
    }

    pub fn pool_max_idle_per_host(self, _: usize) -> Self {
        self
    }

    pub fn no_proxy(self) -> Self {
        self
    }

    pub fn build(self) -> Result<Client, Error> {
        Ok(Client)
    }
}

impl RequestBuilder {
    pub fn headers(self, _: HeaderMap) -> Self {
        self
    }

    pub fn body(self, _: Bytes) -> Self {
        self
    }

    pub async fn send(self) -> Result<Response, Error> {
        Err(Error)
    }
}

impl Response {
    pub fn status(&self) -> StatusCode {
        match self.0 {}
    }

    pub fn headers(&self) -> &HeaderMap {
        match self.0 {}
    }

    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.0 {}
    }
}

impl Error {
    pub fn without_url(self) -> Self {
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no network")
    }
}

impl error::Error for Error {}
