//! Compound RTCP packets.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use protocol::rtp::rtcp::{MAX_PACKETS, Packet, ReportBlock, SenderInfo, parse, write_sender_report};

fuzz_target!(|data: &[u8]| {
    if let Ok(packets) = parse(data) {
        assert!(packets.len() <= MAX_PACKETS);
    }

    let mut input = Input::new(data);
    let mut number = || u32::from(input.word()) << 16 | u32::from(input.word());
    let info = SenderInfo {
        ssrc: number(),
        ntp: u64::from(number()) << 32 | u64::from(number()),
        rtp_timestamp: number(),
        packets: number(),
        bytes: number(),
    };
    let block = ReportBlock {
        ssrc: number(),
        highest_sequence: number(),
        jitter_ticks: number(),
        ..ReportBlock::default()
    };
    let cname = String::from_utf8_lossy(input.rest());
    let mut written = Vec::new();
    write_sender_report(info, &[block], &cname, &mut written);
    let read = parse(&written).expect("what we write we can read");
    assert_eq!(
        read.first(),
        Some(&Packet::SenderReport {
            info,
            blocks: vec![block]
        })
    );
});
