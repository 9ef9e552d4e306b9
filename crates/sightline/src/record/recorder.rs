//! The recorder: what cameras hand their files to, and who asks how it goes.
//!
//! Belongs here: the handle, its settings, starting and stopping. Does not belong here: what is done with files ([`super::disk`]), frames and triggers.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use media::recording::Fragments;
use media::{Clock, StreamName};
use tokio::sync::broadcast;

use super::clock::Now;
use super::disk::{Disk, Found, Shared};
use super::index::{self, Index, Opened, Protected, ProtectedId, Reader, Segment, SegmentId, StorageId};
use super::lock::{Lock, Refused, who};
use super::queue::{Popped, Queue};
use super::report::{Notice, Report, State};
use super::retention;
use super::sink::Sink;
use super::storage::{Room, Root};

/// Where is recorded, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of recordings.
    pub root: PathBuf,
    /// An empty or missing folder becomes one for recordings, where none of this path is known to the index. Else it is taken for a mount point whose disk
    /// is away.
    pub create: bool,
    /// The file of the index. Its folder is there.
    pub index_path: PathBuf,
    /// How often the index is written.
    pub index_every: Duration,
    /// How often what was written is made durable: what a power cut takes at the most.
    pub sync: Duration,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

impl Settings {
    /// The usual ones: five seconds, and ten for the index.
    pub fn new(root: PathBuf, index_path: PathBuf) -> Self {
        Self {
            root,
            create: true,
            index_path,
            index_every: Duration::from_secs(10),
            sync: Duration::from_secs(5),
            random: crate::random::bits,
        }
    }
}

/// What the recorder asks of the machine it runs on.
#[derive(Clone)]
pub struct Clocks {
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Where it stands: names of files are in local time.
    pub zone: fn() -> TimeZone,
    /// Whether its date is right, as the system says (`adjtimex`).
    pub is_synchronised: fn() -> bool,
}

impl Clocks {
    pub(super) fn now(&self) -> Now {
        Now {
            monotonic: self.clock.now(),
            wall: self.clock.wall(),
        }
    }
}

impl fmt::Debug for Clocks {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Clocks").finish_non_exhaustive()
    }
}

/// How much is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Of cameras that have limits of their own.
    pub cameras: HashMap<StreamName, KeepOne>,
    /// Of all others.
    pub others: KeepOne,
    /// Bytes of all cameras together; `None`: no limit.
    pub quota_total_bytes: Option<u64>,
    /// What is to be free on the disk.
    pub free: Free,
}

/// How much is kept of a camera. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepOne {
    /// For how long.
    pub keep: Option<Duration>,
    /// For how long what has an event, if that is longer.
    pub keep_events: Option<Duration>,
    /// How many bytes.
    pub quota_bytes: Option<u64>,
    /// Filmstrips are made of it, which take a part of that.
    pub has_strips: bool,
}

/// What is to be free on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Free {
    /// [`retention::floor_bytes`].
    #[default]
    Usual,
    /// So much, up to all of it.
    Bytes(u64),
    /// So many hundredths of it.
    Percent(u8),
}

impl Free {
    pub(super) fn floor_bytes(self, room: Room) -> u64 {
        match self {
            Self::Usual => retention::floor_bytes(room.total_bytes),
            Self::Bytes(bytes) => bytes.min(room.total_bytes),
            Self::Percent(percent) => room.total_bytes / 100 * u64::from(percent.min(100)),
        }
    }
}

/// Why there is no recorder. A folder of recordings that is away is no reason: it may come.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The index cannot be opened.
    #[error("{0}")]
    Index(#[from] index::Error),
    /// Another process writes into the same index, and each would take the other's open files for what a crash has left.
    #[error(
        "{} records with this state folder already ({} is locked by it); end it, or give this server a state folder of its own (`server.state_dir`) and its recordings \
         another folder (`record.path`)",
        who(*.by), .lock.display()
    )]
    InUse {
        /// The file that it has locked.
        lock: PathBuf,
        /// Its number, where it is known.
        by: Option<u32>,
    },
    /// The file that keeps others out cannot be opened.
    #[error(
        "{} cannot be opened, which keeps other servers out while this one records: {error}; its folder must be there, and this user must be allowed to write in it",
        .lock.display()
    )]
    Lock {
        /// Which.
        lock: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// No thread could be started.
    #[error("no thread could be started that writes recordings: {0}")]
    Thread(std::io::Error),
}

impl From<Refused> for StartError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Held { path: lock, by } => Self::InUse { lock, by },
            Refused::Failed { path: lock, error } => Self::Lock { lock, error },
        }
    }
}

/// Why a question to the recorder has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// By the index.
    #[error("{0}")]
    Index(#[from] index::Error),
    /// The recorder was stopped.
    #[error("the recorder was stopped")]
    Stopped,
}

/// The recorder. Clones are the same. With the last of them it ends by itself; who wants to know when stops it ([`Recorder::stop`]).
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Queue,
    said: Arc<Shared>,
    index: RwLock<Option<Arc<Index>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody can tell the thread anything any more: it ends what it has, and then itself.
        self.queue.close();
    }
}

impl Recorder {
    /// Opens the index, looks through what a crash has left, and starts the thread of the disk. Waits for the disk, as long as a minute of each camera
    /// takes to be read; what the index does not know is looked for afterwards, beside recording. Where another has the index, it waits two seconds for its end.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(settings: Settings, clocks: Clocks) -> Result<Self, StartError> {
        let lock = Lock::take(&settings.index_path, LOCK_WITHIN)?;
        let Opened {
            mut index,
            is_new,
            was_clean,
            aside,
            has_all_told,
            ..
        } = Index::open(&settings.index_path, settings.index_every)?;
        index.hold(lock);
        let index = Arc::new(index);
        let queue = Queue::new(Arc::clone(&clocks.clock));
        let said = Arc::new(Shared::new(&settings.root));
        said.set_keeps_all(!has_all_told);
        let found = Found {
            is_new: is_new || aside.is_some(),
            was_clean,
            create: settings.create.then_some(new_number as fn() -> StorageId),
            sync: settings.sync,
            removes: true,
            random: settings.random,
            claim_within: LOCK_WITHIN,
        };
        let place = Root(settings.root);
        let disk = Disk::new(
            place,
            found,
            clocks,
            queue.clone(),
            Arc::clone(&index),
            Arc::clone(&said),
        )?;
        let thread = std::thread::Builder::new()
            .name("record-disk".to_owned())
            .spawn(move || run(disk))
            .map_err(StartError::Thread)?;
        Ok(Self {
            shared: Arc::new(Running {
                queue,
                said,
                index: RwLock::new(Some(index)),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Where the files of a recording go: one of this camera, as there may be several. At most [`super::queue::MAX_SINKS`] at a time; one more takes
    /// nothing. Dropped, it ends its file.
    pub fn sink(&self, camera: &StreamName) -> Box<dyn Sink> {
        Box::new(self.shared.queue.sink(camera))
    }

    /// So much is kept from now on. Until it is told, all is, but for the room that the disk needs.
    pub fn keep(&self, keep: Keep) {
        self.shared.said.set_keep(keep);
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        let (mut storage, counters) = self.shared.said.told();
        storage.queued_bytes = self.shared.queue.bytes() as u64;
        if self.has_failed() {
            let why = "the thread that writes recordings has ended by itself; start the program again".to_owned();
            storage.state = State::Failing { why };
        }
        Report {
            storages: vec![storage],
            counters,
            keeps_all: self.shared.said.keeps_all(),
            index: self.index().map(|index| index.health()).unwrap_or_default(),
        }
    }

    /// How much of a disk with so much room is to be free.
    pub fn floor_bytes(&self, room: Room) -> u64 {
        self.shared.said.keep().free.floor_bytes(room)
    }

    /// Whether another process records into the folder of recordings: nothing in it is ours to change.
    pub(super) fn is_kept_out(&self) -> bool {
        matches!(self.shared.said.told().0.state, State::InUse { .. })
    }

    /// Whether the thread of the disk ended, and nobody stopped it.
    fn has_failed(&self) -> bool {
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// What happens from now on. Who does not take it in time is told how much was missed; nobody waits for it.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.said.notices()
    }

    /// One more who reads the index.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn reader(&self) -> Result<Reader, AskError> {
        Ok(self.index().ok_or(AskError::Stopped)?.reader()?)
    }

    /// Files of a camera that have a part in a range and that the index may not know yet: to be asked before it is.
    pub(super) fn growing(&self, camera: &StreamName, range_90k: &Range<i64>) -> Vec<(Segment, Fragments)> {
        self.shared.said.growing.of(camera, range_90k)
    }

    /// One of them, by its number.
    pub(super) fn growing_file(&self, camera: &StreamName, id: SegmentId) -> Option<(Segment, Fragments)> {
        self.shared.said.growing.file(camera, id)
    }

    /// Where storages are that the index may not know yet.
    pub(super) fn places(&self) -> Vec<(StorageId, String)> {
        self.shared.said.growing.places()
    }

    /// The like of all cameras.
    pub(super) fn all_growing(&self) -> Vec<Segment> {
        self.shared.said.growing.all()
    }

    /// Nothing of a range is deleted from now on. Waits for the index.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn protect(&self, protected: Protected) -> Result<ProtectedId, AskError> {
        Ok(self.index().ok_or(AskError::Stopped)?.protect(protected)?)
    }

    /// Ends a protection; whether there was one. Waits for the index.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn release(&self, protected: ProtectedId) -> Result<bool, AskError> {
        Ok(self.index().ok_or(AskError::Stopped)?.release(protected)?)
    }

    /// Makes garbage of segments, but for those that are protected or not kept any more, at most [`index::MAX_PAGE`] at a time, and says of how many. They are found
    /// no more; the thread of the disk removes their files, or finds them where their disk comes later. Waits for the index.
    ///
    /// # Errors
    /// [`AskError`]: nothing is removed.
    pub fn discard(&self, segments: Vec<SegmentId>) -> Result<usize, AskError> {
        let garbage = self.index().ok_or(AskError::Stopped)?.discard(segments)?;
        if !garbage.is_empty() {
            self.shared.queue.tell_garbage();
        }
        Ok(garbage.len())
    }

    /// A person has looked at what is protected: what is too much is deleted again ([`Report::keeps_all`]). Waits for the index.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn confirm_protection(&self) -> Result<(), AskError> {
        self.index().ok_or(AskError::Stopped)?.confirm_protection()?;
        self.shared.said.set_keeps_all(false);
        Ok(())
    }

    /// The index, to tell events to. `None`: the recorder was stopped. It is closed when nobody holds it any more.
    pub fn index(&self) -> Option<Arc<Index>> {
        self.shared.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what waits, ends all files and closes the index. Returns whether that was done in time; else it goes on by itself, and what it does not come to
    /// is recovered at the next start. Waits; cameras are to end their files before.
    pub fn stop(&self, within: Duration) -> bool {
        self.shared.queue.close();
        let index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        let begun = Instant::now();
        while !thread.is_finished() {
            if begun.elapsed() >= within {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let ended = thread.join().is_ok();
        // Closed here, where nobody else asks it.
        let closed = index
            .and_then(Arc::into_inner)
            .is_none_or(|index| index.close().is_ok());
        ended && closed
    }
}

/// What the thread of the disk does.
fn run(mut disk: Disk<Root>) {
    loop {
        match disk.pop() {
            Popped::Job(job) => disk.job(job),
            Popped::Nothing => {}
            Popped::Closed => break,
        }
        disk.tick();
    }
    disk.stop();
}

/// A number for a new folder of recordings.
fn new_number() -> StorageId {
    let (high, low) = (crate::random::bits(), crate::random::bits());
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// As long another process may take to end. One whose place this one takes ends its files before, but not on a disk that is slower than its patience: then its
/// thread writes until the process is gone, which is at once.
const LOCK_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether a thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
