//! HTTP requests to identity providers: the client, and which URLs it may be sent to.

mod client;
mod reqwest;
mod url;

pub use client::HttpClient;

pub(crate) use client::{DynHttpClient, MAX_LEN, TooLarge};
pub(crate) use reqwest::{Pooling, ReqwestClient};
pub(crate) use url::{UrlPolicy, metadata_url, without_credentials};
