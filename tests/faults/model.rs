//! The model: what a client of each kind may see.

use crate::weather::{
    Condition::{self, IsStale, MayBeStale, NewKey, RedisAway, Restarts},
    Span, Weather,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    // Clients with a valid token.
    Chats,
    /// Sends byte by byte.
    ChatsSlowly,
    Refreshes,
    AsksForTicket,
    ComesByTicket,
    /// Its token expires while it is connected.
    Expires,
    /// The same, and it never answers the close frame.
    IgnoresClose,
    /// Neither reads nor writes, like a host that is gone.
    FallsSilent,
    /// Shuts down its side of the connection without a close frame.
    ShutsDown,
    ResetsInHead,
    ResetsAfterHead,
    ResetsInFrame,
    ResetsInClose,
    /// Its token is revoked while it is connected, on its node or on the other.
    IsRevoked,
    /// Two more sockets of its subject follow, and two are the limit.
    IsEvicted,

    // Hostile clients with a valid token.
    SendsUnmasked,
    SendsTooMuch,

    // Hostile clients without a valid token.
    HasNoToken,
    HasForgedToken,
    HasUnknownKey,
    HasWithdrawnKey,
    HasUnsignedToken,
    HasExpiredToken,
    HasOtherAudience,
    HasRevokedToken,
    HasUsedTicket,
    HasTwoTokens,
    HasTooLongToken,
    ComesFromForeignPage,
    /// Its second line is no header.
    SendsGarbage,
    /// Sends frames behind a handshake with a forged token.
    SendsFramesEarly,
}

/// How a handshake is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Status(u16),
    /// The connection ended without an answer.
    Cut,
    /// Nothing listens there.
    NoListener,
    /// The client did not wait for the answer.
    Left,
    /// There was no answer for very long.
    Hung,
}

/// How a socket ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The server sent a close frame.
    Closed(u16, &'static str),
    /// The server sent another close frame.
    ClosedOtherwise(u16, String),
    /// The connection ended without a close frame of the server.
    Cut,
    /// The client closed the connection, or left without a close.
    Left,
    /// The server did not do what it should for very long.
    Hung,
}

/// What one client saw.
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) node: usize,
    pub(crate) answer: (Answer, Span),
    /// If the socket was opened.
    pub(crate) end: Option<(End, Span)>,
}

/// What a client of a kind sees.
struct Row(Kind, &'static [Answer], &'static [End], &'static [Also]);

/// What it may see as well if a condition held on its node.
type Also = (Condition, &'static [Answer], &'static [End]);

const OPENED: &[Answer] = &[Answer::Status(101)];
const UNAUTHORIZED: &[Answer] = &[Answer::Status(401)];
const BAD_REQUEST: &[Answer] = &[Answer::Status(400)];
const FORBIDDEN: &[Answer] = &[Answer::Status(403)];
const UNAUTHORIZED_OR_UNAVAILABLE: &[Answer] = &[Answer::Status(401), Answer::Status(503)];
const UNAVAILABLE: &[Answer] = &[Answer::Status(503)];
const LEFT: &[Answer] = &[Answer::Left];

const LEAVES: &[End] = &[End::Left];
const REVOKED: &[End] = &[End::Closed(3000, "revoked")];
const EXPIRED: &[End] = &[End::Closed(3000, "token_expired")];
const EVICTED: &[End] = &[End::Closed(1008, "too_many_sessions")];
const UNRESPONSIVE: &[End] = &[End::Closed(3008, "unresponsive")];
const NO_END: &[End] = &[];

/// A node that drains refuses new sockets and closes the others. One that restarts does not listen for a moment.
const RESTARTS: Also =
    (Restarts, &[Answer::Status(503), Answer::Cut, Answer::NoListener], &[End::Closed(1012, "shutdown"), End::Cut]);
/// A token that is not valid is not told that the node drains.
const RESTARTS_HOSTILE: Also = (Restarts, &[Answer::Cut, Answer::NoListener], NO_END);
/// A node that may not know all revocations admits nobody, if it fails closed.
const STALE: Also = (MayBeStale, UNAVAILABLE, NO_END);
/// The keys may not be fetched again yet.
const NEW_KEY: Also = (NewKey, UNAVAILABLE, NO_END);

const VALID: &[Also] = &[RESTARTS, STALE, NEW_KEY];
const HOSTILE: &[Also] = &[RESTARTS_HOSTILE];

/// No valid token is ever answered with 401, and no other with 101, whatever happens.
const MODEL: &[Row] = &[
    Row(Kind::Chats, OPENED, LEAVES, VALID),
    Row(Kind::ChatsSlowly, OPENED, LEAVES, VALID),
    // It may be unable to refresh, for the same reasons.
    Row(
        Kind::Refreshes,
        OPENED,
        LEAVES,
        &[RESTARTS, (MayBeStale, UNAVAILABLE, EXPIRED), (NewKey, UNAVAILABLE, EXPIRED)],
    ),
    Row(Kind::AsksForTicket, &[Answer::Status(200)], NO_END, &[RESTARTS, (RedisAway, UNAVAILABLE, NO_END)]),
    // If the answer of Redis is lost, the ticket may be used already.
    Row(Kind::ComesByTicket, OPENED, LEAVES, &[RESTARTS, STALE, (RedisAway, UNAUTHORIZED_OR_UNAVAILABLE, NO_END)]),
    Row(Kind::Expires, OPENED, EXPIRED, VALID),
    Row(Kind::IgnoresClose, OPENED, EXPIRED, VALID),
    Row(Kind::FallsSilent, OPENED, UNRESPONSIVE, VALID),
    Row(Kind::ShutsDown, OPENED, &[End::Cut], VALID),
    Row(Kind::ResetsInHead, LEFT, NO_END, HOSTILE),
    Row(Kind::ResetsAfterHead, LEFT, NO_END, HOSTILE),
    Row(Kind::ResetsInFrame, OPENED, LEAVES, VALID),
    Row(Kind::ResetsInClose, OPENED, LEAVES, VALID),
    Row(Kind::IsRevoked, OPENED, REVOKED, VALID),
    // Without Redis, each node counts alone.
    Row(Kind::IsEvicted, OPENED, EVICTED, &[RESTARTS, STALE, NEW_KEY, (RedisAway, &[], LEAVES)]),
    Row(Kind::SendsUnmasked, OPENED, &[End::Closed(1002, "")], VALID),
    Row(Kind::SendsTooMuch, OPENED, &[End::Closed(1009, "")], VALID),
    Row(Kind::HasNoToken, UNAUTHORIZED, NO_END, HOSTILE),
    Row(Kind::HasForgedToken, UNAUTHORIZED, NO_END, &[RESTARTS_HOSTILE, NEW_KEY]),
    // The keys are not fetched for each.
    Row(Kind::HasUnknownKey, UNAUTHORIZED_OR_UNAVAILABLE, NO_END, HOSTILE),
    Row(Kind::HasWithdrawnKey, UNAUTHORIZED_OR_UNAVAILABLE, NO_END, HOSTILE),
    Row(Kind::HasUnsignedToken, UNAUTHORIZED, NO_END, HOSTILE),
    Row(Kind::HasExpiredToken, UNAUTHORIZED, NO_END, &[RESTARTS_HOSTILE, NEW_KEY]),
    Row(Kind::HasOtherAudience, UNAUTHORIZED, NO_END, &[RESTARTS_HOSTILE, NEW_KEY]),
    // The token is valid but for the revocation.
    Row(Kind::HasRevokedToken, UNAUTHORIZED, NO_END, &[RESTARTS, NEW_KEY]),
    Row(Kind::HasUsedTicket, UNAUTHORIZED, NO_END, &[RESTARTS_HOSTILE, (RedisAway, UNAVAILABLE, NO_END)]),
    Row(Kind::HasTwoTokens, BAD_REQUEST, NO_END, HOSTILE),
    Row(Kind::HasTooLongToken, BAD_REQUEST, NO_END, HOSTILE),
    Row(Kind::ComesFromForeignPage, FORBIDDEN, NO_END, HOSTILE),
    Row(Kind::SendsGarbage, &[Answer::Status(400), Answer::Cut], NO_END, HOSTILE),
    Row(Kind::SendsFramesEarly, UNAUTHORIZED, NO_END, &[RESTARTS_HOSTILE, NEW_KEY]),
];

/// Whether the model allows this. If not, says why.
pub(crate) fn check(weather: &Weather, seen: &Seen) -> Result<(), String> {
    let Row(_, answers, ends, also) = MODEL.iter().find(|row| row.0 == seen.kind).expect("a row for each kind");
    let also = |span| also.iter().filter(move |(condition, ..)| weather.was(*condition, seen.node, span));
    let (kind, node, (answer, answered)) = (seen.kind, seen.node, seen.answer);
    if !answers.contains(&answer) && !also(answered).any(|(_, answers, _)| answers.contains(&answer)) {
        return Err(format!("{kind:?} on node {node} was answered {answer:?}"));
    }
    if answer == Answer::Status(101) && weather.was_throughout(IsStale, node, answered) {
        return Err(format!("{kind:?} on node {node} was admitted, although the node may not know all revocations"));
    }
    match &seen.end {
        Some((end, span)) if !ends.contains(end) && !also(*span).any(|(_, _, ends)| ends.contains(end)) => {
            Err(format!("the socket of {kind:?} on node {node} ended with {end:?}"))
        }
        _ => Ok(()),
    }
}
