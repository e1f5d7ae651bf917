use std::time::Duration;

use super::EndReason;
use crate::error::ConfigError;

/// The close codes that tell a client why its WebSocket was refused or its session ended.
///
/// A page sees these codes, and not the status of a refused handshake. Clients disagree on what a code means: a
/// graphql-ws client does not reconnect after 4401, and a Centrifugo client reads 3000 as something else. So there are
/// several profiles. Set one with [`WsAuthLayer::close_codes`](crate::WsAuthLayer::close_codes), and change single
/// codes with the methods in the first column.
///
/// | method | ended sessions | rejections | [`IANA`] | [`HTTP_LIKE`] | [`GRAPHQL_WS`] | [`CENTRIFUGO`] |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | [`bad_request`](Self::bad_request) | | `invalid_request`, `head_too_large` | 1008 | 4400 | 4400 | 3501 |
/// | [`unauthorized`](Self::unauthorized) | | `missing_token`, `invalid_token` | 3000 | 4401 | 4403 | 3500 |
/// | [`forbidden`](Self::forbidden) | `insufficient_user_authentication` | `insufficient_user_authentication`, `insufficient_scope`, `origin_not_allowed` | 3003 | 4403 | 4403 | 3507 |
/// | [`timeout`](Self::timeout) | | `timed_out` | 3008 | 4408 | 4408 | 3502 |
/// | [`too_many`](Self::too_many) | | `too_many_requests`, `too_many_sessions` | 1013 | 4429 | 1013 | 3504 |
/// | [`unavailable`](Self::unavailable) | `unconfirmed` | `unavailable` | 1013 | 4503 | 1013 | 3004 |
/// | [`unresponsive`](Self::unresponsive) | `unresponsive` | | 3008 | 4408 | 4408 | 3012 |
/// | [`expired`](Self::expired) | `token_expired`, `max_lifetime` | `invalid_token` of an expired token | 3000 | 4401 | 4403 | 3005 |
/// | [`revoked`](Self::revoked) | `revoked` | | 3000 | 4401 | 4401 | 3500 |
/// | [`replaced`](Self::replaced) | `too_many_sessions` | | 1008 | 4409 | 1008 | 3504 |
/// | [`policy`](Self::policy) | `policy` | | 1008 | 4403 | 1008 | 3503 |
///
/// The second column has the names of [`EndReason`](crate::EndReason), the third those of
/// [`RejectionKind`](crate::RejectionKind). An expired token is refused with `expired` rather than `unauthorized`,
/// because its client only needs a new token. Sessions that end with `shutdown` are closed with the code of the
/// [`Drain`](crate::Drain).
///
/// ```
/// use axum_ws_auth::CloseCodes;
///
/// let codes = CloseCodes::HTTP_LIKE.expired(4001)?;
/// assert_ne!(codes, CloseCodes::HTTP_LIKE);
/// // A server must not send this one (RFC 6455 §7.4.1).
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
    unresponsive: u16,
    pub(crate) expired: u16,
    revoked: u16,
    replaced: u16,
    policy: u16,
}

impl CloseCodes {
    /// Codes of the IANA registry: 3000 "unauthorized", 3003 "forbidden", 3008 "timeout", 1013 "try again later".
    pub const IANA: Self = Self {
        bad_request: 1008,
        unauthorized: 3000,
        forbidden: 3003,
        timeout: 3008,
        too_many: 1013,
        unavailable: 1013,
        unresponsive: 3008,
        expired: 3000,
        revoked: 3000,
        replaced: 1008,
        policy: 1008,
    };

    /// 4000 plus the HTTP status.
    pub const HTTP_LIKE: Self = Self {
        bad_request: 4400,
        unauthorized: 4401,
        forbidden: 4403,
        timeout: 4408,
        too_many: 4429,
        unavailable: 4503,
        unresponsive: 4408,
        expired: 4401,
        revoked: 4401,
        replaced: 4409,
        policy: 4403,
    };

    /// For clients of the `graphql-transport-ws` protocol. They give up after 4400, 4401 and 1008, and reconnect after
    /// 4403, 4408 and 1013. The protocol refuses a `connection_init` with 4403; 4401 means that there was none.
    pub const GRAPHQL_WS: Self = Self {
        bad_request: 4400,
        unauthorized: 4403,
        forbidden: 4403,
        timeout: 4408,
        too_many: 1013,
        unavailable: 1013,
        unresponsive: 4408,
        expired: 4403,
        revoked: 4401,
        replaced: 1008,
        policy: 1008,
    };

    /// For Centrifugo clients. They reconnect after 3000 to 3499 and give up after 3500 to 3999. After 3005 they
    /// reconnect with the token that they have, and fetch a new one if that is refused with error 109, as
    /// [`FirstMessage::centrifugo`](crate::FirstMessage::centrifugo) does.
    pub const CENTRIFUGO: Self = Self {
        bad_request: 3501,
        unauthorized: 3500,
        forbidden: 3507,
        timeout: 3502,
        too_many: 3504,
        unavailable: 3004,
        unresponsive: 3012,
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
            EndReason::InsufficientUserAuthentication => self.forbidden,
            EndReason::Unresponsive => self.unresponsive,
            EndReason::Unconfirmed => self.unavailable,
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

/// [`CloseCodes::IANA`], because these codes have a public meaning.
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
                /// If a server may not send this code: it must be 1000 to 1003, 1007 to 1014, or 3000 to 4999
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
    bad_request: "the credentials are malformed, or the request's head is too large",
    unauthorized: "there is no token, or it is not valid",
    forbidden: "the token or the origin does not allow this",
    timeout: "the client sent no token in time",
    too_many: "the subject has too many sessions, and no other is admitted",
    unavailable: "the server cannot verify or admit the client now, or could not confirm its token for too long",
    unresponsive: "the client did not answer in time, and has probably vanished",
    expired: "the token expired, or the session reached its max lifetime",
    revoked: "the session was revoked",
    replaced: "a newer session replaced this one",
    policy: "the application ended the session",
}

/// The other codes are reserved, or are never sent in a frame.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::CloseCodes;
    use crate::session::doc_table;

    fn fields(codes: &CloseCodes) -> [(&'static str, u16); 11] {
        let &CloseCodes {
            bad_request,
            unauthorized,
            forbidden,
            timeout,
            too_many,
            unavailable,
            unresponsive,
            expired,
            revoked,
            replaced,
            policy,
        } = codes;
        [
            ("bad_request", bad_request),
            ("unauthorized", unauthorized),
            ("forbidden", forbidden),
            ("timeout", timeout),
            ("too_many", too_many),
            ("unavailable", unavailable),
            ("unresponsive", unresponsive),
            ("expired", expired),
            ("revoked", revoked),
            ("replaced", replaced),
            ("policy", policy),
        ]
    }

    #[test]
    fn every_code_of_every_profile_is_in_the_table() {
        let table = doc_table::rows(include_str!("close.rs"), "| method |");
        let profiles = [CloseCodes::IANA, CloseCodes::HTTP_LIKE, CloseCodes::GRAPHQL_WS, CloseCodes::CENTRIFUGO];
        for (column, profile) in profiles.iter().enumerate() {
            let expected = fields(profile).map(|(name, code)| (format!("[`{name}`](Self::{name})"), code.to_string()));
            let actual: Vec<_> = table
                .iter()
                .map(|row| (row.first().copied(), row.get(3 + column).copied()))
                .map(|(name, code)| (name.unwrap_or_default().to_owned(), code.unwrap_or_default().to_owned()))
                .collect();
            assert_eq!(actual, expected);
        }
    }
}
