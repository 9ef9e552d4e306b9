//! From access units to frames: capture time as SEI, media time, track.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use media::annexb::{self, AccessUnit, Ending};
use media::h264::{self, AccessUnits};
use media::{Capture, CaptureSource, Clock, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, sei};

use super::stats::Stats;
use super::{Output, Sink, Status};
use crate::encode;
use crate::picture::FrameRate;
use crate::source::Taken;

const TRACK: TrackIndex = TrackIndex(0);
/// An SEI message of ours in a source's stream is believed when it says a time between this long before its arrival …
const BELIEVED_AGE_US: i64 = 10_000_000;
/// … and this long after it: clocks differ a little. A recording that is played again says when it was recorded.
const BELIEVED_AHEAD_US: i64 = 50_000;
/// Pictures that may be inside an encoder at the same time.
const MOST_INSIDE: usize = 32;

/// The last station of a camera: everything that leaves it goes through here.
pub(super) struct Packager {
    clock: Arc<dyn Clock>,
    sink: Sink,
    stats: Arc<Stats>,
    /// Puts together what our encoders make.
    units: AccessUnits,
    /// What parameter sets say that do not say it themselves.
    fps: FrameRate,
    announced: bool,
    /// Where media time is zero: the capture of the first frame of the camera, in all streams of it.
    zero: Arc<OnceLock<Instant>>,
    last_ticks: Option<i64>,
    /// When the picture of the newest keyframe that was encoded was taken.
    keyframe: Option<Instant>,
    inside: VecDeque<Inside>,
}

/// A picture that was handed to the encoder.
struct Inside {
    taken: Instant,
    /// The capture time as it was drawn into the picture: worked out a second time it would differ by a microsecond.
    at: WallTime,
    since: Instant,
}

impl Packager {
    /// `fps` is what our encoders' streams say until a picture comes at another rate.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        sink: Sink,
        stats: Arc<Stats>,
        fps: FrameRate,
        zero: Arc<OnceLock<Instant>>,
    ) -> Self {
        Self {
            clock,
            sink,
            stats,
            units: AccessUnits::new(h264::Format::default(), Ending::Told),
            fps,
            announced: false,
            zero,
            last_ticks: None,
            keyframe: None,
            inside: VecDeque::new(),
        }
    }

    pub(super) fn status(&mut self, status: Status) {
        (self.sink)(Output::Status(status));
    }

    /// A picture taken at `taken`, which is `at` in wall time, goes into the encoder. From the next parameter sets on the stream
    /// says that its rate is `fps`: what was agreed with the source. The rate that is measured swings, and each change would be
    /// a new format for every viewer.
    pub(super) fn submitted(&mut self, taken: Instant, at: WallTime, fps: FrameRate) {
        self.fps = fps;
        if self.inside.len() >= MOST_INSIDE {
            self.inside.pop_front();
        }
        let since = self.clock.now();
        self.inside.push_back(Inside { taken, at, since });
    }

    /// What one of our encoders made.
    pub(super) fn encoded(&mut self, unit: encode::AccessUnit<'_>) {
        let taken = unit.taken;
        // Pictures come out in the order they went in; one that the encoder left out stands before.
        while self.inside.front().is_some_and(|inside| inside.taken != taken.at) {
            self.inside.pop_front();
        }
        let inside = self.inside.pop_front();
        if let Some(inside) = &inside {
            let spent = self.clock.now().saturating_duration_since(inside.since);
            self.stats.encoded_in(spent);
        }
        let at = inside.map_or_else(|| self.clock.wall_at(taken.at), |inside| inside.at);
        self.units.push(&sei::h264(at));
        for nal in unit.nals {
            // openh264 leaves out the rate, and encoders of FFmpeg may leave out that they do not reorder: players then guess the
            // one, and wait for pictures that never come.
            match h264::with_live_vui(nal, self.fps.frames(), self.fps.seconds()) {
                Some(sps) => self.units.push(&sps),
                None => self.units.push(nal),
            };
        }
        let Some(unit) = self.units.finish() else { return };
        if unit.keyframe {
            self.keyframe = Some(taken.at);
        }
        // Ours are in order, and no two at the same time.
        let mut ticks = self.ticks(taken.at);
        if let Some(last) = self.last_ticks {
            ticks = ticks.max(last + 1);
        }
        self.put_out(unit, taken, at, taken.source, ticks);
    }

    /// When the picture of the newest keyframe was taken, of those that were encoded here.
    pub(super) fn keyframe(&self) -> Option<Instant> {
        self.keyframe
    }

    /// What the source made: passes but for the SEI message.
    pub(super) fn passed(&mut self, unit: AccessUnit, taken: Taken) {
        let arrived = self.clock.wall();
        let stated = unit.capture.filter(|at| {
            let age_us = arrived.micros_since(*at);
            (-BELIEVED_AHEAD_US..=BELIEVED_AGE_US).contains(&age_us)
        });
        let (at, source) = match stated {
            Some(at) => (at, CaptureSource::Sei),
            None => (self.clock.wall_at(taken.at), taken.source),
        };
        let unit = AccessUnit {
            data: with_capture_time(&unit.data, at),
            ..unit
        };
        let ticks = self.ticks(taken.at);
        self.put_out(unit, taken, at, source, ticks);
    }

    /// Media time of a capture, on a clock that does not follow steps of wall time.
    fn ticks(&mut self, at: Instant) -> i64 {
        let zero = *self.zero.get_or_init(|| at);
        let before = media::time::micros(zero.saturating_duration_since(at));
        let after = media::time::micros(at.saturating_duration_since(zero));
        MediaTime::new(0, Timescale::VIDEO)
            .offset_micros(after - before)
            .ticks()
    }

    fn put_out(&mut self, unit: AccessUnit, taken: Taken, at: WallTime, source: CaptureSource, ticks: i64) {
        if !self.announced {
            self.announced = true;
            (self.sink)(Output::Track(Track {
                index: TRACK,
                format: Arc::clone(&unit.format),
                timescale: Timescale::VIDEO,
            }));
        }
        self.last_ticks = Some(ticks.max(self.last_ticks.unwrap_or(ticks)));
        self.stats.encoded.add(1);
        self.stats.keyframes.add(u64::from(unit.keyframe));
        self.stats.bytes.add(unit.data.len() as u64);
        self.stats.latency(self.clock.now().saturating_duration_since(taken.at));
        (self.sink)(Output::Frame(Frame {
            track: TRACK,
            time: MediaTime::new(ticks, Timescale::VIDEO),
            capture: Capture { at, source },
            keyframe: unit.keyframe,
            format: unit.format,
            data: unit.data,
        }));
    }
}

/// The data of an access unit with our SEI message in front, and no other of ours.
fn with_capture_time(data: &Bytes, at: WallTime) -> Bytes {
    let mut with = Vec::with_capacity(data.len() + sei::H264_BYTES + 4);
    annexb::push_length_prefixed(&sei::h264(at), &mut with);
    for unit in annexb::nal_units(data) {
        if sei::read_h264(unit).is_none() {
            annexb::push_length_prefixed(unit, &mut with);
        }
    }
    Bytes::from(with)
}
