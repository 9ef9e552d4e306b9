//! The thread that writes, and the handle to it.
//!
//! Belongs here: what is waited for, how changes come together in one transaction, what is kept when one fails. Does not belong here: what a change does
//! ([`super::write`]).

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::lock::Lock;
use super::adopting;
use super::ballast::Ballast;
use super::event::EventIds;
use super::read::Count;
use super::takeover::{self, TakenOver};
use super::write::Store;
use super::{Change, Error, EventId, MAX_READERS, Protected, ProtectedId, Reader, Segment, SegmentId, schema};

/// The index of recordings, open to be written. Dropped, it writes what is left and closes the file.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    shared: Arc<Shared>,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Let go when it is dropped, behind the end of the thread.
    _held: Option<Lock>,
}

/// An index, and what was found.
#[derive(Debug)]
pub struct Opened {
    /// The index.
    pub index: Index,
    /// Nothing stands in it: it is to be made from the files.
    pub is_new: bool,
    /// It was closed in order, so all that was recorded is told, and nothing is open. Of a new one too. After a power cut it is not.
    pub was_clean: bool,
    /// The file that could not be read, where it lies now. It is never deleted by this program.
    pub aside: Option<PathBuf>,
    /// What was taken over out of the one before, where there was one and that was done at this start. Its events and protected ranges have the numbers they had.
    pub taken_over: Option<TakenOver>,
    /// All that people told is here, as far as can be known. Else a file before this one could not be read as a whole: a person has to look at what is protected, and
    /// nothing is to be deleted until [`Index::confirm_protection`]. It stays so from start to start.
    pub has_all_told: bool,
    /// The format that it had, where it was an older one. What there was is beside it, as `NAME.format-N`.
    pub migrated_from: Option<u32>,
}

/// How the writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What waits to be written, in bytes of memory.
    pub queued_bytes: usize,
    /// Changes that were written.
    pub written: u64,
    /// Changes that could not be, whatever the disk: a fault of who told them.
    pub refused: u64,
    /// Transactions.
    pub transactions: u64,
    /// Why the last transaction failed; what it was to write is tried again. `None`: it did not.
    pub failing: Option<Error>,
}

/// Why a change was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// So much waits already: the disk is slow or full. [`Index::flush`] waits, and says why.
    #[error("{MAX_QUEUED_BYTES} bytes of changes wait already to be written into the index of recordings")]
    Full,
    /// The thread has ended.
    #[error("the index of recordings was closed")]
    Closed,
}

/// What a start reads and writes: where that goes well, all tables are there.
struct Begun {
    store: Store,
    was_clean: bool,
    is_new: bool,
    taken_over: Option<TakenOver>,
    has_all_told: bool,
    migrated_from: Option<u32>,
    next_segment: i64,
}

impl Begun {
    fn new(path: &Path) -> Result<Self, Error> {
        Self::at_once(path).or_else(|error| match error {
            Error::NoRoom { .. } if Ballast::of(path).give_up() => Self::at_once(path),
            error => Err(error),
        })
    }

    fn at_once(path: &Path) -> Result<Self, Error> {
        let found = schema::open(path, schema::MIGRATIONS)?;
        let mut store = Store::new(found.connection, path);
        // Before anything is written: where it cannot be read, the file is put aside as it was.
        let behind = adopting::behind(&store.connection).map_err(|error| Error::of(path, &error))?;
        let (was_clean, next_segment) = store.begin(behind)?;
        let (taken_over, has_all_told) = takeover::at_start(&mut store, path)?;
        store.events = EventIds::new(store.next("event")?);
        Ok(Self {
            was_clean,
            taken_over,
            has_all_told,
            is_new: found.is_new,
            migrated_from: found.migrated_from,
            next_segment,
            store,
        })
    }
}

#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    readers: Arc<AtomicUsize>,
    next_segment: AtomicI64,
    events: EventIds,
    health: Mutex<Health>,
}

enum Command {
    Change(Change),
    /// After all that was told before it is written.
    Ask(Question),
    /// Likewise; but where the disk is full, before it.
    Urgent(Question),
}

/// What is done with the connection, or that it cannot be.
type Question = Box<dyn FnOnce(Result<&mut Store, Error>) + Send>;

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => change.fmt(f),
            Self::Ask(_) => f.write_str("Ask"),
            Self::Urgent(_) => f.write_str("Urgent"),
        }
    }
}

impl Index {
    /// Opens the file and starts the thread. Changes are written after `every`, all that came meanwhile in one transaction.
    ///
    /// # Errors
    /// [`Error`]; then nothing was changed, but that a copy may have been made. [`Opened::aside`] is none.
    pub fn open(path: &Path, every: Duration) -> Result<Opened, Error> {
        let mut aside = schema::put_marked_aside(path)?;
        let begun = match Begun::new(path) {
            Err(error) if error.is_damage() => {
                aside = Some(schema::put_aside(path)?);
                Begun::new(path)
            }
            begun => begun,
        };
        let Begun {
            mut store,
            was_clean,
            is_new,
            taken_over,
            has_all_told,
            migrated_from,
            next_segment,
        } = begun?;
        store.ballast.make();
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            readers: Arc::default(),
            next_segment: AtomicI64::new(next_segment),
            events: store.events.clone(),
            health: Mutex::default(),
        });
        let (commands, received) = mpsc::channel();
        let writer = Writer {
            store,
            path: path.to_owned(),
            every,
            shared: Arc::clone(&shared),
            waiting: Vec::new(),
            due: None,
        };
        let thread = std::thread::Builder::new()
            .name("record-index".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|error| Error::of_system(path, &error))?;
        Ok(Opened {
            index: Self {
                path: path.to_owned(),
                shared,
                commands: Some(commands),
                thread: Some(thread),
                _held: None,
            },
            is_new,
            was_clean,
            aside,
            taken_over,
            has_all_told,
            migrated_from,
        })
    }

    /// Keeps this until the file is closed, whoever holds the index last.
    pub(in crate::record) fn hold(&mut self, lock: Lock) {
        self._held = Some(lock);
    }

    /// A number for a segment that is begun or found. They grow, and order what is deleted first.
    pub fn next_segment(&self) -> SegmentId {
        SegmentId(self.shared.next_segment.fetch_add(1, Ordering::Relaxed))
    }

    /// Numbers for files that are found: lower than all that are given out from now on. [`Change::Adopting`] keeps them from start to start.
    ///
    /// They begin somewhere behind those that were given out before, as far as `random` says: what is found may be of an index that is lost, and the numbers of its runs, which stand in heads of
    /// files, are not to be given to other runs.
    pub fn keep_segments(&self, random: u64) -> Range<i64> {
        let apart = (random & adopting::APART).cast_signed();
        let taken = apart.saturating_add(adopting::BLOCK);
        let before = self.shared.next_segment.fetch_add(taken, Ordering::Relaxed);
        let first = before.saturating_add(apart);
        first..first.saturating_add(adopting::BLOCK)
    }

    /// The next number is somewhere behind those that were given out before, as far as `random` says: an index that is lost may have given out the first ones. Waits for the disk.
    ///
    /// # Errors
    /// [`Error`]: after a kill numbers may begin with the first ones all the same.
    pub fn skip_segments(&self, random: u64) -> Result<(), Error> {
        let apart = (random & adopting::APART).cast_signed();
        let before = self.shared.next_segment.fetch_add(apart, Ordering::Relaxed);
        self.ask(Command::Urgent, move |store| store.skip(before.saturating_add(apart)))
    }

    /// A number for an event.
    pub fn next_event(&self) -> EventId {
        self.shared.events.next()
    }

    /// Takes a change, to be written soon. Never waits.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn write(&self, change: Change) -> Result<(), NotTaken> {
        let bytes = change.bytes();
        let fits = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= MAX_QUEUED_BYTES);
        let queued = &self.shared.queued_bytes;
        let taken = queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| NotTaken::Full)?;
        let commands = self.commands.as_ref();
        let is_sent = commands.is_some_and(|commands| commands.send(Command::Change(change)).is_ok());
        is_sent.then_some(()).ok_or(NotTaken::Closed)
    }

    /// Writes all that was told, now, and waits for it: as long as the disk takes.
    ///
    /// # Errors
    /// [`Error`]: what was told waits further on, and is tried again.
    pub fn flush(&self) -> Result<(), Error> {
        self.ask(Command::Ask, |_| Ok(()))
    }

    /// Makes garbage of segments, but for those that are protected or not kept any more, and waits for it; on a full disk too. The files of those that are returned are to be
    /// removed, then [`Change::Gone`] is told. At most [`super::MAX_PAGE`] at a time.
    ///
    /// # Errors
    /// [`Error`]: no file may be removed.
    pub fn discard(&self, segments: Vec<SegmentId>) -> Result<Vec<Segment>, Error> {
        self.ask(Command::Urgent, move |store| {
            store.in_any_room(|store| store.discard(&segments))
        })
    }

    /// Protects a range of a camera, and waits for it. Nothing that lies in it is garbage from then on, after a power cut neither.
    ///
    /// # Errors
    /// [`Error`]: it is not protected. [`Error::Limit`] and [`Error::NotSound`]: nor will it be.
    pub fn protect(&self, protected: Protected) -> Result<ProtectedId, Error> {
        self.ask(Command::Urgent, move |store| {
            store.in_any_room(|store| store.protect(&protected))?
        })
    }

    /// Ends a protection, and waits for it; also at times that it came to when a run was moved, whichever of them is named. Whether there was one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn release(&self, protected: ProtectedId) -> Result<bool, Error> {
        self.ask(Command::Urgent, move |store| {
            store.in_any_room(|store| store.release(protected))
        })
    }

    /// A person looked at what is protected, after [`Opened::has_all_told`] was false, and waits for it: that is all from now on.
    ///
    /// # Errors
    /// [`Error`].
    pub fn confirm_protection(&self) -> Result<(), Error> {
        self.ask(Command::Urgent, |store| {
            store.in_any_room(|store| store.set_all_told(true))
        })
    }

    /// Changes what follows from rows, in one transaction, and waits for it.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        self.ask(Command::Ask, |store| store.change(change))
    }

    /// One more who reads, at most [`MAX_READERS`] at a time.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reader(&self) -> Result<Reader, Error> {
        let count = Count::one_more(&self.shared.readers).ok_or(Error::Limit {
            what: "readers of the index of recordings",
            limit: MAX_READERS,
        })?;
        Reader::open(self.path.clone(), count)
    }

    /// How the writing goes.
    pub fn health(&self) -> Health {
        let health = self
            .shared
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Health {
            queued_bytes: self.shared.queued_bytes.load(Ordering::Relaxed),
            ..health
        }
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// [`Error`]: what was told and not yet written is lost; the files know it.
    pub fn close(mut self) -> Result<(), Error> {
        let flushed = self.flush();
        self.end();
        flushed
    }

    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Question) -> Command,
        ask: impl FnOnce(&mut Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::channel();
        let asked = command(Box::new(move |store: Result<&mut Store, Error>| {
            // Who asked may have gone.
            let _ = answer.send(store.and_then(ask));
        }));
        let sent = self.commands.as_ref().and_then(|commands| commands.send(asked).ok());
        let answer = sent.and_then(|()| answered.recv().ok()).unwrap_or(Err(Error::Closed));
        answer.inspect_err(|error| schema::mark_damage(&self.path, error))
    }

    fn end(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It ends by itself when nobody can tell it anything.
            let _ = thread.join();
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
struct Writer {
    store: Store,
    path: PathBuf,
    every: Duration,
    shared: Arc<Shared>,
    waiting: Vec<Change>,
    /// When what waits is to be written.
    due: Option<Instant>,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let received = match self.due {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => commands.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(Command::Change(change)) => self.take(change),
                Ok(Command::Ask(ask)) => match self.commit() {
                    Ok(()) => ask(Ok(&mut self.store)),
                    Err(error) => ask(Err(error)),
                },
                Ok(Command::Urgent(ask)) => match self.commit() {
                    // What waits is told by the files as well; what is asked makes room.
                    Ok(()) | Err(Error::NoRoom { .. }) => ask(Ok(&mut self.store)),
                    Err(error) => ask(Err(error)),
                },
                // What failed is told by the health, and tried again.
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.commit();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nobody can ask for another any more.
        let next_segment = self.shared.next_segment.load(Ordering::Relaxed);
        let ended = self.commit().and_then(|()| self.store.end(next_segment));
        if let Err(error) = ended {
            schema::mark_damage(&self.path, &error);
            tracing::warn!("the last changes were not written: {error}");
        }
    }

    fn take(&mut self, change: Change) {
        self.waiting.push(change);
        let due = *self.due.get_or_insert_with(|| Instant::now() + self.every);
        // A whole rebuild comes at once, and may never leave a pause.
        if self.waiting.len().is_multiple_of(MAX_TOGETHER) || due <= Instant::now() {
            // What failed is told by the health, and tried again.
            let _ = self.commit();
        }
    }

    /// Writes what waits. After a failure it waits further on.
    fn commit(&mut self) -> Result<(), Error> {
        self.due = None;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit(&self.waiting);
        // Both before the lock: who asks how it goes does not wait for the disk.
        match &committed {
            Ok(_) => self.store.ballast.make(),
            Err(error) => schema::mark_damage(&self.path, error),
        }
        let mut health = self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        match committed {
            Ok(done) => {
                let count = self.waiting.len() as u64;
                let bytes: usize = self.waiting.drain(..).map(|change| change.bytes()).sum();
                self.waiting.shrink_to(MAX_TOGETHER);
                self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                health.transactions += 1;
                health.refused += done.refused;
                health.written += count - done.refused;
                if health.failing.take().is_some() {
                    tracing::info!("the index of recordings is written again");
                }
                if let Some(why) = done.why {
                    tracing::warn!(
                        "{} of {count} changes of the index of recordings cannot be: {why}",
                        done.refused
                    );
                }
                Ok(())
            }
            Err(error) => {
                self.due = Some(Instant::now() + self.every.max(LEAST_PAUSE));
                if health.failing.as_ref() != Some(&error) {
                    tracing::warn!("{error}");
                    health.failing = Some(error.clone());
                }
                Err(error)
            }
        }
    }
}

/// Changes that wait to be written, in bytes of memory: some 30,000 segments.
pub const MAX_QUEUED_BYTES: usize = 16 << 20;
/// Changes in one transaction, where they come faster than it is time for one.
const MAX_TOGETHER: usize = 5_000;
/// Until a transaction that failed is tried again, at the least.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
