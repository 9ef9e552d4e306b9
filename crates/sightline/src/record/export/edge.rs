//! Pictures that are encoded again, so that an export can begin or end in the midst of a group of pictures: a frame can be decoded from a keyframe on alone.
//!
//! Only H.264 is, since nothing here decodes H.265. What is wrong is said in words, and the export then is exact to the group.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use device::decode::{Decoded, Decoder};
use device::encode::{Encoder, OpenH264, Settings};
use device::picture::FrameRate;
use device::source::Taken;
use media::fmp4::Writer;
use media::recording::{Header, HeaderTrack};
use media::{
    Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, annexb, h264, sei,
};

/// A picture as it was recorded.
#[derive(Clone, Debug)]
pub(super) struct Coded {
    /// When it is shown, in ticks of 90 kHz.
    pub(super) shown_90k: i64,
    /// Decoding can begin with it.
    pub(super) is_sync: bool,
    /// Its NAL units behind their lengths.
    pub(super) data: Bytes,
}

/// Pictures that were encoded again.
#[derive(Clone, Debug)]
pub(super) struct Again {
    /// The sample entry that they need.
    pub(super) entry: Vec<u8>,
    /// Each, in order of decoding and of being shown. The first is a keyframe.
    pub(super) pictures: Vec<Coded>,
}

/// Encodes those of a group again that are shown within a range of time. `sets` are its parameter sets.
///
/// # Errors
/// Why that cannot be done, for people.
pub(super) fn encode(sets: &[Vec<u8>], group: &[Coded], shown_90k: RangeInclusive<i64>) -> Result<Again, String> {
    let format = h264::Format::new(sets).map_err(|error| error.to_string())?;
    let format = Arc::new(Format::H264(format));
    let mut encoding = Encoding::new(sets, group);
    let mut decoder = Decoder::new();
    for coded in group {
        let capture = sei::find(&coded.data, media::Codec::H264).unwrap_or(NOT_KNOWN);
        let frame = Frame {
            track: TrackIndex(0),
            time: MediaTime::new(coded.shown_90k, Timescale::VIDEO),
            capture: Capture {
                at: capture,
                source: CaptureSource::Sei,
            },
            keyframe: coded.is_sync,
            format: Arc::clone(&format),
            data: coded.data.clone(),
        };
        decoder.decode(&frame).map_err(|error| error.to_string())?;
        encoding.take(&mut decoder, &shown_90k)?;
    }
    decoder.flush();
    encoding.take(&mut decoder, &shown_90k)?;
    encoding.done()
}

struct Encoding<'a> {
    sets: &'a [Vec<u8>],
    settings: Settings,
    encoder: Option<OpenH264>,
    /// Of the picture that was encoded last: its NAL units, as the encoder lends them.
    given: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
    sps: Vec<Vec<u8>>,
    pictures: Vec<Coded>,
}

impl<'a> Encoding<'a> {
    /// Twice the bits of what was recorded: what is encoded twice loses twice.
    fn new(sets: &'a [Vec<u8>], group: &[Coded]) -> Self {
        let times = || group.iter().map(|coded| coded.shown_90k);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let steps = group.len().saturating_sub(1).max(1) as i64;
        let step_90k = ((last - first) / steps).max(1);
        let bytes: usize = group.iter().map(|coded| coded.data.len()).sum();
        let lasts_90k = (step_90k * group.len() as i64).max(1);
        let kbps = (bytes as i64).saturating_mul(2 * 8 * 90) / lasts_90k;
        let fps = FrameRate::new(90_000, u32::try_from(step_90k).unwrap_or(u32::MAX));
        let settings = Settings {
            fps: fps.unwrap_or(FrameRate::whole(25)),
            bitrate_kbps: u32::try_from(kbps).unwrap_or(u32::MAX).clamp(MIN_KBPS, MAX_KBPS),
            // One group.
            gop_frames: 600,
            ..Settings::default()
        };
        Self {
            sets,
            settings,
            encoder: None,
            given: Arc::default(),
            sps: Vec::new(),
            pictures: Vec::new(),
        }
    }

    fn take(&mut self, decoder: &mut Decoder, shown_90k: &RangeInclusive<i64>) -> Result<(), String> {
        while let Some(decoded) = decoder.next() {
            if shown_90k.contains(&decoded.time.ticks()) {
                self.picture(&decoded)?;
            }
        }
        Ok(())
    }

    fn picture(&mut self, decoded: &Decoded) -> Result<(), String> {
        let picture = &decoded.picture;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let given = Arc::clone(&self.given);
                let settings = Settings {
                    width: picture.width(),
                    height: picture.height(),
                    ..self.settings
                };
                let output = move |unit: device::encode::AccessUnit<'_>| {
                    let nals = unit.nals.iter().map(|nal| nal.to_vec()).collect();
                    *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(nals);
                };
                let made = OpenH264::new(settings, Box::new(output)).map_err(|error| error.to_string())?;
                none.insert(made)
            }
        };
        let taken = Taken {
            at: Instant::now(),
            source: CaptureSource::Sei,
        };
        encoder.encode(picture, taken).map_err(|error| error.to_string())?;
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
        let nals = given.ok_or("the encoder left out a picture")?;
        let mut data = Vec::new();
        if decoded.capture.at != NOT_KNOWN {
            annexb::push_length_prefixed(&sei::h264(decoded.capture.at), &mut data);
        }
        for nal in &nals {
            match h264::unit_type(nal) {
                h264::nal::SPS | h264::nal::PPS => self.set(nal),
                _ => annexb::push_length_prefixed(nal, &mut data),
            }
        }
        let is_sync = self.pictures.is_empty();
        self.pictures.push(Coded {
            shown_90k: decoded.time.ticks(),
            is_sync,
            data: data.into(),
        });
        Ok(())
    }

    /// Parameter sets go into the sample entry; colours are those of what was recorded.
    fn set(&mut self, nal: &[u8]) {
        let recorded = self.sets.iter().find(|set| h264::unit_type(set) == h264::nal::SPS);
        let changed = match h264::unit_type(nal) {
            h264::nal::SPS => recorded.and_then(|recorded| h264::with_colours_of(nal, recorded)),
            _ => None,
        };
        let set = changed.unwrap_or_else(|| nal.to_vec());
        if !self.sps.contains(&set) {
            self.sps.push(set);
        }
    }

    fn done(self) -> Result<Again, String> {
        if self.pictures.is_empty() {
            return Err("no picture could be decoded".to_owned());
        }
        let format = h264::Format::new(&self.sps).map_err(|error| error.to_string())?;
        let track = Track {
            index: TrackIndex(0),
            format: Arc::new(Format::H264(format)),
            timescale: Timescale::VIDEO,
        };
        let writer = Writer::of_file(&[track], MediaTime::new(0, Timescale::VIDEO));
        let writer = writer.map_err(|error| error.to_string())?;
        let header = Header::read(writer.init_segment()).map_err(|error| error.to_string())?;
        let track: Option<HeaderTrack> = header.tracks().into_iter().next();
        Ok(Again {
            entry: track.ok_or("the encoder's parameter sets cannot be told")?.entry,
            pictures: self.pictures,
        })
    }
}

/// What the bitrate is kept within, in kb/s.
const MIN_KBPS: u32 = 1_000;
const MAX_KBPS: u32 = 50_000;
/// A picture without the time at which it was captured.
const NOT_KNOWN: WallTime = WallTime::from_unix_micros(i64::MIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::library::made::pictures;

    fn recorded(frames: &[Frame]) -> (Vec<Vec<u8>>, Vec<Coded>) {
        let Format::H264(format) = &*frames[0].format else {
            panic!()
        };
        let sets = format.parameter_sets().map(|set| set.to_vec()).collect();
        let coded = |frame: &Frame| Coded {
            shown_90k: frame.time.ticks(),
            is_sync: frame.keyframe,
            data: frame.data.clone(),
        };
        (sets, frames.iter().map(coded).collect())
    }

    #[test]
    fn the_pictures_of_a_range_are_encoded_again_and_no_other() {
        let (_, frames) = pictures(1, 25, "160x120");
        let (sets, group) = recorded(&frames);
        let wanted = group[10].shown_90k..=group[20].shown_90k;
        let again = encode(&sets, &group, wanted).unwrap();
        let times: Vec<i64> = again.pictures.iter().map(|picture| picture.shown_90k).collect();
        let expected: Vec<i64> = group[10..=20].iter().map(|picture| picture.shown_90k).collect();
        assert_eq!(times, expected);
        let syncs: Vec<bool> = again.pictures.iter().map(|picture| picture.is_sync).collect();
        assert_eq!(syncs.iter().position(|sync| *sync), Some(0));
        assert_eq!(syncs.iter().filter(|sync| **sync).count(), 1);
        // They are the pictures that they were, but for what coding takes.
        let header_track = HeaderTrack {
            id: 1,
            kind: media::Kind::Video,
            timescale: 90_000,
            size: [0, 0],
            entry: again.entry.clone(),
        };
        let decode = |sets: &[Vec<u8>], coded: &[Coded]| {
            let format = Arc::new(Format::H264(h264::Format::new(sets).unwrap()));
            let mut decoder = Decoder::new();
            let mut decoded = Vec::new();
            for coded in coded {
                let frame = Frame {
                    time: MediaTime::new(coded.shown_90k, Timescale::VIDEO),
                    keyframe: coded.is_sync,
                    format: Arc::clone(&format),
                    data: coded.data.clone(),
                    ..frames[0].clone()
                };
                decoder.decode(&frame).unwrap();
                decoder.flush();
                decoded.extend(std::iter::from_fn(|| decoder.next()));
            }
            decoded
        };
        let before = decode(&sets, &group);
        let after = decode(&header_track.parameter_sets(), &again.pictures);
        assert_eq!(after.len(), 11);
        for (after, before) in after.iter().zip(&before[10..]) {
            let [after, before] = [after, before].map(|decoded| decoded.picture.planes()[0]);
            let squares = after.iter().zip(before).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
            let error = squares.sum::<f64>() / after.len() as f64;
            assert!(10.0 * (255.0 * 255.0 / error.max(0.001)).log10() > 30.0, "{error}");
        }
    }

    #[test]
    fn what_cannot_be_encoded_again_says_why() {
        let (_, frames) = pictures(1, 25, "160x120");
        let (sets, mut group) = recorded(&frames);
        assert!(encode(&[], &group, 0..=i64::MAX).is_err());
        assert!(encode(&sets, &group, 0..=1).unwrap_err().contains("no picture"));
        assert!(encode(&sets, &[], 0..=1).is_err());
        for coded in &mut group {
            coded.data = Bytes::from_static(b"\0\0\0\x04\x65\xff\xff\xff");
        }
        assert!(encode(&sets, &group, 0..=i64::MAX).is_err());
    }
}
