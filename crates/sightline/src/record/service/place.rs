//! Where recordings go: the recorder, started when something is to be recorded or was, and what it says of itself.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use media::StreamName;
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;

use super::plan::Tables;
use crate::config::record::FreeSpace;
use crate::config::settings;
use crate::events::{Events, Recording, Step, What};
use crate::record::recorder::{Free, Keep, KeepOne, Recorder};
use crate::record::report::{Notice, State};

/// How soon it is tried again to start one.
const AGAIN: Duration = Duration::from_secs(10);

/// Starts a recorder. Waits for the disk.
pub type Start = dyn Fn() -> Result<Recorder, String> + Send + Sync;

/// How far a recorder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody needed one: nothing is recorded, nor was.
    Unneeded,
    /// It is started: it opens the index, and looks through what a crash has left.
    Starting,
    /// It could not be started. The log says why, and it is tried again every ten seconds.
    Failed,
    /// It is there, or was until the program began to end.
    There,
}

/// Has one recorder, as soon as there is one.
pub(super) struct Place {
    start: Arc<Start>,
    recorder: OnceLock<Recorder>,
    standing: std::sync::Mutex<Standing>,
    tried: Mutex<Tried>,
}

#[derive(Default)]
struct Tried {
    at: Option<Instant>,
    /// What was told to people last.
    told: Option<String>,
}

impl Place {
    pub(super) fn new(start: Arc<Start>) -> Self {
        Self {
            start,
            recorder: OnceLock::new(),
            standing: std::sync::Mutex::new(Standing::Unneeded),
            tried: Mutex::default(),
        }
    }

    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.get()
    }

    pub(super) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stands(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// The recorder, which is started if there is none. Says whether it is new.
    pub(super) async fn open(&self, now: Instant) -> Option<(Recorder, bool)> {
        if let Some(there) = self.recorder.get() {
            return Some((there.clone(), false));
        }
        let mut tried = self.tried.lock().await;
        if let Some(there) = self.recorder.get() {
            return Some((there.clone(), false));
        }
        if tried.at.is_some_and(|at| now.saturating_duration_since(at) < AGAIN) {
            return None;
        }
        tried.at = Some(now);
        // One that failed has failed until it does not.
        if self.standing() == Standing::Unneeded {
            self.stands(Standing::Starting);
        }
        let start = Arc::clone(&self.start);
        let started = tokio::task::spawn_blocking(move || start()).await;
        match started {
            Ok(Ok(recorder)) => {
                // Nobody else starts one meanwhile.
                let _ = self.recorder.set(recorder.clone());
                self.stands(Standing::There);
                Some((recorder, true))
            }
            Ok(Err(why)) => {
                self.stands(Standing::Failed);
                if tried.told.as_ref() != Some(&why) {
                    tracing::error!(
                        reason = why,
                        "nothing can be recorded; it is tried again every ten seconds"
                    );
                    tried.told = Some(why);
                }
                None
            }
            // A panic, which was reported already.
            Err(_) => {
                self.stands(Standing::Failed);
                None
            }
        }
    }
}

/// How much is kept of these streams, and of all others.
pub(super) fn keep(tables: &Tables, streams: impl Iterator<Item = StreamName>) -> Keep {
    let record = tables.record();
    let others = keep_one(record);
    let of_stream = streams.map(|stream| {
        let keep = keep_one(&tables.plan(&stream).record);
        (stream, keep)
    });
    let cameras: HashMap<StreamName, KeepOne> = of_stream.filter(|(_, keep)| *keep != others).collect();
    Keep {
        cameras,
        others,
        quota_total_bytes: some(record.quota_total.0),
        free: match record.free {
            FreeSpace::Percent(USUAL_PERCENT) => Free::Usual,
            FreeSpace::Percent(percent) => Free::Percent(percent),
            FreeSpace::Bytes(bytes) => Free::Bytes(bytes.0),
        },
    }
}

fn keep_one(record: &settings::Record) -> KeepOne {
    let span = |span: Duration| (!span.is_zero()).then_some(span);
    KeepOne {
        keep: span(record.keep.0),
        keep_events: span(record.keep_events.0),
        quota_bytes: some(record.quota.0),
        has_strips: record.filmstrip,
    }
}

fn some(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

/// What is kept free unless somebody says otherwise, of disks large enough for it.
const USUAL_PERCENT: u8 = 5;

/// Tells people and programs what the recorder says of itself, until it is stopped.
pub(super) async fn tell(recorder: Recorder, events: Arc<Events>) {
    let mut notices = recorder.notices();
    // What it found at its start nobody was told.
    for storage in recorder.report().storages {
        if storage.state != State::Recording {
            tell_state(&storage.path.display(), &storage.state, &events);
        }
    }
    // Held by whoever stops it.
    drop(recorder);
    loop {
        match notices.recv().await {
            Ok(notice) => tell_one(&notice, &events),
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "notices of the recorder were missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell_one(notice: &Notice, events: &Events) {
    match notice {
        Notice::Finished { camera, path, .. } => {
            tracing::debug!(stream = %camera, path = %path.display(), "a file of a recording is complete");
        }
        Notice::Ended { camera, why } => {
            tracing::debug!(stream = %camera, reason = super::task::text(*why), "a run is over");
        }
        Notice::LeftOut { camera, why, fragments } => {
            tracing::warn!(stream = %camera, reason = why.name(), fragments, "parts of a recording are missing");
        }
        Notice::Failed { camera, why } => {
            let stream = camera.as_ref().map(tracing::field::display);
            tracing::warn!(stream, reason = why, "recording failed; it goes on in another file");
        }
        Notice::State { path, state } => tell_state(&path.display(), state, events),
        Notice::Deleted { why, files, bytes } => {
            tracing::info!(files, bytes, reason = ?why, "old recordings were deleted");
        }
        Notice::Recovered {
            whole,
            damaged,
            removed,
        } => {
            tracing::info!(
                whole,
                damaged,
                removed,
                "recordings that were not completed the last time were looked through"
            );
        }
        #[allow(unreachable_patterns, reason = "more may be told than concerns people")]
        _ => {}
    }
}

/// Why nothing can be written. It does not say where recordings are: viewers read it.
pub(super) const fn words(state: &State) -> Option<&'static str> {
    match state {
        State::Recording => None,
        State::Paused { .. } => Some("the disk is full, and nothing may be deleted"),
        State::Away { .. } => Some("the folder of recordings is not there"),
        State::InUse { .. } => Some("another server records into the folder of recordings"),
        State::Failing { .. } => Some("the disk fails"),
    }
}

fn tell_state(path: &dyn std::fmt::Display, state: &State, events: &Events) {
    match state {
        State::Recording => tracing::info!(%path, "the folder of recordings can be used"),
        State::Paused { why } => tracing::error!(%path, reason = why, "recording waits for room"),
        State::Away { why } => {
            tracing::error!(%path, reason = why, "the folder of recordings is not there; recording goes on when it is back");
        }
        State::InUse { why } => {
            tracing::error!(%path, reason = why, "nothing is recorded: another server records into the same folder");
        }
        State::Failing { why } => {
            tracing::error!(%path, reason = why, "the folder of recordings cannot be used; it is tried again");
        }
    }
    let reason = words(state);
    let step = if reason.is_none() { Step::Started } else { Step::Paused };
    events.tell(What::Recording(Box::new(Recording {
        stream: None,
        step,
        file: None,
        reason: reason.map(str::to_owned),
    })));
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn how_far_it_is_can_be_asked_while_it_starts() {
        let (go, gone) = mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let start = move || -> Result<Recorder, String> {
            // Until the test says so.
            let _ = gone.lock().unwrap().recv();
            Err("the disk is away".to_owned())
        };
        let place = Arc::new(Place::new(Arc::new(start)));
        assert_eq!(place.standing(), Standing::Unneeded);
        let now = Instant::now();
        let opening = tokio::spawn({
            let place = Arc::clone(&place);
            async move { place.open(now).await.is_some() }
        });
        while place.standing() == Standing::Unneeded {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(place.standing(), Standing::Starting);
        go.send(()).unwrap();
        assert!(!opening.await.unwrap());
        assert_eq!(place.standing(), Standing::Failed);
        // It is tried again after a while, and failed until then.
        drop(go);
        assert!(place.open(now + AGAIN / 2).await.is_none());
        assert!(place.open(now + AGAIN).await.is_none());
        assert_eq!(place.standing(), Standing::Failed);
    }
}
