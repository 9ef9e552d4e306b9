//! From frames to parts and segments. What becomes of them is in [`super::answers`].

use std::sync::Arc;
use std::time::Duration;

use media::fmp4::{Sample, Timeline};
use media::{Frame, MediaTime, Track, WallTime};

use super::answers::Kind;
use super::lineup::{LeftOut, Lineup, NothingToPlay};
use super::pace::{Gop, Interval, Steady};
use super::part::{Epoch, later, ticks_of};
use super::render::{Report, Text};
use super::shelf::{Keep, Part, Shelf};
use super::targets::Targets;
use super::{Config, Identity};

/// One stream's parts, segments and lists.
#[derive(Debug)]
pub struct Muxer {
    config: Config,
    pub(super) identity: Identity,
    pub(super) lineup: Lineup,
    /// How far keyframes are apart, as far as known at the beginning.
    gop_hint: Option<Duration>,
    pub(super) targets: Option<Targets>,
    /// Frames that came before the targets were set.
    waiting: Vec<Frame>,
    publisher: Option<u64>,
    interval: Interval,
    steady: Steady,
    gop: Gop,
    pub(super) epoch: Option<Epoch>,
    epochs: u32,
    origin: Option<MediaTime>,
    /// The next segment does not continue the last.
    discontinuity: bool,
    /// Where the segment, and the part, began that are being filled, in list time.
    pub(super) segment_start_us: Option<i64>,
    part_start_us: i64,
    /// Where the last part ended, in list time.
    pub(super) chain_end_us: Option<i64>,
    sound: Sound,
    pub(super) shelf: Shelf,
    pub(super) ended: bool,
    pub(super) peak_bits_per_second: u64,
    /// How far the list of another variant is.
    pub(super) other: Option<Report>,
    /// What media times are counted from, where another stream is to have the same.
    base: Option<WallTime>,
    pub(super) texts: Vec<(Kind, Option<String>, Arc<Text>)>,
}

/// When there was sound, by the clock of the leading track.
#[derive(Debug, Default)]
struct Sound {
    now_us: i64,
    heard_us: Option<i64>,
}

impl Sound {
    /// Sound comes, or came a moment ago.
    fn is_there(&self) -> bool {
        self.heard_us
            .is_some_and(|heard_us| self.now_us.saturating_sub(heard_us) < SILENCE_US)
    }
}

impl Muxer {
    /// For a stream of these tracks, whose keyframes are `keyframe_distance` apart if that is known.
    ///
    /// # Errors
    /// [`NothingToPlay`].
    pub fn new(
        tracks: &[Track],
        keyframe_distance: Option<Duration>,
        identity: Identity,
        config: Config,
    ) -> Result<Self, NothingToPlay> {
        Ok(Self {
            lineup: Lineup::new(tracks)?,
            gop_hint: keyframe_distance,
            targets: None,
            waiting: Vec::new(),
            publisher: None,
            interval: Interval::default(),
            steady: Steady::default(),
            gop: Gop::default(),
            epoch: None,
            epochs: 0,
            origin: None,
            discontinuity: false,
            segment_start_us: None,
            part_start_us: 0,
            chain_end_us: None,
            sound: Sound::default(),
            shelf: Shelf::new(identity.first),
            ended: false,
            peak_bits_per_second: 0,
            other: None,
            base: None,
            texts: Vec::new(),
            identity,
            config,
        })
    }

    /// Tracks that are not played.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.lineup.left_out
    }

    /// Media times in parts are those of capture, from `base` on: streams with the same base show the same at the same times, as variants must. To be called
    /// before the first frame.
    pub fn count_from(&mut self, base: WallTime) {
        self.base = Some(base);
    }

    /// The next frame, of whatever track, and the number of its publisher. Says whether there is something new.
    pub fn push(&mut self, frame: &Frame, publisher: u64) -> bool {
        if self.ended {
            return false;
        }
        let before = self.shelf.edge();
        if self.publisher.replace(publisher).is_some_and(|last| last != publisher) {
            self.discontinue();
        }
        if self.targets.is_some() {
            self.accept(frame);
        } else {
            self.gather(frame);
        }
        self.changed(before)
    }

    /// Frames are missing here; the next one of a picture is a keyframe.
    pub fn gap(&mut self) -> bool {
        let before = self.shelf.edge();
        self.discontinue();
        self.changed(before)
    }

    /// Other tracks from here on.
    ///
    /// # Errors
    /// [`NothingToPlay`]: it goes on as before, and waits for tracks that can be played.
    pub fn restart(&mut self, tracks: &[Track]) -> Result<bool, NothingToPlay> {
        let before = self.shelf.edge();
        self.discontinue();
        self.lineup = Lineup::new(tracks)?;
        Ok(self.changed(before))
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.discontinue();
        self.shelf.end_segment(self.keep_rules());
        self.waiting = Vec::new();
        self.ended = true;
        self.texts.clear();
    }

    /// How long a request may be kept waiting: three target durations (§6.2.5.2).
    pub fn patience(&self) -> Duration {
        let seconds = self.targets.map_or(4, |targets| targets.seconds);
        Duration::from_secs(3 * u64::try_from(seconds).unwrap_or(4))
    }

    /// EXT-X-TARGETDURATION, once there is a list.
    pub fn target_duration(&self) -> Option<Duration> {
        let seconds = self.targets?.seconds;
        Some(Duration::from_secs(u64::try_from(seconds).ok()?))
    }

    /// Bytes of media that it keeps.
    pub fn bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|frame| frame.data.len()).sum();
        let open = self.epoch.as_ref().map_or(0, Epoch::bytes);
        self.shelf.bytes().saturating_add(waiting).saturating_add(open)
    }

    fn changed(&mut self, before: (u64, u64)) -> bool {
        let changed = self.shelf.edge() != before;
        if changed {
            self.texts.clear();
        }
        changed
    }

    pub(super) fn keep_rules(&self) -> Keep {
        Keep {
            segments: self.config.segments,
            target_us: self.targets.map_or(1_000_000, |targets| targets.target_us()),
            memory_bytes: self.config.memory_bytes,
        }
    }

    pub(super) fn interval_us(&self) -> Option<i64> {
        let ticks = self.interval.ticks()?;
        Some(MediaTime::new(ticks, self.lineup.leading.timescale).as_micros().max(1))
    }

    /// Before there are targets: keeps frames until their pace is known.
    fn gather(&mut self, frame: &Frame) {
        let leads = frame.track == self.lineup.leading.index;
        let bytes = self.bytes().saturating_add(frame.data.len());
        if self.waiting.len() >= MAX_WAITING || bytes > self.config.memory_bytes {
            self.waiting.clear();
        }
        if self.waiting.is_empty() && !(leads && frame.keyframe) {
            return;
        }
        self.waiting.push(frame.clone());
        if leads && let Some(targets) = self.measure() {
            self.targets = Some(targets);
            for frame in std::mem::take(&mut self.waiting) {
                self.accept(&frame);
            }
        }
    }

    /// The targets, if enough frames wait to tell.
    fn measure(&mut self) -> Option<Targets> {
        let leading = &self.lineup.leading;
        let mut timeline = Timeline::new(leading);
        let mut interval = Interval::default();
        let mut span: Option<(MediaTime, MediaTime)> = None;
        for frame in self.waiting.iter().filter(|frame| frame.track == leading.index) {
            let at = timeline.sample(frame.clone()).decode_time;
            interval.frame(at.ticks());
            span = Some((span.map_or(at, |(first, _)| first), at));
        }
        let (first, last) = span?;
        let span_us = last.micros_since(first);
        let is_known = interval.steps() >= ENOUGH_STEPS || (interval.steps() > 0 && span_us >= LONG_ENOUGH_US);
        let sound = self.lineup.sound.as_ref().map(|track| track.index);
        let is_heard = self.waiting.iter().any(|frame| Some(frame.track) == sound);
        if is_heard {
            self.sound.heard_us = Some(last.as_micros());
        }
        if !is_known || (sound.is_some() && !is_heard && span_us < SOUND_WAITED_FOR_US) {
            return None;
        }
        self.sound.now_us = last.as_micros();
        let interval_us = MediaTime::new(interval.ticks()?, leading.timescale).as_micros();
        interval.gap();
        self.interval = interval;
        if let Some(gop) = self.gop_hint {
            let frames = (media::time::micros(gop) + interval_us / 2) / interval_us.max(1);
            self.gop.know(u64::try_from(frames).unwrap_or_default());
        }
        Some(Targets::new(&self.config, interval_us, self.gop_hint))
    }

    fn accept(&mut self, frame: &Frame) {
        if frame.track == self.lineup.leading.index {
            self.lead(frame);
        } else if self
            .lineup
            .sound
            .as_ref()
            .is_some_and(|sound| sound.index == frame.track)
        {
            self.sound(frame);
        }
    }

    fn sound(&mut self, frame: &Frame) {
        self.sound.heard_us = Some(self.sound.now_us);
        if let Some(sound) = &mut self.lineup.sound {
            sound.format = Arc::clone(&frame.format);
        }
        if let (Some(epoch), Some(origin)) = (&mut self.epoch, self.origin)
            && epoch.covers(frame)
        {
            epoch.push_sound(frame, origin);
        }
    }

    fn lead(&mut self, frame: &Frame) {
        let fits = self.epoch.as_ref().is_some_and(|epoch| epoch.covers(frame));
        let is_late = self.steady.late() > ticks_of(LATE_US, self.lineup.leading.timescale);
        if frame.keyframe && (!fits || is_late || self.needs_other_header()) {
            self.begin_epoch(frame);
        } else if !fits {
            // Pictures that nothing can be done with until a keyframe comes.
            if self.epoch.is_some() {
                self.discontinue();
            }
            return;
        }
        let Some(epoch) = &mut self.epoch else { return };
        let sample = epoch.sample(frame);
        self.place(sample);
    }

    /// Whether sound went silent, came, or changed since the header was made.
    fn needs_other_header(&self) -> bool {
        let (Some(epoch), Some(sound)) = (&self.epoch, &self.lineup.sound) else {
            return false;
        };
        let known = epoch.track_format(sound.index);
        epoch.has_sound() != self.sound.is_there() || known.is_some_and(|known| **known != *sound.format)
    }

    /// Another header from this keyframe on.
    fn begin_epoch(&mut self, frame: &Frame) {
        if self.epoch.is_some() {
            self.discontinue();
        }
        self.lineup.leading.format = Arc::clone(&frame.format);
        let leading = self.lineup.leading.clone();
        let sound = self.lineup.sound.clone().filter(|_| self.sound.is_there());
        let base = self.base;
        let origin = *self.origin.get_or_insert_with(|| {
            let since_base_us = base.map(|base| frame.capture.at.micros_since(base).max(0));
            frame.time.offset_micros(-since_base_us.unwrap_or(0) - BEFORE_FIRST_US)
        });
        let made = Epoch::new(leading.clone(), sound, origin);
        // Sound that cannot be described is left out; a picture that cannot is waited for.
        let made = made.or_else(|_| Epoch::new(leading, None, origin));
        if let Ok(epoch) = made {
            self.shelf.add_init(self.epochs, epoch.header().clone());
            self.epochs += 1;
            self.epoch = Some(epoch);
        }
    }

    /// Puts a frame of the leading track into the part that it belongs to, and ends parts and segments where that is their place.
    fn place(&mut self, mut sample: Sample) {
        let (Some(targets), Some(epoch)) = (self.targets, &self.epoch) else {
            return;
        };
        let scale = sample.decode_time.scale();
        self.interval.frame(sample.decode_time.ticks());
        let interval = self
            .interval
            .ticks()
            .unwrap_or_else(|| ticks_of(targets.part_us, scale));
        let at = MediaTime::new(self.steady.frame(sample.decode_time.ticks(), interval), scale);
        sample.decode_time = at;
        let keyframe = sample.frame.keyframe;
        let at_us = at.as_micros();
        self.sound.now_us = at_us;
        let interval_us = MediaTime::new(interval, scale).as_micros().max(1);
        let reaches = |segment_start_us: Option<i64>, until_us: i64| {
            segment_start_us.is_some_and(|start_us| until_us - start_us >= targets.segment_us - interval_us / 2)
        };
        // A part may not take what comes after so much.
        let room_us = targets.part_us + targets.slack_us - interval_us;
        let begins_segment = keyframe && reaches(self.segment_start_us, at_us);
        if !epoch.samples().is_empty() {
            let fits = at_us - self.part_start_us <= room_us;
            if begins_segment || !fits {
                self.close_part(at, begins_segment);
            }
        }
        if begins_segment {
            self.end_segment();
        } else {
            self.cut_if_long();
        }
        if self.epoch.as_ref().is_none_or(|epoch| epoch.samples().is_empty()) {
            self.part_start_us = self.chain_end_us.unwrap_or(whole_ms(at_us));
            self.segment_start_us.get_or_insert(self.part_start_us);
        }
        if let Some(epoch) = &mut self.epoch {
            epoch.push(sample);
        }
        self.gop.frame(keyframe);
        let after = later(at, interval);
        let is_full = after.as_micros() - self.part_start_us > room_us || self.is_heavy();
        let ends_segment = self.gop.is_complete() && reaches(self.segment_start_us, after.as_micros());
        if is_full || ends_segment {
            self.close_part(after, ends_segment);
        }
        if ends_segment {
            self.end_segment();
        } else if is_full {
            self.cut_if_long();
        }
    }

    /// Whether the part holds as much as it may, whatever its time.
    fn is_heavy(&self) -> bool {
        let Some(epoch) = &self.epoch else { return false };
        epoch.bytes() > self.config.memory_bytes / 8 || epoch.samples().len() >= MAX_SAMPLES
    }

    /// Ends the part at `next`, where the next frame begins. The last part of a segment may be short.
    fn close_part(&mut self, next: MediaTime, is_last: bool) {
        let (Some(targets), Some(epoch)) = (self.targets, &mut self.epoch) else {
            return;
        };
        let Some(first) = epoch.samples().first() else { return };
        let independent = first.frame.keyframe;
        // Players count from the decode time: the date is that of a picture which would be shown then.
        let shown_after_us = first.frame.time.micros_since(first.decode_time);
        let date = first.frame.capture.at.offset_micros(-shown_after_us);
        let start_us = self.part_start_us;
        let longest_us = start_us + targets.part_us;
        let shortest_us = if is_last { 1 } else { targets.shortest_part_us() };
        let mut end_us = whole_ms(next.as_micros() + 500).clamp(start_us + 1_000, longest_us);
        if end_us - start_us < shortest_us && start_us + shortest_us - end_us <= targets.half_frame_us {
            end_us = whole_ms(start_us + shortest_us + 999);
        }
        let bytes = match epoch.close(next) {
            Ok(bytes) => bytes,
            // More in one part than a fragment takes: it is left out, and there is a gap.
            Err(_) => return,
        };
        let part = Part {
            bytes,
            duration_us: end_us - start_us,
            independent,
            date,
        };
        let discontinuity = std::mem::take(&mut self.discontinuity);
        let keep = self.keep_rules();
        self.shelf.add(part, self.epochs.saturating_sub(1), discontinuity, keep);
        self.chain_end_us = Some(end_us);
    }

    pub(super) fn end_segment(&mut self) {
        // Of what is much shorter than a segment the rate tells nothing: it may be a keyframe alone.
        let half_us = self.targets.map_or(0, |targets| targets.segment_us / 2);
        if let Some(segment) = self.shelf.growing().filter(|segment| segment.duration_us >= half_us) {
            let peak = bits_per_second(segment.bytes as u64, segment.duration_us.max(1).cast_unsigned());
            self.peak_bits_per_second = self.peak_bits_per_second.max(peak);
        }
        self.shelf.complete_segment();
        self.segment_start_us = None;
    }

    /// Ends the segment where the next part might make it too long, in time or in bytes.
    fn cut_if_long(&mut self) {
        let (Some(targets), Some(open)) = (self.targets, self.shelf.growing()) else {
            return;
        };
        let is_between = self.epoch.as_ref().is_none_or(|epoch| epoch.samples().is_empty());
        let is_long = open.duration_us + targets.part_us > targets.longest_segment_us();
        if is_between && (is_long || open.bytes > self.config.memory_bytes / 4) {
            self.end_segment();
        }
    }

    /// What comes does not continue what was: ends part and segment, and waits for a keyframe.
    fn discontinue(&mut self) {
        self.waiting.clear();
        if let Some(last) = self.epoch.as_ref().and_then(|epoch| epoch.samples().last()) {
            let interval = self.interval.ticks().unwrap_or(1);
            let next = later(last.decode_time, interval);
            self.close_part(next, true);
        }
        self.end_segment();
        self.epoch = None;
        self.chain_end_us = None;
        self.gop.gap();
        self.interval.gap();
        self.steady.gap();
        self.discontinuity = self.shelf.last().is_some() || self.shelf.open().is_some();
    }
}

pub(super) fn bits_per_second(bytes: u64, micros: u64) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000 / u128::from(micros.max(1));
    u64::try_from(bits).unwrap_or(u64::MAX).max(1)
}

/// List time is counted in whole milliseconds, as dates are.
fn whole_ms(micros: i64) -> i64 {
    micros.div_euclid(1_000) * 1_000
}

/// Distances of frames from which their pace is told, or one in so much time.
const ENOUGH_STEPS: usize = 16;
const LONG_ENOUGH_US: i64 = 1_000_000;
/// Sound that does not come within this time of the picture is not waited for.
const SOUND_WAITED_FOR_US: i64 = 500_000;
/// Sound that has not come for so long is taken out of the header, since players wait for it; back with it at the next keyframe.
const SILENCE_US: i64 = 1_000_000;
/// List time that fell so far behind the true time, because so many frames were lost, begins anew at a keyframe.
const LATE_US: i64 = 250_000;
/// Media times in parts begin here, for sound that is a little older than the first picture.
const BEFORE_FIRST_US: i64 = 1_000_000;
/// Frames kept before their pace is known.
const MAX_WAITING: usize = 4_096;
/// Frames of the leading track in a part.
const MAX_SAMPLES: usize = 4_096;
