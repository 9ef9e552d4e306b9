//! MPEG-TS (ISO/IEC 13818-1): packets, tables, PES, and the first picture and sound that are carried.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Error, MAX_SAMPLES, Pictures, Sample};
use crate::annexb;
use crate::audio::Aac;
use crate::time::{MediaTime, Timescale};
use crate::track::Format;
use crate::{h264, h265};

/// §2.4.3.2.
const PACKET_BYTES: usize = 188;
const SYNC: u8 = 0x47;
/// §2.4.4.3: a section of a table is no longer.
const MAX_SECTION_BYTES: usize = 1_024;
/// Table 2-34.
const H264: u8 = 0x1b;
const H265: u8 = 0x24;
const AAC: u8 = 0x0f;
/// Samples in a frame of AAC LC.
const AAC_SAMPLES: i64 = 1_024;
/// ISO/IEC 14496-3 table 1.18.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];

/// Whether a piece is a transport stream.
pub(super) fn is_ts(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SYNC) && bytes.get(PACKET_BYTES).is_none_or(|byte| *byte == SYNC)
}

/// A section while its packets come.
#[derive(Debug, Default)]
struct Section(Vec<u8>);

/// One elementary stream.
#[derive(Debug)]
struct Elementary {
    pid: u16,
    coding: Coding,
    /// The PES packet that is being collected, from its start code on.
    pes: Vec<u8>,
    counter: Option<u8>,
    /// Something of it is missing.
    torn: bool,
}

#[derive(Debug)]
enum Coding {
    Picture(Pictures),
    Sound(Option<Arc<Format>>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ts {
    table_pid: Option<u16>,
    programs: Section,
    table: Section,
    streams: Vec<Elementary>,
    /// Stream types of the table, for the complaint that none is carried.
    types: Vec<u8>,
    /// The newest decode time, on 90 kHz without wraps.
    newest: Option<i64>,
}

impl Ts {
    pub(super) fn discontinuity(&mut self) {
        self.newest = None;
        for stream in &mut self.streams {
            stream.counter = None;
            stream.pes.clear();
        }
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> Result<Vec<Sample>, Error> {
        let mut samples = Vec::new();
        for packet in bytes.chunks_exact(PACKET_BYTES) {
            self.packet(packet, &mut samples)?;
        }
        for at in 0..self.streams.len() {
            self.finish(at, &mut samples)?;
        }
        if self.streams.is_empty() {
            let types: VecDeque<String> = self.types.iter().map(|kind| format!("{kind:#04x}")).collect();
            let types = types.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::NoTracks(format!("stream types: {types}")));
        }
        Ok(samples)
    }

    fn packet(&mut self, packet: &[u8], samples: &mut Vec<Sample>) -> Result<(), Error> {
        let [SYNC, second, third, fourth, rest @ ..] = packet else {
            return Err(Error::Damaged("a packet does not begin with 0x47".to_owned()));
        };
        let pid = u16::from(second & 0x1f) << 8 | u16::from(*third);
        let (begins, has_field, has_payload) = (second & 0x40 != 0, fourth & 0x20 != 0, fourth & 0x10 != 0);
        // Whatever the sender of it knew to be broken, and null packets.
        if second & 0x80 != 0 || pid == 0x1fff || !has_payload {
            return Ok(());
        }
        let (mut payload, mut jumps) = (rest, false);
        if has_field {
            let length = usize::from(rest.first().copied().unwrap_or(0));
            jumps = length > 0 && rest.get(1).is_some_and(|flags| flags & 0x80 != 0);
            let Some(behind) = rest.get(1 + length..) else {
                return Err(Error::Damaged(
                    "an adaptation field is longer than its packet".to_owned(),
                ));
            };
            payload = behind;
        }
        if pid == 0 {
            if let Some(section) = self.programs.push(payload, begins) {
                self.table_pid = first_program(&section).or(self.table_pid);
            }
        } else if Some(pid) == self.table_pid {
            if let Some(section) = self.table.push(payload, begins) {
                self.describe(&section);
            }
        } else if let Some(at) = self.streams.iter().position(|stream| stream.pid == pid) {
            if fourth & 0xc0 != 0 {
                return Err(Error::Encrypted);
            }
            let counter = fourth & 0x0f;
            if begins {
                self.finish(at, samples)?;
            }
            if let Some(stream) = self.streams.get_mut(at) {
                stream.take(payload, begins, counter, jumps);
            }
        }
        Ok(())
    }

    /// The program's table (§2.4.4.8). What stays as it was keeps its state.
    fn describe(&mut self, section: &[u8]) {
        let Some(info) = pair(section, 10).map(|word| usize::from(word & 0x0fff)) else {
            return;
        };
        // Before the checksum.
        let end = section.len().saturating_sub(4);
        let mut rest = section.get(12 + info..end).unwrap_or_default();
        let mut found: Vec<(u16, u8)> = Vec::new();
        self.types.clear();
        while let [kind, high, low, length_high, length_low, tail @ ..] = rest {
            let pid = u16::from(high & 0x1f) << 8 | u16::from(*low);
            let length = usize::from(length_high & 0x0f) << 8 | usize::from(*length_low);
            self.types.push(*kind);
            let is_picture = |kind: u8| matches!(kind, H264 | H265);
            let beside = |(_, other): &(u16, u8)| is_picture(*other) != is_picture(*kind);
            if matches!(*kind, H264 | H265 | AAC) && found.iter().all(beside) {
                found.push((pid, *kind));
            }
            rest = tail.get(length..).unwrap_or_default();
        }
        let mut before = std::mem::take(&mut self.streams);
        for (pid, kind) in found {
            let same = |stream: &Elementary| stream.pid == pid && stream.kind() == kind;
            let known = before.iter().position(same).map(|at| before.swap_remove(at));
            self.streams.push(known.unwrap_or_else(|| Elementary::new(pid, kind)));
        }
    }

    /// A PES packet has ended.
    fn finish(&mut self, at: usize, samples: &mut Vec<Sample>) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok(());
        };
        let pes = std::mem::take(&mut stream.pes);
        if std::mem::take(&mut stream.torn) || pes.is_empty() {
            return Ok(());
        }
        let Some(head) = Head::read(&pes) else { return Ok(()) };
        if head.scrambled {
            return Err(Error::Encrypted);
        }
        let Some(shown) = head.shown else { return Ok(()) };
        // Both count modulo 2^33, near to each other and to what came last.
        let decode = near(head.decoded.unwrap_or(shown), self.newest);
        let shown = near(shown, Some(decode));
        self.newest = Some(self.newest.map_or(decode, |newest| newest.max(decode)));
        if samples.len() >= MAX_SAMPLES {
            return Err(Error::TooLarge {
                what: "samples",
                limit: MAX_SAMPLES,
            });
        }
        let (decode, shown) = (
            MediaTime::new(decode, Timescale::VIDEO),
            MediaTime::new(shown, Timescale::VIDEO),
        );
        match &mut stream.coding {
            Coding::Picture(pictures) => {
                annexb::units(head.payload).for_each(|unit| pictures.push(unit));
                if let Some(unit) = pictures.finish() {
                    samples.push(Sample::of_picture(unit, shown, decode.as_micros()));
                }
                Ok(())
            }
            Coding::Sound(format) => sound(format, head.payload, shown, samples),
        }
    }
}

impl Section {
    /// The section, when it is whole: from its table id to its checksum.
    fn push(&mut self, payload: &[u8], begins: bool) -> Option<Vec<u8>> {
        let mut payload = payload;
        if begins {
            self.0.clear();
            let pointer = usize::from(*payload.first()?);
            payload = payload.get(1 + pointer..)?;
        } else if self.0.is_empty() {
            return None;
        }
        let room = MAX_SECTION_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(payload.get(..room).unwrap_or(payload));
        let length = 3 + usize::from(pair(&self.0, 1)? & 0x0fff);
        let whole = self.0.get(..length)?.to_vec();
        self.0.clear();
        Some(whole)
    }
}

impl Elementary {
    fn new(pid: u16, kind: u8) -> Self {
        let coding = match kind {
            H264 => Coding::Picture(Pictures::h264(h264::Format::default())),
            H265 => Coding::Picture(Pictures::h265(h265::Format::default())),
            _ => Coding::Sound(None),
        };
        Self {
            pid,
            coding,
            pes: Vec::new(),
            counter: None,
            torn: false,
        }
    }

    fn kind(&self) -> u8 {
        match self.coding {
            Coding::Picture(Pictures::H264(_)) => H264,
            Coding::Picture(Pictures::H265(_)) => H265,
            Coding::Sound(_) => AAC,
        }
    }

    fn take(&mut self, payload: &[u8], begins: bool, counter: u8, jumps: bool) {
        let expected = self.counter.map(|counter| (counter + 1) & 0x0f);
        // A packet may be sent twice (§2.4.3.3).
        if self.counter == Some(counter) && !begins && !jumps {
            return;
        }
        let is_next = jumps || expected.is_none_or(|expected| expected == counter);
        self.counter = Some(counter);
        if begins {
            self.pes.clear();
        } else if self.pes.is_empty() {
            return;
        }
        self.torn |= !is_next && !begins;
        if self.pes.len() + payload.len() > annexb::MAX_ACCESS_UNIT_BYTES {
            self.torn = true;
            return;
        }
        self.pes.extend_from_slice(payload);
    }
}

/// The head of a PES packet (§2.4.3.6).
struct Head<'a> {
    scrambled: bool,
    shown: Option<i64>,
    decoded: Option<i64>,
    payload: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(pes: &'a [u8]) -> Option<Self> {
        let [0, 0, 1, _, high, low, flags, which, length, rest @ ..] = pes else {
            return None;
        };
        let (fields, mut payload) = rest.split_at_checked(usize::from(*length))?;
        // Zero, as pictures have it: to the next.
        let told = usize::from(*high) << 8 | usize::from(*low);
        if told > 0 {
            let told = told.saturating_sub(3 + usize::from(*length));
            payload = payload.get(..told).unwrap_or(payload);
        }
        let shown = (which & 0x80 != 0).then(|| stamp(fields.get(..5)?)).flatten();
        let decoded = (which & 0x40 != 0).then(|| stamp(fields.get(5..10)?)).flatten();
        Some(Self {
            scrambled: flags & 0x30 != 0,
            shown,
            decoded,
            payload,
        })
    }
}

/// 33 bits in five bytes.
fn stamp(bytes: &[u8]) -> Option<i64> {
    let [a, b, c, d, e] = *bytes else { return None };
    let part = |high: u8, low: u8| i64::from(high) << 7 | i64::from(low >> 1);
    Some(i64::from(a >> 1 & 7) << 30 | part(b, c) << 15 | part(d, e))
}

/// The time nearest to `newest` of those that are equal modulo 2^33.
fn near(stamp: i64, newest: Option<i64>) -> i64 {
    const WRAP: i64 = 1 << 33;
    let Some(newest) = newest else { return stamp };
    newest + (stamp - newest + WRAP / 2).rem_euclid(WRAP) - WRAP / 2
}

/// Frames of AAC behind ADTS headers (ISO/IEC 14496-3 §1.A.2).
fn sound(
    format: &mut Option<Arc<Format>>,
    mut rest: &[u8],
    shown: MediaTime,
    samples: &mut Vec<Sample>,
) -> Result<(), Error> {
    let mut number = 0;
    while let [0xff, b, c, d, e, f, _, ..] = *rest {
        if b & 0xf6 != 0xf0 {
            break;
        }
        let head = if b & 1 == 1 { 7 } else { 9 };
        let length = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
        let channels = (c & 1) << 2 | d >> 6;
        let rate = RATES.get(usize::from(c >> 2 & 0x0f));
        let (Some(&rate), Some((frame, behind)), 1) = (rate, rest.split_at_checked(length), c >> 6) else {
            break;
        };
        let (Some(data), Some(scale)) = (frame.get(head..), Timescale::new(rate)) else {
            break;
        };
        let is_same = |known: &Arc<Format>| matches!(&**known, Format::Aac(aac) if (aac.sample_rate_hz, aac.channels) == (rate, channels));
        if !format.as_ref().is_some_and(is_same) {
            let Some(aac) = Aac::low_complexity(rate, channels) else {
                break;
            };
            *format = Some(Arc::new(Format::Aac(aac)));
        }
        let begun = shown.rescale(scale);
        let time = MediaTime::new(begun.ticks().saturating_add(number * AAC_SAMPLES), scale);
        if samples.len() >= MAX_SAMPLES {
            return Err(Error::TooLarge {
                what: "samples",
                limit: MAX_SAMPLES,
            });
        }
        if let Some(format) = format {
            samples.push(Sample::of_sound(format, time, time.as_micros(), data));
        }
        number += 1;
        rest = behind;
    }
    Ok(())
}

/// The table of the first program (§2.4.4.3); number zero is the network's.
fn first_program(section: &[u8]) -> Option<u16> {
    let programs = section.get(8..section.len().checked_sub(4)?)?;
    let program = programs.chunks_exact(4).find(|program| pair(program, 0) != Some(0))?;
    Some(pair(program, 2)? & 0x1fff)
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}
