use axum::{
    body::{Body, Bytes},
    response::Response,
    routing::{MethodRouter, get},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE,
    },
};

/// Answers with this document. Every page may read it: it holds nothing of the user, and the wildcard admits no
/// credentials.
pub(super) fn route<S: Clone + Send + Sync + 'static>(document: String) -> MethodRouter<S> {
    let document = Bytes::from(document);
    let of_get = async move || {
        let mut response = response(StatusCode::OK, Body::from(document.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Short, because a client with an old document signs in at the wrong place.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        response
    };
    let of_options = async || {
        let mut response = response(StatusCode::NO_CONTENT, Body::empty());
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        response
    };
    get(of_get).options(of_options)
}

fn response(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))]);
    response
}
