use std::time::Duration;

use super::EndReason;
use crate::error::ConfigError;

/// The close codes by which a WebSocket tells why it ends.
///
/// A page cannot see the status of a refused handshake, but it can see these. They are a choice and not constants,
/// because clients disagree on what they mean: a graphql-ws client never comes back after 4401, and a Centrifugo client
/// takes 3000 for something else. Set them with [`WsAuthLayer::close_codes`](crate::WsAuthLayer::close_codes), and
/// change single ones with the methods named in the first column.
///
/// | | when | [`IANA`] | [`HTTP_LIKE`] | [`GRAPHQL_WS`] | [`CENTRIFUGO`] |
/// | --- | --- | --- | --- | --- | --- |
/// | [`bad_request`](Self::bad_request) | what should hold the token is malformed | 1008 | 4400 | 4400 | 3501 |
/// | [`unauthorized`](Self::unauthorized) | there is no token, or it is not valid; see below | 3000 | 4401 | 4403 | 3500 |
/// | [`forbidden`](Self::forbidden) | the token does not allow this | 3003 | 4403 | 4403 | 3507 |
/// | [`timeout`](Self::timeout) | no token came in time | 3008 | 4408 | 4408 | 3502 |
/// | [`too_many`](Self::too_many) | the subject has too many sessions: none is added | 1013 | 4429 | 1013 | 3504 |
/// | [`unavailable`](Self::unavailable) | come back later | 1013 | 4503 | 1013 | 3004 |
/// | [`expired`](Self::expired) | the token expired, or the session was too old: come back with a new token | 3000 | 4401 | 4403 | 3005 |
/// | [`revoked`](Self::revoked) | the session was revoked | 3000 | 4401 | 4401 | 3500 |
/// | [`replaced`](Self::replaced) | a newer session took its place: do not come back, or it ends that one | 1008 | 4409 | 1008 | 3504 |
/// | [`policy`](Self::policy) | the application ended the session | 1008 | 4403 | 1008 | 3503 |
///
/// A token that has expired before the session begins is refused with `expired` and not with `unauthorized`: its client
/// needs a new token, as after a session that ran out.
///
/// The code for a server that goes down is chosen where it does: [`Drain`](crate::Drain).
///
/// ```
/// use axum_ws_auth::CloseCodes;
///
/// let codes = CloseCodes::HTTP_LIKE.expired(4001)?;
/// assert_ne!(codes, CloseCodes::HTTP_LIKE);
/// // A server may not send this one (RFC 6455 §7.4.1).
/// assert!(codes.revoked(1006).is_err());
/// # Ok::<(), axum_ws_auth::ConfigError>(())
/// ```
///
/// [`IANA`]: Self::IANA
/// [`HTTP_LIKE`]: Self::HTTP_LIKE
/// [`GRAPHQL_WS`]: Self::GRAPHQL_WS
/// [`CENTRIFUGO`]: Self::CENTRIFUGO
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCodes {
    pub(crate) bad_request: u16,
    pub(crate) unauthorized: u16,
    pub(crate) forbidden: u16,
    pub(crate) timeout: u16,
    pub(crate) too_many: u16,
    pub(crate) unavailable: u16,
    pub(crate) expired: u16,
    revoked: u16,
    replaced: u16,
    policy: u16,
}

impl CloseCodes {
    /// The codes registered at IANA: 3000 "unauthorized", 3003 "forbidden", 3008 "timeout", 1013 "try again later".
    pub const IANA: Self = Self {
        bad_request: 1008,
        unauthorized: 3000,
        forbidden: 3003,
        timeout: 3008,
        too_many: 1013,
        unavailable: 1013,
        expired: 3000,
        revoked: 3000,
        replaced: 1008,
        policy: 1008,
    };

    /// 4000 and the HTTP status.
    pub const HTTP_LIKE: Self = Self {
        bad_request: 4400,
        unauthorized: 4401,
        forbidden: 4403,
        timeout: 4408,
        too_many: 4429,
        unavailable: 4503,
        expired: 4401,
        revoked: 4401,
        replaced: 4409,
        policy: 4403,
    };

    /// For clients of the `graphql-transport-ws` protocol. They give up on 4400, 4401 and 1008, and come back after
    /// 4403, 4408 and 1013. A refused `connection_init` is 4403 there, for 4401 says that there was none.
    pub const GRAPHQL_WS: Self = Self {
        bad_request: 4400,
        unauthorized: 4403,
        forbidden: 4403,
        timeout: 4408,
        too_many: 1013,
        unavailable: 1013,
        expired: 4403,
        revoked: 4401,
        replaced: 1008,
        policy: 1008,
    };

    /// For Centrifugo's clients, which come back after 3000 to 3499 and give up on 3500 to 3999. After 3005 they come back
    /// with the token that they have. They ask for a new one when that is refused with the error 109, as
    /// [`FirstMessage::centrifugo`](crate::FirstMessage::centrifugo) does.
    pub const CENTRIFUGO: Self = Self {
        bad_request: 3501,
        unauthorized: 3500,
        forbidden: 3507,
        timeout: 3502,
        too_many: 3504,
        unavailable: 3004,
        expired: 3005,
        revoked: 3500,
        replaced: 3504,
        policy: 3503,
    };

    pub(crate) const fn of_end(&self, reason: EndReason) -> u16 {
        match reason {
            EndReason::TokenExpired | EndReason::MaxLifetime => self.expired,
            EndReason::Revoked => self.revoked,
            EndReason::TooManySessions => self.replaced,
            EndReason::Policy => self.policy,
            EndReason::Shutdown => GOING_AWAY,
            EndReason::Closed => NORMAL,
        }
    }
}

/// How long a client may take to answer a close frame before its connection is dropped.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// RFC 6455 §7.4.1.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// The default is [`CloseCodes::IANA`], because these are the ones that have a public meaning.
impl Default for CloseCodes {
    fn default() -> Self {
        Self::IANA
    }
}

macro_rules! setters {
    ($($name:ident: $when:literal,)*) => {
        impl CloseCodes {
            $(
                #[doc = concat!("Sets the code for: ", $when, ".")]
                ///
                /// # Errors
                ///
                /// If it is not a code that a server may send: 1000 to 1003, 1007 to 1014, and 3000 to 4999
                /// (RFC 6455 §7.4).
                pub const fn $name(mut self, code: u16) -> Result<Self, ConfigError> {
                    if !may_be_sent(code) {
                        return Err(ConfigError::InvalidCloseCode(code));
                    }
                    self.$name = code;
                    Ok(self)
                }
            )*
        }
    };
}

setters! {
    bad_request: "what should hold the token is malformed",
    unauthorized: "there is no token, or it is not valid",
    forbidden: "the token does not allow this",
    timeout: "no token came in time",
    too_many: "the subject has too many sessions, and none is added",
    unavailable: "come back later",
    expired: "the token expired, or the session was too old",
    revoked: "the session was revoked",
    replaced: "a newer session took the place of this one",
    policy: "the application ended the session",
}

/// The others are reserved, or never stand in a frame.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
