use std::sync::Arc;

use media::audio::Law;
use media::h264;
use proptest::prelude::*;

use super::*;
use crate::rtp::Packet;
use crate::rtp::test_streams::{self as streams, config, frame, noise, slice, slice_h265};

fn render(packetizer: &Packetizer, frame: &Frame, framing: Framing) -> (Vec<u8>, PacketRanges) {
    let mut out = b"before".to_vec();
    let ranges = packetizer.render(frame, packetizer.config().first_sequence, 1_000, framing, &mut out);
    assert_eq!(ranges.len(), packetizer.packet_count(frame));
    assert_eq!(ranges.range(), if ranges.is_empty() { 0..0 } else { 6..out.len() });
    assert_eq!(ranges.packets().count(), usize::from(ranges.len()));
    (out, ranges)
}

fn payloads(packetizer: &Packetizer, frame: &Frame) -> Vec<Vec<u8>> {
    let (out, ranges) = render(packetizer, frame, Framing::Datagram);
    let packets: Vec<_> = ranges
        .packets()
        .map(|range| Packet::parse(&out[range]).unwrap())
        .collect();
    for (packet, number) in packets.iter().zip(0_u16..) {
        assert_eq!(
            packet.header.sequence,
            packetizer.config().first_sequence.wrapping_add(number)
        );
        assert_eq!((packet.header.ssrc, packet.header.payload_type), (0x0123_4567, 96));
    }
    packets.iter().map(|packet| packet.payload.to_vec()).collect()
}

#[test]
fn sizes_are_clamped() {
    let config = PacketizerConfig {
        max_packet_bytes: 1,
        ..config(96)
    };
    let format = Format::H264(h264::Format::default());
    assert_eq!(
        Packetizer::new(&format, config).config().max_packet_bytes,
        MIN_PACKET_BYTES
    );
}

#[test]
fn a_keyframe_begins_with_its_parameter_sets_and_sei_in_one_packet() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    let sei = vec![0x06, 0x05, 0x01, 0x42, 0x80];
    let idr = slice(true, true, 3_000, 1);
    let payloads = payloads(&packetizer, &frame(&format, true, &[sei.clone(), idr.clone()]));
    assert_eq!(payloads.len(), 4);
    let mut stap = vec![0x78];
    for unit in [streams::H264_SPS, streams::H264_PPS, &sei] {
        stap.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        stap.extend_from_slice(unit);
    }
    assert_eq!(payloads[0], stap);
    // 2,999 bytes in three fragments: 1,000 each, the last shorter.
    assert_eq!(payloads[1][..2], [0x7c, 0x85]);
    assert_eq!(payloads[2][..2], [0x7c, 0x05]);
    assert_eq!(payloads[3][..2], [0x7c, 0x45]);
    let lengths: Vec<_> = payloads[1..].iter().map(|payload| payload.len() - 2).collect();
    assert_eq!(lengths, [1_000, 1_000, 999]);
    let body: Vec<u8> = payloads[1..].iter().flat_map(|payload| payload[2..].to_vec()).collect();
    assert_eq!(body, idr[1..]);
}

#[test]
fn a_small_access_unit_is_one_packet() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    let units = [
        vec![0x06, 0x05, 0x01, 0x42, 0x80],
        slice(false, true, 500, 1),
        slice(false, false, 500, 2),
    ];
    assert_eq!(payloads(&packetizer, &frame(&format, false, &units)).len(), 1);
    // Alone it needs no aggregation.
    let payloads = payloads(&packetizer, &frame(&format, false, &units[1..2]));
    assert_eq!(payloads, [units[1].clone()]);
}

#[test]
fn a_nal_unit_of_the_largest_size_is_not_fragmented() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    let largest = 1_200 - HEADER_BYTES;
    let whole = frame(&format, false, &[slice(false, true, largest, 1)]);
    assert_eq!(payloads(&packetizer, &whole).len(), 1);
    let split = frame(&format, false, &[slice(false, true, largest + 1, 1)]);
    assert_eq!(payloads(&packetizer, &split).len(), 2);
}

#[test]
fn h265_aggregates_and_fragments() {
    let format = streams::h265();
    let packetizer = Packetizer::new(&format, config(96));
    let idr = slice_h265(true, true, 2_000, 1);
    let payloads = payloads(&packetizer, &frame(&format, true, std::slice::from_ref(&idr)));
    assert_eq!(payloads.len(), 3);
    assert_eq!(payloads[0][..2], [48 << 1, 1]);
    let set = usize::from(u16::from_be_bytes([payloads[0][2], payloads[0][3]]));
    assert_eq!(payloads[0][4..4 + set], *streams::H265_VPS);
    assert_eq!(payloads[1][..3], [49 << 1, 1, 0x80 | 19]);
    assert_eq!(payloads[2][..3], [49 << 1, 1, 0x40 | 19]);
    assert_eq!([&payloads[1][3..], &payloads[2][3..]].concat(), idr[2..]);
}

#[test]
fn the_marker_is_on_the_last_packet_of_video_alone() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    for bytes in [100, 5_000] {
        let frame = frame(&format, true, &[slice(true, true, bytes, 1)]);
        let (out, ranges) = render(&packetizer, &frame, Framing::Interleaved { channel: 4 });
        let markers: Vec<_> = ranges
            .packets()
            .map(|range| Packet::parse(&out[range][4..]).unwrap().header.marker)
            .collect();
        let (last, others) = markers.split_last().unwrap();
        assert!(last & !others.contains(&true), "{markers:?}");
    }
}

#[test]
fn interleaved_frames_state_channel_and_length() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    let frame = frame(&format, false, &[slice(false, true, 10_000, 1)]);
    let (datagrams, _) = render(&packetizer, &frame, Framing::Datagram);
    let (out, ranges) = render(&packetizer, &frame, Framing::Interleaved { channel: 6 });
    assert_eq!(ranges.framing_bytes(), INTERLEAVED_BYTES);
    let mut bare = b"before".to_vec();
    for range in ranges.packets() {
        let (head, packet) = out[range].split_at(INTERLEAVED_BYTES);
        assert_eq!(head, [b'$', 6, (packet.len() >> 8) as u8, packet.len() as u8]);
        bare.extend_from_slice(packet);
    }
    assert_eq!(bare, datagrams);
}

#[test]
fn runs_are_what_segmentation_offload_takes() {
    let format = streams::h264();
    let packetizer = Packetizer::new(&format, config(96));
    let units = [vec![0x06, 0x05, 0x01, 0x42, 0x80], slice(false, true, 5_000, 1)];
    let (_, ranges) = render(&packetizer, &frame(&format, false, &units), Framing::Datagram);
    let sizes: Vec<_> = ranges
        .runs()
        .iter()
        .map(|run| (run.len(), run.packet_bytes()))
        .collect();
    // The SEI alone; then 4,999 bytes in five fragments of 1,000.
    assert_eq!(sizes, [(1, 17), (5, 1_014)]);
}

#[test]
fn runs_stay_within_64_packets_and_one_datagram() {
    let format = streams::h264();
    for (max_packet_bytes, longest) in [(1_200, 54), (100, 64)] {
        let config = PacketizerConfig {
            max_packet_bytes,
            ..config(96)
        };
        let packetizer = Packetizer::new(&format, config);
        let frame = frame(&format, false, &[slice(false, true, 200_000, 1)]);
        let (_, ranges) = render(&packetizer, &frame, Framing::Datagram);
        assert_eq!(ranges.runs()[0].len(), longest);
        assert!(
            ranges
                .runs()
                .iter()
                .all(|run| run.len() <= 64 && run.range().len() <= 65_507)
        );
    }
}

#[test]
fn timestamps_are_rescaled_and_offset() {
    let format = streams::aac();
    let packetizer = Packetizer::new(&format, config(97));
    let second = MediaTime::new(90_000, Timescale::VIDEO);
    assert_eq!(packetizer.timestamp(second), 44_100_u32.wrapping_add(0xffff_f000));
    let before = MediaTime::new(-1, Timescale::VIDEO);
    assert_eq!(packetizer.timestamp(before), 0xffff_f000 - 1);
}

#[test]
fn aac_states_the_size_of_the_whole_frame() {
    let format = streams::aac();
    let packetizer = Packetizer::new(&format, config(96));
    let small = frame(&format, true, &[vec![0xab; 300]]);
    assert_eq!(
        payloads(&packetizer, &small),
        [[&[0, 16, 0x09, 0x60][..], &[0xab; 300]].concat()]
    );
    let large = frame(&format, true, &[vec![0xab; 3_000]]);
    let (out, ranges) = render(&packetizer, &large, Framing::Datagram);
    let packets: Vec<_> = ranges
        .packets()
        .map(|range| Packet::parse(&out[range]).unwrap())
        .collect();
    assert_eq!(packets.len(), 3);
    assert!(
        packets
            .iter()
            .all(|packet| packet.payload[..4] == [0, 16, 0x5d, 0xc0] && packet.header.timestamp == 1_000)
    );
    let markers: Vec<_> = packets.iter().map(|packet| packet.header.marker).collect();
    assert_eq!(markers, [false, false, true]);
    let beyond = frame(&format, true, &[vec![0xab; MAX_AAC_BYTES + 1]]);
    assert!(payloads(&packetizer, &beyond).is_empty());
}

#[test]
fn g711_packets_state_their_own_first_sample() {
    let format = streams::g711(Law::A);
    let packetizer = Packetizer::new(&format, config(96));
    let frame = frame(&format, true, &[noise(1).take(2_000).collect()]);
    let (mut out, ranges) = render(&packetizer, &frame, Framing::Datagram);
    let stamps = |out: &[u8], ranges: &PacketRanges| -> Vec<u32> {
        ranges
            .packets()
            .map(|range| Packet::parse(&out[range]).unwrap().header.timestamp)
            .collect()
    };
    assert_eq!(stamps(&out, &ranges), [1_000, 2_188]);
    out.clear();
    let ranges = packetizer.render(&frame, 5, u32::MAX, Framing::Datagram, &mut out);
    assert_eq!(stamps(&out, &ranges), [u32::MAX, 1_187]);
}

#[test]
fn opus_is_never_split() {
    let format = streams::opus();
    let packetizer = Packetizer::new(&format, config(96));
    assert_eq!(
        payloads(&packetizer, &frame(&format, true, &[vec![1; 3_000]])),
        [vec![1; 3_000]]
    );
}

#[test]
fn another_codec_makes_no_packet() {
    let packetizer = Packetizer::new(&streams::h264(), config(96));
    assert!(payloads(&packetizer, &frame(&streams::opus(), true, &[vec![1; 30]])).is_empty());
    let packetizer = Packetizer::new(&streams::opus(), config(96));
    assert!(payloads(&packetizer, &frame(&streams::h264(), true, &[slice(true, true, 30, 1)])).is_empty());
}

/// NAL units of an access unit: how many bytes each has.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![2_usize..60, 60_usize..1_300, 1_300_usize..40_000], 1..12)
}

proptest! {
    #[test]
    fn every_rendering_is_bounded_counted_and_even(
        sizes in sizes(), keyframe: bool, h265: bool, interleaved: bool, max_packet_bytes in 64_usize..3_000, sequence: u16,
    ) {
        let format = if h265 { streams::h265() } else { streams::h264() };
        let make = if h265 { slice_h265 } else { slice };
        let units: Vec<_> = sizes.iter().zip(0..).map(|(&bytes, n)| make(keyframe, n == 0, bytes.max(4), n)).collect();
        let frame = frame(&format, keyframe, &units);
        let packetizer = Packetizer::new(&format, PacketizerConfig { max_packet_bytes, ..config(96) });
        let framing = if interleaved { Framing::Interleaved { channel: 2 } } else { Framing::Datagram };
        let mut out = Vec::new();
        let ranges = packetizer.render(&frame, sequence, 77, framing, &mut out);
        prop_assert_eq!(ranges.len(), packetizer.packet_count(&frame));
        let mut fragments: Vec<usize> = Vec::new();
        let mut end = 0;
        for (range, number) in ranges.packets().zip(0_u16..) {
            prop_assert_eq!(range.start, end);
            end = range.end;
            let bytes = &out[range][ranges.framing_bytes()..];
            prop_assert!(bytes.len() <= max_packet_bytes);
            let packet = Packet::parse(bytes).unwrap();
            prop_assert_eq!(packet.header.sequence, sequence.wrapping_add(number));
            prop_assert_eq!(packet.header.marker, number + 1 == ranges.len());
            // Every fragment of a NAL unit but the last has the same size, and the last is no larger.
            let flags = match (h265, packet.payload[0]) {
                (false, first) if first & 0x1f == 28 => Some(packet.payload[1]),
                (true, first) if first >> 1 == 49 => Some(packet.payload[2]),
                _ => None,
            };
            if let Some(flags) = flags {
                if flags & 0x80 != 0 { fragments.clear(); }
                fragments.push(packet.payload.len());
                if flags & 0x40 != 0 {
                    let (last, others) = fragments.split_last().unwrap();
                    prop_assert!(others.iter().all(|size| size == &others[0] && last <= size));
                    prop_assert!(!others.is_empty());
                }
            }
        }
        prop_assert_eq!(end, out.len());
        // Runs cover the same packets.
        for run in ranges.runs() {
            let (last, others) = run.range().len().checked_rem(run.packet_bytes()).map(|rest| (rest, run.len())).unwrap();
            prop_assert!(others <= 64 && last < run.packet_bytes() && run.range().len() <= 65_507);
        }
    }

    #[test]
    fn malformed_frames_never_panic(data in prop::collection::vec(any::<u8>(), 0..3_000), keyframe: bool) {
        for format in [streams::h264(), streams::h265(), streams::aac(), streams::opus(), streams::g711(Law::Mu)] {
            let mut frame = frame(&format, keyframe, &[]);
            frame.data = data.clone().into();
            let packetizer = Packetizer::new(&format, config(96));
            let mut out = Vec::new();
            let ranges = packetizer.render(&frame, 0, 0, Framing::Datagram, &mut out);
            prop_assert_eq!(ranges.len(), packetizer.packet_count(&frame));
            drop(Arc::clone(&format));
        }
    }
}
