use std::fmt::Display;

use super::LogSubject;

/// The span of a session, in which its handler runs. Nothing, if nobody listens. Boxed, because there are many
/// sessions.
pub(crate) struct SessionSpan(#[cfg(feature = "tracing")] Option<Box<tracing::Span>>);

impl SessionSpan {
    /// Not a child of the current span: it may outlive the request by hours.
    #[cfg(feature = "tracing")]
    pub(crate) fn new(session: impl Display, subject: Option<&str>, log_subject: LogSubject) -> Self {
        let span = tracing::info_span!(
            target: super::TARGET,
            parent: None,
            "ws_session",
            %session,
            subject = log_subject.filter_for_span(subject),
        );
        Self((!span.is_none()).then(|| Box::new(span)))
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn new(_: impl Display, _: Option<&str>, _: LogSubject) -> Self {
        Self()
    }

    /// Enters the span, until what this returns is dropped.
    #[cfg(feature = "tracing")]
    pub(crate) fn enter(&self) -> impl Sized + '_ {
        self.0.as_ref().map(|span| span.enter())
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) const fn enter(&self) -> impl Sized + '_ {
        self
    }
}
