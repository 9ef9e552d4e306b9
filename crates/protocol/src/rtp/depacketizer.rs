//! Putting access units together from RTP packets.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::Format;

use super::header::Packet;
use super::payload::Payload;

/// One access unit, or one frame of audio.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Timestamp of its packets; for the later frames of an audio packet moved on by their durations.
    pub rtp_timestamp: u32,
    /// As [`media::Frame::data`].
    pub data: Bytes,
    /// As [`media::Frame::keyframe`].
    pub keyframe: bool,
    /// As [`media::Frame::format`].
    pub format: Arc<Format>,
    /// Something between the unit before and this one was lost or dropped.
    pub discontinuity: bool,
}

/// Why packets did not become a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Packets are missing; the access unit they belonged to is dropped.
    #[error("{packets} RTP packets lost before sequence number {sequence}")]
    Lost {
        /// How many sequence numbers were skipped.
        packets: u16,
        /// The first number that came again.
        sequence: u16,
    },
    /// The payload contradicts itself.
    #[error("RTP packet {sequence}: {what}")]
    Malformed {
        /// Of the packet.
        sequence: u16,
        /// What is wrong, with the section it violates.
        what: &'static str,
    },
    /// The access unit grew beyond the limit and is dropped.
    #[error("access unit larger than {limit_bytes} bytes at RTP packet {sequence}")]
    TooLarge {
        /// Of the packet that went too far.
        sequence: u16,
        /// The limit.
        limit_bytes: usize,
    },
}

/// Puts the access units of one track together. Packets come in order of sequence; a gap is a loss.
#[derive(Debug)]
pub struct Depacketizer {
    payload: Payload,
    format: Arc<Format>,
    ready: VecDeque<Unit>,
}

impl Depacketizer {
    /// Default limit of an access unit in bytes.
    pub const DEFAULT_MAX_UNIT_BYTES: usize = 8 << 20;

    /// `format`: what is known from the SDP; parameter sets found in the stream replace it.
    pub fn new(payload: Payload, format: Arc<Format>, max_unit_bytes: usize) -> Self {
        let _ = max_unit_bytes;
        Self {
            payload,
            format,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// [`Fault`]: what was dropped and why. It goes on with the next packet.
    pub fn push(&mut self, packet: &Packet<'_>) -> Result<(), Fault> {
        let _ = (packet, self.payload);
        Ok(())
    }

    /// The next complete unit.
    pub fn poll(&mut self) -> Option<Unit> {
        self.ready.pop_front()
    }

    /// The format as of the newest packet.
    pub fn format(&self) -> &Arc<Format> {
        &self.format
    }
}
