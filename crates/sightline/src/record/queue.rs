//! What waits to be written on a disk: from many cameras, within limits, to one thread.
//!
//! Belongs here: what is taken and what is left out, so that nobody who records ever waits for a disk. Does not belong here: what is done with it
//! ([`super::disk`]).
//!
//! - Full is: 32 MiB of all, 8 MiB of one, or something that has waited for 30 s. What is full for one camera is not for others.
//! - From the first fragment that is left out on, so is all of its file: nothing can be decoded over a gap. The next file is taken where there is room.
//! - `end` is always taken. Each stands behind a `begin`, whose cost it is part of.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::{Clock, StreamName};

use super::report::LeftOut;
use super::sink::{Begin, End, Full, Piece, Sink};

/// What waits, of all cameras, in bytes.
pub const MAX_BYTES: usize = 32 << 20;
/// What waits of one, in bytes. A fragment that is larger is taken where nothing of its camera waits.
pub const MAX_SINK_BYTES: usize = 8 << 20;
/// As long something may wait.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
/// Sinks at a time. One that is beyond records nothing.
pub const MAX_SINKS: usize = 4_096;

/// What one thing that waits takes beside its bytes.
const JOB_BYTES: usize = 512;

/// Which sink. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SinkId(u64);

/// Something to be done.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sink: SinkId,
    pub(super) camera: StreamName,
    /// Which file of this sink, counted.
    pub(super) file: u64,
    pub(super) what: What,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum What {
    /// A file begins.
    Begin(Box<Begin>),
    /// Its next fragment.
    Piece(Piece),
    /// It is complete, or its beginning is: then why the rest is missing. Without [`End`] nobody said that it is.
    End(Option<End>, Option<LeftOut>),
    /// A file was not taken that should have followed.
    Missed(LeftOut),
    /// Nothing comes from this sink any more.
    Left,
}

/// What was waited for.
#[derive(Debug)]
pub(super) enum Popped {
    /// This is to be done.
    Job(Job),
    /// Time passed.
    Nothing,
    /// All is done, and nothing comes any more.
    Closed,
}

/// See the module. Clones are the same queue.
#[derive(Clone)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Waiting>,
    bytes: usize,
    /// What is being done: it counts until it is.
    doing: Option<(SinkId, usize, Instant)>,
    lanes: BTreeMap<SinkId, Lane>,
    next_sink: u64,
    /// Nothing is taken, because of that.
    held: Option<LeftOut>,
    /// Rows were made garbage whose files are to be removed.
    has_garbage: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    bytes: usize,
    since: Instant,
}

/// What is known of a sink.
#[derive(Debug)]
struct Lane {
    camera: StreamName,
    bytes: usize,
    file: u64,
    /// A file was begun and taken.
    is_open: bool,
    /// The rest of this file is left out.
    out: Option<LeftOut>,
    /// No file is taken before that.
    held: Option<(Instant, LeftOut)>,
    /// It was told that one was not.
    is_missed: bool,
    left_out: BTreeMap<LeftOut, u64>,
}

impl Queue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                inner: Mutex::default(),
                more: Condvar::new(),
            }),
        }
    }

    /// One more that records.
    pub(super) fn sink(&self, camera: &StreamName) -> QueueSink {
        let mut inner = self.lock();
        inner.next_sink += 1;
        let id = SinkId(inner.next_sink);
        if inner.lanes.len() < MAX_SINKS {
            let lane = Lane {
                camera: camera.clone(),
                bytes: 0,
                file: 0,
                is_open: false,
                out: None,
                held: None,
                is_missed: false,
                left_out: BTreeMap::new(),
            };
            inner.lanes.insert(id, lane);
        }
        QueueSink {
            id,
            queue: self.clone(),
        }
    }

    /// Waits for something to do, so long at the most. What was handed out before is done.
    pub(super) fn pop(&self, wait: Duration) -> Popped {
        let has_nothing = |inner: &mut Inner| inner.jobs.is_empty() && !inner.has_garbage && !inner.is_closed;
        let mut inner = self.lock();
        inner.done();
        if !wait.is_zero() {
            let waited = self.shared.more.wait_timeout_while(inner, wait, has_nothing);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match inner.jobs.pop_front() {
            Some(waiting) => {
                inner.doing = Some((waiting.job.sink, waiting.bytes, waiting.since));
                Popped::Job(waiting.job)
            }
            None if inner.is_closed => Popped::Closed,
            None => Popped::Nothing,
        }
    }

    /// The rest of a file is not wanted, if it is still the one that is told.
    pub(super) fn refuse(&self, sink: SinkId, file: u64, why: LeftOut) {
        let mut inner = self.lock();
        if let Some(lane) = inner
            .lanes
            .get_mut(&sink)
            .filter(|lane| lane.file == file && lane.is_open)
        {
            lane.out = lane.out.or(Some(why));
        }
    }

    /// No file of a sink is taken until then.
    pub(super) fn hold(&self, sink: SinkId, until: Option<(Instant, LeftOut)>) {
        if let Some(lane) = self.lock().lanes.get_mut(&sink) {
            lane.held = until;
        }
    }

    /// No file of any is taken; `None`: they are again.
    pub(super) fn hold_all(&self, why: Option<LeftOut>) {
        let mut inner = self.lock();
        if !inner.is_closed {
            inner.held = why;
        }
    }

    /// Rows were made garbage. Which, the index knows; so there is nothing that could grow here.
    pub(super) fn tell_garbage(&self) {
        self.lock().has_garbage = true;
        self.shared.more.notify_one();
    }

    /// Whether that was told since it was asked last.
    pub(super) fn take_garbage(&self) -> bool {
        std::mem::take(&mut self.lock().has_garbage)
    }

    /// Nothing is taken any more but ends.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.held = Some(LeftOut::Stopped);
        inner.is_closed = true;
        drop(inner);
        self.shared.more.notify_all();
    }

    /// So many fragments of a file that had been taken are left out after all.
    pub(super) fn count_left_out(&self, sink: SinkId, why: LeftOut, fragments: u64) {
        if let Some(lane) = self.lock().lanes.get_mut(&sink) {
            *lane.left_out.entry(why).or_default() += fragments;
        }
    }

    /// What was left out since it was asked last.
    pub(super) fn take_left_out(&self) -> Vec<(StreamName, LeftOut, u64)> {
        let mut inner = self.lock();
        let lanes = inner.lanes.values_mut();
        lanes
            .flat_map(|lane| {
                let left_out = std::mem::take(&mut lane.left_out);
                let camera = lane.camera.clone();
                left_out
                    .into_iter()
                    .map(move |(why, count)| (camera.clone(), why, count))
            })
            .collect()
    }

    /// What waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_lane<T>(&self, sink: SinkId, then: impl FnOnce(&mut Inner, Instant) -> T) -> Option<T> {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        inner.lanes.contains_key(&sink).then(|| then(&mut inner, now))
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Queue")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn lane(&mut self, sink: SinkId) -> Option<&mut Lane> {
        self.lanes.get_mut(&sink)
    }

    /// Why so many more bytes of a sink have no room.
    fn is_full(&self, sink: SinkId, bytes: usize, now: Instant) -> bool {
        let own = self.lanes.get(&sink).map_or(0, |lane| lane.bytes);
        let oldest = self.doing.map(|(_, _, since)| since);
        let oldest = oldest.or_else(|| self.jobs.front().map(|waiting| waiting.since));
        self.bytes.saturating_add(bytes) > MAX_BYTES
            || (own > 0 && own.saturating_add(bytes) > MAX_SINK_BYTES)
            || oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) > MAX_WAIT)
    }

    fn push(&mut self, sink: SinkId, what: What, bytes: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&sink) else { return };
        lane.bytes += bytes;
        self.bytes += bytes;
        let job = Job {
            sink,
            camera: lane.camera.clone(),
            file: lane.file,
            what,
        };
        self.jobs.push_back(Waiting { job, bytes, since: now });
    }

    /// What was being done is.
    fn done(&mut self) {
        if let Some((sink, bytes, _)) = self.doing.take() {
            self.bytes -= bytes;
            if let Some(lane) = self.lanes.get_mut(&sink) {
                lane.bytes -= bytes;
            }
        }
    }

    fn begin(&mut self, sink: SinkId, begin: Begin, now: Instant) -> Result<(), Full> {
        self.end(sink, None, now);
        let bytes = begin.init_segment.len() + 2 * JOB_BYTES;
        let is_full = self.is_full(sink, bytes, now);
        let held = self.held;
        let Some(lane) = self.lane(sink) else { return Err(Full) };
        let held = held.or(lane.held.filter(|(until, _)| now < *until).map(|(_, why)| why));
        lane.out = held.or(is_full.then_some(LeftOut::Slow));
        lane.file += 1;
        if let Some(why) = lane.out {
            if !std::mem::replace(&mut lane.is_missed, true) {
                self.push(sink, What::Missed(why), 0, now);
            }
            return Err(Full);
        }
        lane.is_open = true;
        lane.is_missed = false;
        self.push(sink, What::Begin(Box::new(begin)), bytes, now);
        Ok(())
    }

    fn fragment(&mut self, sink: SinkId, piece: Piece, now: Instant) -> Result<(), Full> {
        let bytes = piece.bytes.len() + JOB_BYTES;
        let is_full = self.is_full(sink, bytes, now);
        let stopped = self.held.filter(|_| self.is_closed);
        let Some(lane) = self.lane(sink) else { return Err(Full) };
        lane.out = lane.out.or(stopped).or(is_full.then_some(LeftOut::Slow));
        if let Some(why) = lane.out {
            *lane.left_out.entry(why).or_default() += 1;
            return Err(Full);
        }
        if lane.is_open {
            self.push(sink, What::Piece(piece), bytes, now);
        }
        Ok(())
    }

    fn end(&mut self, sink: SinkId, end: Option<End>, now: Instant) {
        let Some(lane) = self.lane(sink) else { return };
        if std::mem::take(&mut lane.is_open) {
            let out = lane.out;
            self.push(sink, What::End(end, out), 0, now);
        }
    }
}

/// The end of a queue that a camera holds. Dropped, it ends its file.
#[derive(Debug)]
pub(super) struct QueueSink {
    id: SinkId,
    queue: Queue,
}

impl QueueSink {
    fn push<T>(&self, then: impl FnOnce(&mut Inner, Instant) -> T) -> Option<T> {
        let done = self.queue.with_lane(self.id, then);
        self.queue.shared.more.notify_one();
        done
    }
}

impl Sink for QueueSink {
    fn begin(&mut self, begin: Begin) -> Result<(), Full> {
        self.push(|inner, now| inner.begin(self.id, begin, now))
            .unwrap_or(Err(Full))
    }

    fn fragment(&mut self, piece: Piece) -> Result<(), Full> {
        self.push(|inner, now| inner.fragment(self.id, piece, now))
            .unwrap_or(Err(Full))
    }

    fn end(&mut self, end: End) {
        self.push(|inner, now| inner.end(self.id, Some(end), now));
    }
}

impl Drop for QueueSink {
    fn drop(&mut self) {
        self.push(|inner, now| {
            inner.end(self.id, None, now);
            inner.push(self.id, What::Left, 0, now);
        });
    }
}

impl Queue {
    /// Nothing is known of a sink any more: what it told last was done.
    pub(super) fn forget(&self, sink: SinkId) {
        self.lock().lanes.remove(&sink);
    }
}

#[cfg(test)]
mod tests;
