use media::annexb::nal_units;
use media::audio::Law;
use proptest::prelude::*;

use super::*;
use crate::rtp::test_streams::{self as streams, config, frame, slice, slice_h265};
use crate::rtp::{AuHeader, Framing, Header, Packetizer};

const LIMIT: usize = Depacketizer::DEFAULT_MAX_UNIT_BYTES;

fn packet<'a>(sequence: u16, timestamp: u32, marker: bool, payload: &'a [u8]) -> Packet<'a> {
    let header = Header {
        marker,
        payload_type: 96,
        sequence,
        timestamp,
        ssrc: 1,
    };
    Packet {
        header,
        extensions: Default::default(),
        payload,
    }
}

fn h264_without_sets() -> Depacketizer {
    depacketizer(Payload::H264, Arc::new(Format::H264(h264::Format::default())), LIMIT)
}

fn h264() -> Depacketizer {
    depacketizer(Payload::H264, streams::h264(), LIMIT)
}

/// Like [`Depacketizer::new`], with the usual clock.
fn depacketizer(payload: Payload, format: Arc<Format>, limit_bytes: usize) -> Depacketizer {
    let clock = crate::rtp::clock(&format);
    Depacketizer::new(payload, format, clock, limit_bytes)
}

fn drain(depacketizer: &mut Depacketizer) -> Vec<Unit> {
    std::iter::from_fn(|| depacketizer.poll()).collect()
}

fn units_of(unit: &Unit) -> Vec<Vec<u8>> {
    nal_units(&unit.data).map(<[u8]>::to_vec).collect()
}

fn stap(units: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0x78];
    for unit in units {
        payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload
}

#[test]
fn parameter_sets_go_into_the_format_and_delimiters_go() {
    let mut depacketizer = h264_without_sets();
    let idr = slice(true, true, 50, 1);
    let payload = stap(&[&[0x09, 0xf0], streams::H264_SPS, streams::H264_PPS, &idr]);
    depacketizer.push(&packet(0, 10, true, &payload)).unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!(units_of(&unit), [idr]);
    assert!(unit.keyframe && !unit.discontinuity);
    assert_eq!(unit.format, streams::h264());
    assert_eq!(unit.rtp_timestamp, 10);
    assert_eq!(depacketizer.format(), &unit.format);
}

#[test]
fn pictures_before_the_first_parameter_sets_are_dropped_and_counted() {
    let mut depacketizer = h264_without_sets();
    depacketizer
        .push(&packet(0, 10, true, &slice(false, true, 50, 1)))
        .unwrap();
    assert!(drain(&mut depacketizer).is_empty());
    assert_eq!(depacketizer.units_dropped(), 1);
}

#[test]
fn several_slices_make_one_picture() {
    let mut depacketizer = h264();
    let slices = [
        slice(true, true, 50, 1),
        slice(true, false, 50, 2),
        slice(true, false, 50, 3),
    ];
    for (slice, number) in slices.iter().zip(0..) {
        depacketizer.push(&packet(number, 10, number == 2, slice)).unwrap();
    }
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!(units_of(&unit), slices);
}

#[test]
fn a_new_timestamp_ends_a_picture_whose_marker_is_missing() {
    let mut depacketizer = h264();
    depacketizer
        .push(&packet(0, 10, false, &slice(true, true, 50, 1)))
        .unwrap();
    assert!(drain(&mut depacketizer).is_empty());
    depacketizer
        .push(&packet(1, 20, false, &slice(false, true, 50, 2)))
        .unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!((unit.rtp_timestamp, unit.keyframe), (10, true));
    // The new one is complete by its own marker: two in one push.
    depacketizer
        .push(&packet(2, 30, true, &slice(false, true, 50, 3)))
        .unwrap();
    let stamps: Vec<_> = drain(&mut depacketizer).iter().map(|unit| unit.rtp_timestamp).collect();
    assert_eq!(stamps, [20, 30]);
}

#[test]
fn a_marker_on_parameter_sets_does_not_end_the_picture() {
    let mut depacketizer = h264_without_sets();
    depacketizer.push(&packet(0, 10, true, streams::H264_SPS)).unwrap();
    depacketizer.push(&packet(1, 10, true, streams::H264_PPS)).unwrap();
    let idr = slice(true, true, 50, 1);
    depacketizer.push(&packet(2, 10, true, &idr)).unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!(units_of(&unit), [idr]);
}

#[test]
fn markers_in_the_middle_of_pictures_are_seen_through() {
    let mut depacketizer = h264();
    let mut sequence = 0;
    let mut complete = Vec::new();
    for picture in 0..3_u64 {
        for part in 0..3 {
            let slice = slice(picture == 0, part == 0, 50, picture * 3 + part);
            depacketizer
                .push(&packet(sequence, picture as u32 * 10, true, &slice))
                .unwrap();
            complete.extend(drain(&mut depacketizer));
            sequence += 1;
        }
    }
    // The first slice went out alone before the second showed that the marker lies; from then on pictures are whole.
    let slices: Vec<_> = complete
        .iter()
        .map(|unit| (unit.rtp_timestamp, units_of(unit).len(), unit.discontinuity))
        .collect();
    assert_eq!(slices, [(0, 1, false), (10, 3, true)]);
    assert_eq!(depacketizer.units_dropped(), 1);
}

#[test]
fn start_codes_inside_a_packet_are_read() {
    let mut depacketizer = h264_without_sets();
    let idr = slice(true, true, 50, 1);
    let mut payload = Vec::new();
    for unit in [streams::H264_SPS, streams::H264_PPS, &idr] {
        payload.extend_from_slice(&[0, 0, 0, 1]);
        payload.extend_from_slice(unit);
    }
    depacketizer.push(&packet(0, 10, true, &payload)).unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!(units_of(&unit), [idr]);
}

/// Two access units of three fragments each, with their packets' marker and timestamp.
fn fragmented() -> Vec<(u32, bool, Vec<u8>)> {
    let mut packets = Vec::new();
    for (timestamp, keyframe) in [(10, true), (20, false)] {
        let unit = slice(keyframe, true, 301, u64::from(timestamp));
        for (chunk, number) in unit[1..].chunks(100).zip(0..) {
            let edges = [0x80, 0x00, 0x40][number];
            let mut payload = vec![(unit[0] & 0xe0) | 28, edges | (unit[0] & 0x1f)];
            payload.extend_from_slice(chunk);
            packets.push((timestamp, number == 2, payload));
        }
    }
    packets
}

#[test]
fn the_unit_that_misses_a_packet_is_dropped_and_the_next_is_flagged() {
    for missing in 0..6_u16 {
        let mut depacketizer = h264();
        depacketizer
            .push(&packet(100, 0, true, &slice(true, true, 20, 9)))
            .unwrap();
        let mut faults = Vec::new();
        for ((timestamp, marker, payload), number) in fragmented().iter().zip(0_u16..) {
            if number != missing {
                faults.extend(
                    depacketizer
                        .push(&packet(101 + number, *timestamp, *marker, payload))
                        .err(),
                );
            }
        }
        depacketizer
            .push(&packet(107, 30, true, &slice(false, true, 20, 8)))
            .unwrap_or_else(|fault| faults.push(fault));
        let units = drain(&mut depacketizer);
        let seen: Vec<_> = units
            .iter()
            .map(|unit| (unit.rtp_timestamp, unit.discontinuity))
            .collect();
        let expected = if missing < 3 {
            [(0, false), (20, true), (30, false)]
        } else {
            [(0, false), (10, false), (30, true)]
        };
        assert_eq!(seen, expected, "packet {missing} missing");
        assert_eq!(depacketizer.units_dropped(), 1);
        let sequence = 102 + missing;
        assert_eq!(
            faults,
            [Fault::Lost { packets: 1, sequence }],
            "what a loss leaves behind is not malformed"
        );
    }
}

#[test]
fn a_picture_without_its_first_slice_is_dropped() {
    let mut depacketizer = h264();
    depacketizer
        .push(&packet(0, 0, true, &slice(true, true, 20, 1)))
        .unwrap();
    let fault = depacketizer.push(&packet(2, 10, true, &slice(false, false, 20, 2)));
    assert_eq!(
        fault,
        Err(Fault::Lost {
            packets: 1,
            sequence: 2
        })
    );
    // One whose first slice is there is whole behind a gap, too.
    let fault = depacketizer.push(&packet(5, 20, true, &slice(false, true, 20, 3)));
    assert_eq!(
        fault,
        Err(Fault::Lost {
            packets: 2,
            sequence: 5
        })
    );
    let stamps: Vec<_> = drain(&mut depacketizer)
        .iter()
        .map(|unit| (unit.rtp_timestamp, unit.discontinuity))
        .collect();
    assert_eq!(stamps, [(0, false), (20, true)]);
    assert_eq!(depacketizer.units_dropped(), 1);
}

#[test]
fn a_keyframe_that_lost_its_parameter_sets_is_dropped_where_the_stream_repeats_them() {
    for repeats in [false, true] {
        let mut depacketizer = h264();
        let idr = slice(true, true, 20, 1);
        let first = if repeats {
            stap(&[streams::H264_SPS, streams::H264_PPS, &idr])
        } else {
            idr.clone()
        };
        depacketizer.push(&packet(0, 0, true, &first)).unwrap();
        depacketizer.push(&packet(2, 10, true, &idr)).unwrap_err();
        assert_eq!(drain(&mut depacketizer).len(), if repeats { 1 } else { 2 });
    }
}

#[test]
fn malformed_payloads_drop_their_unit_alone() {
    let fragment = |header: u8| vec![0x7c, header, 1, 2, 3];
    let cases: [(&str, Vec<Vec<u8>>); 8] = [
        ("no beginning", vec![fragment(0x45)]),
        ("no end", vec![fragment(0x85), slice(false, false, 20, 1)]),
        ("begun twice", vec![fragment(0x85), fragment(0x85)]),
        ("FU-A without header", vec![vec![0x7c]]),
        ("STAP-A too long", vec![vec![0x78, 0, 9, 1]]),
        ("STAP-B", vec![vec![0x79, 0, 0, 0, 1, 1]]),
        ("MTAP16", vec![vec![0x7a, 0, 0]]),
        ("FU-B", vec![vec![0x7d, 0x85, 0, 0, 1]]),
    ];
    for (name, payloads) in cases {
        let mut depacketizer = h264();
        depacketizer
            .push(&packet(0, 0, true, &slice(true, true, 20, 1)))
            .unwrap();
        let mut malformed = 0;
        let mut sequence = 1;
        for payload in &payloads {
            let outcome = depacketizer.push(&packet(sequence, 10, false, payload));
            malformed += usize::from(outcome.is_err_and(|fault| fault.is_malformed()));
            sequence += 1;
        }
        depacketizer
            .push(&packet(sequence, 20, true, &slice(false, true, 20, 2)))
            .unwrap();
        let units = drain(&mut depacketizer);
        assert_eq!(
            units.iter().map(|unit| unit.rtp_timestamp).collect::<Vec<_>>(),
            [0, 20],
            "{name}"
        );
        assert!(units[1].discontinuity, "{name}");
        // What begins twice shows only when the unit ends without its end.
        assert!(malformed == 1, "{name}: {malformed}");
        assert_eq!(depacketizer.units_dropped(), 1, "{name}");
    }
}

#[test]
fn a_trailing_byte_behind_an_aggregate_is_padding() {
    let mut depacketizer = h264();
    let idr = slice(true, true, 20, 1);
    let mut payload = stap(&[&idr]);
    payload.push(0);
    depacketizer.push(&packet(0, 0, true, &payload)).unwrap();
    assert_eq!(drain(&mut depacketizer).len(), 1);
}

#[test]
fn the_size_of_an_access_unit_is_bounded() {
    let limit = 1_000;
    for fragments in [false, true] {
        let mut depacketizer = depacketizer(Payload::H264, streams::h264(), limit);
        let mut fault = None;
        for number in 0..30_u16 {
            let payload = if fragments {
                [&[0x7c, if number == 0 { 0x85 } else { 0x05 }][..], &[1; 98]].concat()
            } else {
                slice(true, number == 0, 100, 1)
            };
            if let Err(error) = depacketizer.push(&packet(number, 0, false, &payload)) {
                fault.get_or_insert(error);
            }
        }
        let too_large = Fault::TooLarge {
            sequence: if fragments { 10 } else { 9 },
            limit_bytes: limit,
        };
        assert_eq!(fault, Some(too_large));
        depacketizer
            .push(&packet(30, 10, true, &slice(true, true, 100, 1)))
            .unwrap();
        let units = drain(&mut depacketizer);
        assert_eq!(
            (units.len(), units[0].discontinuity, depacketizer.units_dropped()),
            (1, true, 1)
        );
    }
}

#[test]
fn empty_packets_keep_the_sequence() {
    let mut depacketizer = h264();
    depacketizer
        .push(&packet(0, 0, true, &slice(true, true, 20, 1)))
        .unwrap();
    depacketizer.push(&packet(1, 5, false, &[])).unwrap();
    depacketizer
        .push(&packet(2, 10, true, &slice(false, true, 20, 1)))
        .unwrap();
    assert!(drain(&mut depacketizer).iter().all(|unit| !unit.discontinuity));
}

#[test]
fn h265_pieces_and_aggregates() {
    let empty = Arc::new(Format::H265(h265::Format::default()));
    let mut depacketizer = depacketizer(Payload::H265, empty, LIMIT);
    let format = streams::h265();
    let units = [slice_h265(true, true, 4_000, 1), slice_h265(true, false, 90, 2)];
    let frame = frame(&format, true, &units);
    let mut out = Vec::new();
    let ranges = Packetizer::new(&format, config(96)).render(&frame, 0, 7, Framing::Datagram, &mut out);
    for range in ranges.packets() {
        depacketizer.push(&Packet::parse(&out[range]).unwrap()).unwrap();
    }
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!(units_of(&unit), units);
    assert_eq!(unit.format, format);
    assert!(unit.keyframe);
    let paci = packet(ranges.len(), 8, false, &[50 << 1, 1, 0, 0]);
    assert!(depacketizer.push(&paci).is_err_and(|fault| fault.is_malformed()));
    let short = packet(ranges.len() + 1, 9, false, &[1 << 1]);
    assert!(depacketizer.push(&short).is_err_and(|fault| fault.is_malformed()));
}

#[test]
fn aac_packets_of_several_frames_are_spread_in_time() {
    let mut depacketizer = depacketizer(Payload::Aac(AuHeader::HBR), streams::aac(), LIMIT);
    let payload = [0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5];
    depacketizer.push(&packet(0, 500, true, &payload)).unwrap();
    let frames: Vec<_> = drain(&mut depacketizer)
        .iter()
        .map(|unit| (unit.rtp_timestamp, unit.data.to_vec()))
        .collect();
    assert_eq!(frames, [(500, vec![1, 2, 3]), (1_524, vec![4, 5])]);
}

#[test]
fn frames_of_he_aac_last_twice_as_long() {
    // AAC LC at 24 kHz, SBR to 48 kHz; the clock may be either.
    let format = Arc::new(Format::Aac(
        media::audio::Aac::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap(),
    ));
    for (clock_hz, ticks) in [(48_000, 2_048), (24_000, 1_024)] {
        let clock = Timescale::new(clock_hz).unwrap();
        let mut depacketizer = Depacketizer::new(Payload::Aac(AuHeader::HBR), Arc::clone(&format), clock, LIMIT);
        depacketizer
            .push(&packet(0, 0, true, &[0, 32, 0, 1 << 3, 0, 1 << 3, 7, 8]))
            .unwrap();
        let stamps: Vec<_> = drain(&mut depacketizer).iter().map(|unit| unit.rtp_timestamp).collect();
        assert_eq!(stamps, [0, ticks]);
    }
}

#[test]
fn aac_in_pieces_is_put_together_or_dropped() {
    let format = streams::aac();
    let data: Vec<u8> = streams::noise(1).take(3_000).collect();
    let frame = frame(&format, true, std::slice::from_ref(&data));
    for missing in [None, Some(0), Some(1), Some(2)] {
        let mut depacketizer = depacketizer(Payload::Aac(AuHeader::HBR), Arc::clone(&format), LIMIT);
        let mut out = Vec::new();
        let ranges = Packetizer::new(&format, config(96)).render(&frame, 1, 7, Framing::Datagram, &mut out);
        depacketizer.push(&packet(0, 3, true, &[0, 16, 0, 1 << 3, 9])).unwrap();
        for (range, _) in ranges.packets().zip(0..).filter(|(_, number)| Some(*number) != missing) {
            let _ = depacketizer.push(&Packet::parse(&out[range]).unwrap());
        }
        let _ = depacketizer.push(&packet(4, 9, true, &[0, 16, 0, 1 << 3, 8]));
        let units = drain(&mut depacketizer);
        let sizes: Vec<_> = units.iter().map(|unit| unit.data.len()).collect();
        assert_eq!(
            sizes,
            if missing.is_none() {
                vec![1, 3_000, 1]
            } else {
                vec![1, 1]
            },
            "{missing:?}"
        );
        assert_eq!(units.last().unwrap().discontinuity, missing.is_some());
    }
}

#[test]
fn malformed_aac_is_reported() {
    let many = [&[0x04, 0x10][..], &[0; 130]].concat();
    let cases: [(&[u8], &str); 6] = [
        (&[0], "AU-headers-length"),
        (&[0, 64, 0], "reach beyond"),
        (&[0, 15, 0, 0], "cut off"),
        (&[0, 16, 0, 0x09, 1], "interleaved"),
        (&[0, 32, 0, 9 << 3, 0, 1 << 3, 1], "reaches beyond its packet"),
        (&many, "more than 64"),
    ];
    for (payload, expected) in cases {
        let mut depacketizer = depacketizer(Payload::Aac(AuHeader::HBR), streams::aac(), LIMIT);
        let fault = depacketizer.push(&packet(0, 0, true, payload)).unwrap_err();
        assert!(fault.to_string().contains(expected), "{fault}");
        assert_eq!(depacketizer.units_dropped(), 1);
    }
    let mut depacketizer = depacketizer(Payload::Aac(AuHeader::HBR), streams::aac(), 10);
    let fault = depacketizer.push(&packet(0, 0, false, &[&[0, 16, 0xff, 0xf8][..], &[1; 11]].concat()));
    assert_eq!(
        fault,
        Err(Fault::TooLarge {
            sequence: 0,
            limit_bytes: 10
        })
    );
}

#[test]
fn latm_elements_are_unpacked() {
    let mut depacketizer = depacketizer(Payload::AacLatm, streams::aac(), LIMIT);
    let long: Vec<u8> = streams::noise(1).take(300).collect();
    let element = [&[0xff, 45][..], &long].concat();
    let (first, second) = element.split_at(200);
    depacketizer.push(&packet(0, 10, true, &[2, 7, 8])).unwrap();
    depacketizer.push(&packet(1, 20, false, first)).unwrap();
    depacketizer.push(&packet(2, 20, true, second)).unwrap();
    let frames: Vec<_> = drain(&mut depacketizer).iter().map(|unit| unit.data.to_vec()).collect();
    assert_eq!(frames, [vec![7, 8], long]);
    // Behind a gap nothing tells a beginning from a middle before the next marker.
    depacketizer.push(&packet(4, 30, true, second)).unwrap_err();
    depacketizer.push(&packet(5, 40, true, &[1, 9])).unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!((unit.data.as_ref(), unit.discontinuity), (&[9][..], true));
    let fault = depacketizer.push(&packet(6, 50, true, &[9, 1])).unwrap_err();
    assert!(fault.is_malformed());
}

#[test]
fn latm_that_is_joined_in_the_middle_of_an_element_waits_for_the_next() {
    let mut depacketizer = depacketizer(Payload::AacLatm, streams::aac(), LIMIT);
    for sequence in [5, 900] {
        // The second packet of an element, whose first byte of sound would be a length of 2.
        depacketizer
            .push(&packet(sequence, 10, true, &[2, 0xaa, 0xbb, 0xcc]))
            .unwrap();
        depacketizer.push(&packet(sequence + 1, 20, true, &[2, 7, 8])).unwrap();
        let [unit] = drain(&mut depacketizer).try_into().unwrap();
        assert_eq!((unit.data.as_ref(), unit.discontinuity), (&[7, 8][..], true));
        depacketizer.reset();
    }
    assert_eq!(depacketizer.units_dropped(), 2);
}

#[test]
fn a_parameter_set_that_cannot_be_read_is_told_once() {
    let mut depacketizer = h264_without_sets();
    let mut faults = Vec::new();
    for round in 0..5 {
        // chroma_format_idc 4.
        let unusable = stap(&[&[0x67, 100, 0, 40, 0b1010_0101, 0x40], streams::H264_PPS]);
        depacketizer
            .push(&packet(2 * round, u32::from(round) * 3_000, false, &unusable))
            .unwrap();
        let idr = slice(true, true, 20, 1);
        depacketizer
            .push(&packet(2 * round + 1, u32::from(round) * 3_000, true, &idr))
            .unwrap();
        faults.extend(std::iter::from_fn(|| depacketizer.take_fault()));
    }
    assert!(drain(&mut depacketizer).is_empty());
    let [fault] = faults.try_into().unwrap();
    assert!(
        fault
            .to_string()
            .starts_with("unusable parameter set: sequence parameter set: "),
        "{fault}"
    );
}

#[test]
fn reset_forgets_the_sequence_but_not_the_parameter_sets() {
    let mut depacketizer = h264();
    depacketizer
        .push(&packet(0, 0, false, &slice(true, true, 20, 1)))
        .unwrap();
    depacketizer.reset();
    depacketizer
        .push(&packet(30_000, 99, true, &slice(true, true, 20, 1)))
        .unwrap();
    let [unit] = drain(&mut depacketizer).try_into().unwrap();
    assert_eq!((unit.rtp_timestamp, unit.discontinuity), (99, true));
    assert_eq!(depacketizer.units_dropped(), 1);
}

fn depacketizers() -> Vec<Depacketizer> {
    vec![
        h264_without_sets(),
        h264(),
        depacketizer(Payload::H265, streams::h265(), LIMIT),
        depacketizer(Payload::Aac(AuHeader::HBR), streams::aac(), 4_000),
        depacketizer(
            Payload::Aac(AuHeader {
                size_bits: 32,
                index_bits: 0,
                index_delta_bits: 32,
            }),
            streams::aac(),
            4_000,
        ),
        depacketizer(Payload::AacLatm, streams::aac(), 4_000),
        depacketizer(Payload::Opus, streams::opus(), LIMIT),
        depacketizer(Payload::G711, streams::g711(Law::Mu), LIMIT),
    ]
}

proptest! {
    #[test]
    fn hostile_payloads_never_panic(
        packets in prop::collection::vec(
            (0_u16..4, 0_u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)),
            0..40,
        ),
    ) {
        for mut depacketizer in depacketizers() {
            let mut sequence = 65_500_u16;
            for (step, timestamp, marker, payload) in &packets {
                sequence = sequence.wrapping_add(*step);
                let _ = depacketizer.push(&packet(sequence, *timestamp, *marker, payload));
                for unit in drain(&mut depacketizer) {
                    prop_assert!(unit.data.len() <= LIMIT);
                }
            }
            depacketizer.reset();
        }
    }

    #[test]
    fn fragments_from_strangers_never_panic(
        packets in prop::collection::vec((0_u16..3, 0_u32..2, any::<bool>(), 0_u8..8, any::<u8>(), 0_usize..50), 0..60),
    ) {
        let mut h264 = depacketizer(Payload::H264, streams::h264(), 300);
        let mut h265 = depacketizer(Payload::H265, streams::h265(), 300);
        let mut sequence = 0_u16;
        for (step, timestamp, marker, edges, kind, bytes) in packets {
            sequence = sequence.wrapping_add(step);
            let flags = (edges << 5) | (kind & 0x1f);
            let body = vec![kind | 1; bytes];
            let _ = h264.push(&packet(sequence, timestamp, marker, &[&[0x7c, flags][..], &body].concat()));
            let _ = h265.push(&packet(sequence, timestamp, marker, &[&[49 << 1, 1, flags][..], &body].concat()));
            for unit in drain(&mut h264).into_iter().chain(drain(&mut h265)) {
                prop_assert!(unit.data.len() <= 300);
            }
        }
    }
}
