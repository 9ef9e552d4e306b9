//! What one peer sent on its way to another: access units of any NAL units are packetised and put together again.
#![no_main]

use std::sync::Arc;

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, TrackIndex, WallTime, h264, h265};
use protocol::rtp::{Depacketizer, Framing, Packet, Packetizer, PacketizerConfig, Payload};

const MAX_UNIT_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let max_packet_bytes = usize::from(input.word());
    let choice = input.byte();
    let (interleaved, keyframe, is_h264) = (choice & 1 != 0, choice & 2 != 0, choice & 4 != 0);
    let stream = input.rest();
    let format = Arc::new(if is_h264 {
        Format::H264(h264::Format::new(media::annexb::units(stream)).unwrap_or_default())
    } else {
        Format::H265(h265::Format::new(media::annexb::units(stream)).unwrap_or_default())
    });
    let frame = Frame {
        track: TrackIndex(0),
        time: MediaTime::new(0, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Arrival,
        },
        keyframe,
        format: Arc::clone(&format),
        data: bitstream::length_prefixed(stream).into(),
    };
    let packetizer = Packetizer::new(
        &format,
        PacketizerConfig {
            payload_type: 96,
            ssrc: 1,
            first_sequence: u16::MAX,
            timestamp_offset: u32::MAX,
            max_packet_bytes,
        },
    );
    let framing = if interleaved {
        Framing::Interleaved { channel: 2 }
    } else {
        Framing::Datagram
    };
    let mut out = Vec::new();
    let ranges = packetizer.render(&frame, u16::MAX, 7, framing, &mut out);
    assert_eq!(packetizer.packet_count(&frame), ranges.len());
    assert_eq!(ranges.packets().count(), usize::from(ranges.len()));

    let payload = if is_h264 { Payload::H264 } else { Payload::H265 };
    let mut depacketizer = Depacketizer::new(payload, format, Timescale::VIDEO, MAX_UNIT_BYTES);
    for range in ranges.packets() {
        let packet = &out[range][ranges.framing_bytes()..];
        assert!(packet.len() <= packetizer.config().max_packet_bytes);
        let packet = Packet::parse(packet).expect("a packet of ours can be read");
        let _ = depacketizer.push(&packet);
    }
    if let Some(unit) = depacketizer.poll() {
        assert!(
            unit.data.len() <= frame.data.len() + out.len(),
            "bytes that nobody sent"
        );
    }
});
