//! What a frame costs on its way into packets and out of them.
//!
//! `cargo bench -p sightline-protocol --bench rtp`

// A benchmark reads the clock.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::annexb::push_length_prefixed;
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, TrackIndex, WallTime, h264, sei};
use protocol::rtp::{
    Arrival, Framing, Packet, Packetizer, PacketizerConfig, Payload, Receiver, ReceiverConfig, Reordering, Timeline,
};

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03,
    0x28, 0xf1, 0x42, 0xa4, 0x80,
];
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

/// A frame of one slice of `bytes` bytes behind a capture time.
fn frame(keyframe: bool, bytes: usize) -> Frame {
    let at = WallTime::from_unix_micros(1_700_000_000_000_000);
    let mut slice = vec![0xab; bytes];
    slice[..2].copy_from_slice(&[if keyframe { 0x65 } else { 0x41 }, 0x88]);
    let mut data = Vec::new();
    push_length_prefixed(&sei::h264(at), &mut data);
    push_length_prefixed(&slice, &mut data);
    Frame {
        track: TrackIndex(0),
        time: MediaTime::new(0, Timescale::VIDEO),
        capture: Capture {
            at,
            source: CaptureSource::Camera,
        },
        keyframe,
        format: Arc::new(Format::H264(
            h264::Format::new([SPS, PPS]).expect("valid parameter sets"),
        )),
        data: data.into(),
    }
}

fn packetizer(frame: &Frame) -> Packetizer {
    let config = PacketizerConfig {
        payload_type: 96,
        ssrc: 1,
        first_sequence: 0,
        timestamp_offset: 0,
        max_packet_bytes: PacketizerConfig::DEFAULT_MAX_PACKET_BYTES,
    };
    Packetizer::new(&frame.format, config)
}

fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    for (name, keyframe, bytes) in [
        ("3 KB", false, 3_000),
        ("8 KB", false, 8_000),
        ("60 KB keyframe", true, 60_000),
    ] {
        let frame = frame(keyframe, bytes);
        let packetizer = packetizer(&frame);
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut out = Vec::new();
        group.bench_function(format!("{name}, interleaved"), |bench| {
            bench.iter(|| {
                out.clear();
                let framing = Framing::Interleaved { channel: 0 };
                black_box(packetizer.render(black_box(&frame), 1, 2, framing, &mut out));
            });
        });
        group.bench_function(format!("{name}, datagrams, new buffer"), |bench| {
            bench.iter(|| {
                let mut out = Vec::new();
                black_box(packetizer.render(black_box(&frame), 1, 2, Framing::Datagram, &mut out));
                out
            });
        });
        group.bench_function(format!("{name}, packet_count"), |bench| {
            bench.iter(|| packetizer.packet_count(black_box(&frame)));
        });
    }
    group.finish();
}

fn receiving(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    for (name, keyframe, bytes) in [("8 KB", false, 8_000), ("60 KB keyframe", true, 60_000)] {
        let frame = frame(keyframe, bytes);
        let mut out = Vec::new();
        let ranges = packetizer(&frame).render(&frame, 0, 0, Framing::Datagram, &mut out);
        let config = ReceiverConfig {
            track: TrackIndex(0),
            payload: Payload::H264,
            payload_type: 96,
            format: Arc::clone(&frame.format),
            clock: Timescale::VIDEO,
            reordering: Some(Reordering {
                // The first packet is handed on at once, so that every round gives a frame.
                beginning: Duration::ZERO,
                ..Reordering::default()
            }),
            abs_capture_time: None,
            ssrc: 1,
            cname: "us".into(),
            max_unit_bytes: 8 << 20,
        };
        let mut receiver = Receiver::new(config, Timeline::default());
        let mut sequence = 0_u16;
        let mut timestamp = 0_u32;
        let start = Instant::now();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{name}, {} packets", ranges.len()), |bench| {
            bench.iter(|| {
                for (range, number) in ranges.packets().zip(0..) {
                    let header = &mut out[range];
                    header[2..4].copy_from_slice(&sequence.wrapping_add(number).to_be_bytes());
                    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
                }
                let arrival = Arrival {
                    at: start + Duration::from_micros(u64::from(timestamp) * 100 / 9),
                    wall: WallTime::from_unix_micros(0),
                };
                sequence = sequence.wrapping_add(ranges.len());
                timestamp = timestamp.wrapping_add(3_000);
                for range in ranges.packets() {
                    receiver.receive_rtp(&out[range], arrival);
                }
                receiver.poll().expect("a frame")
            });
        });
    }
    let frame = frame(false, 8_000);
    let mut out = Vec::new();
    let ranges = packetizer(&frame).render(&frame, 0, 0, Framing::Datagram, &mut out);
    group.bench_function("parse a header", |bench| {
        let range = ranges.packets().next().expect("a packet");
        bench.iter(|| Packet::parse(black_box(&out[range.clone()])).is_ok());
    });
    group.finish();
}

criterion_group!(benches, rendering, receiving);
criterion_main!(benches);
