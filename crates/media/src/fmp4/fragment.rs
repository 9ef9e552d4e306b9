//! A fragment: `moof` and `mdat`, written in one pass. It is on the hot path of LL-HLS and recording, which is why it is ours: one buffer of the
//! exact size, each frame copied once.

use super::{Error, Sample, Writer};
use crate::time::{MediaTime, Timescale};
use crate::track::{Kind, Track, TrackIndex};

/// Samples in a fragment at the most. A minute at 240 fps has 14,400.
pub const MAX_SAMPLES: usize = 20_000;
/// Largest fragment, in bytes of samples: ten seconds at 100 Mb/s.
pub const MAX_FRAGMENT_BYTES: usize = 128 << 20;

/// Flags of §8.8.3.1: depends on no other sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Depends on others, and is no sync sample.
const OTHER_SAMPLE: u32 = 0x0101_0000;
/// `tfhd` flags: default-sample-flags present, default-base-is-moof.
const TFHD_FLAGS: u32 = 0x02_0020;
/// `trun` flags: data offset, and of each sample duration, size and flags.
const TRUN_FLAGS: u32 = 0x701;
/// `trun` flag: of each sample the composition time offset.
const TRUN_OFFSETS: u32 = 0x800;
/// `prft` flags of "a consistent, small offset from the real time of the experience depicted in the media" (§8.16.5.3): capture time.
const PRFT_FLAGS: u32 = 0x18;

/// Consecutive samples of one track.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Their track.
    pub track: TrackIndex,
    /// At least one.
    pub samples: &'a [Sample],
    /// Decode time of what follows: the last sample lasts until then.
    pub end: MediaTime,
}

/// A run whose track was looked up.
#[derive(Clone, Copy)]
struct Known<'a> {
    id: u32,
    track: &'a Track,
    run: &'a Run<'a>,
}

pub(super) fn write(writer: &Writer, sequence_number: u32, runs: &[Run<'_>]) -> Result<Vec<u8>, Error> {
    let known = check(writer, runs)?;
    let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
    let bytes: usize = runs
        .iter()
        .flat_map(|run| run.samples)
        .map(|sample| sample.frame.data.len())
        .sum();
    if samples > MAX_SAMPLES || bytes > MAX_FRAGMENT_BYTES {
        return Err(Error::TooLarge { samples, bytes });
    }
    let mut out = Vec::with_capacity(bytes + 16 * samples + 128 * (runs.len() + 1));
    if writer.producer_time
        && let Some(first) = known.first()
    {
        write_prft(writer, first, &mut out);
    }
    let moof = out.len();
    begin(&mut out, b"moof");
    let mfhd = begin_full(&mut out, b"mfhd", 0, 0);
    push(&mut out, sequence_number);
    set_size(&mut out, mfhd);
    let offsets: Vec<usize> = known.iter().map(|known| write_traf(writer, known, &mut out)).collect();
    set_size(&mut out, moof);
    let mdat = begin(&mut out, b"mdat");
    for (known, at) in known.iter().zip(offsets) {
        let offset = (out.len() - moof) as u32;
        set(&mut out, at, offset);
        known
            .run
            .samples
            .iter()
            .for_each(|sample| out.extend_from_slice(&sample.frame.data));
    }
    set_size(&mut out, mdat);
    Ok(out)
}

fn check<'a>(writer: &'a Writer, runs: &'a [Run<'a>]) -> Result<Vec<Known<'a>>, Error> {
    let mut known: Vec<Known<'_>> = Vec::with_capacity(runs.len().min(writer.tracks.len()));
    for run in runs {
        let (id, track) = writer.track_id(run.track).ok_or(Error::NoSuchTrack(run.track))?;
        if run.samples.is_empty() {
            return Err(Error::Empty);
        }
        if known.iter().any(|known| known.id == id) {
            return Err(Error::NoSuchTrack(run.track));
        }
        if !run
            .samples
            .iter()
            .all(|sample| writer.covers(run.track, &sample.frame.format))
        {
            return Err(Error::FormatChanged(run.track));
        }
        known.push(Known { id, track, run });
    }
    if known.is_empty() { Err(Error::Empty) } else { Ok(known) }
}

/// Producer reference time (§8.16.5).
fn write_prft(writer: &Writer, known: &Known<'_>, out: &mut Vec<u8>) {
    let Some(first) = known.run.samples.first() else { return };
    let prft = begin_full(out, b"prft", 1, PRFT_FLAGS);
    push(out, known.id);
    out.extend_from_slice(&first.frame.capture.at.to_ntp().to_be_bytes());
    let presentation = since(writer, first.frame.time, known.track.timescale)
        .max(0)
        .cast_unsigned();
    out.extend_from_slice(&presentation.to_be_bytes());
    set_size(out, prft);
}

/// `traf` of one run. Returns where its data offset is to be put.
fn write_traf(writer: &Writer, known: &Known<'_>, out: &mut Vec<u8>) -> usize {
    let scale = known.track.timescale;
    let video = known.track.kind() == Kind::Video;
    let decode_time = |sample: &Sample| since(writer, sample.decode_time, scale).max(0);
    let offset = |sample: &Sample| since(writer, sample.frame.time, scale).saturating_sub(decode_time(sample));
    let samples = known.run.samples;
    let traf = begin(out, b"traf");
    let tfhd = begin_full(out, b"tfhd", 0, TFHD_FLAGS);
    push(out, known.id);
    push(out, if video { OTHER_SAMPLE } else { SYNC_SAMPLE });
    set_size(out, tfhd);
    let tfdt = begin_full(out, b"tfdt", 1, 0);
    out.extend_from_slice(&samples.first().map_or(0, decode_time).to_be_bytes());
    set_size(out, tfdt);
    let offsets = samples.iter().any(|sample| offset(sample) != 0);
    let flags = if offsets { TRUN_FLAGS | TRUN_OFFSETS } else { TRUN_FLAGS };
    let trun = begin_full(out, b"trun", 1, flags);
    push(out, samples.len() as u32);
    let data_offset = out.len();
    push(out, 0);
    let ends = samples
        .iter()
        .skip(1)
        .map(decode_time)
        .chain([since(writer, known.run.end, scale)]);
    for (sample, end) in samples.iter().zip(ends) {
        push(out, clamp(end.saturating_sub(decode_time(sample))));
        push(out, sample.frame.data.len() as u32);
        push(
            out,
            if sample.frame.keyframe {
                SYNC_SAMPLE
            } else {
                OTHER_SAMPLE
            },
        );
        if offsets {
            let offset = offset(sample).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            push(out, (offset as i32).cast_unsigned());
        }
    }
    set_size(out, trun);
    set_size(out, traf);
    data_offset
}

/// Ticks since the zero of the file.
fn since(writer: &Writer, time: MediaTime, scale: Timescale) -> i64 {
    time.rescale(scale)
        .ticks()
        .saturating_sub(writer.origin.rescale(scale).ticks())
}

fn clamp(ticks: i64) -> u32 {
    u32::try_from(ticks.max(0)).unwrap_or(u32::MAX)
}

fn push(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Begins a box, whose size is set when it is complete.
fn begin(out: &mut Vec<u8>, name: &[u8; 4]) -> usize {
    let start = out.len();
    push(out, 0);
    out.extend_from_slice(name);
    start
}

fn begin_full(out: &mut Vec<u8>, name: &[u8; 4], version: u8, flags: u32) -> usize {
    let start = begin(out, name);
    push(out, u32::from(version) << 24 | flags);
    start
}

/// The box that begins at `start` ends here.
pub(super) fn set_size(out: &mut [u8], start: usize) {
    let size = (out.len() - start) as u32;
    set(out, start, size);
}

fn set(out: &mut [u8], at: usize, value: u32) {
    if let Some(bytes) = out.get_mut(at..at + 4) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}
