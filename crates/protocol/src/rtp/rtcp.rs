//! RTCP (RFC 3550 §6): compound packets, read and written over `rtcp-types`.
//!
//! Belongs here: sender and receiver reports, SDES CNAME, limits of what is read. Does not belong here: when reports
//! are sent and what the numbers in them are.

use std::time::Duration;

use media::WallTime;
use rtcp_types::prelude::*;

/// Largest compound packet that is read.
pub const MAX_BYTES: usize = 8_192;
/// Most packets that are read out of a compound one; the rest is ignored.
pub const MAX_PACKETS: usize = 32;

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

/// Most report blocks in one report: five bits (RFC 3550 §6.4.1).
const MAX_BLOCKS: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: SenderInfo = SenderInfo {
        ssrc: 1,
        ntp: 0x0102_0304_0506_0708,
        rtp_timestamp: 9,
        packets: 10,
        bytes: 11,
    };

    fn block(ssrc: u32, lost: i32) -> ReportBlock {
        ReportBlock {
            ssrc,
            fraction_lost: 3,
            lost,
            highest_sequence: 4,
            jitter_ticks: 5,
            last_sender_report: 6,
            delay_since_last_sender_report: 7,
        }
    }

    #[test]
    fn sender_reports_read_back() {
        let mut bytes = Vec::new();
        write_sender_report(INFO, &[block(2, -5)], "camera@here", &mut bytes);
        let packets = parse(&bytes).unwrap();
        assert_eq!(
            packets,
            [
                Packet::SenderReport {
                    info: INFO,
                    blocks: vec![block(2, -5)]
                },
                Packet::Name {
                    ssrc: 1,
                    cname: "camera@here".to_owned()
                },
            ]
        );
    }

    #[test]
    fn what_is_written_stays_within_the_format() {
        let mut bytes = Vec::new();
        let blocks: Vec<_> = (0..40).map(|ssrc| block(ssrc, i32::MAX)).collect();
        write_receiver_report(1, &blocks, &"ä".repeat(200), &mut bytes);
        let packets = parse(&bytes).unwrap();
        let Packet::ReceiverReport { blocks, .. } = &packets[0] else {
            panic!()
        };
        assert_eq!((blocks.len(), blocks[0].lost), (31, (1 << 23) - 1));
        assert_eq!(
            packets[1],
            Packet::Name {
                ssrc: 1,
                cname: "ä".repeat(127)
            }
        );
    }

    #[test]
    fn unknown_and_malformed_packets_are_left_out() {
        let mut bytes = vec![0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e'];
        // Claims a report block that is not there.
        bytes.extend_from_slice(&[0x81, 201, 0, 1, 0, 0, 0, 1]);
        write_receiver_report(1, &[], "us", &mut bytes);
        // BYE, which nobody here acts on: an RTSP session ends by TEARDOWN, with its connection, or in silence.
        bytes.extend_from_slice(&[0x81, 203, 0, 1, 0, 0, 0, 1]);
        assert_eq!(parse(&bytes).unwrap().len(), 2);
    }

    #[test]
    fn limits_hold() {
        assert_eq!(parse(&[0; MAX_BYTES + 1]), Err(Error::TooLarge(MAX_BYTES + 1)));
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let bytes: Vec<u8> = report.iter().copied().cycle().take(8 * (MAX_PACKETS + 5)).collect();
        assert_eq!(parse(&bytes).unwrap().len(), MAX_PACKETS);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            parse(&[0x80, 200]),
            Err(Error::Truncated {
                at: 0,
                needed: 4,
                left: 2
            })
        );
        assert_eq!(
            parse(&[0x80, 203, 0, 0, 0x80, 200, 0, 6]),
            Err(Error::Truncated {
                at: 4,
                needed: 28,
                left: 4
            })
        );
        assert_eq!(parse(&[0x40, 200, 0, 0]), Err(Error::Version { at: 0, version: 1 }));
    }

    #[test]
    fn round_trips() {
        let now = WallTime::from_unix_micros(1_700_000_000_000_000);
        let sent = (now.offset_micros(-250_000).to_ntp() >> 16) as u32;
        let with = |last_sender_report, delay| ReportBlock {
            last_sender_report,
            delay_since_last_sender_report: delay,
            ..ReportBlock::default()
        };
        let micros = with(sent, 65_536 / 5).round_trip(now).unwrap().as_micros();
        assert!((49_900..=50_100).contains(&micros), "{micros}");
        assert_eq!(with(0, 0).round_trip(now), None, "no sender report yet");
        assert_eq!(with(sent, 65_536).round_trip(now), None, "held longer than it was away");
    }

    /// Packets whose headers are plausible, which is how far strangers get.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let types = prop_oneof![200_u8..208, any::<u8>()];
        let packet = (0_u8..64, types, prop::collection::vec(any::<u8>(), 0..80), -1_i32..2).prop_map(
            |(first, kind, mut body, skew)| {
                body.resize(body.len().next_multiple_of(4), 1);
                let words = u16::try_from((body.len() / 4) as i32 + skew).unwrap_or(0);
                let mut bytes = vec![0x80 | first, kind];
                bytes.extend_from_slice(&words.to_be_bytes());
                bytes.extend_from_slice(&body);
                bytes
            },
        );
        prop::collection::vec(packet, 0..6).prop_map(|packets| packets.concat())
    }

    /// Why [`names`] looks at nothing but CNAME; when this fails, rtcp-types has mended it.
    #[test]
    fn private_items_of_rtcp_types_cannot_be_trusted() {
        let mut bytes = vec![0x81, 202, 0, 0, 0, 0, 0, 1, 8, 1, 200];
        bytes.resize(256, 0);
        bytes[3] = 63;
        let description = rtcp_types::Sdes::parse(&bytes).unwrap();
        let value = std::panic::catch_unwind(|| {
            let items: usize = description
                .chunks()
                .flat_map(|chunk| chunk.items())
                .map(|item| item.value().len())
                .sum();
            items
        });
        assert!(value.is_err());
        assert_eq!(parse(&bytes), Ok(Vec::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn hostile_packets_never_panic(bytes in hostile()) {
            if let Ok(packets) = parse(&bytes) {
                prop_assert!(packets.len() <= MAX_PACKETS);
            }
        }

        #[test]
        fn hostile_names_never_panic(kind in 0_u8..10, length: u8, prefix: u8, body in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = vec![0x81, 202, 0, 0, 0, 0, 0, 1, kind, length, prefix];
            bytes.extend_from_slice(&body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes[3] = (bytes.len() / 4 - 1) as u8;
            let _ = parse(&bytes);
        }
    }
}
