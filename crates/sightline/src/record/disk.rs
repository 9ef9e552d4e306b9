//! What a disk does: files of many cameras, one operation after the other, since a disk has one arm.
//!
//! Belongs here: what is done when, with what waits ([`super::queue`]): beginning and ending files ([`files`]), what is deleted and when recording pauses
//! ([`room`], [`stuck`]), what is done when a disk comes ([`attach`], [`adopt`]). Does not belong here: one file ([`super::segment`]), what is to be deleted
//! ([`super::retention`]).
//!
//! A machine that is told what to do and when to look; so a test steps through it without a thread, on any [`Place`].

mod adopt;
mod attach;
mod dateless;
mod files;
mod room;
mod stuck;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::WallTime;
use tokio::sync::broadcast;

use super::clock::{Carried, Now, from_unix_90k, unix_90k};
use super::growing::Growing;
use super::index::{self, Change, Ended, Index, Reader, StorageId};
use super::queue::{Job, Popped, Queue, SinkId, What};
use super::recorder::{Clocks, Keep};
use super::report::{Counters, LeftOut, Notice, State, StorageReport};
use super::storage::{Place, Storage};
use adopt::Adoption;
pub(super) use adopt::Looking;
use attach::Attached;
use dateless::Dateless;
use files::Writer;
pub(super) use files::completed;
use room::Deleting;

type FileOf<P> = <<P as Place>::Volume as Storage>::File;

/// What was found at the start, and what is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Nothing stands in the index: all files are to be looked through.
    pub(super) is_new: bool,
    /// It was closed in order: the index knows all files.
    pub(super) was_clean: bool,
    /// Numbers for a folder that becomes a storage; `None`: none does.
    pub(super) create: Option<fn() -> StorageId>,
    /// How often files are made durable.
    pub(super) sync: Duration,
    /// What was to be removed at the end of the time before is.
    pub(super) removes: bool,
    /// Unpredictable bits.
    pub(super) random: fn() -> u64,
    /// How long a process may take to end whose place this one takes.
    pub(super) claim_within: Duration,
}

/// What others see of a disk.
#[derive(Debug)]
pub(super) struct Shared {
    keep: Mutex<Arc<Keep>>,
    told: Mutex<(StorageReport, Counters)>,
    notices: broadcast::Sender<Notice>,
    /// Not all that was protected is known: nothing is deleted until a person has looked.
    keeps_all: AtomicBool,
    /// What the index does not know yet.
    pub(super) growing: Growing,
}

impl Shared {
    pub(super) fn new(path: &Path) -> Self {
        let storage = StorageReport {
            path: path.to_owned(),
            state: State::Recording,
            free_bytes: 0,
            total_bytes: 0,
            used_bytes: 0,
            queued_bytes: 0,
            oldest_90k: None,
        };
        Self {
            keep: Mutex::default(),
            told: Mutex::new((storage, Counters::default())),
            notices: broadcast::channel(MAX_NOTICES).0,
            keeps_all: AtomicBool::new(false),
            growing: Growing::default(),
        }
    }

    pub(super) fn set_keep(&self, keep: Keep) {
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keep);
    }

    /// Whether nothing is deleted, whatever the limits say.
    pub(super) fn set_keeps_all(&self, keeps_all: bool) {
        self.keeps_all.store(keeps_all, Ordering::Relaxed);
    }

    pub(super) fn keeps_all(&self) -> bool {
        self.keeps_all.load(Ordering::Relaxed)
    }

    pub(super) fn told(&self) -> (StorageReport, Counters) {
        self.lock().clone()
    }

    pub(super) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    pub(super) fn keep(&self) -> Arc<Keep> {
        Arc::clone(&self.keep.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, (StorageReport, Counters)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notice(&self, notice: Notice) {
        // Nobody need listen.
        let _ = self.notices.send(notice);
    }
}

/// See the module.
pub(super) struct Disk<P: Place> {
    place: P,
    found: Found,
    clocks: Clocks,
    queue: Queue,
    index: Arc<Index>,
    reader: Reader,
    shared: Arc<Shared>,
    carried: Carried,
    dateless: Dateless,
    /// `None`: it is away.
    attached: Option<Attached<P::Volume>>,
    writers: BTreeMap<SinkId, Writer<FileOf<P>>>,
    deleting: Deleting,
    state: State,
    /// What the index did not take: no file is begun until it does.
    untold: Vec<Change>,
    counters: Counters,
    due: Due,
}

/// When what is to be done next.
#[derive(Clone, Copy, Debug)]
struct Due {
    sync: Instant,
    look: Instant,
    /// A disk that is away, or full, is looked at again.
    again: Instant,
    /// How far the time of ages has come is kept.
    carried: Instant,
    /// What may go is not asked before that.
    room: Instant,
    /// What others made garbage is taken up; `None`: there is none that is not known.
    garbage: Option<Instant>,
}

impl<P: Place> Disk<P> {
    /// Looks for the disk, and through what was left on it.
    pub(super) fn new(
        place: P,
        found: Found,
        clocks: Clocks,
        queue: Queue,
        index: Arc<Index>,
        shared: Arc<Shared>,
    ) -> Result<Self, index::Error> {
        let now = clocks.now();
        let reader = index.reader()?;
        let kept = reader.carried_90k()?.map(from_unix_90k);
        let mut disk = Self {
            place,
            found,
            queue,
            index,
            reader,
            shared,
            carried: Carried::new(kept, now),
            dateless: Dateless::new(now),
            attached: None,
            writers: BTreeMap::new(),
            deleting: Deleting::default(),
            state: State::Recording,
            untold: Vec::new(),
            counters: Counters::default(),
            due: Due {
                sync: now.monotonic + found.sync,
                look: now.monotonic,
                again: now.monotonic,
                carried: now.monotonic,
                room: now.monotonic,
                garbage: None,
            },
            clocks,
        };
        disk.tick();
        Ok(disk)
    }

    /// Waits for what is to be done next.
    pub(super) fn pop(&self) -> Popped {
        let now = self.clocks.clock.now();
        let due = self.due.sync.min(self.due.look);
        let due = self.due.garbage.map_or(due, |garbage| due.min(garbage));
        let wait = if self.has_more() {
            Duration::ZERO
        } else {
            due.saturating_duration_since(now)
        };
        self.queue.pop(wait)
    }

    /// Does it.
    pub(super) fn job(&mut self, job: Job) {
        let Job {
            sink,
            camera,
            file,
            what,
        } = job;
        let now = self.clocks.clock.now();
        self.writers.entry(sink).or_insert_with(|| Writer::new(camera, now));
        match what {
            What::Begin(begin) => self.begin(sink, file, &begin),
            What::Piece(piece) => self.piece(sink, file, &piece),
            What::End(end, left_out) => self.end(sink, file, end.as_ref(), left_out),
            What::Missed(why) => self.end_run(sink, why.ended()),
            What::Left => {
                self.finish(sink, None, Some(Ended::Stopped));
                self.end_run(sink, Ended::Stopped);
                self.writers.remove(&sink);
                self.queue.forget(sink);
            }
        }
        // A disk that is never idle deletes even so.
        self.unlink(1);
    }

    /// Looks what it is time for. To be called after each job, and when time passed.
    pub(super) fn tick(&mut self) {
        let now = self.clocks.now();
        if self.due.sync <= now.monotonic {
            self.sync();
            self.due.sync = self.clocks.clock.now() + self.found.sync;
        }
        if self.due.look <= now.monotonic {
            self.look(now);
            self.due.look = self.clocks.clock.now() + LOOK_EVERY;
        }
        if self.queue.is_empty() {
            self.unlink(IDLE_UNLINKS);
        }
        self.take_up_garbage();
        // What the index has no room for waits here: no more of it is found meanwhile.
        if self.queue.is_empty() && self.deleting.is_empty() && self.untold.is_empty() {
            self.adopt_one();
        }
        self.shared.lock().1 = self.counters;
    }

    /// Ends all files, in order.
    pub(super) fn stop(&mut self) {
        let sinks: Vec<SinkId> = self.writers.keys().copied().collect();
        for sink in sinks {
            self.finish(sink, None, Some(Ended::Stopped));
            self.end_run(sink, Ended::Stopped);
        }
        self.settle();
        let now = self.clocks.now();
        self.look_at_time(now);
        self.tell_untold();
        self.shared.lock().1 = self.counters;
    }

    pub(super) fn has_more(&self) -> bool {
        let Some(attached) = &self.attached else { return false };
        let may_adopt = attached.adoption.is_some() && self.untold.is_empty();
        !self.deleting.is_empty() || may_adopt
    }

    /// What is still to be looked through; `None`: nothing, or the disk is away.
    pub(super) fn looking(&self) -> Option<Looking> {
        self.attached.as_ref()?.adoption.as_ref().map(Adoption::progress)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Every five seconds.
    fn look(&mut self, now: Now) {
        self.look_at_time(now);
        self.shared.growing.look(now.monotonic);
        self.tell_untold();
        let is_due = self.due.again <= now.monotonic;
        if is_due {
            self.due.again = now.monotonic + AGAIN_EVERY;
        }
        match (&self.attached, &self.state) {
            (None, _) if is_due => self.attach(),
            (None, _) => {}
            (Some(_), State::Paused { .. }) if !is_due => {}
            (Some(_), _) => {
                if self.is_there() {
                    self.make_room();
                }
            }
        }
        for (camera, why, fragments) in self.queue.take_left_out() {
            self.counters.count_left_out(why, fragments);
            self.shared.notice(Notice::LeftOut { camera, why, fragments });
        }
        self.say();
    }

    /// The time that age is counted in.
    fn look_at_time(&mut self, now: Now) {
        let moved = self.carried.look(now, (self.clocks.is_synchronised)());
        let at_90k = unix_90k(self.carried.at(now.monotonic));
        if let Some(moved) = moved {
            let by_90k = unix_90k(WallTime::from_unix_micros(moved.by_us));
            self.tell(Change::Sure { at_90k, by_90k });
        } else if self.due.carried <= now.monotonic && self.untold.is_empty() {
            self.due.carried = now.monotonic + CARRIED_EVERY;
            self.tell(Change::Carried { at_90k });
        }
        self.date(now);
    }

    /// Makes durable what was written.
    /// All of them begin before the first is waited for: file systems with a journal put the lengths of all into one commit then, and not of each into one of its own.
    fn sync(&mut self) {
        self.writers.values().for_each(Writer::start_sync);
        let sinks: Vec<SinkId> = self.writers.keys().copied().collect();
        for sink in sinks {
            self.sync_one(sink);
        }
    }

    /// Tells the index something. What it does not take now is told later.
    fn tell(&mut self, change: Change) {
        self.shared.growing.tell(&change, self.clocks.clock.now());
        if !self.untold.is_empty() || self.index.write(change.clone()).is_err() {
            self.untold.push(change);
        }
    }

    fn tell_untold(&mut self) {
        let mut rest = std::mem::take(&mut self.untold).into_iter();
        while let Some(change) = rest.next() {
            if self.index.write(change.clone()).is_err() {
                self.untold.push(change);
                self.untold.extend(rest);
                return;
            }
        }
    }

    fn set_state(&mut self, state: State) {
        if self.state == state {
            return;
        }
        self.queue.hold_all(match state {
            State::Recording | State::Failing { .. } => None,
            State::Paused { .. } => Some(LeftOut::Full),
            State::Away { .. } | State::InUse { .. } => Some(LeftOut::Away),
        });
        self.state = state.clone();
        self.shared.lock().0.state = state.clone();
        let path = self.place.path().to_owned();
        self.shared.notice(Notice::State { path, state });
    }

    /// Something failed that was not a file's.
    fn failing(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.counters.failures += 1;
        let why = format!("{what}: {error}");
        self.shared.notice(Notice::Failed {
            camera: None,
            why: why.clone(),
        });
        if matches!(self.state, State::Recording | State::Failing { .. }) {
            self.set_state(State::Failing { why });
        }
    }

    /// Something was written: it does not fail any more.
    fn works(&mut self) {
        if matches!(self.state, State::Failing { .. }) {
            self.set_state(State::Recording);
        }
    }
}

/// The text of a path, for people: as much of it as the index keeps.
fn text_of(path: &Path) -> String {
    let mut text = path.display().to_string();
    text.truncate(text.floor_char_boundary(index::MAX_PATH_BYTES));
    text
}

/// The path of a row, where it stays within its root.
fn path_of(row: &index::Segment) -> Option<PathBuf> {
    let path = PathBuf::from(&row.path);
    let is_inside = path
        .components()
        .all(|component| matches!(component, std::path::Component::Normal(_)));
    (is_inside && !row.path.is_empty()).then_some(path)
}

/// Looks at clocks, limits and disks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks for a disk that is away, and for room where there was none.
const AGAIN_EVERY: Duration = Duration::from_secs(10);
/// The time of ages is kept: a kill makes everything younger by as much.
const CARRIED_EVERY: Duration = Duration::from_secs(60);
/// Files that are removed at a time where nothing else is to be done.
const IDLE_UNLINKS: usize = 16;
/// Notices that wait for who takes them.
const MAX_NOTICES: usize = 1_024;

#[cfg(test)]
mod tests;
