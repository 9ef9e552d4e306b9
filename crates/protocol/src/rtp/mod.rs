//! RTP (RFC 3550): the packets that carry frames in RTSP and WebRTC.
//!
//! Belongs here: packet headers, sequence numbers and timestamps, cutting access units into packets ([`Packetizer`]) and
//! putting them together again ([`Depacketizer`]) for each codec we carry, what a receiver of one track keeps
//! ([`Receiver`]: reordering, loss, jitter, capture time), and RTCP ([`rtcp`]).
//!
//! Does not belong here: who gets a packet and when, sockets, encryption, the description of a stream ([`crate::sdp`]),
//! parsing of codec bitstreams (`media`).

mod depacketizer;
pub mod feedback;
mod header;
mod packetizer;
mod payload;
mod receiver;
pub mod rtcp;
mod sequence;
#[cfg(test)]
pub(crate) mod test_streams;

pub use depacketizer::{Depacketizer, Fault, Unit};
pub use header::{Error, Extension, Extensions, HEADER_BYTES, Header, Packet};
pub use packetizer::{Framing, INTERLEAVED_BYTES, PacketRanges, Packetizer, PacketizerConfig, Packets, Run};
pub use payload::{AuHeader, Payload, clock};
pub use receiver::{Arrival, Received, Receiver, ReceiverConfig, ReceiverStats, Reordering, Timeline};
pub use sequence::{SequenceUnwrapper, TimestampUnwrapper};
