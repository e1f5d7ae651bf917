//! Reads the bodies of notices.

use std::{future::poll_fn, pin::pin, time::Duration};

use axum::body::Body;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::Body as _;
use tokio::time::timeout;

use super::SignalErrorKind;

/// A notice is a token, or a few identifiers: at most a few kilobytes.
const MAX_LEN: usize = 64 * 1024;
/// For the whole body. Without a limit, anyone could keep a request open that sends nothing.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body of this media type.
pub(super) async fn read(headers: &HeaderMap, media_type: &str, body: Body) -> Result<Vec<u8>, SignalErrorKind> {
    if !has_media_type(headers, media_type) {
        return Err(SignalErrorKind::WrongContentType);
    }
    timeout(TIMEOUT, read_all(body)).await.unwrap_or(Err(SignalErrorKind::IncompleteBody))
}

async fn read_all(body: Body) -> Result<Vec<u8>, SignalErrorKind> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| SignalErrorKind::IncompleteBody)?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > MAX_LEN - bytes.len() {
            return Err(SignalErrorKind::LargeBody);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Whether the body is of this media type, whatever its parameters.
fn has_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let essence = line.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}
