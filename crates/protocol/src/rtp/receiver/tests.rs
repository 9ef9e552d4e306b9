use media::annexb::nal_units;
use media::sei;
use proptest::prelude::*;

use super::*;
use crate::rtp::rtcp::ReportBlock;
use crate::rtp::test_streams::{self as streams, TestClock, config, frame, slice, slice_h265};
use crate::rtp::{Framing, Header, Packetizer, PacketizerConfig};

const SSRC: u32 = 0x0123_4567;

fn receiver_config(format: &Arc<Format>) -> ReceiverConfig {
    ReceiverConfig {
        track: TrackIndex(3),
        payload: Payload::of(format.codec()),
        payload_type: 96,
        format: Arc::clone(format),
        clock: super::super::clock(format),
        reordering: Some(Reordering {
            beginning: Duration::ZERO,
            ..Reordering::default()
        }),
        abs_capture_time: Some(5),
        ssrc: 42,
        cname: "us".into(),
        max_unit_bytes: Depacketizer::DEFAULT_MAX_UNIT_BYTES,
    }
}

fn receiver() -> Receiver {
    Receiver::new(receiver_config(&streams::h264()), Timeline::default())
}

fn packet(ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: true,
        payload_type: 96,
        sequence,
        timestamp,
        ssrc,
    };
    [&header.to_bytes(), payload].concat()
}

fn drain(receiver: &mut Receiver) -> Vec<Received> {
    std::iter::from_fn(|| receiver.poll()).collect()
}

fn sender_report(ssrc: u32, wall: WallTime, rtp_timestamp: u32) -> Vec<u8> {
    let info = SenderInfo {
        ssrc,
        ntp: wall.to_ntp(),
        rtp_timestamp,
        packets: 1,
        bytes: 1,
    };
    let mut out = Vec::new();
    rtcp::write_sender_report(info, &[], "them", &mut out);
    out
}

#[test]
fn packets_out_of_order_wait_for_the_missing_one() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    receiver.receive_rtp(&packet(SSRC, 65_535, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 1, 6_000, &slice(false, true, 50, 3)), clock.at_ms(10));
    assert_eq!(drain(&mut receiver).len(), 1);
    assert_eq!(receiver.stats().lost, 0, "it is still waited for");
    assert_eq!(receiver.poll_timeout(), Some(clock.at_ms(60).at));
    receiver.receive_rtp(&packet(SSRC, 0, 3_000, &slice(false, true, 50, 2)), clock.at_ms(20));
    let received = drain(&mut receiver);
    let times: Vec<_> = received.iter().map(|received| received.frame.time.ticks()).collect();
    assert_eq!(times, [3_000, 6_000]);
    assert!(received.iter().all(|received| !received.discontinuity));
    assert_eq!(
        received[1].arrival,
        clock.at_ms(10),
        "its own arrival, not that of the packet it waited for"
    );
    assert_eq!(receiver.poll_timeout(), None);
    let stats = receiver.stats();
    assert_eq!((stats.packets, stats.reordered, stats.lost, stats.units), (3, 1, 0, 3));
}

#[test]
fn a_missing_packet_is_given_up_in_time_and_late_ones_are_counted() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    receiver.receive_rtp(&packet(SSRC, 10, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 12, 6_000, &slice(false, true, 50, 3)), clock.at_ms(10));
    receiver.handle_timeout(clock.at_ms(59).at);
    assert_eq!(drain(&mut receiver).len(), 1);
    receiver.handle_timeout(clock.at_ms(60).at);
    let [received] = drain(&mut receiver).try_into().unwrap();
    assert!(received.discontinuity);
    assert_eq!(receiver.stats().lost, 1);
    receiver.receive_rtp(&packet(SSRC, 11, 3_000, &slice(false, true, 50, 2)), clock.at_ms(70));
    receiver.receive_rtp(&packet(SSRC, 11, 3_000, &slice(false, true, 50, 2)), clock.at_ms(70));
    assert!(drain(&mut receiver).is_empty());
    let stats = receiver.stats();
    assert_eq!((stats.lost, stats.late, stats.duplicates), (0, 1, 1));
}

#[test]
fn over_tcp_nothing_waits() {
    let clock = TestClock::new();
    let config = ReceiverConfig {
        reordering: None,
        ..receiver_config(&streams::h264())
    };
    let mut receiver = Receiver::new(config, Timeline::default());
    receiver.receive_rtp(&packet(SSRC, 10, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 15, 3_000, &slice(false, true, 50, 3)), clock.at_ms(10));
    assert_eq!(drain(&mut receiver).len(), 2);
    assert_eq!((receiver.poll_timeout(), receiver.stats().lost), (None, 4));
}

#[test]
fn foreign_and_malformed_packets_are_counted_alone() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    receiver.receive_rtp(&[0x80], clock.at_ms(0));
    let mut other_type = packet(SSRC, 1, 0, &slice(true, true, 50, 1));
    other_type[1] = 0x80 | 97;
    receiver.receive_rtp(&other_type, clock.at_ms(0));
    receiver.receive_rtcp(&[0x80, 200, 0, 9], clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    // One packet of a stranger is not followed.
    receiver.receive_rtp(&packet(9, 700, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 2, 3_000, &slice(false, true, 50, 1)), clock.at_ms(30));
    assert_eq!(drain(&mut receiver).len(), 2);
    let stats = receiver.stats();
    assert_eq!(
        (stats.malformed, stats.foreign, stats.restarts, stats.lost),
        (2, 2, 0, 0)
    );
}

#[test]
fn a_new_source_takes_over_with_its_first_two_packets() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    receiver.receive_rtp(&packet(SSRC, 10, 5_000, &slice(true, true, 50, 1)), clock.at_ms(0));
    receiver.receive_rtcp(&sender_report(SSRC, TestClock::WALL_START, 5_000), clock.at_ms(0));
    receiver.receive_rtp(
        &packet(9, 40_000, 2_000_000_000, &slice(true, true, 50, 2)),
        clock.at_ms(40),
    );
    receiver.receive_rtp(
        &packet(9, 40_001, 2_000_003_600, &slice(false, true, 50, 3)),
        clock.at_ms(80),
    );
    let received = drain(&mut receiver);
    let seen: Vec<_> = received
        .iter()
        .map(|received| (received.frame.time.ticks(), received.discontinuity))
        .collect();
    assert_eq!(seen, [(0, false), (3_600, true), (7_200, false)]);
    assert_eq!(received[2].frame.capture.source, CaptureSource::Arrival);
    let stats = receiver.stats();
    assert_eq!((stats.restarts, stats.foreign, stats.lost, stats.packets), (1, 0, 0, 3));
    let mut report = Vec::new();
    receiver.report(clock.at_ms(100).at, &mut report);
    let rtcp::Packet::ReceiverReport { blocks, .. } = &rtcp::parse(&report).unwrap()[0] else {
        panic!()
    };
    assert_eq!(
        (blocks[0].ssrc, blocks[0].lost, blocks[0].highest_sequence),
        (9, 0, 40_001)
    );
}

#[test]
fn sequence_numbers_that_begin_anew_are_followed() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    receiver.receive_rtp(&packet(SSRC, 10, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    // Something is held when it happens: it is not lost.
    receiver.receive_rtp(&packet(SSRC, 12, 3_600, &slice(false, true, 50, 1)), clock.at_ms(40));
    receiver.receive_rtp(&packet(SSRC, 30_000, 7_200, &slice(true, true, 50, 2)), clock.at_ms(80));
    receiver.receive_rtp(
        &packet(SSRC, 30_001, 10_800, &slice(false, true, 50, 3)),
        clock.at_ms(120),
    );
    let received = drain(&mut receiver);
    let seen: Vec<_> = received
        .iter()
        .map(|received| (received.frame.time.ticks(), received.discontinuity))
        .collect();
    assert_eq!(seen, [(0, false), (3_600, true), (7_200, true), (10_800, false)]);
    assert_eq!((receiver.stats().restarts, receiver.stats().lost), (1, 1));
}

#[test]
fn the_capture_time_is_the_most_trusted_there_is() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    let arrival = |ms: i64| TestClock::WALL_START.offset_micros(ms * 1_000);
    receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(100));
    receiver.receive_rtcp(&sender_report(SSRC, arrival(0), 0), clock.at_ms(100));
    receiver.receive_rtp(&packet(SSRC, 2, 3_600, &slice(false, true, 50, 1)), clock.at_ms(140));
    let mut extended = packet(SSRC, 3, 7_200, &[]);
    extended[0] |= 0x10;
    extended.extend_from_slice(&[0xbe, 0xde, 0, 3, 0x57]);
    extended.extend_from_slice(&arrival(77).to_ntp().to_be_bytes());
    extended.extend_from_slice(&[0, 0, 0]);
    extended.extend_from_slice(&slice(false, true, 50, 1));
    receiver.receive_rtp(&extended, clock.at_ms(180));
    receiver.receive_rtp(&packet(SSRC, 4, 10_800, &slice(false, true, 50, 1)), clock.at_ms(220));
    let stamped = sei::h264(arrival(99)).to_vec();
    let second = slice(false, true, 50, 1);
    let mut payload = vec![0x78];
    for unit in [&stamped, &second] {
        payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    receiver.receive_rtp(&packet(SSRC, 5, 14_400, &payload), clock.at_ms(260));
    let captures: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|received| {
            let capture = received.frame.capture;
            (capture.source, capture.at.micros_since(TestClock::WALL_START) / 1_000)
        })
        .collect();
    assert_eq!(
        captures,
        [
            (CaptureSource::Arrival, 100),
            (CaptureSource::SenderReport, 40),
            (CaptureSource::AbsCaptureTime, 77),
            (CaptureSource::AbsCaptureTime, 117),
            (CaptureSource::Sei, 99),
        ]
    );
}

#[test]
fn a_sender_with_a_wrong_clock_is_not_believed() {
    // The picture would have been captured this long before it arrived.
    for (age_ms, believed) in [(-51, false), (-50, true), (0, true), (10_000, true), (10_001, false)] {
        let clock = TestClock::new();
        let mut receiver = receiver();
        let wall = TestClock::WALL_START.offset_micros(20_000_000 - age_ms * 1_000);
        receiver.receive_rtcp(&sender_report(SSRC, wall, 0), clock.at_ms(20_000));
        receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(20_000));
        let source = receiver.poll().unwrap().frame.capture.source;
        assert_eq!(source == CaptureSource::SenderReport, believed, "{age_ms} ms");
    }
}

#[test]
fn reports_of_another_ssrc_count_only_where_they_fit() {
    let clock = TestClock::new();
    for (rtp_timestamp, fits) in [(1_000_u32, true), (2_000_000_000, false)] {
        let mut receiver = receiver();
        receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
        receiver.receive_rtcp(&sender_report(77, TestClock::WALL_START, rtp_timestamp), clock.at_ms(0));
        receiver.receive_rtp(&packet(SSRC, 2, 3_000, &slice(false, true, 50, 1)), clock.at_ms(40));
        let sources: Vec<_> = drain(&mut receiver)
            .iter()
            .map(|received| received.frame.capture.source)
            .collect();
        assert_eq!(sources[1] == CaptureSource::SenderReport, fits);
    }
}

#[test]
fn a_report_without_a_clock_is_no_time() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    let info = SenderInfo {
        ssrc: SSRC,
        ntp: 0,
        rtp_timestamp: 0,
        packets: 0,
        bytes: 0,
    };
    let mut bytes = Vec::new();
    rtcp::write_sender_report(info, &[], "", &mut bytes);
    receiver.receive_rtcp(&bytes, clock.at_ms(0));
    receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(0));
    assert_eq!(receiver.poll().unwrap().frame.capture.source, CaptureSource::Arrival);
}

#[test]
fn reports_tell_the_sender_its_round_trip() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    let mut out = Vec::new();
    receiver.report(clock.at_ms(0).at, &mut out);
    assert!(out.is_empty(), "nothing to report about");
    receiver.receive_rtcp(&sender_report(SSRC, TestClock::WALL_START, 0), clock.at_ms(30));
    receiver.receive_rtp(&packet(SSRC, 1, 0, &slice(true, true, 50, 1)), clock.at_ms(30));
    receiver.report(clock.at_ms(1_030).at, &mut out);
    let packets = rtcp::parse(&out).unwrap();
    let [
        rtcp::Packet::ReceiverReport { ssrc: 42, blocks },
        rtcp::Packet::Name { ssrc: 42, cname },
    ] = packets.as_slice()
    else {
        panic!("{packets:?}")
    };
    assert_eq!(cname, "us");
    let [block] = blocks.as_slice() else { panic!() };
    assert_eq!(
        *block,
        ReportBlock {
            ssrc: SSRC,
            highest_sequence: 1,
            last_sender_report: (TestClock::WALL_START.to_ntp() >> 16) as u32,
            delay_since_last_sender_report: 65_536,
            ..ReportBlock::default()
        }
    );
    // 30 ms there, 10 ms back.
    let round_trip = block
        .round_trip(TestClock::WALL_START.offset_micros(1_040_000))
        .unwrap();
    assert!((39_900..=40_100).contains(&round_trip.as_micros()), "{round_trip:?}");
}

/// With the `abs-capture-time` extension.
fn with_capture_time(packet: &[u8], wall: WallTime) -> Vec<u8> {
    let (header, payload) = packet.split_at(12);
    let mut out = header.to_vec();
    out[0] |= 0x10;
    out.extend_from_slice(&[0xbe, 0xde, 0, 3, 5 << 4 | 7]);
    out.extend_from_slice(&wall.to_ntp().to_be_bytes());
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(payload);
    out
}

#[test]
fn a_capture_time_does_not_come_back_with_its_timestamp() {
    let clock = TestClock::new();
    let mut receiver = receiver();
    let wall = TestClock::WALL_START.offset_micros(-30_000);
    // 2³² ticks later, and a second: 13 hours at 90 kHz, in which nothing carries the extension.
    let far_ms = (1_u64 << 32) / 90 + 1_000;
    let captured = with_capture_time(&packet(SSRC, 0, 0, &slice(true, true, 50, 1)), wall);
    receiver.receive_rtp(&captured, clock.at_ms(0));
    for (sequence, ms) in [(1, 9_000), (2, 20_000), (3, far_ms)] {
        let timestamp = (ms * 90) as u32;
        receiver.receive_rtp(
            &packet(SSRC, sequence, timestamp, &slice(true, true, 50, 1)),
            clock.at_ms(ms),
        );
    }
    let sources: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|received| received.frame.capture.source)
        .collect();
    let (known, arrival) = (CaptureSource::AbsCaptureTime, CaptureSource::Arrival);
    assert_eq!(sources, [known, known, arrival, arrival]);
}

/// What goes over the simulated network: the packets of a stream and what they were made of.
struct Sent {
    frames: Vec<Frame>,
    packets: Vec<Vec<u8>>,
}

/// Slices of each frame, in bytes.
fn stream(h265: bool, shapes: &[Vec<usize>], max_packet_bytes: usize, first_sequence: u16) -> Sent {
    let format = if h265 { streams::h265() } else { streams::h264() };
    let config = PacketizerConfig {
        max_packet_bytes,
        ..config(96)
    };
    let packetizer = Packetizer::new(&format, config);
    let make = if h265 { slice_h265 } else { slice };
    let mut sent = Sent {
        frames: Vec::new(),
        packets: Vec::new(),
    };
    let mut sequence = first_sequence;
    for (shape, number) in shapes.iter().zip(0_u64..) {
        let keyframe = number % 5 == 0;
        let slices = shape.iter().zip(0..);
        let units: Vec<_> = slices
            .map(|(&bytes, n)| make(keyframe, n == 0, bytes, number * 16 + n))
            .collect();
        let frame = frame(&format, keyframe, &units);
        let mut out = Vec::new();
        let timestamp = packetizer.config().timestamp_offset.wrapping_add(number as u32 * 3_000);
        let ranges = packetizer.render(&frame, sequence, timestamp, Framing::Datagram, &mut out);
        sequence = sequence.wrapping_add(ranges.len());
        sent.packets.extend(ranges.packets().map(|range| out[range].to_vec()));
        sent.frames.push(frame);
    }
    sent
}

/// Receives what a network made of the packets: 0.25 ms between them, then all timeouts.
fn receive(format: &Arc<Format>, packets: &[Vec<u8>]) -> (Receiver, Vec<Received>) {
    let clock = TestClock::new();
    let mut receiver = Receiver::new(receiver_config(format), Timeline::default());
    let mut received = Vec::new();
    let mut now = 0;
    for packet in packets {
        now += 250;
        let arrival = clock.at_micros(now);
        if receiver.poll_timeout().is_some_and(|deadline| deadline <= arrival.at) {
            receiver.handle_timeout(arrival.at);
        }
        receiver.receive_rtp(packet, arrival);
        received.extend(drain(&mut receiver));
    }
    receiver.handle_timeout(clock.at_micros(now + 1_000_000).at);
    received.extend(drain(&mut receiver));
    (receiver, received)
}

fn shapes() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let slices = prop::collection::vec(prop_oneof![4_usize..100, 100_usize..3_000], 1..5);
    prop::collection::vec(slices, 1..14)
}

proptest! {
    #[test]
    fn what_arrives_in_any_order_and_twice_is_what_was_sent(
        h265: bool, shapes in shapes(), max_packet_bytes in 64_usize..1_400, first_sequence: u16,
        seed: u64,
    ) {
        let sent = stream(h265, &shapes, max_packet_bytes, first_sequence);
        // Each packet may fall back by up to 40 places and may come twice: at most 160 others come between two neighbours,
        // which is 40 ms. The first one is in its place.
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, chance) in (0..sent.packets.len()).zip(streams::noise(seed)) {
            let delay = usize::from(chance >> 1) % 40;
            order.push((if index == 0 { 0 } else { index + delay }, index));
            if chance & 0x40 != 0 && index > 0 { order.push((index + 20, index)); }
        }
        order.sort();
        let shuffled: Vec<_> = order.iter().map(|&(_, index)| sent.packets[index].clone()).collect();
        let (receiver, received) = receive(&sent.frames[0].format, &shuffled);
        prop_assert_eq!(received.len(), sent.frames.len());
        for ((received, frame), number) in received.iter().zip(&sent.frames).zip(0_i64..) {
            prop_assert_eq!(&received.frame.data, &frame.data);
            prop_assert_eq!((received.frame.keyframe, received.frame.time.ticks()), (frame.keyframe, number * 3_000));
            prop_assert_eq!(&received.frame.format, &frame.format);
            prop_assert!(!received.discontinuity);
        }
        let stats = receiver.stats();
        prop_assert_eq!(stats.packets, sent.packets.len() as u64);
        prop_assert_eq!(stats.duplicates, (shuffled.len() - sent.packets.len()) as u64);
        prop_assert_eq!((stats.lost, stats.late, stats.units_dropped), (0, 0, 0));
    }

    #[test]
    fn nothing_is_handed_on_that_was_not_sent(
        h265: bool, shapes in shapes(), max_packet_bytes in 64_usize..1_400, first_sequence: u16,
        seed: u64, loss in 1_u8..60,
    ) {
        let sent = stream(h265, &shapes, max_packet_bytes, first_sequence);
        let kept = sent.packets.iter().zip(streams::noise(seed)).filter(|(_, chance)| *chance >= loss);
        let lossy: Vec<_> = kept.map(|(packet, _)| packet.clone()).collect();
        prop_assume!(!lossy.is_empty());
        let (_, received) = receive(&sent.frames[0].format, &lossy);
        let mut next = 0;
        for (received, position) in received.iter().zip(0..) {
            let units: Vec<_> = nal_units(&received.frame.data).collect();
            let found = sent.frames[next..].iter().position(|frame| nal_units(&frame.data).eq(units.iter().copied()));
            let skipped = found.expect("a whole access unit, in order");
            // What was skipped is flagged. At the very start nobody can know what came before.
            prop_assert!(skipped == 0 || position == 0 || received.discontinuity);
            next += skipped + 1;
        }
    }

    #[test]
    fn hostile_packets_never_panic(
        steps in prop::collection::vec(
            (any::<bool>(), 0_u8..3, any::<u16>(), any::<u32>(), 0_u64..100_000, prop::collection::vec(any::<u8>(), 0..40)), 0..60,
        ),
    ) {
        let clock = TestClock::new();
        for format in [streams::h264(), streams::h265(), streams::aac(), streams::opus()] {
            let mut receiver = Receiver::new(receiver_config(&format), Timeline::default());
            for (rtcp, ssrc, sequence, timestamp, ms, body) in &steps {
                let arrival = clock.at_ms(*ms);
                if *rtcp {
                    let mut report = sender_report(u32::from(*ssrc), WallTime::from_unix_micros(i64::from(*timestamp) << 20), *timestamp);
                    report.extend_from_slice(body);
                    receiver.receive_rtcp(&report, arrival);
                    receiver.receive_rtcp(body, arrival);
                } else {
                    receiver.receive_rtp(&packet(u32::from(*ssrc), *sequence % 64, *timestamp, body), arrival);
                    receiver.receive_rtp(body, arrival);
                }
                receiver.handle_timeout(arrival.at);
                receiver.report(arrival.at, &mut Vec::new());
                drain(&mut receiver);
                let _ = receiver.stats();
            }
        }
    }
}
