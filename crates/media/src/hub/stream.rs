//! One stream: its ring, its publisher, its readers, under one lock.
//!
//! Belongs here: what drivers ask a stream. Does not belong here: how a position moves ([`super::reader`]), how
//! publishers follow each other ([`super::publisher`]).

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::books::Books;
use super::keyframes::{self, Keyframes};
use super::news::{News, Teller};
use super::publisher::Owner;
use super::reader::{EndReason, Event, Position, Reader};
use super::ring::{Entry, Ring};
use super::sessions::{Sessions, Viewing};
use super::sync::{AtomicUsize, Mutex, lock};
use super::takeover::Takeovers;
use super::timeline::Timeline;
use super::wakers::{Wakers, Woken};
use super::{Full, Limits};
use crate::name::StreamName;
use crate::stats::SessionStats;
use crate::track::{Kind, Track, TrackIndex};

/// Whether a stream has a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has.
    Live,
    /// Its publisher is gone; readers wait for the next one until [`Limits::hold`] is over.
    Held {
        /// When the publisher went.
        since: Instant,
    },
    /// Over. The name is free for another stream.
    Ended(EndReason),
}

/// How long a stream without publisher stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It has one.
    No,
    Until(Instant),
    Over,
}

/// Where a newcomer starts: [`Stream::start`].
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// To be read from.
    pub position: Position,
    /// How many of the first frames read from there are older than now: the burst that brings the first picture at once.
    pub burst_frames: usize,
}

/// How frames come: [`Stream::pace`].
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Pictures a second of the leading video track; 0 without one, and when none came for a second.
    pub pictures_per_second: f64,
    /// Bits a second of all tracks, without what protocols add. A stream that began less than two seconds ago shows less than it has.
    pub bits_per_second: f64,
    /// The newest picture, if one came at all.
    pub newest_picture: Option<Arc<Entry>>,
}

/// The pictures of one window.
struct Pictures {
    first: Instant,
    count: u32,
    newest: Arc<Entry>,
}

impl Pictures {
    /// From the intervals between them, so that it does not jump between 29 and 31 as counting those of a second would.
    fn per_second(&self, now: Instant) -> f64 {
        const SILENCE: Duration = Duration::from_secs(1);
        let between = self
            .newest
            .published
            .saturating_duration_since(self.first)
            .as_secs_f64();
        let silent = now.saturating_duration_since(self.newest.published) > SILENCE;
        if silent || between <= 0.0 {
            return 0.0;
        }
        f64::from(self.count.saturating_sub(1)) / between
    }
}

/// How far back [`Stream::pace`] looks. The ring holds as much, unless limits in bytes cut it short.
const PACE_WINDOW: Duration = Duration::from_secs(2);

/// A stream. Handed out by the hub as `Arc<Stream>`; it outlives its name in the hub as long as someone holds it.
pub struct Stream {
    name: StreamName,
    limits: Limits,
    budget: Arc<Budget>,
    pub(super) teller: Arc<Teller>,
    told_apart: bool,
    pub(super) inner: Mutex<Inner>,
    pub(super) sessions: Sessions,
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// What all streams of a hub hold together.
#[derive(Debug)]
pub(super) struct Budget {
    /// The largest number there is where nothing limits it.
    pub(super) limit_bytes: AtomicUsize,
    pub(super) used_bytes: AtomicUsize,
    pub(super) streams: AtomicUsize,
    /// Sessions there ever were.
    pub(super) sessions: AtomicUsize,
}

impl Budget {
    /// What a stream may hold now. Over the hub's limit, each is cut down to an equal share at its next frame; those
    /// below it lose nothing.
    pub(super) fn allowed_bytes(&self, ring_bytes: usize) -> usize {
        let limit = self.limit_bytes.load(Relaxed);
        if self.used_bytes.load(Relaxed) > limit {
            return ring_bytes.min(limit / self.streams.load(Relaxed).max(1));
        }
        ring_bytes
    }

    /// Gives a session its number.
    pub(super) fn number(&self, stats: &SessionStats) {
        let number = self.sessions.fetch_add(1, Relaxed).saturating_add(1);
        stats.id.add(number as u64);
    }

    /// Replaces what one stream holds in the sum.
    pub(super) fn settle(&self, before: usize, after: usize) {
        if after >= before {
            self.used_bytes.fetch_add(after - before, Relaxed);
        } else {
            self.used_bytes.fetch_sub(before - after, Relaxed);
        }
    }
}

/// What the stream's lock guards.
pub(super) struct Inner {
    pub(super) limits: Limits,
    pub(super) ring: Ring,
    pub(super) tracks: Arc<[Track]>,
    /// Counts lists of tracks that differ in more than formats.
    pub(super) lineup: u32,
    /// The first id of the current lineup.
    pub(super) lineup_start: u64,
    /// Bit per video track of the current lineup.
    pub(super) video_tracks: u8,
    /// The video track whose keyframes are start points; `None`: no video, every frame is.
    pub(super) leading: Option<TrackIndex>,
    pub(super) owner: Option<Owner>,
    /// What publishers counted that do not have the stream any more.
    pub(super) gone: Books,
    /// Publishers that wait to take over with their first keyframe.
    pub(super) waiting_publishers: usize,
    /// When the newest of those came that ever waited.
    pub(super) waiting_since: Option<Instant>,
    pub(super) next_publisher: u64,
    pub(super) held_since: Option<Instant>,
    pub(super) ended: Option<EndReason>,
    /// A frame that newcomers can start with was published.
    pub(super) available: bool,
    pub(super) timeline: Timeline,
    pub(super) takeovers: Takeovers,
    pub(super) keyframes: Keyframes,
    pub(super) wakers: Wakers,
}

impl Inner {
    /// Where a newcomer starts (DESIGN §3.5).
    fn start(&mut self, now: Instant) -> Start {
        let live = Start {
            position: Position::waiting(self),
            burst_frames: 0,
        };
        if self.leading.is_none() || self.ended.is_some() {
            return live;
        }
        let newest = self.ring.newest_start().and_then(|id| self.ring.get(id));
        let age = newest.map(|entry| now.saturating_duration_since(entry.published));
        if age.is_none_or(|age| age > keyframes::INTERVAL) {
            self.keyframes.want();
            if self.keyframes.answers(now) {
                return live;
            }
        }
        match newest.filter(|entry| self.fits_a_burst(entry)) {
            Some(entry) => Start {
                position: Position::burst(self, entry.id),
                burst_frames: usize::try_from(self.ring.end().saturating_sub(entry.id)).unwrap_or(usize::MAX),
            },
            None => {
                self.keyframes.want();
                live
            }
        }
    }

    fn fits_a_burst(&self, start: &Entry) -> bool {
        let mut bytes = 0_usize;
        let mut newest_us = start.time_us;
        for entry in self.ring.from(start.id) {
            bytes = bytes.saturating_add(entry.frame.data.len());
            newest_us = newest_us.max(entry.time_us);
        }
        !self.limits.burst_time.is_zero()
            && bytes <= self.limits.burst_bytes
            && newest_us.saturating_sub(start.time_us) <= crate::time::micros(self.limits.burst_time)
    }

    /// A publisher that waits gets the time of the longest GOP that is served at all for its first keyframe. One that never
    /// sends any would otherwise keep viewers before a dead picture for as long as it stays.
    fn hold(&self, now: Instant) -> Hold {
        let Some(since) = self.held_since else {
            return Hold::No;
        };
        let after = |start: Instant, time| start.checked_add(time).unwrap_or(start);
        let mut deadline = after(since, self.limits.hold);
        if self.waiting_publishers > 0 {
            let both = self.waiting_since.map_or(since, |came| came.max(since));
            deadline = deadline.max(after(both, self.limits.burst_time));
        }
        if deadline <= now {
            Hold::Over
        } else {
            Hold::Until(deadline)
        }
    }

    #[must_use]
    pub(super) fn end(&mut self, reason: EndReason) -> Woken {
        let mut woken = Woken::default();
        self.ended.get_or_insert(reason);
        self.wakers.take(&mut woken);
        woken
    }

    /// Makes `tracks` the stream's. Formats alone may change under readers; anything else starts a new lineup.
    pub(super) fn set_tracks(&mut self, tracks: Arc<[Track]>) {
        let same = self.tracks.len() == tracks.len()
            && (self.tracks.iter().zip(tracks.iter()))
                .all(|(old, new)| old.format.codec() == new.format.codec() && old.timescale == new.timescale);
        self.tracks = tracks;
        if !same {
            self.lineup = self.lineup.wrapping_add(1);
            self.lineup_start = self.ring.end();
            self.ring.new_lineup();
            (self.video_tracks, self.leading) = video_tracks(&self.tracks);
        }
    }
}

/// Bits of the video tracks, and the first of them.
pub(super) fn video_tracks(tracks: &[Track]) -> (u8, Option<TrackIndex>) {
    let video = tracks.iter().filter(|track| track.kind() == Kind::Video);
    let bits = video.clone().fold(0, |bits, track| {
        bits | 1_u8.checked_shl(u32::from(track.index.0)).unwrap_or(0)
    });
    (bits, video.map(|track| track.index).next())
}

impl Stream {
    pub(super) fn new(
        name: StreamName,
        limits: Limits,
        (budget, teller): (Arc<Budget>, Arc<Teller>),
        tracks: Arc<[Track]>,
        told_apart: bool,
    ) -> Self {
        let (bits, leading) = video_tracks(&tracks);
        Self {
            name,
            limits,
            budget,
            teller,
            told_apart,
            inner: Mutex::new(Inner {
                limits,
                ring: Ring::new(),
                tracks,
                lineup: 0,
                lineup_start: 0,
                video_tracks: bits,
                leading,
                owner: None,
                gone: Books::default(),
                waiting_publishers: 0,
                waiting_since: None,
                next_publisher: 0,
                held_since: None,
                ended: None,
                available: false,
                timeline: Timeline::default(),
                takeovers: Takeovers::default(),
                keyframes: Keyframes::default(),
                wakers: Wakers::default(),
            }),
            sessions: Sessions::new(),
            extensions: Mutex::new(HashMap::new()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The hub's limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Its tracks with their current formats.
    pub fn tracks(&self) -> Arc<[Track]> {
        Arc::clone(&lock(&self.inner).tracks)
    }

    /// Whether it has a publisher.
    pub fn state(&self) -> State {
        let inner = lock(&self.inner);
        match (inner.ended, inner.held_since) {
            (Some(reason), _) => State::Ended(reason),
            (None, Some(since)) => State::Held { since },
            (None, None) => State::Live,
        }
    }

    /// When the newest frame was published.
    pub fn last_frame(&self) -> Option<Instant> {
        lock(&self.inner).ring.newest_published()
    }

    /// The newest keyframe of the leading video track that is still in the ring, for a snapshot.
    pub fn newest_keyframe(&self) -> Option<Arc<Entry>> {
        let inner = lock(&self.inner);
        let entry = inner.ring.get(inner.ring.newest_start()?)?;
        inner.leading.is_some().then(|| Arc::clone(entry))
    }

    /// How its frames came in the last two seconds.
    pub fn pace(&self, now: Instant) -> Pace {
        let inner = lock(&self.inner);
        let Some(since) = now.checked_sub(PACE_WINDOW) else {
            return Pace::default();
        };
        let (mut bytes, mut pictures) = (0_usize, None::<Pictures>);
        for entry in inner.ring.newer_than(since) {
            bytes = bytes.saturating_add(entry.frame.data.len());
            if inner.leading == Some(entry.frame.track) {
                let newer = pictures.take();
                pictures = Some(Pictures {
                    first: entry.published,
                    count: newer.as_ref().map_or(1, |newer| newer.count.saturating_add(1)),
                    newest: newer.map_or_else(|| Arc::clone(entry), |newer| newer.newest),
                });
            }
        }
        Pace {
            pictures_per_second: pictures.as_ref().map_or(0.0, |pictures| pictures.per_second(now)),
            bits_per_second: bytes as f64 * 8.0 / PACE_WINDOW.as_secs_f64(),
            newest_picture: pictures.map(|pictures| pictures.newest),
        }
    }

    /// What came after that time, of all tracks, as far as it is still there.
    pub fn published_after(&self, since: Instant) -> Vec<Arc<Entry>> {
        lock(&self.inner).ring.newer_than(since).cloned().collect()
    }

    /// Bytes that its ring holds, as counted against [`Limits::ring_bytes`].
    pub fn ring_bytes(&self) -> usize {
        lock(&self.inner).ring.bytes()
    }

    /// Where a newcomer starts, for viewers without a waker of their own (see [`Stream::read`]).
    ///
    /// With video: at the newest keyframe, the frames since then being its burst; or, when the publisher takes requests
    /// and that keyframe is older than a second, at a new one that is asked for; or, when the burst would pass
    /// [`Limits::burst_bytes`] or [`Limits::burst_time`], at the next one. Sound alone starts at the next frame.
    pub fn start(&self, now: Instant) -> Start {
        let (start, request) = {
            let mut inner = lock(&self.inner);
            (inner.start(now), inner.keyframes.take_request(now))
        };
        if let Some(request) = request {
            request();
        }
        start
    }

    /// Behind the newest frame: what is published from now on, keyframe or not. For a task that serves viewers who each have a
    /// position of their own.
    pub fn live(&self) -> Position {
        Position::live(&lock(&self.inner))
    }

    /// How far keyframes are apart: the longest of the publisher's last few distances. `None` before its second keyframe.
    pub fn keyframe_distance(&self) -> Option<Duration> {
        let micros = lock(&self.inner).ring.longest_gop_us()?;
        u64::try_from(micros).ok().map(Duration::from_micros)
    }

    /// All there is: appends to `frames` what follows the oldest keyframe of the current tracks, and gives a reader of what comes
    /// then. Without a keyframe it starts where [`Stream::start`] says. For who keeps more than the newest frames itself.
    ///
    /// # Errors
    /// [`Full`] when [`Limits::readers_per_stream`] are there.
    pub fn replay(self: &Arc<Self>, now: Instant, frames: &mut Vec<Arc<Entry>>) -> Result<Reader, Full> {
        self.enter(now, |inner| {
            let mut position = Position::burst(inner, inner.ring.oldest_start(inner.lineup)?);
            inner.take(&mut position, usize::MAX, frames);
            Some(Start {
                position,
                burst_frames: 0,
            })
        })
    }

    /// A reader that starts where [`Stream::start`] says.
    ///
    /// # Errors
    /// [`Full`] when [`Limits::readers_per_stream`] are there.
    pub fn join(self: &Arc<Self>, now: Instant) -> Result<Reader, Full> {
        self.enter(now, |_| None)
    }

    /// A reader at the place that `choose` finds, or else where newcomers start.
    fn enter(self: &Arc<Self>, now: Instant, choose: impl FnOnce(&Inner) -> Option<Start>) -> Result<Reader, Full> {
        let limit = self.limits.readers_per_stream;
        let (reader, request) = {
            let mut inner = lock(&self.inner);
            let slot = inner.wakers.insert(limit).ok_or(Full { what: "readers", limit })?;
            let start = choose(&inner).unwrap_or_else(|| inner.start(now));
            let reader = Reader {
                stream: Arc::clone(self),
                slot,
                position: start.position,
                burst_frames: start.burst_frames,
            };
            (reader, inner.keyframes.take_request(now))
        };
        if let Some(request) = request {
            request();
        }
        Ok(reader)
    }

    /// Reads without a waker: at most `max` frames from `position` are appended to `frames`. `None` when there is
    /// nothing new. For viewers served by a task that is woken by other means: newcomers in their burst, and those that
    /// lag until their socket takes more.
    pub fn read(&self, position: &mut Position, max: usize, frames: &mut Vec<Arc<Entry>>) -> Option<Event> {
        lock(&self.inner).read(position, max, frames)
    }

    /// Appends the entries `first..=last` that are still in the ring, and returns the id of the oldest one there.
    pub(super) fn range(&self, first: u64, last: u64, entries: &mut Vec<Arc<Entry>>) -> u64 {
        let inner = lock(&self.inner);
        let range = inner.ring.from(first).take_while(|entry| entry.id <= last);
        entries.extend(range.cloned());
        inner.ring.oldest()
    }

    /// Asks the publisher for a keyframe. At most one request a second reaches it; one that comes too early is made when
    /// the second is over, unless a keyframe came in between.
    pub fn request_keyframe(&self, now: Instant) {
        let request = {
            let mut inner = lock(&self.inner);
            inner.keyframes.want();
            inner.keyframes.take_request(now)
        };
        if let Some(request) = request {
            request();
        }
    }

    /// Lists and counts a viewer as long as the guard lives.
    ///
    /// # Errors
    /// [`Full`] when [`Limits::viewers_per_stream`] are there.
    pub fn add_viewer(self: &Arc<Self>, stats: Arc<SessionStats>) -> Result<Viewing, Full> {
        self.budget.number(&stats);
        let newcomer = Arc::clone(&stats);
        let viewing = self
            .sessions
            .add(Arc::clone(self), stats, self.limits.viewers_per_stream)?;
        self.tell(News::ViewerJoined(&newcomer));
        Ok(viewing)
    }

    /// The publisher's counters.
    pub fn publisher(&self) -> Option<Arc<SessionStats>> {
        lock(&self.inner).owner.as_ref().map(|owner| Arc::clone(&owner.stats))
    }

    /// Counters of the publisher, if there is one, then of all viewers, in no particular order.
    pub fn sessions(&self) -> Vec<Arc<SessionStats>> {
        let mut list = Vec::with_capacity(self.sessions.len() + 1);
        list.extend(self.publisher());
        self.sessions.append_to(&mut list);
        list
    }

    /// Viewers there are.
    pub fn viewers(&self) -> usize {
        self.sessions.len()
    }

    /// What its publishers and viewers moved since it began, also those that are gone. Costs no lock for longer than a list of its viewers is copied.
    pub fn books(&self) -> Books {
        let mut books = {
            let inner = lock(&self.inner);
            let mut books = inner.gone.clone();
            if let Some(owner) = &inner.owner {
                books.add_here(&owner.stats, &owner.before);
            }
            books
        };
        books.add(&self.sessions.books());
        books
    }

    /// Whether figures that are kept by stream have its name. So it is for life; see [`Limits::told_apart`].
    pub fn is_told_apart(&self) -> bool {
        self.told_apart
    }

    /// Readers there are.
    pub fn readers(&self) -> usize {
        lock(&self.inner).wakers.len()
    }

    /// State that a protocol keeps for this stream, such as its rendered forms; one of each type, made by the first who
    /// asks. It must not hold an `Arc<Stream>`, or neither is ever freed.
    pub fn extension<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let key = TypeId::of::<T>();
        let found = |map: &HashMap<TypeId, Arc<dyn Any + Send + Sync>>| map.get(&key).cloned()?.downcast::<T>().ok();
        if let Some(there) = found(&lock(&self.extensions)) {
            return there;
        }
        // Outside the lock, since `make` may ask for an extension itself. Two that race make two; the first stays.
        let made = Arc::new(make());
        let mut extensions = lock(&self.extensions);
        if let Some(there) = found(&extensions) {
            return there;
        }
        extensions.insert(key, made.clone());
        made
    }

    /// Whether the hold is over.
    pub(super) fn hold(&self, now: Instant) -> Hold {
        lock(&self.inner).hold(now)
    }

    /// Ends the stream if its hold is over.
    pub(super) fn expire(&self, now: Instant, woken: &mut Vec<Woken>) -> Hold {
        let mut inner = lock(&self.inner);
        let hold = inner.hold(now);
        if hold == Hold::Over {
            woken.push(self.end_now(&mut inner, EndReason::PublisherGone));
        }
        hold
    }

    /// Ends the stream; readers get what is left and then the reason.
    pub(super) fn end(&self, reason: EndReason) -> Woken {
        self.end_now(&mut lock(&self.inner), reason)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let held = lock(&self.inner).ring.bytes();
        self.budget.settle(held, 0);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
