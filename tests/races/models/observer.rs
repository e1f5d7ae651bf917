//! What operators see of the ends of sessions: events and metrics.

use std::{cell::RefCell, fmt, sync::Arc};

use axum_ws_auth::{EndReason, Session, SessionId, metrics as names};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata as MetricMetadata, Recorder, SharedString,
    Unit,
};
use tracing::{Event, Metadata, Subscriber, field, span, subscriber::Interest};

#[derive(Default)]
struct Told {
    /// The session and the reason of each event.
    events: Vec<(String, String)>,
    /// The reason of each session that the metrics no longer count.
    ended: Vec<String>,
    live: f64,
}

thread_local! {
    /// A model has one thread of the system.
    static TOLD: RefCell<Told> = RefCell::default();
}

pub(crate) fn reset() {
    TOLD.take();
}

/// The metrics tell the same reasons as the events, and count no session any more.
pub(crate) fn assert_consistent() {
    let Told { events, mut ended, live } = TOLD.take();
    let mut reasons: Vec<_> = events.into_iter().map(|(_, reason)| reason).collect();
    reasons.sort();
    ended.sort();
    assert_eq!((ended, live), (reasons, 0.0), "metrics");
}

/// All parties know one reason, and one event tells it.
pub(crate) fn assert_one_reason(session: &Session<()>, told: &[EndReason]) {
    let reason = session.end_reason().unwrap();
    assert!(told.iter().all(|other| *other == reason), "{reason:?}, but {told:?} was told");
    assert_eq!(events_of(session.id()), [reason.as_str()], "events");
}

fn events_of(session: SessionId) -> Vec<String> {
    let session = session.to_string();
    TOLD.with_borrow(|told| told.events.iter().filter(|end| end.0 == session).map(|end| end.1.clone()).collect())
}

/// Notes the events of ends.
pub(crate) struct EndEvents;

impl Subscriber for EndEvents {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("axum_ws_auth")
    }

    fn event(&self, event: &Event<'_>) {
        let mut end = EndEvent::default();
        event.record(&mut end);
        if end.message == "session ended" {
            TOLD.with_borrow_mut(|told| told.events.push((end.session, end.reason)));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct EndEvent {
    message: String,
    session: String,
    reason: String,
}

impl field::Visit for EndEvent {
    fn record_str(&mut self, field: &field::Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "session" => self.session = format!("{value:?}"),
            "reason" => self.reason = format!("{value:?}"),
            _ => {}
        }
    }
}

/// Notes what the metrics say about live sessions and ended ones. The crate takes a recorder without a size for none.
pub(crate) struct EndMetrics {
    _size: u8,
}

/// The reason of the sessions in a histogram.
struct Ended(String);

struct Live;

impl EndMetrics {
    pub(crate) const fn new() -> Self {
        Self { _size: 0 }
    }
}

impl Recorder for EndMetrics {
    fn register_gauge(&self, key: &Key, _: &MetricMetadata<'_>) -> Gauge {
        if key.name() == names::SESSIONS { Gauge::from_arc(Arc::new(Live)) } else { Gauge::noop() }
    }

    fn register_histogram(&self, key: &Key, _: &MetricMetadata<'_>) -> Histogram {
        let reason = key.labels().find(|label| label.key() == "end_reason");
        reason.map_or_else(Histogram::noop, |reason| Histogram::from_arc(Arc::new(Ended(reason.value().to_owned()))))
    }

    fn register_counter(&self, _: &Key, _: &MetricMetadata<'_>) -> Counter {
        Counter::noop()
    }

    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
}

impl GaugeFn for Live {
    fn increment(&self, value: f64) {
        TOLD.with_borrow_mut(|told| told.live += value);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        TOLD.with_borrow_mut(|told| told.live = value);
    }
}

impl HistogramFn for Ended {
    fn record(&self, _: f64) {
        TOLD.with_borrow_mut(|told| told.ended.push(self.0.clone()));
    }
}
