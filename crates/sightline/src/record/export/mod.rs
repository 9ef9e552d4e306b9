//! Exports: a range of what was recorded as one file that plays anywhere, made beside recording and kept until somebody deletes it.
//!
//! Belongs here: which exports there are (`state`), what one is made of (`footage`, `plan`), pictures that are encoded again at its edges (`edge`), writing it (`write`), and the
//! thread that does so (`thread`). Does not belong here: HTTP, clips that are sent as they are asked for ([`super::play`]), boxes of MP4 ([`media::movie`]).
//!
//! - An export is a file in the folder `.exports` of the recordings, and beside it one of JSON that tells of it: the two are all there is, and no index knows of them.
//! - It is written under another name, made durable, then renamed. What a kill has left is swept, and begun anew.
//! - One at a time is written, by a thread that waits as long for the disk as it used it (`write`): recording and viewers go first.

mod edge;
mod footage;
mod group;
mod keeping;
mod lapse;
mod plan;
mod reading;
mod state;
#[cfg(test)]
mod tests;
mod thread;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use media::{Clock, StreamName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::archive::Archive;
use super::name::Clip;
use super::recorder::Recorder;
use super::storage::{Place as _, Root, Volume as _};
use crate::events::Events;
pub use state::{Export, Kind, Rest, State};

/// Exports that are kept at the most.
pub const MAX_EXPORTS: usize = 1_000;
/// Exports that wait for their turn.
pub const MAX_WAITING: usize = 100;
/// The longest range that is exported as it was: a day.
pub const MAX_CLIP_90K: i64 = 24 * 3_600 * 90_000;
/// The longest range of a time-lapse: a year.
pub const MAX_TIMELAPSE_90K: i64 = 366 * MAX_CLIP_90K;
/// How much faster a time-lapse may be.
pub const SPEEDS: Range<u32> = 2..10_001;
/// Pictures a second of one.
pub const RATES: Range<u32> = 1..61;
/// Gaps that are told of each, where many are told at once: a megabyte of text for all of them.
pub const MAX_LISTED_GAPS: usize = 10;
/// Questions at a time, each on a thread.
pub const MAX_QUESTIONS: usize = 4;
/// How long a question waits for its turn.
const WITHIN: Duration = Duration::from_secs(10);
/// Exports may take this share of their disk.
const SHARE_OF_DISK: u64 = 10;
/// The folder of exports, in that of recordings. No stream has this name.
pub(super) const FOLDER: &str = ".exports";

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no recorder, or it was stopped.
    #[error("nothing is recorded here")]
    Off,
    /// No export has this number.
    #[error("there is no such export")]
    Nothing,
    /// It is not finished.
    #[error("the export is not finished: it is {0}")]
    NotDone(&'static str),
    /// More than there may be.
    #[error("there are {limit} {what} already; at most so many may be")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// Exports have their share of the disk.
    #[error("exports take {used_bytes} bytes, and may take {limit_bytes}: a tenth of the disk that recordings are on")]
    Full {
        /// What they take.
        used_bytes: u64,
        /// What they may.
        limit_bytes: u64,
    },
    /// The disk has not answered those that asked before.
    #[error("{MAX_QUESTIONS} questions to exports wait for the disk already")]
    Busy,
    /// The folder of recordings is away, or another lies there.
    #[error("the folder of recordings cannot be used now")]
    Away,
    /// The disk refuses.
    #[error("the disk refuses: {0}")]
    Disk(#[from] io::Error),
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Of which camera.
    pub camera: StreamName,
    /// When, in ticks of 90 kHz of Unix time.
    pub range_90k: Range<i64>,
    /// What the file is to be called.
    pub name: Option<Clip>,
    /// As it was, or faster.
    pub kind: Kind,
    /// From the frame that is shown at the start on, and to the last before the end.
    pub is_exact: bool,
    /// Who wants it, for people.
    pub by: String,
}

/// All exports of this server.
pub struct Exports {
    recorder: Box<dyn Fn() -> Option<Recorder> + Send + Sync>,
    archive: Option<Arc<Archive>>,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    zone: fn() -> jiff::tz::TimeZone,
    known: Mutex<Option<Known>>,
    news: Condvar,
    turns: Arc<Semaphore>,
}

/// Those of one folder.
struct Known {
    folder: PathBuf,
    exports: BTreeMap<u64, Entry>,
    /// The last number that was given: that of one that was deleted is not given again, while somebody may still be at it.
    last: u64,
}

struct Entry {
    export: Export,
    job: Arc<Job>,
}

/// What is known of one that is being made, without a lock.
#[derive(Debug, Default)]
struct Job {
    percent: AtomicU8,
    is_cancelled: AtomicBool,
}

impl std::fmt::Debug for Exports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exports").finish_non_exhaustive()
    }
}

impl Exports {
    /// Of what a recorder has, as soon as there is one, and of what it archived.
    pub fn new(
        recorder: impl Fn() -> Option<Recorder> + Send + Sync + 'static,
        archive: Option<Arc<Archive>>,
        events: Arc<Events>,
        clock: Arc<dyn Clock>,
        zone: fn() -> jiff::tz::TimeZone,
    ) -> Arc<Self> {
        Arc::new(Self {
            recorder: Box::new(recorder),
            archive,
            events,
            clock,
            zone,
            known: Mutex::new(None),
            news: Condvar::new(),
            turns: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        })
    }

    /// Reads what there is, and goes on with what was not finished. It is done by the first who asks anything, too. The thread that makes exports ends with the last who holds this.
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn resume(self: &Arc<Self>) -> Result<(), Error> {
        self.known(|_| Ok(()))
    }

    /// All there are, by number, each with the first [`MAX_LISTED_GAPS`] of its gaps. Waits for the disk the first time.
    ///
    /// # Errors
    /// [`Error`].
    pub fn list(self: &Arc<Self>) -> Result<Vec<Export>, Error> {
        self.known(|known| Ok(known.exports.values().map(Entry::listed).collect()))
    }

    /// To ask something of exports on a thread that may wait for the disk: for as long as it is held.
    ///
    /// # Errors
    /// [`Error::Busy`]: so many ask already, and the disk answers none of them.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.turn_within(WITHIN).await
    }

    async fn turn_within(&self, within: Duration) -> Result<OwnedSemaphorePermit, Error> {
        let turn = tokio::time::timeout(within, Arc::clone(&self.turns).acquire_owned());
        match turn.await {
            Ok(turn) => turn.map_err(|_| Error::Off),
            Err(_) => Err(Error::Busy),
        }
    }

    /// One of a camera.
    ///
    /// # Errors
    /// [`Error`].
    pub fn get(self: &Arc<Self>, camera: &StreamName, number: u64) -> Result<Export, Error> {
        self.known(|known| Ok(known.of(camera, number)?.told()))
    }

    /// The file of one that is done.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(self: &Arc<Self>, camera: &StreamName, number: u64) -> Result<(File, Export), Error> {
        self.known(|known| {
            let export = known.of(camera, number)?.told();
            if export.state != State::Done {
                return Err(Error::NotDone(export.state.word()));
            }
            Ok((File::open(known.folder.join(&export.file))?, export))
        })
    }

    /// Wants one. It is made when its turn comes. Waits for the disk: what is answered is there after a power cut.
    ///
    /// # Errors
    /// [`Error`].
    pub fn order(self: &Arc<Self>, wish: Wish) -> Result<Export, Error> {
        let recorder = (self.recorder)().ok_or(Error::Off)?;
        let now = self.clock.wall();
        let export = self.known(|known| {
            let is_waiting = |entry: &&Entry| entry.export.state.is_open();
            for (what, limit, count) in [
                ("exports", MAX_EXPORTS, known.exports.len()),
                (
                    "exports that wait",
                    MAX_WAITING,
                    known.exports.values().filter(is_waiting).count(),
                ),
            ] {
                if count >= limit {
                    return Err(Error::TooMany { what, limit });
                }
            }
            let limit_bytes = limit_bytes(&recorder)?;
            let used_bytes = known.bytes();
            if used_bytes >= limit_bytes {
                return Err(Error::Full {
                    used_bytes,
                    limit_bytes,
                });
            }
            // What cannot be read keeps its number.
            let is_free = |number: &u64| !known.folder.join(state::told(*number)).exists();
            let number = (known.last + 1..).find(is_free).unwrap_or(u64::MAX);
            let file = known.name(&wish, &(self.zone)()).ok_or(Error::TooMany {
                what: "files of that name",
                limit: state::MAX_NAMES,
            })?;
            let export = Export::new(number, file, wish, now);
            state::write(&known.folder, &export)?;
            // Before its turn can come, and after what a start finds: so what is kept for it ends with it.
            keeping::keep(&recorder, &export);
            known.exports.insert(number, Entry::new(export.clone()));
            known.last = number;
            Ok(export)
        })?;
        self.news.notify_all();
        Ok(export)
    }

    /// Deletes one, or ends its being made.
    ///
    /// # Errors
    /// [`Error`].
    pub fn delete(self: &Arc<Self>, camera: &StreamName, number: u64) -> Result<Export, Error> {
        self.known(|known| {
            let entry = known.of(camera, number)?;
            entry.job.is_cancelled.store(true, Ordering::Relaxed);
            let export = entry.told();
            state::remove(&known.folder, &export)?;
            known.exports.remove(&number);
            self.release(&export);
            Ok(export)
        })
    }

    /// With the exports of the folder, which are read the first time.
    fn known<T>(self: &Arc<Self>, ask: impl FnOnce(&mut Known) -> Result<T, Error>) -> Result<T, Error> {
        let mut known = self.lock();
        if let Some(known) = &mut *known {
            return ask(known);
        }
        let read = self.read()?;
        let weak: Weak<Self> = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || thread::run(&weak))?;
        ask(known.insert(read))
    }

    /// What was kept for one that is over may be deleted.
    fn release(&self, export: &Export) {
        // Without a recorder nothing is deleted, and the next looks at it anew.
        if let Some(recorder) = (self.recorder)() {
            keeping::release(&recorder, export);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Known, Error> {
        let recorder = (self.recorder)().ok_or(Error::Off)?;
        let root = root_of(&recorder).ok_or(Error::Off)?;
        // Nothing is made beneath a mount point whose disk is away, nor where another server makes its own.
        Root(root.clone()).look(None).map_err(|_| Error::Away)?;
        if recorder.is_kept_out() {
            return Err(Error::Away);
        }
        let folder = root.join(FOLDER);
        let exports = state::read(&folder)?;
        keeping::settle(&recorder, exports.iter());
        Ok(Known {
            last: exports.iter().map(|export| export.number).max().unwrap_or(0),
            folder,
            exports: exports
                .into_iter()
                .map(|export| (export.number, Entry::new(export)))
                .collect(),
        })
    }
}

impl Known {
    fn of(&self, camera: &StreamName, number: u64) -> Result<&Entry, Error> {
        let found = self.exports.get(&number);
        found
            .filter(|entry| entry.export.camera == *camera)
            .ok_or(Error::Nothing)
    }

    /// What all of them take.
    fn bytes(&self) -> u64 {
        self.exports.values().map(|entry| entry.export.bytes).sum()
    }

    /// A name that no other has.
    fn name(&self, wish: &Wish, zone: &jiff::tz::TimeZone) -> Option<String> {
        let is_taken = |name: &str| {
            let same = |entry: &Entry| entry.export.file.to_lowercase() == name.to_lowercase();
            self.exports.values().any(same) || self.folder.join(name).exists()
        };
        let mut names = state::names(wish, zone);
        names.find(|name| !is_taken(name))
    }
}

impl Entry {
    fn new(export: Export) -> Self {
        Self {
            export,
            job: Arc::default(),
        }
    }

    /// As one of many.
    fn listed(&self) -> Export {
        let gaps = &self.export.gaps_90k;
        let (first, rest) = gaps.split_at(gaps.len().min(MAX_LISTED_GAPS));
        Export {
            gaps_90k: first.to_vec(),
            more_gaps: rest.len(),
            ..self.told_without_gaps()
        }
    }

    /// With how far it is.
    fn told(&self) -> Export {
        Export {
            gaps_90k: self.export.gaps_90k.clone(),
            ..self.told_without_gaps()
        }
    }

    fn told_without_gaps(&self) -> Export {
        let percent = match self.export.state {
            State::Running => self.job.percent.load(Ordering::Relaxed),
            State::Done => 100,
            State::Queued | State::Failed => 0,
        };
        let export = &self.export;
        Export {
            percent,
            gaps_90k: Vec::new(),
            camera: export.camera.clone(),
            file: export.file.clone(),
            asked_90k: export.asked_90k.clone(),
            by: export.by.clone(),
            reason: export.reason.clone(),
            covers_90k: export.covers_90k.clone(),
            rest: export.rest.clone(),
            note: export.note.clone(),
            ..*export
        }
    }
}

fn root_of(recorder: &Recorder) -> Option<PathBuf> {
    Some(recorder.report().storages.first()?.path.clone())
}

/// What exports may take of the disk.
fn limit_bytes(recorder: &Recorder) -> Result<u64, Error> {
    let root = root_of(recorder).ok_or(Error::Off)?;
    let (volume, _) = Root(root).look(None).map_err(|_| Error::Away)?;
    Ok(volume.room()?.total_bytes / SHARE_OF_DISK)
}
