/// Where logs name the user of a session; see [`WsAuthLayer::log_subject`](crate::WsAuthLayer::log_subject).
///
/// The subject of a token is personal data in most places. Without it, a session is known by its id, which says nothing
/// about its user to those who cannot list the [sessions](crate::Sessions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogSubject {
    /// Neither events nor spans name the subject.
    Never,
    /// Events at `debug` do, and so does the span of a session that begins while `debug` is on.
    #[default]
    AtDebug,
    /// Events at `debug` do, and so does the span of every session, and with it whatever the handler logs.
    InSpans,
}

impl LogSubject {
    /// The subject as events may show it.
    pub(super) fn filter(self, subject: Option<&str>) -> Option<&str> {
        subject.filter(|_| self != Self::Never)
    }

    /// The subject as spans may show it.
    #[cfg(feature = "tracing")]
    pub(super) fn filter_for_span(self, subject: Option<&str>) -> Option<&str> {
        subject.filter(|_| match self {
            Self::Never => false,
            Self::AtDebug => is_enabled!(DEBUG),
            Self::InSpans => true,
        })
    }
}
