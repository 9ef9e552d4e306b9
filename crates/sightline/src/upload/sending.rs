//! What waits is sent, in order, for as long as it takes.
//!
//! Belongs here: when it is tried again, what goes at the other end ([`super::lifecycle`]), what people are told. Does not belong here: how it is sent
//! ([`super::store`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::World;
use super::lifecycle::Present;
use super::plan::Plan;
use super::spool::Spool;
use super::store::Store;
use crate::s3::{Failed, Kind, Pace};
use crate::shutdown::Shutdown;

/// How often it is looked anew what is there, where others may have taken from it.
const LIST_EVERY: Duration = Duration::from_secs(86_400);
/// As many are deleted behind each that is sent.
const MOST_DELETED: usize = 20;
/// How soon the same trouble is told again.
const TELL_AGAIN: Duration = Duration::from_secs(3_600);

/// What taking and sending have in common.
#[derive(Debug)]
pub(super) struct Shared {
    spool: Mutex<Spool>,
    /// Of the spool, as they were last: who asks how it is does not wait for its disk.
    figures: Mutex<Figures>,
    news: Notify,
    sent: AtomicU64,
    missed: AtomicU64,
    deleted: AtomicU64,
    /// Nothing can be kept until it is sent.
    is_failing: AtomicBool,
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    waiting: usize,
    bytes: u64,
    dropped: u64,
}

impl Figures {
    fn of(spool: &Spool) -> Self {
        let (waiting, bytes) = spool.figures();
        Self {
            waiting,
            bytes,
            dropped: spool.dropped(),
        }
    }
}

/// How an upload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Snapshots that are where they were to go.
    pub sent: u64,
    /// Moments at which there was no picture.
    pub missed: u64,
    /// Snapshots that were left out, since more waited than may.
    pub dropped: u64,
    /// Old ones that were deleted where they were sent to.
    pub deleted: u64,
    /// Snapshots that wait.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Why nothing can be sent.
    pub trouble: Option<String>,
}

impl Shared {
    pub(super) fn new(spool: Spool) -> Arc<Self> {
        Arc::new(Self {
            figures: Mutex::new(Figures::of(&spool)),
            spool: Mutex::new(spool),
            news: Notify::new(),
            sent: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            trouble: Mutex::default(),
        })
    }

    /// A snapshot to be sent.
    pub(super) async fn add(self: &Arc<Self>, second: i64, jpeg: Vec<u8>) {
        let added = self.with_spool(move |spool| spool.add(second, &jpeg)).await;
        let has_failed = added.is_err();
        // Each moment anew it would fill the log of a disk that is full.
        if self.is_failing.swap(has_failed, Ordering::Relaxed) != has_failed {
            match added {
                Err(error) => tracing::warn!("snapshots cannot be kept until they are sent, and are left out: {error}"),
                Ok(()) => tracing::info!("snapshots can be kept again until they are sent"),
            }
        }
        self.news.notify_one();
    }

    /// There was no picture.
    pub(super) fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        let figures = *self.figures();
        Report {
            sent: self.sent.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            dropped: figures.dropped,
            deleted: self.deleted.load(Ordering::Relaxed),
            waiting: figures.waiting,
            waiting_bytes: figures.bytes,
            trouble: self.trouble().clone(),
        }
    }

    /// On a thread that may wait for a disk.
    async fn with_spool<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Spool) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let mut spool = shared.spool();
            let done = work(&mut spool);
            *shared.figures() = Figures::of(&spool);
            done
        });
        done.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn spool(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what waits until it is told to stop.
pub(super) struct Sending {
    pub(super) plan: Arc<Plan>,
    pub(super) world: Arc<World>,
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) pace: Pace,
    pub(super) present: Option<(Present, Instant)>,
    pub(super) told: Option<(String, Instant)>,
}

impl Sending {
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.send_all() => {}
            // What is under way is sent again by the next start, under the same name.
            () = shutdown.requested() => {}
        }
    }

    async fn send_all(&mut self) {
        loop {
            let oldest = self.shared.with_spool(Spool::oldest).await;
            let wait = match oldest {
                Ok(None) => {
                    self.shared.news.notified().await;
                    continue;
                }
                Ok(Some((second, jpeg))) => match self.send(second, jpeg).await {
                    Ok(()) => continue,
                    Err(failed) => self.failed(&failed),
                },
                Err(error) => self.failed(&Failed {
                    kind: Kind::Passing,
                    detail: format!("what waits cannot be read: {error}"),
                }),
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn send(&mut self, second: i64, jpeg: Vec<u8>) -> Result<(), Failed> {
        self.store.put(second, jpeg).await?;
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.shared.with_spool(move |spool| spool.done(second)).await {
            tracing::warn!(upload = %self.plan.name, "a snapshot that was sent cannot be removed: {error}");
        }
        self.goes_on();
        if self.plan.keep.deletes() {
            self.clean(second).await;
        }
        Ok(())
    }

    /// Deletes what is too old or too many, a few at a time. What fails is tried again behind the next that is sent.
    async fn clean(&mut self, sent: i64) {
        let now = self.world.clock.now();
        if self
            .present
            .as_ref()
            .is_none_or(|(_, listed)| now.saturating_duration_since(*listed) >= LIST_EVERY)
        {
            match self.store.list().await {
                Ok(seconds) => self.present = Some((Present::of(seconds), now)),
                Err(failed) => {
                    return self.warn(&format!(
                        "what is there cannot be listed, so nothing old is deleted: {failed}"
                    ));
                }
            }
        }
        let Some((present, _)) = &mut self.present else { return };
        if !present.is_cut {
            present.add(sent);
        }
        for _ in 0..MOST_DELETED {
            let Some(second) = present.surplus(self.plan.keep, sent) else {
                return;
            };
            if let Err(failed) = self.store.delete(second).await {
                return self.warn(&format!("old snapshots cannot be deleted: {failed}"));
            }
            present.gone();
            self.shared.deleted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long it is until the next try.
    fn failed(&mut self, failed: &Failed) -> Duration {
        let wait = self.pace.wait(failed.kind, (self.world.random)());
        *self.shared.trouble() = Some(failed.detail.clone());
        let report = self.shared.report();
        let waiting = report.waiting;
        self.warn(&format!(
            "{failed}; {waiting} wait, and it is tried again in {} s",
            wait.as_secs_f32().ceil()
        ));
        wait
    }

    /// Says it, unless that was said lately.
    fn warn(&mut self, text: &str) {
        let now = self.world.clock.now();
        // Numbers in it change each time.
        let kind: String = text.split("; ").next().unwrap_or(text).to_owned();
        let is_known =
            |(told, at): &(String, Instant)| *told == kind && now.saturating_duration_since(*at) < TELL_AGAIN;
        if !self.told.as_ref().is_some_and(is_known) {
            tracing::warn!(upload = %self.plan.name, to = %self.plan.to, "{text}");
            self.told = Some((kind, now));
        }
    }

    fn goes_on(&mut self) {
        self.pace = Pace::default();
        if self.shared.trouble().take().is_some() {
            self.told = None;
            let report = self.shared.report();
            tracing::info!(upload = %self.plan.name, waiting = report.waiting, dropped = report.dropped, "uploads go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that hangs keeps nobody from being told how it is.
    #[test]
    fn how_it_is_is_told_while_the_disk_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::new(Spool::open(folder.path(), 1_000).unwrap());
        let busy = shared.spool();
        let (to, from) = std::sync::mpsc::channel();
        let asked = Arc::clone(&shared);
        let thread = std::thread::spawn(move || to.send(asked.report()));
        let report = from.recv_timeout(Duration::from_secs(10));
        drop(busy);
        thread.join().unwrap().unwrap();
        assert_eq!(report.unwrap(), Report::default());
    }
}
