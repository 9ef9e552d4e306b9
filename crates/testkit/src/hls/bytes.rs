//! What headers, parts and segments hold as ISO media files (ISO/IEC 14496-12), against the lists that name them.

use std::collections::BTreeMap;

use super::reload::{History, Known};
use super::text::Fault;
use super::{Rule, Settings, resolve};

/// `sample_is_non_sync_sample` of §8.8.3.1.
const NON_SYNC: u32 = 0x1_0000;

/// A track of a header.
#[derive(Clone, Copy, Debug)]
struct Track {
    id: u32,
    timescale: u32,
    video: bool,
    default_duration: u32,
    default_flags: u32,
}

/// Samples of one track in a row, over all fragments of a resource.
#[derive(Clone, Debug)]
struct Run {
    track: u32,
    start: u64,
    ticks: u64,
    first_is_sync: bool,
}

pub(super) fn check(
    history: &History,
    resources: &BTreeMap<String, Vec<u8>>,
    settings: &Settings,
    faults: &mut Vec<Fault>,
) {
    let get = |uri: &str| resources.get(&resolve(&history.key, uri)).map(Vec::as_slice);
    let mut tracks: Option<(String, Vec<Track>)> = None;
    // Where each track goes on; empty where something was not given.
    let mut clock: BTreeMap<u32, u64> = BTreeMap::new();
    for known in history.known.values() {
        let segment = &known.segment;
        let Some(map) = &segment.map else { continue };
        if tracks.as_ref().is_none_or(|(uri, _)| uri != map) {
            let header = get(map).map(|bytes| header(bytes).map_err(|what| format!("{map}: {what}")));
            tracks = match header {
                Some(Ok(found)) => Some((map.clone(), found)),
                Some(Err(what)) => {
                    faults.push((Rule::Bytes, what));
                    None
                }
                None => None,
            };
            clock.clear();
        }
        let Some((_, tracks)) = &tracks else { continue };
        if segment.discontinuity {
            clock.clear();
        }
        check_segment(known, tracks, &get, settings, &mut clock, faults);
    }
}

fn check_segment<'a>(
    known: &Known,
    tracks: &[Track],
    get: &impl Fn(&str) -> Option<&'a [u8]>,
    settings: &Settings,
    clock: &mut BTreeMap<u32, u64>,
    faults: &mut Vec<Fault>,
) {
    let segment = &known.segment;
    let whole = if segment.uri.is_empty() {
        None
    } else {
        get(&segment.uri)
    };
    let parts: Vec<Option<&[u8]>> = segment.parts.iter().map(|part| get(&part.uri)).collect();
    let mut timed = false;
    if !segment.parts.is_empty() && known.from_start && parts.iter().all(Option::is_some) {
        timed = true;
        let joined: Vec<u8> = parts.iter().flatten().flat_map(|part| part.iter().copied()).collect();
        if whole.is_some_and(|whole| whole != joined) {
            let what = format!("segment {} is not its {} parts", segment.number, parts.len());
            faults.push((Rule::BytesOfParts, what));
        }
    } else {
        clock.clear();
    }
    for (part, bytes) in segment.parts.iter().zip(&parts) {
        let Some(bytes) = bytes else {
            clock.clear();
            continue;
        };
        let listed = Listed {
            uri: &part.uri,
            duration_us: part.duration_us,
            independent: Some(part.independent),
        };
        listed.check(bytes, tracks, settings, Some(&mut *clock), faults);
    }
    if let Some(whole) = whole {
        let listed = Listed {
            uri: &segment.uri,
            duration_us: segment.duration_us,
            independent: None,
        };
        // The clock was moved by the parts, where they were given.
        listed.check(whole, tracks, settings, (!timed).then_some(clock), faults);
    }
}

/// What a list says of a resource.
struct Listed<'a> {
    uri: &'a str,
    duration_us: i64,
    independent: Option<bool>,
}

impl Listed<'_> {
    fn check(
        &self,
        bytes: &[u8],
        tracks: &[Track],
        settings: &Settings,
        clock: Option<&mut BTreeMap<u32, u64>>,
        faults: &mut Vec<Fault>,
    ) {
        let mut wrong = |rule, what: String| faults.push((rule, format!("{}: {what}", self.uri)));
        let runs = match fragments(bytes, tracks) {
            Ok(runs) => runs,
            Err(what) => return wrong(Rule::Bytes, what),
        };
        let of = |run: &Run| tracks.iter().find(|track| track.id == run.track).copied();
        // The picture decides where there is one; sound is cut where it comes nearest.
        let main = runs
            .iter()
            .find(|run| of(run).is_some_and(|track| track.video))
            .or(runs.first());
        if let Some((run, track)) = main.and_then(|run| Some((run, of(run)?))) {
            let micros = i64::try_from(run.ticks * 1_000_000 / u64::from(track.timescale.max(1))).unwrap_or(i64::MAX);
            if (micros - self.duration_us).abs() > settings.frame_us {
                let what = format!("holds {micros} µs, is listed with {}", self.duration_us);
                wrong(Rule::BytesDuration, what);
            }
            // Every sample of sound is a sync sample, and nobody needs to be told.
            if self
                .independent
                .is_some_and(|says| says != run.first_is_sync && (says || track.video))
            {
                let what = format!(
                    "begins with a sync sample: {}, is listed as independent: {}",
                    run.first_is_sync, !run.first_is_sync
                );
                wrong(Rule::BytesIndependent, what);
            }
        } else {
            wrong(Rule::Bytes, "holds no samples".to_owned());
        }
        if let Some(clock) = clock {
            for run in &runs {
                if let Some(expected) = clock.get(&run.track).filter(|expected| **expected != run.start) {
                    let what = format!("track {} begins at {}, not at {expected}", run.track, run.start);
                    wrong(Rule::BytesTime, what);
                }
                clock.insert(run.track, run.start + run.ticks);
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_be_bytes)
        .ok_or_else(|| "a box is too short".to_owned())
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    Ok(u64::from(u32_at(bytes, at)?) << 32 | u64::from(u32_at(bytes, at + 4)?))
}

/// Name and content of a box.
type Named<'a> = ([u8; 4], &'a [u8]);

/// The boxes in a row.
fn boxes(mut bytes: &[u8]) -> Result<Vec<Named<'_>>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = u32_at(bytes, 0)? as usize;
        let name = u32_at(bytes, 4)?.to_be_bytes();
        let content = bytes.get(8..size).ok_or_else(|| {
            let name = String::from_utf8_lossy(&name).into_owned();
            format!("box {name} of {size} bytes where {} are left", bytes.len())
        })?;
        found.push((name, content));
        bytes = &bytes[size..];
    }
    Ok(found)
}

fn children<'a>(content: &'a [u8], name: &[u8; 4]) -> Result<Vec<&'a [u8]>, String> {
    Ok(boxes(content)?
        .into_iter()
        .filter(|(is, _)| is == name)
        .map(|(_, content)| content)
        .collect())
}

fn child<'a>(content: &'a [u8], name: &[u8; 4]) -> Result<&'a [u8], String> {
    let found = children(content, name)?.first().copied();
    found.ok_or_else(|| format!("no box {}", String::from_utf8_lossy(name)))
}

/// `ftyp` and `moov`, and of them what tells of the samples.
fn header(bytes: &[u8]) -> Result<Vec<Track>, String> {
    child(bytes, b"ftyp")?;
    let moov = child(bytes, b"moov")?;
    let mut tracks = Vec::new();
    for trak in children(moov, b"trak")? {
        let tkhd = child(trak, b"tkhd")?;
        let version_1 = tkhd.first() == Some(&1);
        let id = u32_at(tkhd, if version_1 { 20 } else { 12 })?;
        let mdia = child(trak, b"mdia")?;
        let mdhd = child(mdia, b"mdhd")?;
        let version_1 = mdhd.first() == Some(&1);
        let timescale = u32_at(mdhd, if version_1 { 20 } else { 12 })?;
        let video = child(mdia, b"hdlr")?.get(8..12) == Some(b"vide");
        tracks.push(Track {
            id,
            timescale,
            video,
            default_duration: 0,
            default_flags: 0,
        });
    }
    for trex in children(child(moov, b"mvex")?, b"trex")? {
        let id = u32_at(trex, 4)?;
        let track = tracks.iter_mut().find(|track| track.id == id);
        let track = track.ok_or_else(|| format!("defaults for track {id}, which is not there"))?;
        (track.default_duration, track.default_flags) = (u32_at(trex, 12)?, u32_at(trex, 20)?);
    }
    Ok(tracks)
}

/// All runs of a part or segment, those of one track joined.
fn fragments(bytes: &[u8], tracks: &[Track]) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut sizes, mut data, mut moofs) = (0_u64, 0_u64, 0_u64);
    for (name, content) in boxes(bytes)? {
        match &name {
            b"moof" => {
                child(content, b"mfhd")?;
                moofs += 1;
                for traf in children(content, b"traf")? {
                    let (run, bytes) = track_fragment(traf, tracks)?;
                    sizes += bytes;
                    match runs.iter_mut().find(|known| known.track == run.track) {
                        Some(known) if known.start + known.ticks != run.start => {
                            return Err(format!("track {} goes on at {} within", run.track, run.start));
                        }
                        Some(known) => known.ticks += run.ticks,
                        None => runs.push(run),
                    }
                }
            }
            b"mdat" => data += content.len() as u64,
            b"moov" | b"ftyp" => return Err("holds a header".to_owned()),
            _ => {}
        }
    }
    if moofs == 0 || sizes != data {
        return Err(format!("{moofs} fragments of {sizes} bytes, and {data} bytes of data"));
    }
    Ok(runs)
}

/// One `traf`, and the bytes of its samples.
fn track_fragment(traf: &[u8], tracks: &[Track]) -> Result<(Run, u64), String> {
    let tfhd = child(traf, b"tfhd")?;
    let flags = u32_at(tfhd, 0)? & 0xff_ffff;
    let id = u32_at(tfhd, 4)?;
    let track = tracks.iter().find(|track| track.id == id);
    let track = track.ok_or_else(|| format!("track {id} is not in the header"))?;
    let mut at = 8 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
    let mut optional = |bit: u32, default: u32| -> Result<u32, String> {
        if flags & bit == 0 {
            return Ok(default);
        }
        at += 4;
        u32_at(tfhd, at - 4)
    };
    let duration = optional(8, track.default_duration)?;
    let size = optional(0x10, 0)?;
    let sample_flags = optional(0x20, track.default_flags)?;
    let tfdt = child(traf, b"tfdt")?;
    let start = if tfdt.first() == Some(&1) {
        u64_at(tfdt, 4)?
    } else {
        u64::from(u32_at(tfdt, 4)?)
    };
    let (mut ticks, mut bytes, mut first) = (0_u64, 0_u64, None);
    for trun in children(traf, b"trun")? {
        let flags = u32_at(trun, 0)? & 0xff_ffff;
        let samples = u32_at(trun, 4)?;
        let mut at = 8 + if flags & 1 != 0 { 4 } else { 0 };
        let first_flags = if flags & 4 != 0 {
            at += 4;
            Some(u32_at(trun, at - 4)?)
        } else {
            None
        };
        for sample in 0..samples {
            let mut field = |bit: u32, default: u32| -> Result<u32, String> {
                if flags & bit == 0 {
                    return Ok(default);
                }
                at += 4;
                u32_at(trun, at - 4)
            };
            ticks += u64::from(field(0x100, duration)?);
            bytes += u64::from(field(0x200, size)?);
            let of_sample = field(0x400, sample_flags)?;
            field(0x800, 0)?;
            let is = first_flags.filter(|_| sample == 0).unwrap_or(of_sample);
            first.get_or_insert(is);
        }
    }
    let first_is_sync = first.is_some_and(|flags| flags & NON_SYNC == 0);
    let run = Run {
        track: id,
        start,
        ticks,
        first_is_sync,
    };
    Ok((run, bytes))
}
