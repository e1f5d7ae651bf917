use std::fmt::Display;

use super::LogSubject;

/// The span of a session, in which its handler runs. Nothing, if nobody listens.
pub(crate) struct SessionSpan(#[cfg(feature = "tracing")] tracing::Span);

impl SessionSpan {
    /// Not a child of the current span: it may outlive the request by hours.
    #[cfg(feature = "tracing")]
    pub(crate) fn new(session: impl Display, subject: Option<&str>, log_subject: LogSubject) -> Self {
        Self(tracing::info_span!(
            target: super::TARGET,
            parent: None,
            "ws_session",
            %session,
            subject = log_subject.filter_for_span(subject),
        ))
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn new(_: impl Display, _: Option<&str>, _: LogSubject) -> Self {
        Self()
    }

    /// Enters the span, until what this returns is dropped.
    #[cfg(feature = "tracing")]
    pub(crate) fn enter(&self) -> impl Sized + '_ {
        self.0.enter()
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) const fn enter(&self) -> impl Sized + '_ {
        self
    }
}
