//! The claims of a log-out token that no other token has (OpenID Connect Back-Channel Logout 1.0 §2.4).

use std::{fmt, mem};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};

/// A repeated member is an error, as it is among the registered claims.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LogoutClaims {
    #[serde(default)]
    pub(super) events: Option<Events>,
    #[serde(default)]
    pub(super) sid: Option<String>,
    /// Whether there is a `nonce`, with any value.
    #[serde(default, rename = "nonce", deserialize_with = "is_present")]
    pub(super) has_nonce: bool,
}

#[derive(Debug)]
pub(super) struct Events {
    pub(super) is_log_out: bool,
}

const LOG_OUT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

// By hand: a derive would accept an array too.
impl<'de> Deserialize<'de> for Events {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Events;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of events")
            }

            /// The values mean nothing. Providers write more than the empty object, and more events.
            fn visit_map<A: de::MapAccess<'de>>(self, mut events: A) -> Result<Events, A::Error> {
                let mut is_log_out = false;
                while let Some((name, IgnoredAny)) = events.next_entry::<String, _>()? {
                    if name == LOG_OUT && mem::replace(&mut is_log_out, true) {
                        return Err(de::Error::custom("the event is repeated"));
                    }
                }
                Ok(Events { is_log_out })
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
