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
    }
}

impl EndWatch {
    /// Waits for the end, or for the time of an alarm, which is `None`. Both share one timer, because there are many
    /// sessions. After a change of the alarm, call [`set_again`](Self::set_again).
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
                let next = match status {
                    Status::Ended(end) => return Poll::Ready(Some(end)),
                    Status::Active(next) => next.map(|next| Instant::now() + next),
                };
                match (next.into_iter().chain(alarm).min(), this.timer.as_mut().as_pin_mut()) {
                    (None, _) => this.timer.set(None),
                    (Some(next), Some(timer)) => timer.reset(next),
                    (Some(next), None) => this.timer.set(Some(sleep_until(next))),
                }
                *this.registered = Some((version, cx.waker().clone()));
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return Poll::Pending };
            ready!(timer.poll(cx));
            *this.registered = None;
            if alarm.is_some_and(|alarm| alarm <= Instant::now()) {
                return Poll::Ready(None);
            }
        }
    }

    /// Has the next poll set the timer again.
    pub(crate) fn set_again(self: Pin<&mut Self>) {
        *self.project().registered = None;
    }
}
