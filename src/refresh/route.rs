use std::sync::Arc;

use axum::{
    extract::Request,
    response::Response,
    routing::{MethodRouter, post},
};
use http::request::Parts;

use super::{answer, signalr};
use crate::{
    handshake::Pipeline,
    id::SessionId,
    session::{RefreshReply, Sessions},
    telemetry,
    verify::PathParams,
};

/// How a client names its session, and what it is answered.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// In the path. Problem documents.
    Standard,
    /// In the query. The answers of SignalR.
    SignalR,
}

pub(crate) fn route<S>(pipeline: Arc<Pipeline>, sessions: Sessions, form: Form) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    post(async move |request: Request| {
        let (parts, _) = request.into_parts();
        match form {
            Form::Standard => standard(&pipeline, &sessions, parts).await,
            Form::SignalR => signalr(&pipeline, &sessions, parts).await,
        }
    })
}

async fn standard(pipeline: &Pipeline, sessions: &Sessions, mut parts: Parts) -> Response {
    let (token, sender) = match pipeline.identify(&mut parts).await {
        Ok(identified) => identified,
        Err(rejection) => {
            pipeline.log_refusal(&rejection, &parts);
            telemetry::refresh_not_verified(rejection.reason());
            return pipeline.respond(rejection);
        }
    };
    let params = PathParams::of(&parts);
    let session = params.get("session");
    if session.is_none() {
        pipeline.log_no_session_in_path();
    }
    let reply = match session.and_then(|session| session.parse::<SessionId>().ok()) {
        Some(session) => sessions.refresh(session, token, sender).await,
        None => RefreshReply::Unknown,
    };
    answer::of(&reply, pipeline, parts.version)
}

async fn signalr(pipeline: &Pipeline, sessions: &Sessions, mut parts: Parts) -> Response {
    let (token, sender) = match pipeline.identify(&mut parts).await {
        Ok(identified) => identified,
        Err(rejection) => {
            pipeline.log_refusal(&rejection, &parts);
            telemetry::refresh_not_verified(rejection.reason());
            return signalr::rejected(rejection);
        }
    };
    let Some(session) = signalr::session(&parts.uri) else { return signalr::missing_id() };
    let reply = match session.parse::<SessionId>() {
        Ok(session) => sessions.refresh(session, token, sender).await,
        Err(_) => RefreshReply::Unknown,
    };
    signalr::answer(&reply)
}
