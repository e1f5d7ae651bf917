use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{End, SessionCore, Status};

pin_project! {
    /// Waits for the end of a session: its deadline, or an end from elsewhere.
    #[derive(Default)]
    pub(crate) struct EndWatch {
        #[pin]
        timer: Option<Sleep>,
        // The version of the session that was seen last, and the waker that it has for the next change.
        registered: Option<(u32, Waker)>,
        // When to look at the session again, if nothing changes.
        next: Option<Instant>,
    }
}

impl EndWatch {
    /// Waits for the end, or for the time of an alarm, which is `None`. Both share one timer, because there are many
    /// sessions. The alarm may change at any time.
    pub(crate) fn poll_or_alarm(
        self: Pin<&mut Self>,
        core: &SessionCore,
        alarm: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        let mut this = self.project();
        loop {
            let is_up_to_date = this
                .registered
                .as_ref()
                .is_some_and(|(version, waker)| *version == core.version() && waker.will_wake(cx.waker()));
            if !is_up_to_date {
                let (status, version) = core.status(Some(cx.waker()));
                *this.next = match status {
                    Status::Ended(end) => return Poll::Ready(Some(end)),
                    Status::Active(next) => next.map(|next| Instant::now() + next),
                };
                *this.registered = Some((version, cx.waker().clone()));
            }
            let Some(wanted) = this.next.iter().copied().chain(alarm).min() else {
                this.timer.set(None);
                return Poll::Pending;
            };
            let Some(mut timer) = this.timer.as_mut().as_pin_mut() else {
                this.timer.set(Some(sleep_until(wanted)));
                continue;
            };
            if timer.deadline() != wanted {
                timer.as_mut().reset(wanted);
            }
            ready!(timer.poll(cx));
            if alarm == Some(wanted) {
                return Poll::Ready(None);
            }
            *this.registered = None;
        }
    }
}
