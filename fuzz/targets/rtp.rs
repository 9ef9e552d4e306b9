//! RTP packets, and access units from them: input is a choice of payload format, then packets with their lengths.
#![no_main]

use std::sync::Arc;

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::audio::{Aac, G711, Law, Opus};
use media::{Format, Timescale, h264, h265};
use protocol::rtp::{AuHeader, Depacketizer, Packet, Payload};

const MAX_UNIT_BYTES: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let aac = || {
        Format::Aac(Aac {
            config: vec![0x12, 0x10].into(),
            sample_rate_hz: 44_100,
            channels: 2,
        })
    };
    let (payload, format) = match input.byte() % 7 {
        0 => (Payload::H264, Format::H264(h264::Format::default())),
        1 => (Payload::H265, Format::H265(h265::Format::default())),
        2 => (Payload::Aac(AuHeader::HBR), aac()),
        3 => {
            let bits = |byte: u8| byte % 33;
            let header = AuHeader {
                size_bits: bits(input.byte()).max(1),
                index_bits: bits(input.byte()),
                index_delta_bits: bits(input.byte()),
            };
            (Payload::Aac(header), aac())
        }
        4 => (Payload::AacLatm, aac()),
        5 => (Payload::Opus, Format::Opus(Opus { channels: 2 })),
        _ => (
            Payload::G711,
            Format::G711(G711 {
                law: Law::Mu,
                sample_rate_hz: 8_000,
                channels: 1,
            }),
        ),
    };
    let mut depacketizer = Depacketizer::new(payload, Arc::new(format), Timescale::VIDEO, MAX_UNIT_BYTES);
    while !input.is_empty() {
        let bytes = input.piece();
        if let Ok(packet) = Packet::parse(bytes) {
            let _ = packet.extensions.get(1);
            let _ = depacketizer.push(&packet);
        }
        while let Some(unit) = depacketizer.poll() {
            assert!(unit.data.len() <= MAX_UNIT_BYTES, "beyond the limit");
        }
    }
});
