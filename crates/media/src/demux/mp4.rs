//! Fragmented MP4 (ISO/IEC 14496-12): the header, and fragments of it.
//!
//! Boxes are read by `shiguredo_mp4`, one fragment a call; what it would take memory for without bytes standing there is counted first.

use std::sync::Arc;

use shiguredo_mp4::TrackKind;
use shiguredo_mp4::boxes::{HvccBox, HvccNalUintArray, SampleEntry};
use shiguredo_mp4::demux::Fmp4SegmentDemuxer;

use super::{Error, MAX_SAMPLES, Pictures, Sample};
use crate::audio::{Aac, Opus};
use crate::time::{MediaTime, Timescale};
use crate::track::Format;
use crate::{h264, h265};

/// A track of the file.
#[derive(Debug)]
struct Track {
    id: u32,
    scale: Timescale,
    coding: Coding,
}

#[derive(Debug)]
enum Coding {
    /// Not known before its first sample.
    Open,
    Picture {
        pictures: Pictures,
        length_bytes: usize,
    },
    Sound(Arc<Format>),
    /// In something else, or the second of its kind.
    Other,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mp4 {
    demuxer: Fmp4SegmentDemuxer,
    tracks: Vec<Track>,
    /// Codecs that are not carried, for the complaint that none is.
    others: Vec<&'static str>,
}

impl Mp4 {
    pub(super) fn new(header: &[u8]) -> Result<Self, Error> {
        let mut demuxer = Fmp4SegmentDemuxer::new();
        demuxer.handle_init_segment(header).map_err(|error| damaged(&error))?;
        let tracks = demuxer.tracks().map_err(|error| damaged(&error))?;
        let (mut kept, mut kinds) = (Vec::new(), Vec::new());
        for track in tracks {
            let first = matches!(track.kind, TrackKind::Video | TrackKind::Audio) && !kinds.contains(&track.kind);
            kinds.push(track.kind);
            kept.push(Track {
                id: track.track_id,
                scale: Timescale::new(track.timescale.get()).unwrap_or(Timescale::VIDEO),
                coding: if first { Coding::Open } else { Coding::Other },
            });
        }
        Ok(Self {
            demuxer,
            tracks: kept,
            others: Vec::new(),
        })
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> Result<Vec<Sample>, Error> {
        let mut samples = Vec::new();
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            let (kind, size) = next_box(rest)?;
            if kind != *b"moof" {
                // `styp`, `sidx`, `prft`, `emsg` and whatever there will be.
                rest = rest.get(size..).unwrap_or_default();
                continue;
            }
            count += counted(rest.get(..size).unwrap_or_default())?;
            if count > MAX_SAMPLES {
                return Err(Error::TooLarge {
                    what: "samples",
                    limit: MAX_SAMPLES,
                });
            }
            let (next, media) = next_box(rest.get(size..).unwrap_or_default())?;
            let end = size.saturating_add(media);
            let (true, Some(fragment)) = (next == *b"mdat", rest.get(..end)) else {
                return Err(Error::Damaged("there is no mdat behind a moof".to_owned()));
            };
            self.fragment(fragment, &mut samples)?;
            rest = rest.get(end..).unwrap_or_default();
        }
        if samples.is_empty() && !self.others.is_empty() {
            return Err(Error::NoTracks(self.others.join(", ")));
        }
        Ok(samples)
    }

    /// One `moof` and its `mdat`.
    fn fragment(&mut self, bytes: &[u8], samples: &mut Vec<Sample>) -> Result<(), Error> {
        let found = self.demuxer.handle_media_segment(bytes);
        for sample in found.map_err(|error| damaged(&error))? {
            let Some(track) = self.tracks.iter_mut().find(|track| track.id == sample.track.track_id) else {
                continue;
            };
            if let (Some(entry), false) = (sample.sample_entry, matches!(track.coding, Coding::Other)) {
                track.coding = coding(entry).unwrap_or_else(|other| {
                    self.others.push(other);
                    Coding::Other
                });
            }
            let at = usize::try_from(sample.data_offset).unwrap_or(usize::MAX);
            let Some(data) = bytes.get(at..at.saturating_add(sample.data_size)) else {
                return Err(Error::Damaged("a sample lies outside of its fragment".to_owned()));
            };
            let decode = i64::try_from(sample.timestamp).unwrap_or(i64::MAX);
            let shown = decode.saturating_add(sample.composition_time_offset.unwrap_or(0));
            let (decode, shown) = (
                MediaTime::new(decode, track.scale).as_micros(),
                MediaTime::new(shown, track.scale),
            );
            match &mut track.coding {
                Coding::Picture { pictures, length_bytes } => {
                    units(data, *length_bytes, |unit| pictures.push(unit));
                    let unit = pictures.finish();
                    samples.extend(unit.map(|unit| Sample::of_picture(unit, shown, decode)));
                }
                Coding::Sound(format) => samples.push(Sample::of_sound(format, shown, decode, data)),
                Coding::Open | Coding::Other => {}
            }
        }
        Ok(())
    }
}

/// How samples are coded that have this entry; else its name.
fn coding(entry: &SampleEntry) -> Result<Coding, &'static str> {
    match entry {
        SampleEntry::Avc1(avc1) => {
            let avcc = &avc1.avcc_box;
            let format = h264::Format::new(avcc.sps_list.iter().chain(&avcc.pps_list)).map_err(|_| "damaged H.264")?;
            Ok(Coding::Picture {
                pictures: Pictures::h264(format),
                length_bytes: usize::from(avcc.length_size_minus_one.get()) + 1,
            })
        }
        SampleEntry::Hev1(hev1) => h265(&hev1.hvcc_box),
        SampleEntry::Hvc1(hvc1) => h265(&hvc1.hvcc_box),
        SampleEntry::Mp4a(mp4a) => {
            let info = mp4a.esds_box.es.dec_config_descr.dec_specific_info.as_ref();
            let aac = info.and_then(|info| Aac::parse(&info.payload).ok());
            Ok(Coding::Sound(Arc::new(Format::Aac(
                aac.ok_or("an unknown kind of AAC")?,
            ))))
        }
        SampleEntry::Opus(opus) if (1..=2).contains(&opus.dops_box.output_channel_count) => {
            let channels = opus.dops_box.output_channel_count;
            Ok(Coding::Sound(Arc::new(Format::Opus(Opus { channels }))))
        }
        SampleEntry::Vp08(_) => Err("VP8"),
        SampleEntry::Vp09(_) => Err("VP9"),
        SampleEntry::Av01(_) => Err("AV1"),
        _ => Err("another"),
    }
}

fn h265(hvcc: &HvccBox) -> Result<Coding, &'static str> {
    // Encoders put their name beside them, as an SEI message.
    let is_set = |array: &&HvccNalUintArray| (h265::nal::VPS..=h265::nal::PPS).contains(&array.nal_unit_type.get());
    let sets = hvcc.nalu_arrays.iter().filter(is_set).flat_map(|array| &array.nalus);
    let format = h265::Format::new(sets).map_err(|_| "damaged H.265")?;
    Ok(Coding::Picture {
        pictures: Pictures::h265(format),
        length_bytes: usize::from(hvcc.length_size_minus_one.get()) + 1,
    })
}

/// NAL units behind their lengths.
fn units(mut rest: &[u8], length_bytes: usize, mut unit: impl FnMut(&[u8])) {
    while let Some((length, tail)) = rest.split_at_checked(length_bytes) {
        let length = length
            .iter()
            .fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let Some((found, behind)) = tail.split_at_checked(length) else {
            break;
        };
        if !found.is_empty() {
            unit(found);
        }
        rest = behind;
    }
}

/// Kind and size of the first box.
fn next_box(bytes: &[u8]) -> Result<([u8; 4], usize), Error> {
    let damaged = || Error::Damaged("a box is larger than what there is".to_owned());
    let (head, behind) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let [a, b, c, d, kind @ ..] = *head;
    let size = match u32::from_be_bytes([a, b, c, d]) {
        // To the end.
        0 => bytes.len(),
        // Nobody else is so large, and nobody shall be counted at another place than he is read.
        1 if kind == *b"mdat" => {
            let (large, _) = behind.split_first_chunk::<8>().ok_or_else(damaged)?;
            usize::try_from(u64::from_be_bytes(*large)).unwrap_or(usize::MAX)
        }
        size => usize::try_from(size).unwrap_or(usize::MAX),
    };
    if size < 8 || size > bytes.len() {
        return Err(damaged());
    }
    Ok((kind, size))
}

/// How many samples the runs of a `moof` say that they have, in its fragments of tracks.
fn counted(container: &[u8]) -> Result<usize, Error> {
    let mut count = 0_usize;
    let mut rest = container.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        let (kind, size) = next_box(rest)?;
        let inner = rest.get(..size).unwrap_or_default();
        count = count.saturating_add(match &kind {
            b"traf" => runs(inner)?,
            _ => 0,
        });
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(count)
}

/// Of a `traf`.
fn runs(container: &[u8]) -> Result<usize, Error> {
    let mut count = 0_usize;
    let mut rest = container.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        let (kind, size) = next_box(rest)?;
        if kind == *b"trun" {
            count = count.saturating_add(said(rest.get(..size).unwrap_or_default()));
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(count)
}

/// `sample_count` of a `trun` (§8.8.8).
fn said(run: &[u8]) -> usize {
    let count = run.get(12..16).and_then(|count| count.try_into().ok());
    count.map_or(0, |count| u32::from_be_bytes(count) as usize)
}

/// The reader's own words.
fn damaged(error: &impl std::fmt::Display) -> Error {
    let text = error.to_string();
    // The place in its source that it adds means nothing to a user.
    Error::Damaged(text.split(" (at ").next().unwrap_or(&text).chars().take(200).collect())
}
