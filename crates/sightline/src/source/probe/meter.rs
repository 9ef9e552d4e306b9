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
    bytes: u64,
}

/// From the first picture on.
#[derive(Debug)]
struct Seen {
    format: Arc<Format>,
    capture: CaptureSource,
    pictures: u32,
    first_us: i64,
    newest_us: i64,
    /// Bytes of the newest picture, which has yet to be shown.
    newest_bytes: u64,
    keyframes: usize,
    keyframe_us: i64,
    longest_us: Option<i64>,
    b_frames: bool,
}

impl Meter {
    pub(super) fn note(&mut self, frame: &Frame) {
        let bytes = frame.data.len() as u64;
        if frame.format.codec().kind() == Kind::Audio {
            self.sound = Some(Arc::clone(&frame.format));
            self.bytes += if self.seen.is_some() { bytes } else { 0 };
            return;
        }
        let at_us = frame.time.as_micros();
        let Some(seen) = &mut self.seen else {
            if frame.keyframe {
                self.bytes += bytes;
                self.seen = Some(Seen::new(frame, at_us));
            }
            return;
        };
        self.bytes += bytes;
        seen.note(frame, at_us);
    }

    pub(super) fn keyframes(&self) -> usize {
        self.seen.as_ref().map_or(0, |seen| seen.keyframes)
    }

    /// `None`: no picture came.
    pub(super) fn probed(&self, stream: Option<&Stream>, has_lower: Option<bool>) -> Option<Probed> {
        let seen = self.seen.as_ref()?;
        let span_s = (seen.newest_us - seen.first_us) as f64 / 1e6;
        let over = |count: f64| (span_s > 0.0).then(|| count / span_s);
        let announced = || {
            let tracks = stream?.tracks();
            let sound = tracks.iter().find(|track| track.kind() == Kind::Audio)?;
            Some(Arc::clone(&sound.format))
        };
        Some(Probed {
            video: Arc::clone(&seen.format),
            sound: self.sound.clone().or_else(announced),
            fps: over(f64::from(seen.pictures - 1)),
            // The newest is shown beyond what was looked at.
            kbps: over(self.bytes.saturating_sub(seen.newest_bytes) as f64 * 8.0 / 1_000.0),
            keyframe_s: seen.longest_us.map(|us| us as f64 / 1e6),
            watched_s: span_s,
            b_frames: seen.b_frames,
            capture: seen.capture,
            has_lower,
            picture: Err("no picture was made".to_owned()),
        })
    }
}

impl Seen {
    fn new(frame: &Frame, at_us: i64) -> Self {
        Self {
            format: Arc::clone(&frame.format),
            capture: frame.capture.source,
            pictures: 1,
            first_us: at_us,
            newest_us: at_us,
            newest_bytes: frame.data.len() as u64,
            keyframes: 1,
            keyframe_us: at_us,
            longest_us: None,
            b_frames: false,
        }
    }

    fn note(&mut self, frame: &Frame, at_us: i64) {
        self.pictures = self.pictures.saturating_add(1);
        self.format = Arc::clone(&frame.format);
        // A sender report comes after the first pictures: the best that was seen counts.
        self.capture = self.capture.min(frame.capture.source);
        self.b_frames |= at_us < self.newest_us || has_b_slice(frame);
        if at_us >= self.newest_us {
            self.newest_us = at_us;
            self.newest_bytes = frame.data.len() as u64;
        }
        if frame.keyframe {
            self.keyframes += 1;
            self.longest_us = self.longest_us.max(Some(at_us - self.keyframe_us));
            self.keyframe_us = at_us;
        }
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
        assert_eq!(meter.keyframes(), 4);
        let probed = meter.probed(None, None).unwrap();
        let fps = probed.fps.unwrap();
        let distance = probed.keyframe_s.unwrap();
        assert!((distance - 10.0 / fps).abs() < 0.001, "{probed:?}");
        assert!(fps > 20.0 && probed.kbps.unwrap() > 0.0 && !probed.b_frames);
        assert!(probed.sound.is_none() && probed.notes().is_empty());
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
        assert_eq!(meter.keyframes(), 0);
        meter.note(&first);
        assert_eq!(meter.keyframes(), 1);
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
