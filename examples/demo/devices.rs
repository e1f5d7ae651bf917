//! "Where am I signed in", and signing out from elsewhere.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use axum_ws_auth::{Authenticated, ScopedId, Session, SessionId, SessionInfo, Sessions};
use serde_json::{Value, json};

use super::{
    app::Demo,
    people::{self, Claims},
};

/// The user's own connections.
pub(crate) async fn list(
    Authenticated(session): Authenticated<Claims>,
    Extension(sessions): Extension<Sessions>,
) -> Result<Json<Value>, StatusCode> {
    let page = sessions.of_subject(subject(&session)?).limit(20).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(page.sessions().iter().map(describe).collect()))
}

/// Signs out one device. Its sockets close, and its token opens no other.
pub(crate) async fn sign_out(
    Authenticated(session): Authenticated<Claims>,
    Path((_device, id)): Path<(String, SessionId)>,
    Extension(sessions): Extension<Sessions>,
    State(demo): State<Demo>,
) -> Result<StatusCode, StatusCode> {
    // Anybody can send any id: it must be one of the user's own sessions.
    let own = sessions.of_subject(subject(&session)?).find(id).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let own = own.ok_or(StatusCode::NOT_FOUND)?;
    // The token of an ended session stays valid. So revoke all tokens of this sign-in, and end the session by itself
    // only if its sign-in is not known.
    let revoked = match own.meta().get("device") {
        Some(device) => demo.revocations.revoke_provider_session(people::sign_in_of(device)).await,
        None => demo.revocations.revoke_session(own.id()).await,
    };
    revoked.map(|()| StatusCode::NO_CONTENT).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// Signs out everywhere, here too.
pub(crate) async fn sign_out_everywhere(
    Authenticated(session): Authenticated<Claims>,
    State(demo): State<Demo>,
) -> Result<StatusCode, StatusCode> {
    let revoked = demo.revocations.revoke_subject(subject(&session)?).await;
    revoked.map(|()| StatusCode::NO_CONTENT).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// The user, with the issuer: another issuer may have another user of this name.
fn subject(session: &Session<Claims>) -> Result<ScopedId, StatusCode> {
    session.scoped_subject().ok_or(StatusCode::FORBIDDEN)
}

/// A session for the page. Times are in seconds since 1970.
pub(crate) fn describe(session: &SessionInfo) -> Value {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    json!({
        "id": session.id(),
        "person": session.subject(),
        "browser": session.meta().get("browser"),
        "by": session.meta().get("by"),
        "connected_at": seconds(session.connected_at()),
        "expires_at": session.expires_at().map(seconds),
    })
}
