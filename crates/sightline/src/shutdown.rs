//! Ending: on SIGINT, SIGTERM or Ctrl-C everything ends within a second of the time that the machine gives.
//!
//! Belongs here: the signal handlers, the token by which tasks learn of them, the limit on how long they may take.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::watch;

/// How long work may take to end by itself.
const GRACE: Duration = Duration::from_millis(900);

/// Signals so shortly after the first are the same one: `timeout` and terminals send it to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Both are waited for in such steps: see [`lived`].
const STEP: Duration = Duration::from_millis(100);

/// Tells a task that it should end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Tells all [`Shutdown`]s of its pair. Dropping it does so too: a task must not outlive who could end it.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// A pair: who tells and who is told.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Shutdown {
    /// Waits until it is time to end.
    pub async fn requested(&self) {
        // An error says that the trigger is gone, which means the same.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// The same as a channel, true when it is time to end.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Whether it is time to end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl Trigger {
    /// Asks for the end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// How [`run`] came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum End<T> {
    /// The work ended by itself, before or after it was asked to.
    Done(T),
    /// It was asked to end and did not within the limit, or was told a second time.
    Abandoned,
}

/// Runs `work` until it is done. The first signal asks it to end; the second, or a second after the first, abandons it: the caller then
/// returns from `main`, which ends every thread.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn run<F: Future>(work: impl FnOnce(Shutdown) -> F) -> io::Result<End<F::Output>> {
    run_until(std::future::pending(), work).await
}

/// The same, where `time` is one more reason to end, as a signal is.
///
/// # Errors
/// As [`run`].
pub async fn run_until<F: Future>(
    time: impl Future<Output = ()>,
    work: impl FnOnce(Shutdown) -> F,
) -> io::Result<End<F::Output>> {
    let mut signals = Signals::new()?;
    let (trigger, shutdown) = channel();
    let mut work = std::pin::pin!(work(shutdown));
    tokio::select! {
        output = &mut work => return Ok(End::Done(output)),
        () = signals.next() => trigger.request(),
        () = time => trigger.request(),
    }
    Ok(tokio::select! {
        output = &mut work => End::Done(output),
        () = signals.impatience() => End::Abandoned,
    })
}

/// For work that blocks the main thread, as a window does: the first signal asks it to end; the second, or a second after the first, ends the
/// process with code 1. `last` is done then: what must not stay behind and what nobody else could put right any more.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal(runtime: &tokio::runtime::Runtime, last: impl FnOnce() + Send + 'static) -> io::Result<Shutdown> {
    let (trigger, shutdown) = channel();
    let _inside = runtime.enter();
    let mut signals = Signals::new()?;
    runtime.spawn(async move {
        signals.next().await;
        trigger.request();
        signals.impatience().await;
        tracing::warn!("not everything ended in time");
        last();
        #[expect(
            clippy::disallowed_methods,
            reason = "the main thread does not listen, and no session is left to end"
        )]
        std::process::exit(1)
    });
    Ok(shutdown)
}

/// What people are told when the operating system refuses something that every program needs.
pub fn refused(what: &str, error: &io::Error) -> String {
    format!(
        "cannot {what}: {error}; the system may be short of memory, threads or open files (`ulimit -a` shows the limits)"
    )
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Signals {
    /// Waits, after the first signal, for another or for the end of the time.
    async fn impatience(&mut self) {
        let another = async {
            let mut same = std::pin::pin!(lived(SAME_SIGNAL));
            loop {
                tokio::select! {
                    () = self.next() => {}
                    () = &mut same => break,
                }
            }
            self.next().await;
        };
        tokio::select! {
            () = another => {}
            () = lived(GRACE) => {}
        }
    }
}

/// Waits for so much time in which this process could work. A machine that stands for a while, as virtual ones do, or that is asleep, takes
/// no more than a step of it: by the clock alone, all limits would be over when it goes on, and nothing would have had a chance to end.
pub async fn lived(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(STEP);
        tokio::time::sleep(step).await;
        left -= step;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler there is nothing to wait for; the system ends the program then.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_every_clone() {
        let (trigger, shutdown) = channel();
        let clone = shutdown.clone();
        assert!(!clone.is_requested());
        trigger.request();
        clone.requested().await;
        shutdown.requested().await;
        assert!(clone.is_requested() && shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_lost_trigger_is_a_request() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn work_that_ends_by_itself_is_done() {
        assert_eq!(run(|_| async { 7 }).await.unwrap(), End::Done(7));
    }

    #[tokio::test]
    async fn while_the_machine_stands_there_is_no_time_to_end() {
        let waiting = tokio::spawn(lived(STEP * 3));
        tokio::task::yield_now().await;
        // Nothing else goes on meanwhile: there is one thread.
        let begun = tokio::time::Instant::now();
        std::thread::sleep(STEP * 6);
        waiting.await.unwrap();
        assert!(begun.elapsed() >= STEP * 8, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn there_can_be_another_reason_than_a_signal() {
        let told = |shutdown: Shutdown| async move { shutdown.requested().await };
        assert_eq!(run_until(async {}, told).await.unwrap(), End::Done(()));
    }
}
