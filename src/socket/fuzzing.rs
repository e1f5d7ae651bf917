//! Private code for the fuzz targets. It exists only under `cfg(fuzzing)`.
#![allow(missing_docs, reason = "not for use")]

use std::time::Duration;

use axum::extract::ws::Message;

use super::{FirstMessage, FirstToken, RefreshProtocol, refresh_protocol::ReceivedRefresh};
use crate::token::Token;

/// The token in a first message, and what the handler receives in its place.
pub fn find_first_token(protocol: &FirstMessage, message: &Message) -> Option<(Token, Option<Message>)> {
    protocol.find_token(message).map(|FirstToken { token, replay }| (token, replay))
}

/// The token of a refresh, if there is one, and what the handler receives in its place. `None` if the handler receives
/// the whole message.
pub fn read_refresh(protocol: &RefreshProtocol, message: &Message) -> Option<(Option<Token>, Option<Message>)> {
    protocol.read(message).map(|(ReceivedRefresh { token, .. }, rest)| (token, rest))
}

/// The response to a refresh that succeeded, which leaves the session this long.
pub fn respond_to_refresh(protocol: &RefreshProtocol, request: &Message, left: Option<Duration>) -> Option<Message> {
    protocol.respond(request, Ok(left))
}
