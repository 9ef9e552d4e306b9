//! What stands in a recording, sample by sample: the tracks of its header, and the runs of a fragment. For who puts samples into a file of another form.
//!
//! Read is what [`crate::fmp4`] writes, and nothing is believed of it.

use super::clip::{BOX_HEAD_BYTES, Found, Header, NotOurs, boxes, track_of};
use crate::fmp4::MAX_SAMPLES;
use crate::track::Kind;

/// A track of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTrack {
    /// Its number in the file.
    pub id: u32,
    /// Picture or sound.
    pub kind: Kind,
    /// Ticks a second.
    pub timescale: u32,
    /// Width and height as `tkhd` has them, in 16.16 fixed point.
    pub size: [u32; 2],
    /// Its sample entry (ISO/IEC 14496-12 §8.5.2), the whole box.
    pub entry: Vec<u8>,
}

/// Consecutive samples of a track in a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the track.
    pub track: u32,
    /// Decode time of the first, in ticks of the track.
    pub decode: u64,
    /// Where the first begins, in bytes from the beginning of the `moof` on. The others follow.
    pub at: u32,
    /// In order of decoding.
    pub samples: Vec<Sample>,
}

/// A sample as a fragment describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// In ticks of its track.
    pub duration: u32,
    /// Its bytes.
    pub bytes: u32,
    /// From its decode time to when it is shown, in ticks of its track.
    pub offset: i32,
    /// Decoding can begin with it.
    pub is_sync: bool,
}

impl HeaderTrack {
    /// What its samples are coded as: `avc1`, `hvc1`, `mp4a` …
    pub fn coding(&self) -> Option<&[u8; 4]> {
        self.entry.get(4..)?.first_chunk::<4>()
    }

    /// The parameter sets of its pictures, NAL units in the order in which decoders want them; none of what is neither H.264 nor H.265.
    pub fn parameter_sets(&self) -> Vec<Vec<u8>> {
        let content = self.entry.get(BOX_HEAD_BYTES + VISUAL_BYTES..).unwrap_or_default();
        let found = boxes(content).find_map(|found| match found.name {
            b"avcC" => avc_sets(found.content),
            b"hvcC" => hevc_sets(found.content),
            _ => None,
        });
        found.unwrap_or_default()
    }
}

/// ISO/IEC 14496-15 §5.3.3.1.
fn avc_sets(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut sets = Vec::new();
    rest = rest.get(5..)?;
    for mask in [0x1f, 0xff] {
        let (count, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..count & mask {
            sets.push(set(&mut rest)?);
        }
    }
    Some(sets)
}

/// ISO/IEC 14496-15 §8.3.3.1.
fn hevc_sets(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut sets = Vec::new();
    rest = rest.get(22..)?;
    let (arrays, behind) = rest.split_first()?;
    rest = behind;
    for _ in 0..*arrays {
        let ([_, high, low], behind) = rest.split_first_chunk::<3>()?;
        rest = behind;
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            sets.push(set(&mut rest)?);
        }
    }
    Some(sets)
}

/// A NAL unit behind sixteen bits of length.
fn set(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let (unit, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = behind;
    Some(unit.to_vec())
}

impl Header {
    /// Its tracks of pictures and sound.
    pub fn tracks(&self) -> Vec<HeaderTrack> {
        let content = self.movie().get(BOX_HEAD_BYTES..).unwrap_or_default();
        let traks = boxes(content).filter(|found| found.name == b"trak");
        traks.filter_map(|trak| track(trak.content)).collect()
    }
}

fn inner<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, name| {
        boxes(bytes)
            .find(|found| found.name == *name)
            .map(|found| found.content)
    })
}

fn track(trak: &[u8]) -> Option<HeaderTrack> {
    let (id, timescale) = track_of(trak)?;
    let kind = match inner(trak, &[b"mdia", b"hdlr"])?.get(8..12)? {
        b"vide" => Kind::Video,
        b"soun" => Kind::Audio,
        _ => return None,
    };
    let header = inner(trak, &[b"tkhd"])?;
    let size = header.get(header.len().checked_sub(8)?..)?;
    let entries = inner(trak, &[b"mdia", b"minf", b"stbl", b"stsd"])?.get(8..)?;
    let entry = boxes(entries).next()?.all.to_vec();
    let word = |at: usize| Some(u32::from_be_bytes(*size.get(at..)?.first_chunk::<4>()?));
    (timescale > 0).then_some(())?;
    Some(HeaderTrack {
        id,
        kind,
        timescale,
        size: [word(0)?, word(4)?],
        entry,
    })
}

/// The runs of a `moof`, which stands here whole.
///
/// # Errors
/// [`NotOurs`]: it is not what [`crate::fmp4`] writes.
pub fn runs(moof: &[u8]) -> Result<Vec<Run>, NotOurs> {
    let whole = boxes(moof).next().filter(|found| found.name == b"moof");
    let whole = whole.ok_or(NotOurs::Missing("moof"))?;
    let trafs = boxes(whole.content).filter(|found| found.name == b"traf");
    trafs.map(|traf| run(traf.content)).collect()
}

fn run(traf: &[u8]) -> Result<Run, NotOurs> {
    let found = |name: &'static str, wanted: &[u8; 4]| {
        let found: Option<Found<'_>> = boxes(traf).find(|found| found.name == wanted);
        found.map(|found| found.content).ok_or(NotOurs::Missing(name))
    };
    let track = word(found("tfhd", b"tfhd")?, 4).ok_or(NotOurs::Missing("tfhd"))?;
    let time = found("tfdt", b"tfdt")?;
    let decode = match (time.first(), time.get(4..).and_then(|rest| rest.first_chunk::<8>())) {
        (Some(1), Some(ticks)) => u64::from_be_bytes(*ticks),
        _ => return Err(NotOurs::Missing("tfdt")),
    };
    let trun = found("trun", b"trun")?;
    let (at, samples) = samples(trun).ok_or(NotOurs::Missing("trun"))?;
    Ok(Run {
        track,
        decode,
        at,
        samples,
    })
}

/// Where the first begins, and all of them.
fn samples(trun: &[u8]) -> Option<(u32, Vec<Sample>)> {
    let flags = word(trun, 0)? & 0x00ff_ffff;
    let has_offsets = match flags {
        EACH => false,
        EACH_WITH_OFFSETS => true,
        _ => return None,
    };
    let row_bytes = if has_offsets { 16 } else { 12 };
    let count = word(trun, 4)? as usize;
    let rows = trun.get(12..)?;
    // No memory is taken for what does not stand there.
    (count > 0 && count <= MAX_SAMPLES && rows.len() == count * row_bytes).then_some(())?;
    let sample = |row: &[u8]| {
        Some(Sample {
            duration: word(row, 0)?,
            bytes: word(row, 4)?,
            is_sync: word(row, 8)? & NOT_SYNC == 0,
            offset: if has_offsets { word(row, 12)?.cast_signed() } else { 0 },
        })
    };
    let samples: Option<Vec<Sample>> = rows.chunks_exact(row_bytes).map(sample).collect();
    Some((word(trun, 8)?, samples?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// `trun` flags as [`crate::fmp4`] writes them: where data begin, and of each sample duration, size and flags.
const EACH: u32 = 0x701;
/// And when it is shown.
const EACH_WITH_OFFSETS: u32 = 0xf01;
/// Of a sample entry of pictures, in front of its boxes (§12.1.3).
const VISUAL_BYTES: usize = 78;
/// `sample_is_non_sync_sample` (§8.8.3.1).
const NOT_SYNC: u32 = 0x0001_0000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::fmp4::{Run as Written, Sample as Frame, Writer};
    use crate::{Capture, CaptureSource, Format, MediaTime, Timescale, Track, TrackIndex, WallTime, audio::Aac};

    fn format() -> Arc<Format> {
        Arc::new(Format::Aac(Aac::parse(&[0x12, 0x10]).unwrap()))
    }

    #[test]
    fn a_fragment_is_read_as_it_was_written() {
        let track = Track {
            index: TrackIndex(3),
            format: format(),
            timescale: Timescale::new(44_100).unwrap(),
        };
        let scale = track.timescale;
        let writer = Writer::of_file(&[track], MediaTime::new(500, scale)).unwrap();
        let sample = |at: i64, bytes: usize, keyframe| Frame {
            frame: crate::Frame {
                track: TrackIndex(3),
                time: MediaTime::new(at + 7, scale),
                capture: Capture {
                    at: WallTime::from_unix_micros(0),
                    source: CaptureSource::Arrival,
                },
                keyframe,
                format: format(),
                data: vec![1; bytes].into(),
            },
            decode_time: MediaTime::new(at, scale),
        };
        let samples = [sample(1_500, 5, true), sample(2_524, 9, false)];
        let run = Written {
            track: TrackIndex(3),
            samples: &samples,
            end: MediaTime::new(3_000, scale),
        };
        let fragment = writer.fragment(1, &[run]).unwrap();
        let read = runs(&fragment).unwrap();
        let moof = super::super::moof_bytes(&fragment).unwrap();
        let row = |duration, bytes, is_sync| Sample {
            duration,
            bytes,
            offset: 7,
            is_sync,
        };
        assert_eq!(
            read,
            [Run {
                track: 1,
                decode: 1_000,
                at: moof as u32 + 8,
                samples: vec![row(1_024, 5, true), row(476, 9, false)],
            }]
        );
        let header = Header::read(writer.init_segment()).unwrap();
        let tracks = header.tracks();
        assert_eq!(tracks.len(), 1);
        assert_eq!(
            (tracks[0].kind, tracks[0].timescale, tracks[0].id),
            (Kind::Audio, 44_100, 1)
        );
        assert_eq!(&tracks[0].entry[4..8], b"mp4a");
        // However much of it is there, and whichever byte is another.
        for cut in 0..moof {
            assert!(runs(&fragment[..cut]).is_err());
        }
        for at in 0..moof {
            for bit in 0..8 {
                let mut turned = fragment.to_vec();
                turned[at] ^= 1 << bit;
                let _ = runs(&turned);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = runs(&bytes);
            let _ = Header::read(&bytes).map(|header| header.tracks());
        }
    }
}
