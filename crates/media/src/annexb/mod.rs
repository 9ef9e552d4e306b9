//! NAL units as bytes: the two ways they are framed, and what stands between a NAL unit and its syntax elements.
//!
//! Belongs here: Annex B byte streams (ITU-T H.264 and H.265, Annex B), length-prefixed data (ISO/IEC 14496-15 §5.3.2, the form
//! of [`crate::Frame::data`]), emulation prevention (H.264 §7.4.1.1), access units as far as they are
//! the same for H.264 and H.265, which all of it is. Does not belong here: what a NAL unit means ([`crate::h264`], [`crate::h265`]).

mod access_unit;
mod access_units;
mod byte_stream;
mod damage;
mod splitter;

pub(crate) use access_unit::Assembly;
pub use access_unit::{AccessUnit, Ending, Fault, MAX_ACCESS_UNIT_BYTES};
pub use access_units::{AccessUnits, Content, Slice, Syntax};
pub use byte_stream::ByteStream;
pub(crate) use damage::in_words;
pub use splitter::{MAX_UNIT_BYTES, Splitter};

use bytes::Bytes;

use crate::frame::Frame;
use crate::track::Format;

/// Start code written in front of every NAL unit: the long form, since the short one is not allowed before parameter sets and
/// the first NAL unit of an access unit (H.264 §B.1.2).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The NAL units of a whole Annex B byte stream, without start codes and trailing zeros. Bytes before the first start code are
/// not a NAL unit and are passed over. Empty NAL units are left out.
pub fn units(stream: &[u8]) -> Units<'_> {
    Units {
        rest: find_start_code(stream).map(|at| after_start_code(stream, at)),
    }
}

/// Iterator of [`units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    /// What follows the newest start code.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.rest {
            let unit = match find_start_code(rest) {
                Some(at) => {
                    self.rest = Some(after_start_code(rest, at));
                    rest.get(..at).unwrap_or_default()
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            let unit = without_trailing_zeros(unit);
            if !unit.is_empty() {
                return Some(unit);
            }
        }
        None
    }
}

/// The NAL units of length-prefixed data (four bytes each, big endian). Ends at the first length that reaches beyond the data.
/// Empty NAL units are left out.
pub fn nal_units(data: &[u8]) -> NalUnits<'_> {
    NalUnits { rest: data }
}

/// Iterator of [`nal_units`].
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
}

impl<'a> NalUnits<'a> {
    /// What was not consumed: empty after the last NAL unit of well-formed data, else the malformed tail.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (length, tail) = self.rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (unit, rest) = tail.split_at_checked(length)?;
            self.rest = rest;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

/// Appends `unit` behind its length in four bytes. A unit of 4 GiB or more, which no limit of this crate lets in, is left out.
pub fn push_length_prefixed(unit: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u32::try_from(unit.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(unit);
    }
}

/// Appends `unit` behind a start code.
pub fn push_annex_b(unit: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(unit);
}

/// Appends length-prefixed data as an Annex B byte stream; stops at a malformed length.
pub fn to_annex_b(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len());
    for unit in nal_units(data) {
        push_annex_b(unit, out);
    }
}

/// Appends a frame as a decoder takes it from a byte stream: parameter sets in front of a keyframe, then its NAL units. Audio is
/// appended as it is.
pub fn frame_to_annex_b(frame: &Frame, out: &mut Vec<u8>) {
    match &*frame.format {
        Format::H264(format) if frame.keyframe => format.parameter_sets().for_each(|unit| push_annex_b(unit, out)),
        Format::H265(format) if frame.keyframe => format.parameter_sets().for_each(|unit| push_annex_b(unit, out)),
        Format::H264(_) | Format::H265(_) => {}
        Format::Aac(_) | Format::Opus(_) | Format::G711(_) => return out.extend_from_slice(&frame.data),
    }
    to_annex_b(&frame.data, out);
}

/// The bytes of a NAL unit without its emulation prevention bytes: every 3 behind two zeros is dropped (H.264 §7.3.1). Streams
/// that forgot to put them in are read as they are, because real cameras do that in SPS.
pub fn unescaped(unit: &[u8]) -> Unescaped<'_> {
    Unescaped {
        bytes: unit.iter(),
        zeros: 0,
    }
}

/// Iterator of [`unescaped`].
#[derive(Clone, Debug)]
pub struct Unescaped<'a> {
    bytes: std::slice::Iter<'a, u8>,
    zeros: u8,
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.next()?;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}

/// At most the first `N` bytes behind the header of a NAL unit, unescaped, without allocating. For peeking into slice headers.
pub(crate) fn unescaped_head<const N: usize>(unit: &[u8], header_bytes: usize) -> ([u8; N], usize) {
    let mut head = [0; N];
    let mut length = 0;
    for (to, byte) in head
        .iter_mut()
        .zip(unescaped(unit.get(header_bytes..).unwrap_or_default()))
    {
        *to = byte;
        length += 1;
    }
    (head, length)
}

/// Puts a parameter set and what was read of it among those that are known: in the place of the one of its `id`, else behind them,
/// the oldest giving way beyond `limit`.
pub(crate) fn put<T>(list: &mut Vec<(Bytes, T)>, bytes: Bytes, info: T, id: impl Fn(&T) -> u8, limit: usize) {
    match list.iter_mut().find(|(_, old)| id(old) == id(&info)) {
        Some(old) => *old = (bytes, info),
        None => {
            if list.len() >= limit {
                list.remove(0);
            }
            list.push((bytes, info));
        }
    }
}

pub(crate) fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let length = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    unit.get(..length).unwrap_or_default()
}

/// Position of the first `00 00 01`.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        // `at` is where the 1 of a start code might be: a byte above 1 rules out this position and the next two.
        match *bytes.get(at)? {
            0 => at += 1,
            1 if bytes.get(at - 2..at) == Some(&[0, 0]) => return Some(at - 2),
            _ => at += 3,
        }
    }
}

fn after_start_code(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at + 3..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
