//! What goes into the next part, and the header that it needs.

use std::sync::Arc;

use bytes::Bytes;
use media::fmp4::{self, Run, Sample, Timeline, Writer};
use media::{Format, Frame, MediaTime, Timescale, Track, TrackIndex};

use super::lineup::sound_ticks;

/// Parts with one header. Formats, or which tracks there are, change from one epoch to the next.
#[derive(Debug)]
pub(super) struct Epoch {
    writer: Writer,
    leading: Line,
    sound: Option<Line>,
    fragments: u32,
    /// Of the samples that are in no part yet.
    bytes: usize,
}

/// One track: what is in the next part, and where the last one ended.
#[derive(Debug)]
struct Line {
    track: Track,
    timeline: Timeline,
    samples: Vec<Sample>,
    /// What was written lasts until here.
    end: Option<MediaTime>,
}

impl Epoch {
    /// Media before `origin` is left out.
    pub(super) fn new(leading: Track, sound: Option<Track>, origin: MediaTime) -> Result<Self, fmp4::Error> {
        let tracks: Vec<_> = [Some(&leading), sound.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        Ok(Self {
            writer: Writer::new(&tracks, origin)?.with_producer_time(),
            leading: Line::new(leading),
            sound: sound.map(Line::new),
            fragments: 0,
            bytes: 0,
        })
    }

    pub(super) fn header(&self) -> &Bytes {
        self.writer.init_segment()
    }

    pub(super) fn has_sound(&self) -> bool {
        self.sound.is_some()
    }

    pub(super) fn covers(&self, frame: &Frame) -> bool {
        self.writer.covers(frame.track, &frame.format)
    }

    /// The format that the header has for a track.
    pub(super) fn track_format(&self, index: TrackIndex) -> Option<&Arc<Format>> {
        let track = self.writer.tracks().iter().find(|track| track.index == index)?;
        Some(&track.format)
    }

    /// The next frame of the leading track with its decode time. It goes into a part by [`Epoch::push`].
    pub(super) fn sample(&mut self, frame: &Frame) -> Sample {
        self.leading.timeline.sample(frame.clone())
    }

    pub(super) fn push(&mut self, sample: Sample) {
        self.bytes = self.bytes.saturating_add(sample.frame.data.len());
        self.leading.samples.push(sample);
    }

    pub(super) fn push_sound(&mut self, frame: &Frame, origin: MediaTime) {
        let Some(sound) = &mut self.sound else { return };
        let sample = sound.timeline.sample(frame.clone());
        if sample.decode_time.micros_since(origin) >= 0 && sound.samples.len() < fmp4::MAX_SAMPLES / 2 {
            self.bytes = self.bytes.saturating_add(sample.frame.data.len());
            sound.samples.push(sample);
        }
    }

    /// The frames of the leading track that are in the next part.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.leading.samples
    }

    /// Bytes of media that are in no part yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything so far as one fragment, the last frame of the leading track lasting until `end`.
    pub(super) fn close(&mut self, end: MediaTime) -> Result<Bytes, fmp4::Error> {
        self.leading.join_up();
        let mut runs = vec![Run {
            track: self.leading.track.index,
            samples: &self.leading.samples,
            end,
        }];
        if let Some(sound) = &mut self.sound {
            sound.join_up();
            if let Some(sample) = sound.samples.last() {
                let end = match sound_ticks(&sample.frame.format, &sample.frame.data) {
                    Some(ticks) => later(sample.decode_time, ticks),
                    None => sound.timeline.expected_next(),
                };
                sound.end = Some(end);
                runs.push(Run {
                    track: sound.track.index,
                    samples: &sound.samples,
                    end,
                });
            }
        }
        self.fragments = self.fragments.wrapping_add(1);
        let written = self.writer.fragment(self.fragments, &runs);
        self.leading.end = Some(end);
        self.leading.samples.clear();
        self.bytes = 0;
        if let Some(sound) = &mut self.sound {
            sound.samples.clear();
        }
        written
    }
}

impl Line {
    fn new(track: Track) -> Self {
        Self {
            timeline: Timeline::new(&track),
            track,
            samples: Vec::new(),
            end: None,
        }
    }

    /// Lets the first sample begin where the part before ended, which was told before this one was known: decode times go on without a step.
    /// Players that see one of more than two frames throw everything away up to the next keyframe (Media Source Extensions, coded frame
    /// processing), so that a lost frame of sound would take the picture with it. A picture is still shown at its own time.
    fn join_up(&mut self) {
        let Some(mut earliest) = self.end else { return };
        let is_sound = self.track.kind() == media::Kind::Audio;
        for (index, sample) in self.samples.iter_mut().enumerate() {
            if index > 0 && sample.decode_time.ticks() >= earliest.ticks() {
                break;
            }
            sample.decode_time = earliest;
            if is_sound {
                sample.frame.time = earliest;
            }
            earliest = later(earliest, 1);
        }
    }
}

/// `time` and so many ticks.
pub(super) fn later(time: MediaTime, ticks: i64) -> MediaTime {
    MediaTime::new(time.ticks().saturating_add(ticks), time.scale())
}

/// As ticks of `scale`.
pub(super) fn ticks_of(micros: i64, scale: Timescale) -> i64 {
    MediaTime::new(0, scale).offset_micros(micros).ticks()
}
