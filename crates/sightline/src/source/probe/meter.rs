//! What is measured of a few seconds of a stream. Pure.

use std::sync::Arc;

use bytes::Bytes;
use media::h264::{SliceType, slice_header};
use media::hub::Stream;
use media::{CaptureSource, Format, Frame, Kind, annexb};

use crate::source::Cause;

/// What a camera gives.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Of its picture.
    pub video: Arc<Format>,
    /// Of its sound, if it has some.
    pub sound: Option<Arc<Format>>,
    /// Pictures a second, by the times that the camera gives them. `None`: too few came.
    pub fps: Option<f64>,
    /// Thousand bits a second, of picture and sound together.
    pub kbps: Option<f64>,
    /// From keyframe to keyframe, the longest that was seen.
    pub keyframe_s: Option<f64>,
    /// So long it was looked at, by its own times.
    pub watched_s: f64,
    /// Some pictures refer to later ones.
    pub b_frames: bool,
    /// How its capture times are come by.
    pub capture: CaptureSource,
    /// Whether it says that it has a lower rendition; `None`: it was not asked.
    pub has_lower: Option<bool>,
    /// A JPEG, or why there is none.
    pub picture: Result<Bytes, String>,
}

impl Probed {
    /// What is worth knowing before it is set.
    pub fn notes(&self) -> Vec<Cause> {
        let far = self.keyframe_s.unwrap_or(self.watched_s) > KEYFRAMES_FAR_S;
        let notes = [
            (matches!(&*self.video, Format::H265(_)), Cause::H265),
            (far, Cause::KeyframesFar),
            (self.b_frames, Cause::BFrames),
        ];
        notes.into_iter().filter_map(|(is, note)| is.then_some(note)).collect()
    }
}

/// So long may a viewer wait for a keyframe without complaint.
const KEYFRAMES_FAR_S: f64 = 4.0;

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Meter {
    seen: Option<Seen>,
    sound: Option<Arc<Format>>,
}

/// From the first picture on.
#[derive(Debug)]
struct Seen {
    format: Arc<Format>,
    capture: CaptureSource,
    keyframes: usize,
    b_frames: bool,
    /// All of it.
    whole: Span,
    /// From the second keyframe on. What servers keep for newcomers comes before it at once, with times that are not those of capture: 30 pictures a second were
    /// measured as 40 with it.
    steady: Option<Span>,
}

/// A stretch that begins with a keyframe.
#[derive(Clone, Copy, Debug)]
struct Span {
    pictures: u32,
    first_us: i64,
    newest_us: i64,
    bytes: u64,
    /// Of the newest picture, which has yet to be shown.
    newest_bytes: u64,
    keyframe_us: i64,
    longest_us: Option<i64>,
}

/// A shorter one says less than what came before it.
const STEADY_S: f64 = 0.5;

impl Meter {
    pub(super) fn note(&mut self, frame: &Frame) {
        let bytes = frame.data.len() as u64;
        if frame.format.codec().kind() == Kind::Audio {
            self.sound = Some(Arc::clone(&frame.format));
            if let Some(seen) = &mut self.seen {
                seen.spans().for_each(|span| span.bytes += bytes);
            }
            return;
        }
        match &mut self.seen {
            Some(seen) => seen.note(frame),
            none if frame.keyframe => *none = Some(Seen::new(frame)),
            _ => {}
        }
    }

    /// Whether so many keyframes and such a time were seen.
    pub(super) fn has(&self, keyframes: usize, seconds: f64) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| seen.keyframes >= keyframes && seen.whole.seconds() >= seconds)
    }

    /// `None`: no picture came.
    pub(super) fn probed(&self, stream: Option<&Stream>, has_lower: Option<bool>) -> Option<Probed> {
        let seen = self.seen.as_ref()?;
        let steady = seen.steady.filter(|span| span.seconds() >= STEADY_S);
        let span = steady.unwrap_or(seen.whole);
        let over = |count: f64| (span.seconds() > 0.0).then(|| count / span.seconds());
        let announced = || {
            let tracks = stream?.tracks();
            let sound = tracks.iter().find(|track| track.kind() == Kind::Audio)?;
            Some(Arc::clone(&sound.format))
        };
        Some(Probed {
            video: Arc::clone(&seen.format),
            sound: self.sound.clone().or_else(announced),
            fps: over(f64::from(span.pictures.saturating_sub(1))),
            // The newest is shown beyond what was looked at.
            kbps: over(span.bytes.saturating_sub(span.newest_bytes) as f64 * 8.0 / 1_000.0),
            keyframe_s: span.longest_us.or(seen.whole.longest_us).map(|us| us as f64 / 1e6),
            watched_s: seen.whole.seconds(),
            b_frames: seen.b_frames,
            capture: seen.capture,
            has_lower,
            picture: Err("no picture was made".to_owned()),
        })
    }
}

impl Seen {
    fn new(frame: &Frame) -> Self {
        Self {
            format: Arc::clone(&frame.format),
            capture: frame.capture.source,
            keyframes: 1,
            b_frames: false,
            whole: Span::new(frame),
            steady: None,
        }
    }

    fn spans(&mut self) -> impl Iterator<Item = &mut Span> {
        std::iter::once(&mut self.whole).chain(&mut self.steady)
    }

    fn note(&mut self, frame: &Frame) {
        self.format = Arc::clone(&frame.format);
        // A sender report comes after the first pictures: the best that was seen counts.
        self.capture = self.capture.min(frame.capture.source);
        self.b_frames |= frame.time.as_micros() < self.whole.newest_us || has_b_slice(frame);
        self.spans().for_each(|span| span.note(frame));
        if frame.keyframe {
            self.keyframes += 1;
            self.steady.get_or_insert_with(|| Span::new(frame));
        }
    }
}

impl Span {
    fn new(frame: &Frame) -> Self {
        let (at_us, bytes) = (frame.time.as_micros(), frame.data.len() as u64);
        Self {
            pictures: 1,
            first_us: at_us,
            newest_us: at_us,
            bytes,
            newest_bytes: bytes,
            keyframe_us: at_us,
            longest_us: None,
        }
    }

    fn note(&mut self, frame: &Frame) {
        let (at_us, bytes) = (frame.time.as_micros(), frame.data.len() as u64);
        self.pictures = self.pictures.saturating_add(1);
        self.bytes += bytes;
        if at_us >= self.newest_us {
            self.newest_us = at_us;
            self.newest_bytes = bytes;
        }
        if frame.keyframe {
            self.longest_us = self.longest_us.max(Some(at_us.saturating_sub(self.keyframe_us)));
            self.keyframe_us = at_us;
        }
    }

    fn seconds(&self) -> f64 {
        self.newest_us.saturating_sub(self.first_us) as f64 / 1e6
    }
}

/// By its first slice; of H.265 its time alone tells.
fn has_b_slice(frame: &Frame) -> bool {
    if !matches!(&*frame.format, Format::H264(_)) {
        return false;
    }
    let header = annexb::nal_units(&frame.data).find_map(slice_header);
    header.is_some_and(|header| header.slice_type == SliceType::B)
}

#[cfg(test)]
mod tests {
    use media::WallTime;
    use testkit::stream::{Audio, Settings, Video};

    use super::*;

    fn film(gop_frames: u64, pictures: usize) -> Meter {
        let mut video = Video::new(Settings {
            gop_frames,
            ..Settings::default()
        });
        let mut meter = Meter::default();
        for _ in 0..pictures {
            meter.note(&video.next_frame(WallTime::from_unix_micros(0)));
        }
        meter
    }

    #[test]
    fn rate_and_keyframe_distance_are_those_of_the_pictures() {
        let meter = film(10, 31);
        assert!(meter.has(4, 0.9) && !meter.has(5, 0.9) && !meter.has(4, 1.1));
        let probed = meter.probed(None, None).unwrap();
        let fps = probed.fps.unwrap();
        let distance = probed.keyframe_s.unwrap();
        assert!((distance - 10.0 / fps).abs() < 0.001, "{probed:?}");
        assert!(fps > 20.0 && probed.kbps.unwrap() > 0.0 && !probed.b_frames);
        assert!(probed.sound.is_none() && probed.notes().is_empty());
    }

    /// A server gives the first group at once, with times of its own.
    #[test]
    fn what_comes_at_once_is_not_measured() {
        let mut video = Video::new(Settings {
            gop_frames: 10,
            ..Settings::default()
        });
        let mut meter = Meter::default();
        let frames: Vec<Frame> = (0..41)
            .map(|_| video.next_frame(WallTime::from_unix_micros(0)))
            .collect();
        let begins = frames[10].time;
        for (number, mut frame) in frames.into_iter().enumerate() {
            if number < 10 {
                let early_us = (10 - number as i64) * 1_000;
                frame.time = media::MediaTime::new(begins.ticks() - early_us * 90 / 1_000, media::Timescale::VIDEO);
            }
            meter.note(&frame);
        }
        let probed = meter.probed(None, None).unwrap();
        assert!((29.9..30.1).contains(&probed.fps.unwrap()), "{probed:?}");
        assert!((0.33..0.34).contains(&probed.keyframe_s.unwrap()), "{probed:?}");
    }

    #[test]
    fn one_picture_has_no_rate() {
        let probed = film(10, 1).probed(None, None).unwrap();
        assert_eq!((probed.fps, probed.kbps, probed.keyframe_s), (None, None, None));
        assert!(Meter::default().probed(None, None).is_none());
    }

    #[test]
    fn what_comes_before_a_keyframe_does_not_count() {
        let mut video = Video::new(Settings::default());
        let mut meter = Meter::default();
        let first = video.next_frame(WallTime::from_unix_micros(0));
        meter.note(&video.next_frame(WallTime::from_unix_micros(0)));
        assert!(!meter.has(1, 0.0));
        meter.note(&first);
        assert!(meter.has(1, 0.0));
    }

    #[test]
    fn keyframes_that_are_far_apart_are_noted() {
        for (gop_frames, pictures) in [(1_000, 160), (130, 140)] {
            let probed = film(gop_frames, pictures).probed(None, None).unwrap();
            assert_eq!(probed.notes(), [Cause::KeyframesFar], "{probed:?}");
        }
    }

    #[test]
    fn pictures_that_come_before_earlier_ones_are_b_frames() {
        let mut video = Video::new(Settings::default());
        let mut meter = Meter::default();
        let frames: Vec<Frame> = (0..4)
            .map(|_| video.next_frame(WallTime::from_unix_micros(0)))
            .collect();
        for number in [0, 2, 1, 3] {
            meter.note(&frames[number]);
        }
        let probed = meter.probed(None, None).unwrap();
        assert!(probed.b_frames);
        assert_eq!(probed.notes(), [Cause::BFrames]);
    }

    #[test]
    fn sound_is_told() {
        let mut meter = film(10, 5);
        let mut sound = Audio::new(media::TrackIndex(1), 0);
        meter.note(&sound.next_frame(WallTime::from_unix_micros(0)));
        assert!(meter.probed(None, None).unwrap().sound.is_some());
    }
}
