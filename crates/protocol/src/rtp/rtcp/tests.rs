//! RTCP as it is written, read, and broken.

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
fn what_viewers_ask_for_is_read() {
    let mut bytes = vec![0x81, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend_from_slice(&[0xff, 0xff, 0x80, 0x01, 0, 40, 0, 0]);
    // A request for bits per second (REMB), which is not ours to follow.
    bytes.extend_from_slice(&[0x8f, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    bytes.extend_from_slice(&[0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 7, 0, 0, 0]);
    let missing = Packet::Missing {
        ssrc: 2,
        sequences: vec![65_535, 0, 15, 40],
    };
    let expected = [missing, Packet::KeyframeWanted, Packet::KeyframeWanted];
    assert_eq!(parse(&bytes).unwrap(), expected);
}

#[test]
fn goodbyes_name_their_sources() {
    let mut bytes = Vec::new();
    write_goodbye([1, 0xffff_ffff], &mut bytes);
    assert_eq!(bytes, [0x82, 203, 0, 2, 0, 0, 0, 1, 255, 255, 255, 255]);
}

#[test]
fn no_more_is_asked_for_than_the_limit() {
    let mut bytes = vec![0x81, 205, 0, 66, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend([0xff; 64 * 4]);
    let Some(Packet::Missing { sequences, .. }) = parse(&bytes).unwrap().pop() else {
        panic!()
    };
    assert_eq!(sequences.len(), MAX_MISSING);
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

#[test]
fn a_receivers_clock_is_read_and_answered() {
    // Of somebody who tells of lost packets before it.
    let asked = [
        0x80, 207, 0, 6, 0, 0, 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let ntp = 0x0102_0304_0506_0708;
    assert_eq!(parse(&asked).unwrap(), [Packet::ReferenceTime { ssrc: 9, ntp }]);
    let mut cut = asked;
    cut[19] = 3;
    assert_eq!(parse(&cut).unwrap(), [], "the block is longer than its packet");
    let mut answer = Vec::new();
    write_reference_answer(1, 9, (ntp >> 16) as u32, 7, &mut answer);
    let expected = [
        0x80, 207, 0, 5, 0, 0, 0, 1, 5, 0, 0, 3, 0, 0, 0, 9, 3, 4, 5, 6, 0, 0, 0, 7,
    ];
    assert_eq!(answer, expected);
}
