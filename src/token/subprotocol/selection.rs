//! Selects the subprotocol of the response.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::names_in;

/// No offered name can be selected.
pub(crate) struct NothingToSelect;

/// What the response may select in `Sec-WebSocket-Protocol`.
#[derive(Clone, Default)]
pub(crate) struct Selection {
    /// The offered names that hold no token, from which the handler may select.
    pub(super) offered: Option<HeaderValue>,
    /// The name to select if the handler selects none.
    pub(super) fallback: Option<HeaderValue>,
}

impl Selection {
    /// The name to select if no handler runs: the fallback, or else the first offered name that is `supported`.
    ///
    /// `Ok(None)` if no name was offered. An error if no offered name is supported: any of them might be a token in an
    /// unknown format.
    pub(crate) fn without_handler(
        &self,
        supported: &[Cow<'static, str>],
    ) -> Result<Option<HeaderValue>, NothingToSelect> {
        if self.fallback.is_some() || self.offered.is_none() {
            return Ok(self.fallback.clone());
        }
        let is_supported = |name: &&[u8]| supported.iter().any(|supported| supported.as_bytes() == *name);
        let selected = self.offered.iter().flat_map(names_in).find(is_supported);
        selected.and_then(|name| HeaderValue::from_bytes(name).ok()).map(Some).ok_or(NothingToSelect)
    }

    /// Makes the response valid: it selects at most one name, and only one that was offered (RFC 6455 §4.2.2).
    ///
    /// Returns whether the handler had made an invalid selection.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) -> bool {
        let mut lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let is_invalid = match (lines.next(), lines.next()) {
            (None, _) => false,
            (Some(selected), None) if self.offers(selected) => return false,
            _ => true,
        };
        if is_invalid {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
        if let Some(fallback) = &self.fallback {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, fallback.clone());
        }
        is_invalid
    }

    fn offers(&self, selected: &HeaderValue) -> bool {
        self.offered.as_ref().is_some_and(|offered| names_in(offered).any(|name| name == selected.as_bytes()))
    }
}
