//! Frames from one publisher to many readers.
//!
//! Belongs here: streams by name, who publishes, who reads, what is kept and for how long. Does not belong here: packets,
//! sockets, tasks, a clock. `now` is an argument of every call that needs it.
//!
//! - [`Hub`] knows the streams. [`Hub::publish`] makes one, [`Hub::stream`] finds one.
//! - [`Publisher`] puts frames in and never waits. A second one takes over at its first keyframe.
//! - [`Stream`] holds the last frames in a ring, at least those since the last keyframe. The ring is the only queue.
//! - [`Reader`] is a position in the ring and a waker; [`Position`] with [`Stream::read`] is the same without a waker.
//! - [`News`] tells one listener who comes and goes ([`Hub::tell`]).
//! - [`Forms`] holds what a protocol made of the last few frames, made once for all viewers.
//!
//! ```
//! # fn show(hub: media::hub::Hub, name: media::StreamName, now: std::time::Instant) -> Option<()> {
//! use media::hub::Event;
//!
//! let stream = hub.stream(&name, now).ok()?;
//! let mut reader = stream.join(now).ok()?;
//! let task = async move {
//!     let mut frames = Vec::new();
//!     loop {
//!         frames.clear();
//!         match reader.next(&mut frames).await {
//!             Event::Frames(_) => { /* send `frames` */ }
//!             Event::Jumped { frames_skipped } => { /* count; a keyframe follows */ }
//!             Event::Tracks(_) | Event::Ended(_) => break,
//!         }
//!     }
//! };
//! # drop(task); Some(()) }
//! ```
//!
//! **Locks.** Each stream has one, held for the copying of a few pointers. Wakers, keyframe requests and the freeing of
//! evicted frames happen outside it. Order where two are held: hub, then stream; form, then stream.

mod books;
mod forms;
mod keyframes;
mod news;
mod publisher;
mod reader;
mod refused;
mod ring;
mod sessions;
#[cfg(test)]
mod sim;
mod stream;
mod sync;
mod takeover;
mod timeline;
mod wakers;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub use books::{Account, Books, Ledger};
pub use forms::{Forms, Render};
pub use news::News;
pub use publisher::{Origin, Publisher, Publishing};
pub use reader::{EndReason, Event, Position, Reader};
pub use refused::{Party, PublishError, Refused};
pub use ring::Entry;
pub use sessions::Viewing;
pub use stream::{Pace, Start, State, Stream};

use crate::name::StreamName;
use crate::track::Track;
use news::Teller;
use stream::{Budget, Hold};
use sync::{AtomicUsize, Mutex, lock};
use wakers::Woken;

/// Most tracks of a stream.
pub const MAX_TRACKS: usize = 8;

/// What the streams are called together that are not told apart. One of this name is one of them.
pub const OTHERS: &str = "other";

/// What a hub and its streams hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at a time. Default 1,000.
    pub streams: usize,
    /// Viewers of one stream ([`Stream::add_viewer`]). Default 10,000.
    pub viewers_per_stream: usize,
    /// Readers of one stream ([`Stream::join`]): tasks, not viewers. Default 1,000.
    pub readers_per_stream: usize,
    /// Publishers that wait to take over one stream. Default 4.
    pub waiting_publishers: usize,
    /// Largest frame. Default 8 MiB.
    pub frame_bytes: usize,
    /// Bytes in one ring; a frame that is larger is held alone. Default 32 MiB.
    pub ring_bytes: usize,
    /// Frames in one ring. Default 8,192.
    pub ring_frames: usize,
    /// Media time in one ring, from oldest to newest. Default 30 s.
    pub ring_time: Duration,
    /// Bytes in all rings together; over it, each is cut down to an equal share at its next frame. Default: none.
    pub total_bytes: Option<usize>,
    /// How far a reader may be behind before it jumps. Older frames are let go once a newer keyframe is there. Default 2 s.
    pub lag: Duration,
    /// Longest GOP of which the last whole one is kept beside the one that has begun, for who wants more than the newest frames
    /// ([`Stream::replay`]). Zero: none. Default 4 s.
    pub whole_gop: Duration,
    /// Bytes that a newcomer may be given at once. Default 16 MiB.
    pub burst_bytes: usize,
    /// Media time that a newcomer may be given at once. Zero: nothing, not even a keyframe that is the newest frame. Default 12 s.
    pub burst_time: Duration,
    /// How long a stream waits for a publisher to come back. Default 5 s; up to [`Limits::burst_time`] when one is there that
    /// has yet to send its first keyframe.
    pub hold: Duration,
    /// Streams that are remembered after their end. Default 1,000.
    pub remembered: usize,
    /// Streams whose figures are kept by name at a time ([`Stream::is_told_apart`]); those that begin beyond it are [`OTHERS`]. Default 200.
    pub told_apart: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 1_000,
            viewers_per_stream: 10_000,
            readers_per_stream: 1_000,
            waiting_publishers: 4,
            frame_bytes: crate::annexb::MAX_ACCESS_UNIT_BYTES,
            ring_bytes: 32 << 20,
            ring_frames: 8_192,
            ring_time: Duration::from_secs(30),
            total_bytes: None,
            lag: Duration::from_secs(2),
            whole_gop: Duration::from_secs(4),
            burst_bytes: 16 << 20,
            burst_time: Duration::from_secs(12),
            hold: Duration::from_secs(5),
            remembered: 1_000,
            told_apart: 200,
        }
    }
}

/// A stream that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotFound {
    /// The name asked for.
    pub stream: StreamName,
    /// How long ago its last frame came, when it was here before and is still remembered.
    pub last_seen: Option<Duration>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.stream.as_str();
        match self.last_seen {
            None => write!(f, "no stream \"{name}\" is published"),
            Some(ago) => write!(f, "\"{name}\" is not published now; last seen {} s ago", ago.as_secs()),
        }
    }
}

/// No room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has {limit} {what} already, which is the limit")]
pub struct Full {
    /// Of what.
    pub what: &'static str,
    /// How many are allowed.
    pub limit: usize,
}

/// All streams of a program. Cheap to clone: every clone is the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Mutex<Limits>,
    budget: Arc<Budget>,
    teller: Arc<Teller>,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    live: HashMap<StreamName, Arc<Stream>>,
    /// Ended streams and when their last frame came, in the order they ended.
    seen: VecDeque<(StreamName, Instant)>,
    /// How many of those that are live are told apart.
    told_apart: usize,
    /// What was counted in all streams that have ended, and in those among them that were not told apart.
    ended: Books,
    ended_others: Books,
}

impl Hub {
    /// A hub without streams.
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits: Mutex::new(limits),
                budget: Arc::new(Budget {
                    limit_bytes: AtomicUsize::new(limits.total_bytes.unwrap_or(usize::MAX)),
                    used_bytes: AtomicUsize::new(0),
                    streams: AtomicUsize::new(0),
                    sessions: AtomicUsize::new(0),
                }),
                teller: Arc::default(),
                streams: Mutex::new(Streams::default()),
            }),
        }
    }

    /// Who is told what becomes of streams, from now on and for ever: the first who asks. Called by whoever makes it happen, under locks of the
    /// hub: it takes a note, and neither waits nor asks the hub for anything.
    pub fn tell(&self, listener: impl Fn(News<'_>) + Send + Sync + 'static) {
        self.shared.teller.set(Box::new(listener));
    }

    /// The right to publish `name` with these tracks. When someone else has it, the new publisher takes over with its
    /// first keyframe of video (its first frame, if it has only sound).
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        name: &StreamName,
        tracks: Vec<Track>,
        publishing: Publishing,
        now: Instant,
    ) -> Result<Publisher, PublishError> {
        publisher::check_tracks(&tracks)?;
        let tracks: Arc<[Track]> = tracks.into();
        // Made first and dropped last: what it wakes or frees is not under the lock.
        let mut removed = Removed::default();
        let mut streams = lock(&self.shared.streams);
        if let Some(there) = streams.live.get(name) {
            if there.expire(now, &mut removed.woken) != Hold::Over {
                return Publisher::attach(&Arc::clone(there), tracks, publishing, now, &mut removed.woken);
            }
            self.remove(&mut streams, name, &mut removed);
        }
        let limits = self.limits();
        let limit = limits.streams;
        if streams.live.len() >= limit {
            return Err(PublishError::TooManyStreams { limit });
        }
        let told_apart = streams.told_apart < limits.told_apart && name.as_str() != OTHERS;
        let stream = Arc::new(Stream::new(
            name.clone(),
            limits,
            (Arc::clone(&self.shared.budget), Arc::clone(&self.shared.teller)),
            Arc::clone(&tracks),
            told_apart,
        ));
        let publisher = Publisher::attach(&stream, tracks, publishing, now, &mut removed.woken)?;
        streams.live.insert(name.clone(), stream);
        streams.told_apart += usize::from(told_apart);
        streams.seen.retain(|(seen, _)| seen != name);
        self.shared.budget.streams.store(streams.live.len(), Relaxed);
        Ok(publisher)
    }

    /// The stream of this name: live, or held for its publisher to return.
    ///
    /// # Errors
    /// [`NotFound`], which says when it was last seen.
    pub fn stream(&self, name: &StreamName, now: Instant) -> Result<Arc<Stream>, NotFound> {
        let streams = lock(&self.shared.streams);
        let there = streams.live.get(name);
        if let Some(stream) = there.filter(|stream| stream.hold(now) != Hold::Over) {
            return Ok(Arc::clone(stream));
        }
        let remembered = streams.seen.iter().find(|(seen, _)| seen == name).map(|(_, at)| *at);
        let last = there.and_then(|stream| stream.last_frame()).or(remembered);
        Err(NotFound {
            stream: name.clone(),
            last_seen: last.map(|at| now.saturating_duration_since(at)),
        })
    }

    /// All streams, live and held, sorted by name.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        let mut list: Vec<_> = lock(&self.shared.streams).live.values().cloned().collect();
        list.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        list
    }

    /// What everybody moved, also in streams that have ended. The sums never fall, but for those by the name of a stream, which go with it.
    pub fn ledger(&self) -> Ledger {
        let streams = lock(&self.shared.streams);
        let mut ledger = Ledger {
            ended: streams.ended.clone(),
            ended_others: streams.ended_others.clone(),
            streams: streams.live.values().cloned().collect(),
        };
        drop(streams);
        ledger.streams.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        ledger
    }

    /// Ends the streams whose hold is over, and returns when the next one's will be, `None` when none is held. Publishers
    /// that go in between are not known by then, so call it at that time and at least once a second.
    pub fn poll(&self, now: Instant) -> Option<Instant> {
        let mut removed = Removed::default();
        let mut streams = lock(&self.shared.streams);
        let mut over = Vec::new();
        let mut next: Option<Instant> = None;
        for (name, stream) in &streams.live {
            match stream.expire(now, &mut removed.woken) {
                Hold::Over => over.push(name.clone()),
                Hold::Until(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                Hold::No => {}
            }
        }
        for name in over {
            self.remove(&mut streams, &name, &mut removed);
        }
        next
    }

    /// Ends a stream at once, whoever publishes it.
    pub fn end(&self, name: &StreamName) {
        let mut removed = Removed::default();
        let mut streams = lock(&self.shared.streams);
        if let Some(stream) = streams.live.get(name) {
            removed.woken.push(stream.end(EndReason::Stopped));
        }
        self.remove(&mut streams, name, &mut removed);
    }

    /// Ends all streams at once, so that every session can say goodbye.
    pub fn end_all(&self) {
        for stream in self.list() {
            self.end(stream.name());
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        *lock(&self.shared.limits)
    }

    /// Other limits: [`Limits::streams`] and [`Limits::total_bytes`] from now on, what concerns one stream for those that begin from now on.
    /// Streams that are there stay.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.shared.limits) = limits;
        let total_bytes = limits.total_bytes.unwrap_or(usize::MAX);
        self.shared.budget.limit_bytes.store(total_bytes, Relaxed);
    }

    /// Bytes that all rings hold together.
    pub fn ring_bytes(&self) -> usize {
        self.shared.budget.used_bytes.load(Relaxed)
    }

    /// Forgets an ended stream, but for when it was last seen.
    fn remove(&self, streams: &mut Streams, name: &StreamName, removed: &mut Removed) {
        let Some(stream) = streams.live.remove(name) else {
            return;
        };
        self.shared.budget.streams.store(streams.live.len(), Relaxed);
        // Under the lock, so that nobody finds neither the stream nor its sums.
        let books = stream.books().closed();
        streams.ended.add(&books);
        if stream.is_told_apart() {
            streams.told_apart = streams.told_apart.saturating_sub(1);
        } else {
            streams.ended_others.add(&books);
        }
        if let Some(at) = stream.last_frame() {
            streams.seen.push_back((name.clone(), at));
            if streams.seen.len() > self.limits().remembered {
                streams.seen.pop_front();
            }
        }
        removed.streams.push(stream);
    }
}

/// Streams that were removed and their readers' wakers, on their way out of the hub's lock.
#[derive(Default)]
struct Removed {
    woken: Vec<Woken>,
    streams: Vec<Arc<Stream>>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        for woken in &mut self.woken {
            woken.wake();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("limits", &self.limits())
            .finish_non_exhaustive()
    }
}
