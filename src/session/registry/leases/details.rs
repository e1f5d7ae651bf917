//! What leases tell other nodes about their sessions.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::session::{SessionCore, SessionKind, SessionMeta};

/// The details of a lease, as a text: the version, the kind, when the session expires in milliseconds since 1970 or
/// nothing, and the [meta](SessionMeta).
pub(in crate::session::registry) struct Details {
    pub(in crate::session::registry) kind: SessionKind,
    pub(in crate::session::registry) expires_at: Option<SystemTime>,
    pub(in crate::session::registry) meta: SessionMeta,
}

/// Changes if an older node would misread the text.
const VERSION: &str = "1";
/// No name, number or meta begins with it.
const SEPARATOR: char = '\u{1d}';
/// The longest text that is read.
const MAX_LEN: usize = 640;

impl Details {
    pub(super) fn of(session: &SessionCore) -> Self {
        Self { kind: session.kind(), expires_at: session.expires_at(), meta: session.meta.clone() }
    }

    pub(super) fn to_text(&self) -> Arc<str> {
        let since_1970 = self.expires_at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let expires_at = since_1970.map(|time| time.as_millis().to_string()).unwrap_or_default();
        [VERSION, self.kind.as_str(), &expires_at, self.meta.as_text()].join("\u{1d}").into()
    }

    /// Reads a text of any origin. What is missing or unknown is left out: a node of another version may have written
    /// it, or none at all.
    pub(in crate::session::registry) fn from_text(text: &str) -> Self {
        let mut parts = text.splitn(4, SEPARATOR);
        let is_known = text.len() <= MAX_LEN && parts.next() == Some(VERSION);
        let mut next = || parts.next().filter(|_| is_known).unwrap_or_default();
        let kind = next();
        let expires_at =
            next().parse().ok().and_then(|time| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(time)));
        let kinds = [SessionKind::WebSocket, SessionKind::Stream, SessionKind::Request];
        Self {
            kind: kinds.into_iter().find(|known| known.as_str() == kind).unwrap_or(SessionKind::WebSocket),
            expires_at,
            meta: SessionMeta::from_text(next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::{Details, MAX_LEN};
    use crate::session::{SessionKind, SessionMeta};

    fn fields(details: &Details) -> (SessionKind, Option<SystemTime>, &SessionMeta) {
        (details.kind, details.expires_at, &details.meta)
    }

    #[test]
    fn details_survive_as_text() {
        let at = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        let full =
            (0..16).fold(SessionMeta::new(), |meta, number| meta.with(number.to_string(), "\u{20ac}".repeat(99)));
        for (kind, expires_at, meta) in [
            (SessionKind::WebSocket, None, SessionMeta::new()),
            (SessionKind::Stream, Some(at(1_700_000_000_123)), SessionMeta::new().with("device", "Firefox")),
            (SessionKind::Request, Some(at(u64::MAX)), full),
        ] {
            let details = Details { kind, expires_at, meta };
            let text = details.to_text();
            assert!(text.len() <= MAX_LEN, "{}", text.len());
            assert_eq!(fields(&Details::from_text(&text)), fields(&details));
        }
    }

    #[test]
    fn details_of_other_versions_are_left_out() {
        let unknown = (SessionKind::WebSocket, None, &SessionMeta::new());
        for text in
            ["", "2\u{1d}stream\u{1d}5\u{1d}a\u{1f}b\u{1e}", "1", "1\u{1d}hologram", &"1\u{1d}stream".repeat(999)]
        {
            assert_eq!(fields(&Details::from_text(text)), unknown, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_text_makes_the_decoder_panic(bytes: Vec<u8>, tail in "(1\u{1d}(stream|websocket)\u{1d}[0-9]{0,30}\u{1d})?[\u{0}-\u{20}a-c]{0,700}") {
            for text in [&*String::from_utf8_lossy(&bytes), &tail] {
                let details = Details::from_text(text);
                prop_assert!(details.to_text().len() <= MAX_LEN);
            }
        }
    }
}
