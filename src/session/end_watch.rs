use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::{End, SessionCore, Status};

pin_project! {
    /// Waits for the end of a session: its deadline, or an end from elsewhere.
    #[derive(Default)]
    pub(crate) struct EndWatch {
        #[pin]
        timer: Option<Sleep>,
        // The version of the session that was seen last, and the waker that it has for the next change.
        registered: Option<(u64, Waker)>,
    }
}

impl EndWatch {
    pub(crate) fn poll(self: Pin<&mut Self>, core: &SessionCore, cx: &mut Context<'_>) -> Poll<End> {
        let mut this = self.project();
        loop {
            let is_up_to_date = this
                .registered
                .as_ref()
                .is_some_and(|(version, waker)| *version == core.version() && waker.will_wake(cx.waker()));
            if !is_up_to_date {
                let (status, version) = core.status(Some(cx.waker()));
                match status {
                    Status::Ended(end) => return Poll::Ready(end),
                    Status::Active(None) => this.timer.set(None),
                    Status::Active(Some(next)) => match this.timer.as_mut().as_pin_mut() {
                        Some(timer) => timer.reset(Instant::now() + next),
                        None => this.timer.set(Some(sleep(next))),
                    },
                }
                *this.registered = Some((version, cx.waker().clone()));
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return Poll::Pending };
            ready!(timer.poll(cx));
            *this.registered = None;
        }
    }
}
