//! NAL units to packets: what goes alone, together or in pieces (RFC 6184 §5.6–5.8, RFC 7798 §4.4).

use media::annexb::nal_units;
use media::{Format, Frame};

/// Most NAL units in one aggregation packet: parameter sets, SEI and a few slices.
const MAX_AGGREGATED: usize = 32;
/// Bytes of the length in front of each aggregated NAL unit, in both codecs.
const AGGREGATED_LENGTH_BYTES: usize = 2;
/// H.264 STAP-A (RFC 6184 §5.7.1).
const STAP_A: u8 = 24;
/// H.264 FU-A (RFC 6184 §5.8).
const FU_A: u8 = 28;
/// H.265 aggregation packet (RFC 7798 §4.4.2).
const AP: u8 = 48;
/// H.265 fragmentation unit (RFC 7798 §4.4.3).
const FU: u8 = 49;

/// How a video codec's NAL units go into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    H264,
    H265,
}

/// Part of an access unit that makes one packet or a row of equal ones.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a, 'p> {
    Single(&'a [u8]),
    Aggregate {
        units: &'p [&'a [u8]],
        payload_bytes: usize,
    },
    Fragments {
        unit: &'a [u8],
        each: usize,
        packets: usize,
    },
}

impl Piece<'_, '_> {
    pub(super) fn packets(&self) -> usize {
        match self {
            Self::Single(_) | Self::Aggregate { .. } => 1,
            Self::Fragments { packets, .. } => *packets,
        }
    }
}

/// The header of a fragment: two bytes in H.264, three in H.265.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentHead {
    bytes: [u8; 3],
    length: usize,
}

impl FragmentHead {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

/// NAL units that wait for their neighbours.
struct Pending<'a> {
    units: [&'a [u8]; MAX_AGGREGATED],
    count: usize,
    /// Payload if sent as they are in one aggregation packet.
    payload_bytes: usize,
}

impl<'a> Pending<'a> {
    fn flush(&mut self, rules: Rules, emit: &mut impl FnMut(Piece<'a, '_>)) {
        match self.units.get(..self.count) {
            None | Some([]) => {}
            Some([unit]) => emit(Piece::Single(unit)),
            Some(units) => emit(Piece::Aggregate {
                units,
                payload_bytes: self.payload_bytes,
            }),
        }
        self.count = 0;
        self.payload_bytes = rules.header_bytes();
    }

    fn push(&mut self, unit: &'a [u8]) {
        if let Some(slot) = self.units.get_mut(self.count) {
            *slot = unit;
            self.count += 1;
            self.payload_bytes += AGGREGATED_LENGTH_BYTES + unit.len();
        }
    }
}

impl Rules {
    /// Bytes of a NAL unit header, and of the payload header of an aggregation packet.
    fn header_bytes(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    /// Calls `emit` with the pieces of an access unit in order. A keyframe gets its parameter sets in front.
    pub(super) fn plan<'a>(self, frame: &'a Frame, max_payload: usize, mut emit: impl FnMut(Piece<'a, '_>)) {
        let mut pending = Pending {
            units: [&[]; MAX_AGGREGATED],
            count: 0,
            payload_bytes: self.header_bytes(),
        };
        let mut add = |unit: &'a [u8]| {
            if unit.len() <= self.header_bytes() {
                return;
            }
            let needed = AGGREGATED_LENGTH_BYTES + unit.len();
            if pending.count == MAX_AGGREGATED || pending.payload_bytes + needed > max_payload {
                pending.flush(self, &mut emit);
            }
            if unit.len() <= max_payload {
                pending.push(unit);
            } else {
                let body_bytes = unit.len() - self.header_bytes();
                let room = max_payload.saturating_sub(self.header_bytes() + 1).max(1);
                let packets = body_bytes.div_ceil(room);
                let each = body_bytes.div_ceil(packets.max(1));
                emit(Piece::Fragments { unit, each, packets });
            }
        };
        if frame.keyframe {
            match frame.format.as_ref() {
                Format::H264(format) => format.parameter_sets().for_each(|set| add(set)),
                Format::H265(format) => format.parameter_sets().for_each(|set| add(set)),
                Format::Aac(_) | Format::Opus(_) | Format::G711(_) => {}
            }
        }
        nal_units(&frame.data).for_each(add);
        pending.flush(self, &mut emit);
    }

    /// Writes an aggregation packet's payload.
    pub(super) fn write_aggregate(self, units: &[&[u8]], out: &mut Vec<u8>) {
        match self {
            Self::H264 => {
                let headers = units.iter().filter_map(|unit| unit.first());
                // RFC 6184 §5.7: F is the OR of all, NRI the maximum.
                let (forbidden, importance) =
                    headers.fold((0, 0), |(f, nri), header| (f | (header & 0x80), nri.max(header & 0x60)));
                out.push(forbidden | importance | STAP_A);
            }
            Self::H265 => {
                // RFC 7798 §4.4.2: F is the OR, layer and temporal identifiers the lowest of all.
                let headers = units.iter().filter_map(|unit| unit.first_chunk::<2>());
                let (forbidden, layer, temporal) = headers.fold((0, 0x3f, 7), |(f, layer, tid), &[high, low]| {
                    let this_layer = ((high & 1) << 5) | (low >> 3);
                    (f | (high & 0x80), layer.min(this_layer), tid.min(low & 7))
                });
                out.push(forbidden | (AP << 1) | (layer >> 5));
                out.push((layer << 3) | temporal);
            }
        }
        for unit in units {
            out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            out.extend_from_slice(unit);
        }
    }

    /// The fragments of a NAL unit, `each` bytes but for the last.
    pub(super) fn fragments(self, unit: &[u8], each: usize) -> impl Iterator<Item = (FragmentHead, &[u8])> {
        let (header, body) = unit.split_at_checked(self.header_bytes()).unwrap_or((&[], &[]));
        let chunks = body.chunks(each.max(1));
        let last = chunks.len().saturating_sub(1);
        chunks.zip(0_usize..).map(move |(chunk, number)| {
            let edges = (u8::from(number == 0) << 7) | (u8::from(number == last) << 6);
            let head = match (self, header) {
                (Self::H264, &[first]) => FragmentHead {
                    bytes: [(first & 0xe0) | FU_A, edges | (first & 0x1f), 0],
                    length: 2,
                },
                (_, &[first, second, ..]) => FragmentHead {
                    bytes: [(first & 0x81) | (FU << 1), second, edges | ((first >> 1) & 0x3f)],
                    length: 3,
                },
                _ => FragmentHead {
                    bytes: [0; 3],
                    length: 0,
                },
            };
            (head, chunk)
        })
    }
}
