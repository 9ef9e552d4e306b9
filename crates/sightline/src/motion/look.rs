//! From the frames of a stream to what moves in them.
//!
//! Belongs here: which frames are decoded and which pictures looked at, what is left out when it takes too long. Does not belong here: decoding
//! ([`device::decode`]), what motion is ([`device::motion`]), on which thread it happens ([`super::pool`]).
//!
//! H.264 is decoded here, H.265 by an FFmpeg (`outside`), whose pictures come a little later: they are looked at with the frames that come next.

mod outside;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use device::decode::{Decoded, Decoder};
use device::motion::{self, Event, Motion, Seen, Shrinker};
use media::{Clock, Format, Frame, MediaTime, TrackIndex, WallTime};

use self::outside::Outside;
use crate::config::motion::Mode;

/// Frames that were published longer ago than this when their turn comes are not decoded: whoever looks is behind, and goes on at a keyframe.
pub const LATE: Duration = Duration::from_secs(2);
/// How long what a stream begins with may take: all frames since its keyframe.
pub const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// Pictures that no other is decoded from are left out where one was decoded so shortly before.
const OFTEN_MICROS: i64 = 190_000;

/// What became of the frames of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pictures that were looked at.
    pub looks: u64,
    /// Frames that were decoded for them.
    pub decoded: u64,
    /// Frames that could not be.
    pub failures: u64,
    /// Frames that were left out since others before them took too long: fewer pictures are looked at than were to be.
    pub late: u64,
}

/// Looks at one stream.
pub struct Looker {
    mode: Mode,
    motion: Motion,
    shrinker: Shrinker,
    decoder: Decoder,
    /// Of H.265, where there is an FFmpeg.
    outside: Option<Outside>,
    /// Why that gives nothing.
    trouble: Option<String>,
    /// When it began: what was published before waits for nobody's fault.
    joined: Instant,
    /// Its pictures; the first track that has some.
    track: Option<TrackIndex>,
    /// Nothing is decoded until the next keyframe, …
    waits: bool,
    /// … since it took too long.
    is_late: bool,
    decoded_at: Option<MediaTime>,
    last: Option<(MediaTime, WallTime)>,
    counts: Counts,
}

impl Looker {
    /// Has seen nothing yet. `joined`: from then on it looks; `ffmpeg`: where that is, without which nothing is seen in H.265.
    pub fn new(mode: Mode, settings: motion::Settings, joined: Instant, ffmpeg: Option<PathBuf>) -> Self {
        Self {
            mode,
            motion: Motion::new(settings),
            shrinker: Shrinker::default(),
            decoder: Decoder::new(),
            outside: ffmpeg.map(Outside::new),
            trouble: None,
            joined,
            track: None,
            waits: true,
            is_late: false,
            decoded_at: None,
            last: None,
            counts: Counts::default(),
        }
    }

    /// Takes the next frames of the stream, in decoding order, each with when it was published, and says what was seen.
    pub fn look<'a>(&mut self, frames: impl IntoIterator<Item = (&'a Frame, Instant)>, clock: &dyn Clock) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (frame, published) in frames {
            let is_outside = match &*frame.format {
                Format::H264(_) => false,
                Format::H265(_) if self.outside.is_some() => true,
                _ => continue,
            };
            if *self.track.get_or_insert(frame.track) != frame.track || !self.is_wanted(frame, published, clock) {
                continue;
            }
            let wall = clock.wall_at(published);
            match is_outside {
                true => self.decode_outside(frame, wall, clock.now()),
                false => self.decode(frame, wall, &mut seen),
            }
        }
        let come = self.outside.as_ref().map(Outside::come).unwrap_or_default();
        for decoded in come {
            self.trouble = None;
            let wall = decoded.capture.at;
            self.picture(&decoded, wall, &mut seen);
        }
        seen
    }

    /// Why nothing is seen: FFmpeg does not give pictures.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Frames are missing in front of the next: nothing is decoded until a keyframe.
    pub fn skip(&mut self, frames: u64) {
        self.counts.late = self.counts.late.saturating_add(frames);
        self.wait();
        self.is_late = true;
    }

    /// There are no more frames for now: what moves has ended.
    pub fn interrupt(&mut self) -> Option<Seen> {
        self.wait();
        if let Some(outside) = &mut self.outside {
            outside.begin_anew();
        }
        self.track = None;
        let (at, wall) = self.last.take()?;
        let mut events = Vec::new();
        self.motion.interrupt(&mut events);
        let now = self.motion.now();
        Some(Seen { events, now, at, wall })
    }

    /// Since the beginning.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn wait(&mut self) {
        self.decoder.discontinuity();
        if let Some(outside) = &mut self.outside {
            outside.discontinuity();
        }
        self.waits = true;
    }

    fn is_wanted(&mut self, frame: &Frame, published: Instant, clock: &dyn Clock) -> bool {
        let thrifty = self.mode == Mode::Thrifty;
        if frame.keyframe {
            (self.waits, self.is_late) = (false, false);
            // Streams of keyframes alone.
            return !thrifty || self.motion.wants(frame.time);
        }
        if thrifty {
            return false;
        }
        if !self.waits && clock.now().saturating_duration_since(published.max(self.joined)) > LATE {
            self.wait();
            // A stream begins with all since its keyframe: that is not to be kept up with.
            self.is_late = published >= self.joined;
        }
        if self.waits {
            self.counts.late += u64::from(self.is_late);
            return false;
        }
        let is_soon = |before: MediaTime| frame.time.micros_since(before).abs() < OFTEN_MICROS;
        !(self.decoded_at.is_some_and(is_soon) && frame.is_disposable())
    }

    fn decode(&mut self, frame: &Frame, wall: WallTime, seen: &mut Vec<Seen>) {
        match self.decoder.decode(frame) {
            Ok(()) => self.counts.decoded += 1,
            Err(error) => {
                tracing::debug!(%error, "no motion is seen in a picture");
                self.counts.failures += 1;
                self.waits = true;
                return;
            }
        }
        self.decoded_at = Some(frame.time);
        if self.mode == Mode::Thrifty {
            // What would come in between is not decoded.
            self.decoder.flush();
        }
        while let Some(decoded) = self.decoder.next() {
            let wall = wall.offset_micros(decoded.time.micros_since(frame.time));
            self.picture(&decoded, wall, seen);
        }
    }

    /// Its picture comes later.
    fn decode_outside(&mut self, frame: &Frame, wall: WallTime, now: Instant) {
        let Some(outside) = &mut self.outside else { return };
        let taken = outside.take(frame, wall, self.mode == Mode::Thrifty, now);
        let (decoded, late) = outside.news();
        self.counts.decoded = self.counts.decoded.saturating_add(decoded);
        // While it works through what the stream begins with, it is not behind yet.
        if now.saturating_duration_since(self.joined) >= BEGINS_WITHIN {
            self.counts.late = self.counts.late.saturating_add(late);
        }
        self.decoded_at = Some(frame.time);
        if let Err(error) = taken {
            self.counts.failures += 1;
            self.waits = true;
            self.trouble = Some(error.to_string());
        }
    }

    fn picture(&mut self, decoded: &Decoded, wall: WallTime, seen: &mut Vec<Seen>) {
        let at = decoded.time;
        if !self.motion.wants(at) {
            return;
        }
        let grey = self.shrinker.shrink(&decoded.picture);
        let mut events: Vec<Event> = Vec::new();
        self.motion.look(&grey, at, &mut events);
        self.counts.looks += 1;
        self.last = Some((at, wall));
        let now = self.motion.now();
        seen.push(Seen { events, now, at, wall });
    }
}

#[cfg(test)]
mod tests;
