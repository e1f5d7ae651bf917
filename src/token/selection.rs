//! Which subprotocol the answer names.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::subprotocol::names_of;

/// None of the names offered may be selected.
pub(crate) struct NothingToSelect;

/// What a handshake's answer may say in `Sec-WebSocket-Protocol`.
#[derive(Clone, Default)]
pub(crate) struct Selection {
    /// The names that were offered and hold no token: what the handler may choose from.
    pub(super) offered: Option<HeaderValue>,
    /// What to name if the handler names nothing.
    pub(super) fallback: Option<HeaderValue>,
}

impl Selection {
    /// What to select where there is no handler to choose: `Ok(None)` if nothing was offered, and an error if what was
    /// offered is none of these names. It might be a token in a spelling that nobody knows.
    pub(crate) fn without_handler(&self, spoken: &[Cow<'static, str>]) -> Result<Option<HeaderValue>, NothingToSelect> {
        if self.fallback.is_some() || self.offered.is_none() {
            return Ok(self.fallback.clone());
        }
        let spoken = |name: &&[u8]| spoken.iter().any(|spoken| spoken.as_bytes() == *name);
        let offered = self.offered.iter().flat_map(names_of).find(spoken);
        offered.and_then(|name| HeaderValue::from_bytes(name).ok()).map(Some).ok_or(NothingToSelect)
    }

    /// Makes the answer's header true: at most once, and only a name that was offered (RFC 6455 §4.2.2).
    ///
    /// Returns whether the handler had selected something that it must not.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) -> bool {
        let mut lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let unoffered = match (lines.next(), lines.next()) {
            (None, _) => false,
            (Some(selected), None) if self.offers(selected) => return false,
            _ => true,
        };
        if unoffered {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
        if let Some(fallback) = &self.fallback {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, fallback.clone());
        }
        unoffered
    }

    fn offers(&self, selected: &HeaderValue) -> bool {
        self.offered.as_ref().is_some_and(|offered| names_of(offered).any(|name| name == selected.as_bytes()))
    }
}
