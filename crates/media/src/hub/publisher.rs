//! Publishing into a stream, and how publishers of one stream follow each other.
//!
//! Belongs here: who may publish, taking over, what happens to a frame between a publisher's hands and the ring. Does
//! not belong here: the clock arithmetic ([`super::timeline`]), the count of takeovers ([`super::takeover`]).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::keyframes::{Keyframes, Request};
use super::news::News;
use super::reader::EndReason;
use super::refused::{Party, PublishError, Refused};
use super::ring::Entry;
use super::stream::{Inner, Stream, video_tracks};
use super::sync::lock;
use super::timeline::Stamp;
use super::wakers::Woken;
use crate::frame::Frame;
use crate::name::StreamName;
use crate::stats::{SessionStats, Totals};
use crate::track::{Format, Kind, Track, TrackIndex};

/// Largest media time, on both sides of zero, so that offsets never overflow.
const MAX_TIME_US: u64 = 1 << 60;

/// Who publishes, and how it is reached.
#[derive(Clone)]
pub struct Publishing {
    /// Its counters. The hub counts frames, keyframes, dropped frames and jumps of its timestamps; bytes, packets and the
    /// network are the session's.
    pub stats: Arc<SessionStats>,
    /// Where it comes from.
    pub origin: Origin,
    /// Asks it for a keyframe, which then comes within a frame or a round trip: newcomers wait for it. `None` where nobody can be
    /// asked. Called outside all locks, at most once a second, from whatever thread a viewer is on: it must not block.
    pub keyframe_requests: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing")
            .field("stats", &self.stats)
            .field("origin", &self.origin)
            .field("keyframe_requests", &self.keyframe_requests.is_some())
            .finish()
    }
}

/// Where a publisher comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A source of our own.
    Local {
        /// Others may take its name over. Without it they are refused.
        takeover: bool,
    },
    /// A picture of our own in place of a publisher that is gone or gives none. It gives way to whoever does, and drives nobody away: whom it
    /// replaced takes over again at the next keyframe.
    StandIn,
    /// A peer, or a camera we pull from.
    Remote,
}

/// The publisher that a stream listens to.
pub(super) struct Owner {
    id: u64,
    pub(super) stats: Arc<SessionStats>,
    /// What it had counted when it got the stream: one that comes back after a picture of ours is not counted twice.
    pub(super) before: Totals,
    origin: Origin,
    /// A frame of it is in the stream.
    pub(super) begun: bool,
}

impl Owner {
    /// Two peers may fight over a name; with a picture of our own nobody does.
    fn fights_with(&self, newcomer: &Publishing) -> bool {
        self.origin == Origin::Remote && newcomer.origin == Origin::Remote
    }
}

/// The right to publish. Dropping it is closing it at the time of its last frame.
pub struct Publisher {
    stream: Arc<Stream>,
    id: u64,
    publishing: Publishing,
    tracks: Arc<[Track]>,
    leading: Option<TrackIndex>,
    /// Video tracks, as bits, whose next frame must be a keyframe.
    unkeyed: u8,
    /// Not yet the stream's publisher; its first keyframe takes over.
    waiting: bool,
    refused: Option<Refused>,
    closed: bool,
    /// When it last published, or came.
    last_frame: Instant,
    woken: Woken,
    evicted: Vec<Arc<Entry>>,
}

/// Checks a publisher's list of tracks.
pub(super) fn check_tracks(tracks: &[Track]) -> Result<(), PublishError> {
    if tracks.is_empty() || tracks.len() > super::MAX_TRACKS {
        return Err(PublishError::TrackCount { count: tracks.len() });
    }
    let wrong = (tracks.iter().enumerate()).find(|(position, track)| usize::from(track.index.0) != *position);
    match wrong {
        Some((position, track)) => Err(PublishError::TrackIndex {
            position,
            index: track.index,
        }),
        None => Ok(()),
    }
}

impl Inner {
    /// Whether `origin` may take the stream from whoever has it.
    fn may_take_over(&self, stream: &StreamName, publishing: &Publishing, now: Instant) -> Result<(), PublishError> {
        let Some(owner) = &self.owner else {
            return Ok(());
        };
        let holder = Party::of(&owner.stats);
        if owner.origin == (Origin::Local { takeover: false }) {
            return Err(PublishError::Local {
                stream: stream.clone(),
                holder,
            });
        }
        if owner.fights_with(publishing) && self.takeovers.too_many(now) {
            return Err(PublishError::Flapping {
                stream: stream.clone(),
                holder,
                refused: Party::of(&publishing.stats),
            });
        }
        Ok(())
    }

    /// Makes `publishing` the stream's publisher. Gives back whom it replaces.
    fn install(&mut self, id: u64, publishing: &Publishing, tracks: &Arc<[Track]>, now: Instant) -> Option<Owner> {
        if self.owner.as_ref().is_some_and(|owner| owner.fights_with(publishing)) {
            self.takeovers.note(now);
        }
        let newcomer = Owner {
            id,
            stats: Arc::clone(&publishing.stats),
            before: Totals::of(&publishing.stats),
            origin: publishing.origin,
            begun: false,
        };
        let replaced = self.owner.replace(newcomer);
        if let Some(replaced) = &replaced {
            self.gone.add_gone(&replaced.stats, &replaced.before);
        }
        self.held_since = None;
        self.keyframes = Keyframes::new(publishing.keyframe_requests.clone());
        self.timeline.new_publisher();
        self.ring.new_publisher();
        self.set_tracks(Arc::clone(tracks));
        replaced
    }

    /// Whether a picture of ours has the stream in place of this publisher, which had it before.
    fn has_stand_in_for(&self, id: u64) -> bool {
        (self.owner.as_ref()).is_some_and(|owner| owner.origin == Origin::StandIn && owner.id != id)
    }

    /// Puts a frame into its place: number, lineup, media time. `None`: sound that repeats what is published already.
    fn place(&mut self, entry: &mut Entry, stats: &SessionStats) -> Option<()> {
        let frame = &mut entry.frame;
        let video = frame.format.codec().kind() == Kind::Video;
        let mapped = self.timeline.map(Stamp {
            track: usize::from(frame.track.0),
            time_us: frame.time.as_micros(),
            video,
            keyframe: frame.keyframe,
            now: entry.published,
        });
        if mapped.jumped {
            stats.timestamp_jumps.add(1);
        }
        if mapped.overlaps {
            return None;
        }
        frame.time = frame.time.offset_micros(mapped.offset_us);
        entry.time_us = frame.time.as_micros();
        entry.id = self.ring.end();
        entry.lineup = self.lineup;
        entry.publisher = self.owner.as_ref().map_or(0, |owner| owner.id);
        entry.start = match self.leading {
            Some(leading) => frame.keyframe && frame.track == leading,
            None => true,
        };
        if entry.start {
            self.keyframes.came(entry.published);
        }
        Some(())
    }

    /// Keeps [`Stream::tracks`] at the newest formats. An equal one in another place is taken too, as the frames of every RTSP
    /// publisher carry their receiver's: the next frames then compare by address and not byte by byte, under the lock.
    fn note_format(&mut self, track: TrackIndex, format: &Arc<Format>) {
        let current = self.tracks.get(usize::from(track.0)).map(|track| &track.format);
        if current.is_none_or(|current| Arc::ptr_eq(current, format)) {
            return;
        }
        let mut tracks = self.tracks.to_vec();
        if let Some(track) = tracks.get_mut(usize::from(track.0)) {
            track.format = Arc::clone(format);
        }
        self.set_tracks(tracks.into());
    }
}

impl Publisher {
    /// A publisher of `stream`: at once when it has none, else waiting to take over. Readers to be woken, outside of the
    /// caller's locks as well, are added to `woken`.
    pub(super) fn attach(
        stream: &Arc<Stream>,
        tracks: Arc<[Track]>,
        publishing: Publishing,
        now: Instant,
        woken: &mut Vec<Woken>,
    ) -> Result<Self, PublishError> {
        let (id, waiting) = {
            let mut inner = lock(&stream.inner);
            inner.may_take_over(stream.name(), &publishing, now)?;
            let waiting = inner.owner.is_some();
            let limit = stream.limits().waiting_publishers;
            if waiting && inner.waiting_publishers >= limit {
                return Err(PublishError::TooManyPublishers {
                    stream: stream.name().clone(),
                    limit,
                });
            }
            let id = inner.next_publisher;
            inner.next_publisher = id.wrapping_add(1);
            if waiting {
                inner.waiting_publishers += 1;
                inner.waiting_since = Some(now);
            } else {
                // Nobody is there to be replaced.
                inner.install(id, &publishing, &tracks, now);
                let mut readers = Woken::default();
                inner.wakers.take(&mut readers);
                woken.push(readers);
            }
            (id, waiting)
        };
        stream.budget().number(&publishing.stats);
        let (unkeyed, leading) = video_tracks(&tracks);
        Ok(Self {
            stream: Arc::clone(stream),
            id,
            publishing,
            tracks,
            leading,
            unkeyed,
            waiting,
            refused: None,
            closed: false,
            last_frame: now,
            woken: Woken::default(),
            evicted: Vec::new(),
        })
    }

    /// Hands a frame to all readers. Never blocks for longer than another call's short section, and costs the same
    /// whether one reader waits or a thousand; waking them comes after.
    ///
    /// Dropped and counted in the publisher's `frames_dropped`, without an error: frames of a track it did not announce or
    /// in another codec than announced, or with a time beyond 36,000 years; video before the first keyframe of its track, and everything before the
    /// keyframe that takes over, also from an [`Origin::StandIn`] that came meanwhile; a frame larger than [`super::Limits::frame_bytes`], and what depends on it; sound that
    /// overlaps with that of the publisher before.
    ///
    /// # Errors
    /// [`Refused`] when the stream is no longer this publisher's. It stays so.
    pub fn publish(&mut self, frame: Frame, now: Instant) -> Result<(), Refused> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        if !self.admits(&frame) {
            self.publishing.stats.frames_dropped.add(1);
            return self.check_waiting();
        }
        let keyframe = frame.keyframe;
        let mut entry = Arc::new(Entry::new(frame, now));
        let result = self.insert(&mut entry, now);
        self.woken.wake();
        self.evicted.clear();
        let stats = &self.publishing.stats;
        match result {
            Err(refused) => {
                self.refused = Some(refused.clone());
                return Err(refused);
            }
            Ok(Inserted::Yes(request)) => {
                stats.frames.add(1);
                stats.keyframes.add(u64::from(keyframe));
                if let Some(request) = request {
                    request();
                }
            }
            Ok(Inserted::No) => stats.frames_dropped.add(1),
        }
        Ok(())
    }

    /// The stream it publishes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Its counters.
    pub fn stats(&self) -> &SessionStats {
        &self.publishing.stats
    }

    /// Another publisher has the stream, and this one takes over with its first keyframe.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Changes how it is asked for keyframes: a camera whose own H.264 passes cannot be asked, one that shows a slate can.
    pub fn set_keyframe_requests(&mut self, requests: Option<Arc<dyn Fn() + Send + Sync>>) {
        let before = {
            let mut inner = lock(&self.stream.inner);
            let owns = inner.owner.as_ref().is_some_and(|owner| owner.id == self.id);
            owns.then(|| inner.keyframes.set_request(requests.clone()))
        };
        drop(before);
        self.publishing.keyframe_requests = requests;
    }

    /// Leaves the stream. Readers wait for another publisher until [`super::Limits::hold`] is over.
    pub fn close(mut self, now: Instant) {
        self.leave(Some(now));
    }

    fn admits(&mut self, frame: &Frame) -> bool {
        let announced = self.tracks.get(usize::from(frame.track.0));
        if announced.is_none_or(|track| track.format.codec() != frame.format.codec()) {
            return false;
        }
        if frame.time.as_micros().unsigned_abs() > MAX_TIME_US {
            return false;
        }
        let bit = bit(frame.track);
        let video = frame.format.codec().kind() == Kind::Video;
        if frame.data.len() > self.stream.limits().frame_bytes {
            if video {
                self.unkeyed |= bit;
            }
            return false;
        }
        if self.waiting && !self.takes_over(frame) {
            return false;
        }
        if self.unkeyed & bit != 0 && !frame.keyframe {
            return false;
        }
        self.unkeyed &= !bit;
        true
    }

    /// Whether it still has something to wait for, if it waits.
    fn check_waiting(&mut self) -> Result<(), Refused> {
        if self.waiting
            && let Some(reason) = lock(&self.stream.inner).ended
        {
            let refused = self.ended(reason);
            self.refused = Some(refused.clone());
            return Err(refused);
        }
        Ok(())
    }

    /// What a publisher of an ended stream is told.
    fn ended(&self, reason: EndReason) -> Refused {
        match reason {
            EndReason::PublisherGone if self.waiting => Refused::NoKeyframe {
                stream: self.stream.name().clone(),
            },
            EndReason::PublisherGone | EndReason::Stopped => Refused::Stopped,
        }
    }

    /// Whether a waiting publisher takes over with this frame.
    fn takes_over(&self, frame: &Frame) -> bool {
        frame.keyframe && self.leading.is_none_or(|leading| leading == frame.track)
    }

    fn insert(&mut self, entry: &mut Arc<Entry>, now: Instant) -> Result<Inserted, Refused> {
        let stream = Arc::clone(&self.stream);
        let mut inner = lock(&stream.inner);
        if !self.own(&mut inner, &entry.frame, now)? {
            return Ok(Inserted::No);
        }
        self.last_frame = now;
        // The only handle to it, so this never fails.
        let Some(placing) = Arc::get_mut(entry) else {
            return Ok(Inserted::No);
        };
        if inner.place(placing, &self.publishing.stats).is_none() {
            return Ok(Inserted::No);
        }
        inner.note_format(entry.frame.track, &entry.frame.format);
        let before = inner.ring.bytes();
        let allowed = stream.budget().allowed_bytes(stream.limits().ring_bytes);
        inner
            .ring
            .push(Arc::clone(entry), stream.limits(), allowed, &mut self.evicted);
        stream.budget().settle(before, inner.ring.bytes());
        stream.tell_first(&mut inner, entry.start);
        inner.wakers.take(&mut self.woken);
        Ok(Inserted::Yes(inner.keyframes.take_request(now)))
    }

    /// Sees to it that this is the stream's publisher, or says why it is not. `false`: it is not yet, with this frame.
    fn own(&mut self, inner: &mut Inner, frame: &Frame, now: Instant) -> Result<bool, Refused> {
        if let Some(reason) = inner.ended {
            return Err(self.ended(reason));
        }
        if !self.waiting && inner.has_stand_in_for(self.id) {
            self.waiting = true;
            inner.waiting_publishers += 1;
            inner.waiting_since = Some(now);
            (self.unkeyed, _) = video_tracks(&self.tracks);
            if !self.takes_over(frame) {
                return Ok(false);
            }
            self.unkeyed &= !bit(frame.track);
        }
        if self.waiting {
            (inner.may_take_over(self.stream.name(), &self.publishing, now)).map_err(Refused::NotNow)?;
            inner.waiting_publishers = inner.waiting_publishers.saturating_sub(1);
            self.waiting = false;
            let replaced = inner.install(self.id, &self.publishing, &self.tracks, now);
            if let Some(replaced) = replaced.filter(|replaced| replaced.begun) {
                let by = Party::of(&self.publishing.stats);
                self.stream.tell(News::Left(&replaced.stats, Some(by)));
            }
            return Ok(true);
        }
        match &inner.owner {
            Some(owner) if owner.id == self.id => Ok(true),
            owner => Err(Refused::Replaced {
                by: owner.as_ref().map(|owner| Party::of(&owner.stats)),
            }),
        }
    }

    fn leave(&mut self, now: Option<Instant>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let left: (Option<Owner>, Keyframes);
        {
            let mut inner = lock(&self.stream.inner);
            if self.waiting {
                inner.waiting_publishers = inner.waiting_publishers.saturating_sub(1);
                return;
            }
            if inner.owner.as_ref().is_none_or(|owner| owner.id != self.id) {
                return;
            }
            let owner = inner.owner.take();
            if let Some(owner) = &owner {
                inner.gone.add_gone(&owner.stats, &owner.before);
                if owner.begun {
                    self.stream.tell(News::Left(&owner.stats, None));
                }
            }
            left = (owner, std::mem::take(&mut inner.keyframes));
            inner.held_since = Some(now.unwrap_or(self.last_frame));
        }
        drop(left);
    }
}

/// A track among video tracks.
fn bit(track: TrackIndex) -> u8 {
    1_u8.checked_shl(u32::from(track.0)).unwrap_or(0)
}

enum Inserted {
    Yes(Option<Request>),
    No,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.leave(None);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("stream", self.stream.name())
            .field("publishing", &self.publishing)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
