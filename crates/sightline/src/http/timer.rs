//! How long a peer may take for the head of a request, without a timer of the runtime's for each.
//!
//! hyper makes a sleep for every head that it waits for, and drops it when the head is there: to be put into the runtime's wheel and taken
//! out again each time costs more than to read the head. Here the one timer of a connection stays where it is; when it ends before the
//! time of the head that is waited for then, it is set to that.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// The timer of one connection, for one sleep at a time.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

struct HeadSleep {
    timer: HeadTimer,
    deadline: time::Instant,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            timer: self.clone(),
            deadline: deadline.into(),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was set for a head that came in time.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);
    const PATIENCE: Duration = Duration::from_secs(20);

    fn polled_and_dropped(timer: &HeadTimer, duration: Duration) {
        let mut sleep = timer.sleep(duration);
        let polled = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    #[tokio::test]
    async fn each_sleep_ends_at_its_own_time() {
        let timer = HeadTimer::default();
        for before in [SHORT, Duration::from_secs(3_600)] {
            polled_and_dropped(&timer, before);
            let begun = Instant::now();
            let sleep = timer.sleep(2 * SHORT);
            time::timeout(PATIENCE, sleep).await.expect("it is woken");
            assert!(begun.elapsed() >= 2 * SHORT, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn one_that_was_not_polled_before_its_time_has_ended() {
        let timer = HeadTimer::default();
        let early = timer.sleep(SHORT);
        time::sleep(2 * SHORT).await;
        time::timeout(PATIENCE, early).await.expect("its time is over");
    }
}
