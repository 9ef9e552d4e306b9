//! A frame's packets without the numbers of a session, so that all viewers share their bytes.
//!
//! Belongs here: payloads and their timestamps. Does not belong here: headers, which each session writes for itself.

use std::sync::{Arc, Weak};

use media::{Capture, Codec, Format, Frame, annexb, sei};

use super::outlet::MAX_EXTENSION_BYTES;
use crate::rtp::{Framing, HEADER_BYTES, Packet, Packetizer, PacketizerConfig};

/// Largest payload with its RTP header. Header extensions (24 bytes), the number of a repeated packet (2), and the seal (16) come on top,
/// and together make no more than [`PacketizerConfig::DEFAULT_MAX_PACKET_BYTES`].
const MAX_PACKET_BYTES: usize = 1_158;

/// One packet of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) marker: bool,
    pub(super) timestamp: u32,
}

impl Payload<'_> {
    /// With a timestamp that is greater by this.
    pub(super) fn later(self, ticks: u32) -> Self {
        Self {
            timestamp: self.timestamp.wrapping_add(ticks),
            ..self
        }
    }
}

/// The packets of one frame. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Form {
    shared: Arc<Shared>,
}

/// A [`Form`] that is there as long as somebody has it.
#[derive(Clone, Debug)]
pub struct WeakForm(Weak<Shared>);

impl WeakForm {
    /// The form, while it is there.
    pub fn upgrade(&self) -> Option<Form> {
        self.0.upgrade().map(|shared| Form { shared })
    }
}

#[derive(Debug)]
struct Shared {
    /// All packets, with headers that nobody sends.
    bytes: Vec<u8>,
    pieces: Box<[Piece]>,
    capture: Capture,
    keyframe: bool,
    disposable: bool,
    reorders: bool,
}

/// Where a payload is in the bytes.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
    timestamp: u32,
    marker: bool,
}

impl Form {
    /// How many packets.
    pub fn packets(&self) -> usize {
        self.shared.pieces.len()
    }

    /// Does not keep it.
    pub fn downgrade(&self) -> WeakForm {
        WeakForm(Arc::downgrade(&self.shared))
    }

    /// It begins a group of pictures.
    pub fn is_keyframe(&self) -> bool {
        self.shared.keyframe
    }

    /// No other frame refers to it.
    pub fn is_disposable(&self) -> bool {
        self.shared.disposable
    }

    /// The frame is shown in another order than it is sent in, which no browser plays by WebRTC.
    pub fn reorders(&self) -> bool {
        self.shared.reorders
    }

    pub(super) fn capture(&self) -> Capture {
        self.shared.capture
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = Payload<'_>> {
        self.shared.pieces.iter().map(|piece| self.payload_of(*piece))
    }

    pub(super) fn payload(&self, position: usize) -> Option<Payload<'_>> {
        self.shared.pieces.get(position).map(|piece| self.payload_of(*piece))
    }

    fn payload_of(&self, piece: Piece) -> Payload<'_> {
        let range = piece.start as usize..piece.end as usize;
        Payload {
            bytes: self.shared.bytes.get(range).unwrap_or_default(),
            marker: piece.marker,
            timestamp: piece.timestamp,
        }
    }
}

/// Makes the forms of a track's frames.
#[derive(Clone, Debug)]
pub struct Former {
    packetizer: Packetizer,
}

impl Former {
    /// For frames of this format's codec. `timestamp_offset` should be random (RFC 3550 §5.1).
    pub fn new(format: &Format, timestamp_offset: u32) -> Self {
        let config = PacketizerConfig {
            payload_type: 0,
            ssrc: 0,
            first_sequence: 0,
            timestamp_offset,
            max_packet_bytes: MAX_PACKET_BYTES,
        };
        Self {
            packetizer: Packetizer::new(format, config),
        }
    }

    /// The packets of `frame`; none for a frame of another codec.
    pub fn form(&self, frame: &Frame) -> Form {
        let frame = &without_message(frame);
        let mut bytes = Vec::new();
        let timestamp = self.packetizer.timestamp(frame.time);
        let ranges = self
            .packetizer
            .render(frame, 0, timestamp, Framing::Datagram, &mut bytes);
        let piece = |range: std::ops::Range<usize>| {
            let packet = Packet::parse(bytes.get(range.clone())?).ok()?;
            Some(Piece {
                start: u32::try_from(range.end - packet.payload.len()).ok()?,
                end: u32::try_from(range.end).ok()?,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
            })
        };
        let pieces = ranges.packets().filter_map(piece).collect();
        bytes.shrink_to_fit();
        Form {
            shared: Arc::new(Shared {
                bytes,
                pieces,
                capture: frame.capture,
                keyframe: frame.keyframe,
                disposable: frame.is_disposable(),
                reorders: super::reorders(frame),
            }),
        }
    }
}

/// The frame without our message at its front: packets say the capture time in their headers, and a small unit before a large one would make two runs of
/// a frame that else is one, so two system calls for each viewer.
fn without_message(frame: &Frame) -> Frame {
    let codec = frame.format.codec();
    let read = match codec {
        Codec::H264 => sei::read_h264,
        Codec::H265 => sei::read_h265,
        Codec::Aac | Codec::Opus | Codec::G711 => return frame.clone(),
    };
    let mut units = annexb::nal_units(&frame.data);
    let message = units.next().is_some_and(|unit| read(unit).is_some());
    let rest = frame.data.len().saturating_sub(units.rest().len());
    Frame {
        data: if message {
            frame.data.slice(rest..)
        } else {
            frame.data.clone()
        },
        ..frame.clone()
    }
}

const _: () = assert!(MAX_PACKET_BYTES + MAX_EXTENSION_BYTES + 2 + 16 <= PacketizerConfig::DEFAULT_MAX_PACKET_BYTES);
const _: () = assert!(MAX_PACKET_BYTES > HEADER_BYTES);
