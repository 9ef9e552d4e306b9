//! Cutting access units into RTP packets.
//!
//! Belongs here: the packets of one frame as one buffer, for each payload format we send. Does not belong here: which numbers a
//! viewer gets, sockets, RTCP.
//!
//! Rendering is a pure function: the same frame with the same numbers gives the same bytes, so one rendering serves every
//! viewer that shares the numbers, and a viewer that lags can be served from a fresh one. Packets of a large NAL unit are
//! of equal size but for a shorter last one, which is what segmentation offload takes in one call.

mod aggregation;
mod ranges;

use media::{Codec, Format, Frame, MediaTime, Timescale};

use self::aggregation::{Piece, Rules};
pub use self::ranges::{PacketRanges, Packets, Run};
use super::header::{HEADER_BYTES, Header};
use super::payload;

/// Bytes of the `$` header in front of each interleaved packet (RFC 2326 §10.12).
pub const INTERLEAVED_BYTES: usize = 4;
/// Largest packet that IPv4 over UDP carries; interleaved framing takes as many.
const MAX_PACKET_BYTES: usize = 65_507;
/// Smallest packet that still leaves room for every payload header.
const MIN_PACKET_BYTES: usize = 64;
/// Largest AU that the 13 bits of an AAC-hbr header can state.
const MAX_AAC_BYTES: usize = (1 << 13) - 1;

/// What the packets of one track look like.
#[derive(Clone, Copy, Debug)]
pub struct PacketizerConfig {
    /// Payload type, 0 to 127, as in the SDP.
    pub payload_type: u8,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number of the first packet; should be random (RFC 3550 §5.1).
    pub first_sequence: u16,
    /// Added to every timestamp; should be random (RFC 3550 §5.1).
    pub timestamp_offset: u32,
    /// Largest packet in bytes, RTP header included, framing and IP excluded. Clamped to 64 … 65,507.
    pub max_packet_bytes: usize,
}

impl PacketizerConfig {
    /// Fits an Ethernet frame with room for IPv6, UDP, a VPN and header extensions.
    pub const DEFAULT_MAX_PACKET_BYTES: usize = 1200;
}

/// What stands in front of each packet in a rendered buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Nothing: each packet is a datagram.
    Datagram,
    /// `$`, channel and length, for RTSP over TCP: the whole buffer is one write.
    Interleaved {
        /// The channel the client chose for RTP.
        channel: u8,
    },
}

impl Framing {
    fn bytes(self) -> usize {
        match self {
            Self::Datagram => 0,
            Self::Interleaved { .. } => INTERLEAVED_BYTES,
        }
    }
}

/// Cuts frames of one track into packets.
#[derive(Clone, Debug)]
pub struct Packetizer {
    codec: Codec,
    clock: Timescale,
    config: PacketizerConfig,
}

impl Packetizer {
    /// For frames of this format's codec. Parameter sets may change later, codec and clock may not.
    pub fn new(format: &Format, config: PacketizerConfig) -> Self {
        let mut config = config;
        config.max_packet_bytes = config.max_packet_bytes.clamp(MIN_PACKET_BYTES, MAX_PACKET_BYTES);
        Self {
            codec: format.codec(),
            clock: payload::clock(format),
            config,
        }
    }

    /// What it was made with, after clamping.
    pub fn config(&self) -> &PacketizerConfig {
        &self.config
    }

    /// Ticks per second of the timestamps.
    pub fn clock(&self) -> Timescale {
        self.clock
    }

    /// The RTP timestamp of a media time, offset included.
    pub fn timestamp(&self, time: MediaTime) -> u32 {
        (time.rescale(self.clock).ticks() as u32).wrapping_add(self.config.timestamp_offset)
    }

    /// How many packets [`Packetizer::render`] makes of this frame, without making them.
    pub fn packet_count(&self, frame: &Frame) -> u16 {
        let mut count = 0_usize;
        match self.rules(frame) {
            Some(rules) => rules.plan(frame, self.max_payload(), |piece| count += piece.packets()),
            None => self.audio_payloads(frame, |_, _, _| count += 1),
        }
        count as u16
    }

    /// Appends the packets of `frame` to `out`. The first packet gets `sequence`, all get `timestamp` (see
    /// [`Packetizer::timestamp`]), but for G.711, whose packets each state their own first sample.
    ///
    /// A frame of another codec, or one that its payload format cannot express (AAC beyond 8,191 bytes), makes no packet.
    pub fn render(
        &self,
        frame: &Frame,
        sequence: u16,
        timestamp: u32,
        framing: Framing,
        out: &mut Vec<u8>,
    ) -> PacketRanges {
        let mut writer = Writer {
            out,
            framing,
            ranges: PacketRanges::new(framing.bytes()),
            header: Header {
                marker: false,
                payload_type: self.config.payload_type,
                sequence,
                timestamp,
                ssrc: self.config.ssrc,
            },
        };
        match self.rules(frame) {
            Some(rules) => {
                // Framing and headers add less than a fourteenth at the default size.
                writer.out.reserve(frame.data.len() + frame.data.len() / 8 + 256);
                rules.plan(frame, self.max_payload(), |piece| writer.piece(&rules, &piece));
                writer.mark_last();
            }
            None => self.audio_payloads(frame, |head, body, offset| {
                writer.header.timestamp = timestamp.wrapping_add(offset.ticks);
                writer.header.marker = offset.marker;
                writer.packet(&[head, body]);
            }),
        }
        writer.ranges
    }

    fn max_payload(&self) -> usize {
        self.config.max_packet_bytes.saturating_sub(HEADER_BYTES)
    }

    fn rules(&self, frame: &Frame) -> Option<Rules> {
        match (self.codec, frame.format.as_ref()) {
            (Codec::H264, Format::H264(_)) => Some(Rules::H264),
            (Codec::H265, Format::H265(_)) => Some(Rules::H265),
            _ => None,
        }
    }

    /// Calls `emit` with payload header, payload and what differs from packet to packet.
    fn audio_payloads(&self, frame: &Frame, mut emit: impl FnMut(&[u8], &[u8], AudioPacket)) {
        let data = frame.data.as_ref();
        if data.is_empty() || frame.format.codec() != self.codec {
            return;
        }
        match frame.format.as_ref() {
            Format::Aac(_) if data.len() <= MAX_AAC_BYTES => {
                // AU-headers-length in bits, then one AU header: 13 bits of size of the whole AU, index 0 (RFC 3640 §3.2.1).
                let [size_high, size_low] = ((data.len() as u16) << 3).to_be_bytes();
                let head = [0, 16, size_high, size_low];
                let each = self.max_payload().saturating_sub(head.len()).max(1);
                let mut rest = data;
                while !rest.is_empty() {
                    let (chunk, tail) = rest.split_at(each.min(rest.len()));
                    // RFC 3640 §3.1: the marker says that an AU ends here.
                    let marker = tail.is_empty();
                    emit(&head, chunk, AudioPacket { marker, ticks: 0 });
                    rest = tail;
                }
            }
            // A packet of Opus cannot be split (RFC 7587 §4.2); 1,275 bytes a frame at the most.
            Format::Opus(_) => emit(&[], data, AudioPacket::default()),
            Format::G711(g711) => {
                let sample_bytes = usize::from(g711.channels.max(1));
                let each = (self.max_payload() / sample_bytes).max(1) * sample_bytes;
                for (chunk, number) in data.chunks(each).zip(0_usize..) {
                    let ticks = (number * each / sample_bytes) as u32;
                    emit(&[], chunk, AudioPacket { marker: false, ticks });
                }
            }
            Format::Aac(_) | Format::H264(_) | Format::H265(_) => {}
        }
    }
}

/// What differs between the audio packets of one frame.
#[derive(Clone, Copy, Debug, Default)]
struct AudioPacket {
    marker: bool,
    ticks: u32,
}

/// Appends packets to a buffer and keeps count.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    framing: Framing,
    ranges: PacketRanges,
    header: Header,
}

impl Writer<'_> {
    fn packet(&mut self, parts: &[&[u8]]) {
        let start = self.open(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.close(start);
    }

    fn open(&mut self, payload_bytes: usize) -> usize {
        let start = self.out.len();
        if let Framing::Interleaved { channel } = self.framing {
            let [high, low] = ((HEADER_BYTES + payload_bytes) as u16).to_be_bytes();
            self.out.extend_from_slice(&[b'$', channel, high, low]);
        }
        self.out.extend_from_slice(&self.header.to_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.ranges.push(start, self.out.len());
    }

    fn piece(&mut self, rules: &Rules, piece: &Piece<'_, '_>) {
        match *piece {
            Piece::Single(unit) => self.packet(&[unit]),
            Piece::Aggregate { units, payload_bytes } => {
                let start = self.open(payload_bytes);
                rules.write_aggregate(units, self.out);
                self.close(start);
            }
            Piece::Fragments { unit, each, .. } => {
                for (head, chunk) in rules.fragments(unit, each) {
                    self.packet(&[head.as_slice(), chunk]);
                }
            }
        }
    }

    /// Sets the marker of the last packet, which ends the access unit (RFC 6184 §5.1, RFC 7798 §4.1).
    fn mark_last(&mut self) {
        let marker = self.ranges.last_start().map(|start| start + self.framing.bytes() + 1);
        if let Some(byte) = marker.and_then(|at| self.out.get_mut(at)) {
            *byte |= 0x80;
        }
    }
}

#[cfg(test)]
mod tests;
