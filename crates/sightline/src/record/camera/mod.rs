//! What is recorded of one camera: from the frames of its stream to a [`Sink`].
//!
//! Belongs here: which frames are recorded, from which keyframe on, until when ([`Camera`], a machine without I/O: frames, wishes and clocks in, calls
//! of a sink out); the newest frames, held in case that they are wanted ([`held`]); files and runs ([`writing`]). Does not belong here: streams of the hub
//! and tasks ([`super::service`]), queues and disks ([`super::sink`] and what is behind it).
//!
//! A camera has two recordings at the most: what its settings say, and beside it a clip to which somebody gave a name.

mod held;
mod line;
#[cfg(test)]
mod tests;
mod writing;

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use media::{Frame, Kind, Track, TrackIndex};

use super::clock::Now;
use super::index::Ended;
use super::name::Clip;
use super::sink::Sink;
use super::trigger::{self, Input, Machine, Mode, Schedule};
use held::{Come, Held};
use line::Line;
use writing::Writing;
pub use writing::{Counts, Happened, Pause};

/// A stream from which nothing came for so long is gone as far as a recording is concerned: what is there of it is written, and the run ends. As long as
/// pictures may be apart.
const SILENCE: Duration = Duration::from_secs(10);
/// A clip is one file for so long.
const CLIP: Duration = Duration::from_secs(3_600);

/// How a camera is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When.
    pub trigger: trigger::Settings,
    /// How long a file is; to the next keyframe.
    pub segment: Duration,
    /// With its sound.
    pub audio: bool,
}

/// Which of the recordings of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What the settings say, and what was started without a name.
    Main,
    /// The clip.
    Clip,
}

/// A clip cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another clip of this stream is being recorded; end that first")]
pub struct ClipIsOpen;

/// One camera.
pub struct Camera {
    settings: Settings,
    main: Line,
    clip: Option<Line>,
    held: Held,
    /// Tracks of the stream that are recorded; empty without one.
    tracks: Vec<Track>,
    /// Of the stream, whatever is recorded of it.
    all_tracks: Vec<Track>,
    leading: TrackIndex,
    next: u64,
    wants_keyframe: bool,
    /// Of clips that are over, and what is of no recording alone.
    counted: Counts,
    happened: Vec<(Which, Happened)>,
}

impl Camera {
    /// Not recording yet: it is to be told the time.
    pub fn new(settings: Settings, sink: Box<dyn Sink>) -> Self {
        let machine = Machine::new(settings.trigger.clone());
        let writing = Writing::new(sink, None, settings.segment);
        Self {
            settings,
            main: Line::new(machine, writing),
            clip: None,
            held: Held::default(),
            tracks: Vec::new(),
            all_tracks: Vec::new(),
            leading: TrackIndex(0),
            next: 0,
            wants_keyframe: false,
            counted: Counts::default(),
            happened: Vec::new(),
        }
    }

    /// Other settings hold. What was started by somebody goes on; with or without sound it goes on in another run, at the next keyframe.
    pub fn set(&mut self, settings: Settings) {
        self.main.machine.set(settings.trigger.clone());
        self.main.writing.set_segment(settings.segment);
        let other_tracks = self.settings.audio != settings.audio;
        self.settings = settings;
        if other_tracks {
            let tracks = std::mem::take(&mut self.all_tracks);
            self.tracks(&tracks);
            self.wants_keyframe |= self.is_on();
        }
    }

    /// A stream is there, made of these tracks; its frames follow.
    pub fn tracks(&mut self, tracks: &[Track]) {
        self.held.clear();
        self.all_tracks = tracks.to_vec();
        let video = tracks.iter().find(|track| track.kind() == Kind::Video);
        self.leading = video.or(tracks.first()).map_or(TrackIndex(0), |track| track.index);
        let is_recorded = |track: &&Track| self.settings.audio || video.is_none() || track.kind() == Kind::Video;
        self.tracks = tracks.iter().filter(is_recorded).cloned().collect();
        let (tracks, leading) = (&self.tracks, self.leading);
        for line in [Some(&mut self.main), self.clip.as_mut()].into_iter().flatten() {
            line.writing.set_tracks(tracks, leading);
        }
        self.note();
    }

    /// A frame, and when it came.
    pub fn frame(&mut self, frame: Frame, came: Now) {
        if self.tracks.iter().all(|track| track.index != frame.track) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let come = Come { frame, came, number };
        self.main.frame(&come);
        if let Some(clip) = &mut self.clip {
            clip.frame(&come);
        }
        let back = self.back();
        self.held.push(come, self.leading, back);
        self.note();
    }

    /// Frames are missing here, or the stream is gone.
    pub fn interrupt(&mut self) {
        self.held.clear();
        self.main.writing.interrupt(Ended::StreamGone);
        if let Some(clip) = &mut self.clip {
            clip.writing.interrupt(Ended::StreamGone);
        }
        self.note();
    }

    /// So many frames are missing here, since whoever gives them was too far behind.
    pub fn missed(&mut self, frames: u64) {
        if self.is_on() {
            self.counted.missed_frames = self.counted.missed_frames.saturating_add(frames);
        }
        self.interrupt();
    }

    /// Something happens; `zone`: where the schedule holds. It is to be told [`Input::Nothing`] when [`Camera::wakes_in`] says, and a look once in a while costs nothing.
    pub fn input(&mut self, input: Input, now: Now, zone: &TimeZone) {
        self.look_for_silence(now.monotonic);
        self.wants_keyframe |= self.main.input(input, now, zone, &self.held);
        self.note();
    }

    /// A clip begins, with as much as there is since the last keyframe.
    ///
    /// # Errors
    /// [`ClipIsOpen`].
    pub fn start_clip(&mut self, clip: Clip, sink: Box<dyn Sink>, now: Now, zone: &TimeZone) -> Result<(), ClipIsOpen> {
        if self.clip.is_some() {
            return Err(ClipIsOpen);
        }
        let machine = Machine::new(trigger::Settings {
            mode: Mode::Manual,
            schedule: Schedule::new(&[]),
            pre_roll: Duration::ZERO,
            post_roll: Duration::ZERO,
        });
        let mut line = Line::new(machine, Writing::new(sink, Some(clip), CLIP));
        if !self.tracks.is_empty() {
            line.writing.set_tracks(&self.tracks, self.leading);
        }
        self.wants_keyframe |= line.input(Input::Start, now, zone, &self.held);
        self.clip = Some(line);
        self.note();
        Ok(())
    }

    /// The clip is complete. Says whether there was one.
    pub fn stop_clip(&mut self) -> bool {
        let Some(clip) = &mut self.clip else { return false };
        clip.end();
        self.note();
        if let Some(clip) = self.clip.take() {
            self.counted = self.counted.plus(&clip.writing.counts());
        }
        true
    }

    /// Nothing is recorded any more, whatever the settings say: files are complete.
    pub fn end(&mut self) {
        self.main.end();
        self.stop_clip();
        self.note();
    }

    /// Whether frames are of use: without, none need be given.
    pub fn needs_frames(&self) -> bool {
        self.is_on() || self.settings.trigger.mode == Mode::Events && !self.settings.trigger.pre_roll.is_zero()
    }

    /// Whether something is to be recorded now, as soon as there is a stream.
    pub fn is_on(&self) -> bool {
        self.main.is_on() || self.clip.is_some()
    }

    /// Whether a file of that recording is open.
    pub fn is_writing(&self, which: Which) -> bool {
        self.line(which).is_some_and(|line| line.writing.is_open())
    }

    /// Whether somebody started that recording.
    pub fn is_started(&self, which: Which) -> bool {
        self.line(which).is_some_and(|line| line.machine.is_started())
    }

    /// Why nothing is written though it is to be.
    pub fn paused(&self) -> Option<Pause> {
        let clip = self.clip.as_ref().filter(|clip| clip.is_on());
        let main = Some(&self.main).filter(|main| main.is_on());
        main.or(clip).and_then(|line| line.writing.paused())
    }

    /// Since it was made.
    pub fn counts(&self) -> Counts {
        let clip = self.clip.as_ref().map(|clip| clip.writing.counts());
        let all = self.counted.plus(&self.main.writing.counts());
        clip.map_or(all, |clip| all.plus(&clip))
    }

    /// Whether a keyframe is wanted, so that a file can begin. It is said once.
    pub fn takes_keyframe(&mut self) -> bool {
        std::mem::take(&mut self.wants_keyframe)
    }

    /// What happened since it was asked last.
    pub fn happened(&mut self) -> impl Iterator<Item = (Which, Happened)> {
        self.happened.drain(..)
    }

    /// In how long it is to be told the time at the latest.
    pub fn wakes_in(&self, now: Now) -> Option<Duration> {
        let lines = [Some(&self.main), self.clip.as_ref()];
        let wakes = lines.iter().flatten().flat_map(|line| {
            let silent = line.writing.newest().map(|newest| {
                let silent = now.monotonic.saturating_duration_since(newest);
                SILENCE.saturating_sub(silent)
            });
            [line.machine.wakes_in(now), silent]
        });
        wakes.flatten().min()
    }

    fn line(&self, which: Which) -> Option<&Line> {
        match which {
            Which::Main => Some(&self.main),
            Which::Clip => self.clip.as_ref(),
        }
    }

    /// How far back frames are held beyond the last keyframe.
    fn back(&self) -> Duration {
        match self.settings.trigger.mode {
            Mode::Events => self.settings.trigger.pre_roll,
            Mode::Continuous | Mode::Schedule | Mode::Manual => Duration::ZERO,
        }
    }

    fn look_for_silence(&mut self, now: Instant) {
        for line in [Some(&mut self.main), self.clip.as_mut()].into_iter().flatten() {
            let silent = line
                .writing
                .newest()
                .map(|newest| now.saturating_duration_since(newest));
            if silent.is_some_and(|silent| silent >= SILENCE) {
                line.writing.interrupt(Ended::StreamGone);
            }
        }
    }

    fn note(&mut self) {
        let main = self.main.writing.happened().map(|what| (Which::Main, what));
        self.happened.extend(main);
        if let Some(clip) = &mut self.clip {
            let clip = clip.writing.happened().map(|what| (Which::Clip, what));
            self.happened.extend(clip);
        }
    }
}

impl Counts {
    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            files: self.files + other.files,
            files_refused: self.files_refused + other.files_refused,
            fragments: self.fragments + other.fragments,
            bytes: self.bytes + other.bytes,
            lost_fragments: self.lost_fragments + other.lost_fragments,
            lost_90k: self.lost_90k + other.lost_90k,
            left_out_frames: self.left_out_frames + other.left_out_frames,
            missed_frames: self.missed_frames + other.missed_frames,
        }
    }
}
