//! RTCP (RFC 3550 §6): compound packets, read and written over `rtcp-types`.
//!
//! Belongs here: sender and receiver reports, SDES CNAME, goodbyes, what viewers ask for (RFC 4585, RFC 5104), their round trip (RFC 3611), limits of what is
//! read. Does not belong here: when reports are sent and what the numbers in them are.

use std::time::Duration;

use media::WallTime;
use rtcp_types::prelude::*;

use super::feedback::{self, Arrivals};

/// Largest compound packet that is read.
pub const MAX_BYTES: usize = 8_192;
/// Most packets that are read out of a compound one; the rest is ignored.
pub const MAX_PACKETS: usize = 32;
/// Most sequence numbers that are read out of one packet that asks for them again; the rest is ignored.
pub const MAX_MISSING: usize = 512;

/// Feedback for the transport, and for the payload (RFC 4585 §6.1).
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// Generic NACK (RFC 4585 §6.2.1), picture loss indication (§6.3.1), full intra request (RFC 5104 §4.3.1).
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;
/// Formats that the drafts of transport-wide feedback and of REMB took.
const TRANSPORT_WIDE: u8 = 15;
const APPLICATION: u8 = 15;
/// A block with a receiver's clock (RFC 3611 §4.4).
const REFERENCE_TIME_BYTES: usize = 12;

/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("RTCP packet of {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// A packet in it is cut off.
    #[error("RTCP packet at byte {at} needs {needed} bytes, {left} are left")]
    Truncated {
        /// Where the packet begins.
        at: usize,
        /// What its header says.
        needed: usize,
        /// What there is.
        left: usize,
    },
    /// Version is not 2.
    #[error("RTCP version {version} at byte {at} instead of 2")]
    Version {
        /// Where the packet begins.
        at: usize,
        /// What it says.
        version: u8,
    },
}

/// One packet of those we understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Sender report.
    SenderReport {
        /// What it says about the sender.
        info: SenderInfo,
        /// What it says about those it receives.
        blocks: Vec<ReportBlock>,
    },
    /// Receiver report.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// About whom.
        blocks: Vec<ReportBlock>,
    },
    /// Canonical name of a source (SDES CNAME).
    Name {
        /// Of whom.
        ssrc: u32,
        /// At most 255 bytes.
        cname: String,
    },
    /// Packets of a source are missing and wanted again (NACK).
    Missing {
        /// Whose.
        ssrc: u32,
        /// Their sequence numbers, at most [`MAX_MISSING`].
        sequences: Vec<u16>,
    },
    /// A receiver's clock, which it wants back with how long that took (RFC 3611 §4.4).
    ReferenceTime {
        /// Whose.
        ssrc: u32,
        /// What it says.
        ntp: u64,
    },
    /// A viewer cannot go on without a keyframe (PLI or FIR).
    KeyframeWanted,
    /// Which packets came when (transport-wide feedback).
    Arrivals(Arrivals),
    /// What the receiver can take (REMB).
    MaxBitrate {
        /// Of all sources together.
        bits_per_second: u64,
    },
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Who sends.
    pub ssrc: u32,
    /// Wall time of the sender, see [`WallTime::from_ntp`].
    pub ntp: u64,
    /// The same instant on the clock of the RTP timestamps.
    pub rtp_timestamp: u32,
    /// Packets sent so far, wraps.
    pub packets: u32,
    /// Payload bytes sent so far, wraps.
    pub bytes: u32,
}

/// What a receiver says about one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Share of packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start, −8,388,608 to 8,388,607.
    pub lost: i32,
    /// Highest sequence number with its cycles in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks of the track's RTP clock.
    pub jitter_ticks: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report; 0 when none came.
    pub last_sender_report: u32,
    /// Time since then in 1/65,536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// Round-trip time for the sender, who gets the report at `now` (RFC 3550 §6.4.1). `None` before the receiver had a
    /// sender report, or when the times contradict one another.
    pub fn round_trip(&self, now: WallTime) -> Option<Duration> {
        if self.last_sender_report == 0 {
            return None;
        }
        let arrived = (now.to_ntp() >> 16) as u32;
        let elapsed = arrived.wrapping_sub(self.last_sender_report);
        let round_trip = elapsed.wrapping_sub(self.delay_since_last_sender_report) as i32;
        let micros = u64::try_from(round_trip).ok()? * 1_000_000 / 65_536;
        Some(Duration::from_micros(micros))
    }
}

/// Reads a compound packet. Packets of other types, and malformed ones of a plausible length, are left out.
///
/// # Errors
/// [`Error`] when lengths or versions make no sense.
pub fn parse(bytes: &[u8]) -> Result<Vec<Packet>, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge(bytes.len()));
    }
    let mut packets = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && packets.len() < MAX_PACKETS {
        let at = bytes.len() - rest.len();
        let truncated = |needed| Error::Truncated {
            at,
            needed,
            left: rest.len(),
        };
        let &[first, kind, high, low] = rest.first_chunk::<4>().ok_or(truncated(4))?;
        if first >> 6 != 2 {
            return Err(Error::Version {
                at,
                version: first >> 6,
            });
        }
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let (packet, tail) = rest.split_at_checked(length).ok_or(truncated(length))?;
        rest = tail;
        match kind {
            rtcp_types::SenderReport::PACKET_TYPE => packets.extend(sender_report(packet)),
            rtcp_types::ReceiverReport::PACKET_TYPE => packets.extend(receiver_report(packet)),
            rtcp_types::Sdes::PACKET_TYPE => names(packet, &mut packets),
            rtcp_types::Xr::PACKET_TYPE => packets.extend(reference_time(packet)),
            TRANSPORT_FEEDBACK if first & 0x1f == NACK => packets.extend(missing(packet)),
            TRANSPORT_FEEDBACK if first & 0x1f == TRANSPORT_WIDE => {
                packets.extend(Arrivals::parse(packet).map(Packet::Arrivals));
            }
            PAYLOAD_FEEDBACK if first & 0x1f == APPLICATION => {
                let bits_per_second = feedback::max_bitrate(packet);
                packets.extend(bits_per_second.map(|bits_per_second| Packet::MaxBitrate { bits_per_second }));
            }
            // A picture lost names its source in its head, a full intra request in entries behind it.
            PAYLOAD_FEEDBACK if first & 0x1f == PLI && length >= 12 => packets.push(Packet::KeyframeWanted),
            PAYLOAD_FEEDBACK if first & 0x1f == FIR && length >= 20 => packets.push(Packet::KeyframeWanted),
            _ => {}
        }
    }
    Ok(packets)
}

fn sender_report(packet: &[u8]) -> Option<Packet> {
    let report = rtcp_types::SenderReport::parse(packet).ok()?;
    Some(Packet::SenderReport {
        info: SenderInfo {
            ssrc: report.ssrc(),
            ntp: report.ntp_timestamp(),
            rtp_timestamp: report.rtp_timestamp(),
            packets: report.packet_count(),
            bytes: report.octet_count(),
        },
        blocks: report.report_blocks().map(|block| read_block(&block)).collect(),
    })
}

fn receiver_report(packet: &[u8]) -> Option<Packet> {
    let report = rtcp_types::ReceiverReport::parse(packet).ok()?;
    Some(Packet::ReceiverReport {
        ssrc: report.ssrc(),
        blocks: report.report_blocks().map(|block| read_block(&block)).collect(),
    })
}

/// The first of its blocks that is one: a receiver has one clock.
fn reference_time(packet: &[u8]) -> Option<Packet> {
    let report = rtcp_types::Xr::parse(packet).ok()?;
    // A shorter block would be read on into the next.
    let mut blocks = report
        .block_iter()
        .filter(|block| block.length() == REFERENCE_TIME_BYTES);
    let time = blocks.find_map(|block| block.parse_into::<rtcp_types::ReceiverReferenceTime<'_>>().ok())?;
    Some(Packet::ReferenceTime {
        ssrc: report.sender_ssrc(),
        ntp: time.ntp_timestamp(),
    })
}

/// Each entry is a number and a mask of the sixteen that follow it.
fn missing(packet: &[u8]) -> Option<Packet> {
    let (&[_, _, _, _, _, _, _, _, a, b, c, d], entries) = packet.split_first_chunk::<12>()?;
    let mut sequences = Vec::new();
    for entry in entries.chunks_exact(4) {
        let &[first_high, first_low, mask_high, mask_low] = entry else {
            continue;
        };
        let first = u16::from_be_bytes([first_high, first_low]);
        let mask = u16::from_be_bytes([mask_high, mask_low]);
        let others = (0..16_u16).filter(|bit| mask >> bit & 1 == 1);
        sequences.push(first);
        sequences.extend(others.map(|bit| first.wrapping_add(bit + 1)));
        if sequences.len() >= MAX_MISSING {
            break;
        }
    }
    sequences.truncate(MAX_MISSING);
    Some(Packet::Missing {
        ssrc: u32::from_be_bytes([a, b, c, d]),
        sequences,
    })
}

/// Only CNAME items are looked at: `SdesItem::value` of rtcp-types 0.3.0 panics on a PRIV item whose prefix is longer
/// than the item.
fn names(packet: &[u8], packets: &mut Vec<Packet>) {
    let Ok(description) = rtcp_types::Sdes::parse(packet) else {
        return;
    };
    for chunk in description.chunks() {
        let name = chunk.items().find(|item| item.type_() == rtcp_types::SdesItem::CNAME);
        let name = name.and_then(|item| item.get_value_string().ok());
        if let Some(cname) = name.filter(|_| packets.len() < MAX_PACKETS) {
            packets.push(Packet::Name {
                ssrc: chunk.ssrc(),
                cname,
            });
        }
    }
}

fn read_block(block: &rtcp_types::ReportBlock<'_>) -> ReportBlock {
    ReportBlock {
        ssrc: block.ssrc(),
        fraction_lost: block.fraction_lost(),
        // 24 bits, signed: duplicates can make it negative (RFC 3550 §6.4.1).
        lost: ((block.cumulative_lost() << 8) as i32) >> 8,
        highest_sequence: block.extended_sequence_number(),
        jitter_ticks: block.interarrival_jitter(),
        last_sender_report: block.last_sender_report_timestamp(),
        delay_since_last_sender_report: block.delay_since_last_sender_report_timestamp(),
    }
}

/// Appends a sender report and the CNAME to `out`, as one compound packet.
pub fn write_sender_report(info: SenderInfo, blocks: &[ReportBlock], cname: &str, out: &mut Vec<u8>) {
    let mut report = rtcp_types::SenderReport::builder(info.ssrc)
        .ntp_timestamp(info.ntp)
        .rtp_timestamp(info.rtp_timestamp)
        .packet_count(info.packets)
        .octet_count(info.bytes);
    for block in blocks.iter().take(MAX_BLOCKS) {
        report = report.add_report_block(build_block(block));
    }
    append(&report, out);
    append_name(info.ssrc, cname, out);
}

/// Appends a receiver report and the CNAME to `out`, as one compound packet.
pub fn write_receiver_report(ssrc: u32, blocks: &[ReportBlock], cname: &str, out: &mut Vec<u8>) {
    let mut report = rtcp_types::ReceiverReport::builder(ssrc);
    for block in blocks.iter().take(MAX_BLOCKS) {
        report = report.add_report_block(build_block(block));
    }
    append(&report, out);
    append_name(ssrc, cname, out);
}

/// Appends that these sources are leaving. Not a compound packet by itself: a report goes before it.
pub fn write_goodbye(sources: impl IntoIterator<Item = u32>, out: &mut Vec<u8>) {
    let mut goodbye = rtcp_types::Bye::builder();
    for source in sources.into_iter().take(MAX_BLOCKS) {
        goodbye = goodbye.add_source(source);
    }
    append(&goodbye, out);
}

/// Appends when the clock of `theirs` came, by its middle 32 bits, and how long ago that is in 1/65,536 s (RFC 3611 §4.5). Not a compound packet by
/// itself: a report goes before it.
pub fn write_reference_answer(ssrc: u32, theirs: u32, middle: u32, delay: u32, out: &mut Vec<u8>) {
    let block = rtcp_types::DelaySinceLastReceiverReportBlock::builder()
        .ssrc(theirs)
        .last_receiver_report(middle)
        .delay_since_last_receiver_report_timestamp(delay);
    let blocks = rtcp_types::DelaySinceLastReceiverReport::builder().add_block(block);
    append(&rtcp_types::Xr::builder().sender_ssrc(ssrc).add_block(blocks), out);
}

fn append_name(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    let mut end = cname.len().min(255);
    while !cname.is_char_boundary(end) {
        end -= 1;
    }
    let item = rtcp_types::SdesItem::builder(rtcp_types::SdesItem::CNAME, &cname[..end]);
    let chunk = rtcp_types::SdesChunk::builder(ssrc).add_item(item);
    append(&rtcp_types::Sdes::builder().add_chunk(chunk), out);
}

fn build_block(block: &ReportBlock) -> rtcp_types::ReportBlockBuilder {
    rtcp_types::ReportBlock::builder(block.ssrc)
        .fraction_lost(block.fraction_lost)
        .cumulative_lost((block.lost.clamp(-(1 << 23), (1 << 23) - 1) & 0xff_ffff) as u32)
        .extended_sequence_number(block.highest_sequence)
        .interarrival_jitter(block.jitter_ticks)
        .last_sender_report_timestamp(block.last_sender_report)
        .delay_since_last_sender_report_timestamp(block.delay_since_last_sender_report)
}

/// All that the builders could refuse is excluded before: number of blocks, range of `lost`, length of the name.
fn append(packet: &impl RtcpPacketWriter, out: &mut Vec<u8>) {
    let Ok(bytes) = packet.calculate_size() else { return };
    let start = out.len();
    out.resize(start + bytes, 0);
    if let Some(space) = out.get_mut(start..) {
        packet.write_into_unchecked(space);
    }
}

/// Most report blocks in one report, or sources in one goodbye: five bits (RFC 3550 §6.4.1).
const MAX_BLOCKS: usize = 31;

#[cfg(test)]
mod tests;
