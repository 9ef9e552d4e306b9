//! H.264 without a container (Annex B), as `.h264` and `.264` files hold it.
//!
//! Belongs here: cutting the file into access units and giving each its times, which the file does not hold. Does not belong here: when they are
//! due ([`super::Playing`]).
//!
//! The frame rate is a setting, what the stream states, or what is wanted. With B-frames the order in which pictures are shown is found
//! group by group, from one IDR picture to the next, by their picture order counts (H.264 §8.2.1.1).

use std::collections::VecDeque;
use std::fs;
use std::io::Read as _;

use media::annexb::{self, AccessUnit, ByteStream, Ending};
use media::h264;
use media::track::Format;

use super::{Reader, Timed};
use crate::picture::FrameRate;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// A group of pictures is not awaited beyond so many, nor so many bytes: their order is then found within these.
const MAX_GROUP: usize = 600;
const MAX_GROUP_BYTES: usize = 64 << 20;

pub(super) struct Elementary {
    file: fs::File,
    stream: ByteStream<h264::AccessUnits>,
    /// Cut out of the file, not yet put in order.
    cut: VecDeque<AccessUnit>,
    /// In order, with their times.
    ready: VecDeque<Timed>,
    at_end: bool,
    asked: Option<FrameRate>,
    fallback: FrameRate,
    /// Known with the first access unit.
    fps: Option<FrameRate>,
    count: u64,
}

impl Elementary {
    pub(super) fn new(file: fs::File, asked: Option<FrameRate>, fallback: FrameRate) -> Self {
        Self {
            file,
            stream: ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit)),
            cut: VecDeque::new(),
            ready: VecDeque::new(),
            at_end: false,
            asked,
            fallback,
            fps: None,
            count: 0,
        }
    }

    /// Cuts out until the next group has begun.
    fn read_group(&mut self) -> Result<(), String> {
        let mut chunk = Vec::new();
        while !self.at_end && self.group_length().is_none() {
            chunk.clear();
            let read = self.file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            let read = read.map_err(|error| format!("cannot be read: {error}"))?;
            let cut = &mut self.cut;
            if read == 0 {
                self.at_end = true;
                self.stream.paused(|unit| cut.push_back(unit));
            } else {
                self.stream.push(&chunk, |unit| cut.push_back(unit));
            }
        }
        Ok(())
    }

    /// Access units of the group that is whole; `None` while it may go on.
    fn group_length(&self) -> Option<usize> {
        let mut bytes = 0;
        for (n, unit) in self.cut.iter().enumerate() {
            bytes += unit.data.len();
            if n > 0 && (unit.keyframe || n >= MAX_GROUP || bytes > MAX_GROUP_BYTES) {
                return Some(n);
            }
        }
        None
    }

    /// Gives the next group its times.
    fn order_group(&mut self) {
        let length = self.group_length().unwrap_or(self.cut.len());
        let group: Vec<AccessUnit> = self.cut.drain(..length).collect();
        let Some(first) = group.first() else {
            return;
        };
        let stated = match &*first.format {
            Format::H264(format) => format
                .frame_rate()
                .and_then(|fps| FrameRate::new((fps * 1e3).round() as u32, 1_000)),
            _ => None,
        };
        let fps = *self.fps.get_or_insert(self.asked.or(stated).unwrap_or(self.fallback));
        let nanos = |n: u64| i64::try_from(fps.due(n).as_nanos()).unwrap_or(i64::MAX);
        let places = places(&group);
        let start = self.count;
        for (n, (unit, place)) in group.into_iter().zip(places).enumerate() {
            self.ready.push_back(Timed {
                unit,
                decode: nanos(start.saturating_add(n as u64)),
                present: nanos(start.saturating_add(place as u64)),
            });
            self.count += 1;
        }
    }
}

impl Reader for Elementary {
    fn next(&mut self) -> Result<Option<Timed>, String> {
        if self.ready.is_empty() {
            self.read_group()?;
            self.order_group();
            while let Some(fault) = self.stream.units().take_fault() {
                if self.count == 0 {
                    return Err(format!("none of its pictures can be shown: {fault}"));
                }
                tracing::warn!(reason = %fault, "a file's H.264 cannot all be shown");
            }
        }
        Ok(self.ready.pop_front())
    }

    fn duration(&self) -> i64 {
        let fps = self.fps.unwrap_or(self.fallback);
        i64::try_from(fps.due(self.count).as_nanos()).unwrap_or(i64::MAX)
    }
}

/// The place of each access unit in the order of output. That of decoding where the stream does not tell.
fn places(group: &[AccessUnit]) -> Vec<usize> {
    let in_order = || (0..group.len()).collect();
    if !group.iter().any(|unit| unit.has_b) {
        return in_order();
    }
    let mut last_reference = 0_i64;
    let mut counts = Vec::with_capacity(group.len());
    for unit in group {
        let Format::H264(format) = &*unit.format else {
            return in_order();
        };
        let Some(order) = annexb::nal_units(&unit.data).find_map(|nal| h264::output_order(nal, format)) else {
            return in_order();
        };
        let range = 1_i64 << order.bits;
        let base = if unit.keyframe { 0 } else { last_reference };
        // The value of that remainder nearest to the reference picture before.
        let ahead = (i64::from(order.lsb) - base).rem_euclid(range);
        let count = base + if ahead >= range / 2 { ahead - range } else { ahead };
        if order.reference {
            last_reference = count;
        }
        counts.push(count);
    }
    let mut by_count: Vec<usize> = (0..group.len()).collect();
    by_count.sort_by_key(|&n| counts.get(n).copied());
    let mut places = vec![0; group.len()];
    for (place, n) in by_count.into_iter().enumerate() {
        if let Some(slot) = places.get_mut(n) {
            *slot = place;
        }
    }
    places
}
