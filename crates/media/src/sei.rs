//! The capture time inside the bitstream: an SEI message of ours (H.264 §D.1.7 and H.265 §D.2.7, user_data_unregistered).
//!
//! Belongs here: writing that message as a NAL unit and finding it among others. Does not belong here: other SEI messages, who
//! believes the time ([`crate::CaptureSource`]).
//!
//! The payload is the 16 bytes of [`UUID`], one byte of version, and for version 1 ten bytes of time: microseconds since the
//! Unix epoch, seven bits a byte from the highest, each with its top bit set. So no byte is zero, emulation prevention never
//! adds one, and the NAL unit is of the same size in every frame. Later versions may append; readers pass over what follows.

use bytes::Bytes;

use crate::annexb;
use crate::time::WallTime;
use crate::track::Codec;

/// Marks our message: a random (version 4) UUID.
pub const UUID: [u8; 16] = [
    0x5e, 0x1f, 0x8c, 0xd3, 0x6a, 0x74, 0x4b, 0x29, 0x9b, 0xe7, 0x31, 0xc4, 0x8d, 0x52, 0xf6, 0xa8,
];

/// payload_type of user_data_unregistered.
const USER_DATA_UNREGISTERED: u32 = 5;
/// nal_unit_type 39 of layer 0 at the lowest temporal level (H.265 §7.3.1.2).
const H265_PREFIX_SEI: [u8; 2] = [39 << 1, 1];
/// nal_unit_type 40, likewise.
const H265_SUFFIX_SEI_TYPE: u8 = 40;
const VERSION: u8 = 1;
const TIME_BYTES: usize = 10;
const PAYLOAD_BYTES: usize = UUID.len() + 1 + TIME_BYTES;
/// Type and size in front, stop bit behind.
const MESSAGE_BYTES: usize = 2 + PAYLOAD_BYTES + 1;
/// Messages of one NAL unit that are looked at; the largest number seen from a real encoder is 4.
const MAX_MESSAGES: usize = 32;

/// Size of [`h264`] in bytes.
pub const H264_BYTES: usize = 1 + MESSAGE_BYTES;
/// Size of [`h265`] in bytes.
pub const H265_BYTES: usize = 2 + MESSAGE_BYTES;

/// The H.264 NAL unit that says when the picture behind it was captured. It goes before the first slice.
pub fn h264(capture: WallTime) -> [u8; H264_BYTES] {
    let mut unit = [0; H264_BYTES];
    let (header, message) = unit.split_at_mut(1);
    header.copy_from_slice(&[6]);
    message.copy_from_slice(&self::message(capture));
    unit
}

/// The H.265 NAL unit (prefix SEI) that says when the picture behind it was captured. It goes before the first slice segment.
pub fn h265(capture: WallTime) -> [u8; H265_BYTES] {
    let mut unit = [0; H265_BYTES];
    let (header, message) = unit.split_at_mut(2);
    header.copy_from_slice(&H265_PREFIX_SEI);
    message.copy_from_slice(&self::message(capture));
    unit
}

/// Reads an H.264 NAL unit; `None` when it is no SEI or none of ours.
pub fn read_h264(unit: &[u8]) -> Option<WallTime> {
    let (header, _) = unit.split_first()?;
    if header & 0x1f != 6 {
        return None;
    }
    read_messages(annexb::unescaped(unit).skip(1))
}

/// Reads an H.265 NAL unit; `None` when it is no SEI or none of ours.
pub fn read_h265(unit: &[u8]) -> Option<WallTime> {
    let (header, _) = unit.split_first_chunk::<2>()?;
    let unit_type = (header[0] >> 1) & 0x3f;
    if unit_type != H265_PREFIX_SEI[0] >> 1 && unit_type != H265_SUFFIX_SEI_TYPE {
        return None;
    }
    read_messages(annexb::unescaped(unit).skip(2))
}

/// The capture time in an access unit as [`crate::Frame::data`] holds it; `None` for codecs without SEI.
pub fn find(data: &[u8], codec: Codec) -> Option<WallTime> {
    match codec {
        Codec::H264 => annexb::nal_units(data).find_map(read_h264),
        Codec::H265 => annexb::nal_units(data).find_map(read_h265),
        Codec::Aac | Codec::Opus | Codec::G711 => None,
    }
}

/// The capture time of the last picture in bytes that hold many, framed in whatever way: the media data of a fragment. For codecs without
/// SEI, `None`.
pub fn find_last(data: &[u8], codec: Codec) -> Option<WallTime> {
    // What is in front of the UUID in our NAL unit: its header, type and size of the message.
    let front = match codec {
        Codec::H264 => 3,
        Codec::H265 => 4,
        Codec::Aac | Codec::Opus | Codec::G711 => return None,
    };
    let ends = (0..=data.len().checked_sub(UUID.len())?).rev();
    let mut found = ends.filter(|&at| data.get(at..at + UUID.len()) == Some(&UUID[..]));
    found.find_map(|at| {
        let unit = data.get(at.checked_sub(front)?..)?.get(..front + PAYLOAD_BYTES + 1)?;
        match codec {
            Codec::H264 => read_h264(unit),
            _ => read_h265(unit),
        }
    })
}

/// The access unit with our message in it, behind the SEI messages that it has (a buffering period has to be the first, H.264
/// §7.4.1.2.3). For pictures that are passed on as they came from a camera. Codecs without SEI, and pictures with a message of ours
/// already, are given back as they are.
pub fn insert(data: &Bytes, codec: Codec, capture: WallTime) -> Bytes {
    match codec {
        Codec::H264 if find(data, codec).is_none() => insert_unit(data, &h264(capture), |header| header & 0x1f == 6),
        Codec::H265 if find(data, codec).is_none() => {
            insert_unit(data, &h265(capture), |header| header & 0x7e == H265_PREFIX_SEI[0])
        }
        _ => data.clone(),
    }
}

fn insert_unit(data: &Bytes, message: &[u8], is_sei: impl Fn(u8) -> bool) -> Bytes {
    let mut units = annexb::nal_units(data);
    let mut rest = data.len();
    while let Some(unit) = units.next() {
        if !unit.first().is_some_and(|&header| is_sei(header)) {
            break;
        }
        rest = units.rest().len();
    }
    let (seis, pictures) = data.split_at(data.len() - rest);
    let mut out = Vec::with_capacity(data.len() + 4 + message.len());
    out.extend_from_slice(seis);
    annexb::push_length_prefixed(message, &mut out);
    out.extend_from_slice(pictures);
    Bytes::from(out)
}

fn message(capture: WallTime) -> [u8; MESSAGE_BYTES] {
    let time = capture.unix_micros().cast_unsigned();
    let mut message = [0x80; MESSAGE_BYTES];
    let groups = (0..TIME_BYTES)
        .rev()
        .map(|group| 0x80 | ((time >> (7 * group)) & 0x7f) as u8);
    let head = [USER_DATA_UNREGISTERED as u8, PAYLOAD_BYTES as u8];
    let bytes = head.into_iter().chain(UUID).chain([VERSION]).chain(groups);
    for (to, byte) in message.iter_mut().zip(bytes) {
        *to = byte;
    }
    message
}

/// Walks the messages of an SEI RBSP (H.264 §7.3.2.3).
fn read_messages(mut rbsp: impl Iterator<Item = u8>) -> Option<WallTime> {
    for _ in 0..MAX_MESSAGES {
        let payload_type = read_extended(&mut rbsp)?;
        let size = usize::try_from(read_extended(&mut rbsp)?).ok()?;
        if payload_type == USER_DATA_UNREGISTERED && size >= PAYLOAD_BYTES {
            let mut payload = [0; PAYLOAD_BYTES];
            for to in &mut payload {
                *to = rbsp.next()?;
            }
            if let Some(time) = read_payload(&payload) {
                return Some(time);
            }
            skip(&mut rbsp, size - PAYLOAD_BYTES)?;
        } else {
            skip(&mut rbsp, size)?;
        }
    }
    None
}

/// A number written as any count of 255 and a last byte (§7.3.2.3.1).
fn read_extended(rbsp: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0_u32;
    loop {
        let byte = rbsp.next()?;
        value = value.checked_add(u32::from(byte))?;
        if byte != 0xff {
            return Some(value);
        }
    }
}

fn skip(rbsp: &mut impl Iterator<Item = u8>, count: usize) -> Option<()> {
    match count.checked_sub(1) {
        Some(last) => rbsp.nth(last).map(|_| ()),
        None => Some(()),
    }
}

fn read_payload(payload: &[u8; PAYLOAD_BYTES]) -> Option<WallTime> {
    let (uuid, rest) = payload.split_first_chunk::<16>()?;
    let (&version, time) = rest.split_first()?;
    // Later versions begin like this one.
    if *uuid != UUID || version < VERSION {
        return None;
    }
    let time = time
        .iter()
        .fold(0_u64, |time, byte| (time << 7) | u64::from(byte & 0x7f));
    Some(WallTime::from_unix_micros(time.cast_signed()))
}

#[cfg(test)]
mod tests;
