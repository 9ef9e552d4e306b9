//! MP4 files, whole or fragmented.
//!
//! Belongs here: finding the H.264 track, reading its samples where they lie. Does not belong here: when they are due
//! ([`super::Playing`]), boxes (`shiguredo_mp4`).

use std::fs;

use media::annexb::{AccessUnit, Ending};
use media::h264;
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::demux::{
    DemuxError, Fmp4FileDemuxer, Input, Mp4FileDemuxer, Mp4FileKind, Mp4FileKindDetector, RequiredInput, Sample,
};

use super::{Reader, Timed, read_part, read_up_to};

/// Largest index (`moov`) or fragment that is taken into memory. A day of 30 fps video has an index of some 40 MB.
const MAX_PIECE_BYTES: usize = 64 << 20;
/// Largest sample.
const MAX_SAMPLE_BYTES: usize = media::annexb::MAX_ACCESS_UNIT_BYTES;
/// Boxes looked at to find the index; a real file has fewer than ten before it.
const MAX_STEPS: usize = 10_000;
/// Box types that an MP4 file may begin with.
const FIRST_BOXES: [&[u8]; 2] = [b"ftyp", b"styp"];

/// Whether a file begins like an MP4 file.
pub(super) fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8).is_some_and(|kind| FIRST_BOXES.contains(&kind))
}

pub(super) struct Mp4 {
    file: fs::File,
    demuxer: Demuxer,
    /// The track that is played, once its first sample was seen.
    track: Option<u32>,
    units: h264::AccessUnits,
    /// Bytes of the length in front of each NAL unit.
    length_bytes: usize,
    buffer: Vec<u8>,
    /// The end of the newest sample, in nanoseconds.
    end: i64,
    /// Its pictures are not H.264.
    is_other_codec: bool,
}

enum Demuxer {
    Whole(Mp4FileDemuxer),
    Fragmented(Fmp4FileDemuxer),
}

/// What is needed of a sample.
struct Found {
    track: u32,
    timescale: u32,
    decode: u64,
    duration: u32,
    composition: i64,
    position: u64,
    size: usize,
    entry: Option<Entry>,
}

/// How the samples from here on are coded.
enum Entry {
    H264 { length_bytes: usize, sets: Vec<Vec<u8>> },
    Other(&'static str),
}

impl Mp4 {
    pub(super) fn open(mut file: fs::File) -> Result<Self, String> {
        let mut buffer = Vec::new();
        let mut detector = Mp4FileKindDetector::new();
        let mut steps = 0;
        while let Some(required) = detector.required_input() {
            let data = supply(&mut file, required, &mut steps, &mut buffer)?;
            detector.handle_input(data);
        }
        let mut demuxer = match detector.file_kind().map_err(|error| said(&error))? {
            Some(Mp4FileKind::FragmentedMp4) => Demuxer::Fragmented(Fmp4FileDemuxer::new()),
            Some(Mp4FileKind::Mp4) => Demuxer::Whole(Mp4FileDemuxer::new()),
            None => return Err("it ends before its index (moov): it was not finished or is cut off".to_owned()),
        };
        let mut steps = 0;
        loop {
            let tracks = match &mut demuxer {
                Demuxer::Whole(demuxer) => demuxer.tracks(),
                Demuxer::Fragmented(demuxer) => demuxer.tracks(),
            };
            match tracks {
                Ok(tracks) if tracks.iter().any(|track| track.kind == TrackKind::Video) => break,
                Ok(_) => return Err("it holds no pictures".to_owned()),
                Err(DemuxError::InputRequired(required)) => {
                    let data = supply(&mut file, required, &mut steps, &mut buffer)?;
                    demuxer.handle_input(data);
                }
                Err(error) => return Err(said(&error)),
            }
        }
        Ok(Self {
            file,
            demuxer,
            track: None,
            units: h264::AccessUnits::new(h264::Format::default(), Ending::Told),
            length_bytes: 4,
            buffer,
            end: 0,
            is_other_codec: false,
        })
    }

    /// Whether its pictures were found not to be H.264.
    pub(super) fn is_other_codec(&self) -> bool {
        self.is_other_codec
    }

    /// The next sample of any track.
    fn next_sample(&mut self) -> Result<Option<Found>, String> {
        let mut steps = 0;
        loop {
            let sample = match &mut self.demuxer {
                Demuxer::Whole(demuxer) => demuxer.next_sample(),
                Demuxer::Fragmented(demuxer) => demuxer.next_sample(),
            };
            let required = match sample {
                Ok(sample) => return Ok(sample.map(|sample| Found::from(&sample))),
                Err(DemuxError::InputRequired(required)) => required,
                Err(error) => return Err(said(&error)),
            };
            let data = supply(&mut self.file, required, &mut steps, &mut self.buffer)?;
            self.demuxer.handle_input(data);
        }
    }

    /// Takes the parameter sets of a sample entry. `false`: not the track to play.
    fn enter(&mut self, found: &Found) -> Result<bool, String> {
        match &found.entry {
            None => {}
            Some(Entry::Other(_)) if self.track.is_some() => {}
            // Sound and subtitles are passed over; the pictures may still come.
            Some(Entry::Other("")) => {}
            Some(Entry::Other(codec)) => {
                self.is_other_codec = true;
                return Err(format!("its pictures are {codec}, not H.264"));
            }
            Some(Entry::H264 { length_bytes, sets }) if self.track.is_none_or(|track| track == found.track) => {
                let format = h264::Format::new(sets).map_err(|error| error.to_string())?;
                self.units = h264::AccessUnits::new(format, Ending::Told);
                self.length_bytes = *length_bytes;
                self.track = Some(found.track);
            }
            Some(Entry::H264 { .. }) => {}
        }
        Ok(self.track == Some(found.track))
    }

    /// Reads a sample and takes its length-prefixed NAL units apart.
    fn read(&mut self, found: &Found) -> Result<Option<AccessUnit>, String> {
        read_part(
            &mut self.file,
            found.position,
            found.size,
            MAX_SAMPLE_BYTES,
            &mut self.buffer,
        )?;
        let mut rest = &self.buffer[..];
        while let Some((length, tail)) = rest.split_at_checked(self.length_bytes) {
            let length = length
                .iter()
                .fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
            let Some((unit, next)) = tail.split_at_checked(length) else {
                break;
            };
            rest = next;
            if !unit.is_empty() {
                self.units.push(unit);
            }
        }
        Ok(self.units.finish())
    }
}

impl Reader for Mp4 {
    fn next(&mut self) -> Result<Option<Timed>, String> {
        while let Some(found) = self.next_sample()? {
            if !self.enter(&found)? {
                continue;
            }
            let decode = nanos(i128::from(found.decode), found.timescale);
            let after = nanos(i128::from(found.decode) + i128::from(found.duration), found.timescale);
            let shown = nanos(
                i128::from(found.decode) + i128::from(found.composition),
                found.timescale,
            );
            let unit = self.read(&found)?;
            self.end = self.end.max(after);
            if let Some(unit) = unit {
                return Ok(Some(Timed {
                    unit,
                    decode,
                    present: shown,
                }));
            }
        }
        Ok(None)
    }

    fn duration(&self) -> i64 {
        self.end
    }
}

impl From<&Sample<'_>> for Found {
    fn from(sample: &Sample<'_>) -> Self {
        let entry = sample.sample_entry.map(|entry| match entry {
            SampleEntry::Avc1(avc1) => Entry::H264 {
                length_bytes: usize::from(avc1.avcc_box.length_size_minus_one.get()) + 1,
                sets: avc1
                    .avcc_box
                    .sps_list
                    .iter()
                    .chain(&avc1.avcc_box.pps_list)
                    .cloned()
                    .collect(),
            },
            SampleEntry::Hev1(_) | SampleEntry::Hvc1(_) => Entry::Other("H.265"),
            SampleEntry::Vp08(_) => Entry::Other("VP8"),
            SampleEntry::Vp09(_) => Entry::Other("VP9"),
            SampleEntry::Av01(_) => Entry::Other("AV1"),
            _ if sample.track.kind == TrackKind::Video => Entry::Other("in a codec that is not known"),
            _ => Entry::Other(""),
        });
        Self {
            track: sample.track.track_id,
            timescale: sample.track.timescale.get(),
            decode: sample.timestamp,
            duration: sample.duration,
            composition: sample.composition_time_offset.unwrap_or(0),
            position: sample.data_offset,
            size: sample.data_size,
            entry,
        }
    }
}

impl Demuxer {
    fn handle_input(&mut self, input: Input<'_>) {
        match self {
            Self::Whole(demuxer) => demuxer.handle_input(input),
            Self::Fragmented(demuxer) => demuxer.handle_input(input),
        }
    }
}

/// Reads what a demuxer asks for, as far as the file goes.
fn supply<'a>(
    file: &mut fs::File,
    required: RequiredInput,
    steps: &mut usize,
    buffer: &'a mut Vec<u8>,
) -> Result<Input<'a>, String> {
    *steps += 1;
    if *steps > MAX_STEPS {
        return Err(format!("there is no index (moov) within its first {MAX_STEPS} boxes"));
    }
    // To the end of the file, where no size is given.
    let size = match required.size {
        Some(size) => size,
        None => {
            let length = file
                .metadata()
                .map_err(|error| format!("cannot be read: {error}"))?
                .len();
            usize::try_from(length.saturating_sub(required.position)).unwrap_or(usize::MAX)
        }
    };
    read_up_to(file, required.position, size, MAX_PIECE_BYTES, buffer)?;
    Ok(required.to_input(buffer))
}

/// The demuxer's own words.
fn said(error: &DemuxError) -> String {
    let text = error.to_string();
    // The place in its source that it adds means nothing to a user.
    text.split(" (at ").next().unwrap_or(&text).to_owned()
}

fn nanos(ticks: i128, timescale: u32) -> i64 {
    let nanos = (ticks * 1_000_000_000).div_euclid(i128::from(timescale.max(1)));
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}
