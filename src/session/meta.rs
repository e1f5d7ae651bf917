use std::{fmt, sync::Arc};

/// A few short texts about a connection that the application wants to see in lists of sessions: the device, the room,
/// the address.
///
/// A hook of the layer makes them at the handshake: [`WsAuthLayer::session_meta`](crate::WsAuthLayer::session_meta).
/// They stay the same for the whole session. [`Session::meta`](crate::Session::meta) and
/// [`SessionInfo::meta`](crate::SessionInfo::meta) return them, and
/// [`Sessions::of_subject`](crate::Sessions::of_subject) shows those of other nodes too.
///
/// **Not for secrets.** They are in the memory of each node, in the store that nodes share, and in `Debug`.
///
/// # What fits
///
/// A session has at most 16 entries, and at most 512 bytes of names and values in all, because every live session keeps
/// them and its node sends them to the store again and again. Clients choose what they send, so nothing here fails:
///
/// - a value that is too long is cut, between two characters;
/// - an entry is dropped if its name is empty or does not fit, or if there are 16 already;
/// - a control character, such as a line break, becomes a space, so that no value can forge a line of a log. Everything
///   else stays, so escape values in HTML.
///
/// # Example
///
/// ```
/// use axum_ws_auth::SessionMeta;
///
/// let meta = SessionMeta::new().with("device", "Firefox\non Linux").with("room", "lobby").with("room", "7");
/// assert_eq!(meta.get("device"), Some("Firefox on Linux"));
/// assert_eq!(meta.get("room"), Some("7"));
/// assert_eq!(meta.get("address"), None);
/// assert_eq!(SessionMeta::new().with("device", "ä".repeat(500)).get("device"), Some(&*"ä".repeat(253)));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct SessionMeta(Option<Arc<str>>);

const MAX_ENTRIES: usize = 16;
/// In bytes, of names and values.
const MAX_LEN: usize = 512;

/// Ends a name. No name or value holds it or the next one, because both are control characters.
const END_OF_NAME: char = '\u{1f}';
const END_OF_VALUE: char = '\u{1e}';

impl SessionMeta {
    /// The length of the longest [text](Self::as_text).
    pub(super) const MAX_TEXT_LEN: usize = MAX_LEN + 2 * MAX_ENTRIES;

    /// No entries.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds an entry, or replaces the one of this name. See [what fits](Self#what-fits).
    pub fn with(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (clean(name.as_ref()), clean(value.as_ref()));
        let others = || self.iter().filter(|(other, _)| *other != name);
        let used: usize = others().map(|(name, value)| name.len() + value.len()).sum();
        let Some(room) = MAX_LEN.checked_sub(used + name.len()) else { return self };
        if name.is_empty() || others().count() >= MAX_ENTRIES {
            return self;
        }
        let entry = [(&*name, cut(&value, room))];
        let mut text = String::with_capacity(Self::MAX_TEXT_LEN);
        for (name, value) in others().chain(entry) {
            text.extend([name, "\u{1f}", value, "\u{1e}"]);
        }
        Self(Some(text.into()))
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.as_text())
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All entries as one text, for [`from_text`](Self::from_text).
    pub(super) fn as_text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Reads a text that came from elsewhere. What is malformed or does not fit is left out.
    pub(super) fn from_text(text: &str) -> Self {
        pairs(text).fold(Self::new(), |meta, (name, value)| meta.with(name, value))
    }
}

impl fmt::Debug for SessionMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_terminator(END_OF_VALUE).filter_map(|entry| entry.split_once(END_OF_NAME))
}

/// Replaces control characters. What is beyond the limit is left out here, because the text may be long.
fn clean(text: &str) -> String {
    text.chars().take(MAX_LEN + 1).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The longest part from the beginning that is no longer than this.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::SessionMeta;

    fn len(meta: &SessionMeta) -> usize {
        meta.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    #[test]
    fn what_does_not_fit_is_cut_or_dropped() {
        let meta = SessionMeta::new().with("a", "x".repeat(1000));
        assert_eq!((len(&meta), meta.get("a").map(str::len)), (512, Some(511)));
        assert_eq!(meta.clone().with("b", ""), meta, "no room for the name");
        assert_eq!(meta.with("a", "short").with("b", "\u{20ac}".repeat(500)).get("b").map(str::len), Some(504));
        assert!(SessionMeta::new().with("", "nameless").is_empty());
        assert!(SessionMeta::new().with("n".repeat(513), "").is_empty());
        assert_eq!(SessionMeta::new().with("n".repeat(512), "value").get(&"n".repeat(512)), Some(""));
        let many = (0..20).fold(SessionMeta::new(), |meta, number| meta.with(number.to_string(), "x"));
        assert_eq!(many.iter().count(), 16);
        assert_eq!(many.with("0", "y").get("0"), Some("y"), "an entry can be replaced");
    }

    #[test]
    fn control_characters_become_spaces() {
        let meta = SessionMeta::new().with("a\u{1f}b", "\u{1e}c\u{1f}\r\n\u{7f}\u{85}\0\x1b[2J");
        assert_eq!(format!("{meta:?}"), r#"{"a b": " c       [2J"}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_entries_are_bounded_and_survive_as_text(entries in vec((".{0,40}", ".{0,400}"), 0..20)) {
            let meta = entries.iter().fold(SessionMeta::new(), |meta, (name, value)| meta.with(name, value));
            prop_assert!(len(&meta) <= 512 && meta.iter().count() <= 16);
            prop_assert!(meta.as_text().len() <= SessionMeta::MAX_TEXT_LEN);
            prop_assert_eq!(SessionMeta::from_text(meta.as_text()), meta);
        }
    }
}
