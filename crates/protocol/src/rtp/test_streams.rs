//! Formats and frames for the tests of this folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::annexb::push_length_prefixed;
use media::audio::{Aac, G711, Law, Opus};
use media::{Capture, CaptureSource, Format, Frame, MediaTime, TrackIndex, WallTime, h264, h265};

use super::{Arrival, PacketizerConfig};

/// 320×240, Baseline, made by x264.
pub(crate) const H264_SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03,
    0x28, 0xf1, 0x42, 0xa4, 0x80,
];
pub(crate) const H264_PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

/// 320×240, Main, made by x265.
pub(crate) const H265_VPS: &[u8] = &[
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
    0x00, 0x3c, 0x95, 0x98, 0x09,
];
pub(crate) const H265_SPS: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c, 0xa0,
    0x0a, 0x08, 0x0f, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00,
    0x03, 0x00, 0x32, 0x10,
];
pub(crate) const H265_PPS: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];

pub(crate) fn h264() -> Arc<Format> {
    Arc::new(Format::H264(h264::Format::new([H264_SPS, H264_PPS]).unwrap()))
}

pub(crate) fn h265() -> Arc<Format> {
    Arc::new(Format::H265(h265::Format::new([H265_VPS, H265_SPS, H265_PPS]).unwrap()))
}

pub(crate) fn aac() -> Arc<Format> {
    Arc::new(Format::Aac(Aac {
        config: Bytes::from_static(&[0x12, 0x10]),
        sample_rate_hz: 44_100,
        channels: 2,
    }))
}

pub(crate) fn opus() -> Arc<Format> {
    Arc::new(Format::Opus(Opus { channels: 2 }))
}

pub(crate) fn g711(law: Law) -> Arc<Format> {
    Arc::new(Format::G711(G711 {
        law,
        sample_rate_hz: 8_000,
        channels: 1,
    }))
}

/// A frame of these NAL units, or of these bytes of audio.
pub(crate) fn frame(format: &Arc<Format>, keyframe: bool, units: &[Vec<u8>]) -> Frame {
    let mut data = Vec::new();
    for unit in units {
        match format.as_ref() {
            Format::H264(_) | Format::H265(_) => push_length_prefixed(unit, &mut data),
            _ => data.extend_from_slice(unit),
        }
    }
    Frame {
        track: TrackIndex(0),
        time: MediaTime::new(0, super::clock(format)),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Camera,
        },
        keyframe,
        format: Arc::clone(format),
        data: data.into(),
    }
}

/// A slice of H.264 of `bytes` bytes whose contents follow from `seed`; no two alike.
pub(crate) fn slice(keyframe: bool, first: bool, bytes: usize, seed: u64) -> Vec<u8> {
    let mut unit = vec![if keyframe { 0x65 } else { 0x41 }, if first { 0x88 } else { 0x44 }];
    unit.extend(noise(seed).take(bytes.saturating_sub(2)));
    unit
}

/// A slice segment of H.265, likewise.
pub(crate) fn slice_h265(keyframe: bool, first: bool, bytes: usize, seed: u64) -> Vec<u8> {
    let mut unit = vec![
        if keyframe { 19 << 1 } else { 1 << 1 },
        1,
        if first { 0x80 } else { 0x00 },
    ];
    unit.extend(noise(seed).take(bytes.saturating_sub(3)));
    unit
}

/// Bytes without zeros, so that they are valid inside a NAL unit.
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8 | 1
    })
}

pub(crate) fn config(payload_type: u8) -> PacketizerConfig {
    PacketizerConfig {
        payload_type,
        ssrc: 0x0123_4567,
        first_sequence: 65_530,
        timestamp_offset: 0xffff_f000,
        max_packet_bytes: PacketizerConfig::DEFAULT_MAX_PACKET_BYTES,
    }
}

/// A clock for tests: an arbitrary start, and UTC beside it.
#[derive(Clone, Copy)]
pub(crate) struct TestClock {
    start: Instant,
}

impl TestClock {
    pub(crate) const WALL_START: WallTime = WallTime::from_unix_micros(1_700_000_000_000_000);

    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn at_micros(self, micros: u64) -> Arrival {
        Arrival {
            at: self.start + Duration::from_micros(micros),
            wall: Self::WALL_START.offset_micros(i64::try_from(micros).unwrap()),
        }
    }

    pub(crate) fn at_ms(self, ms: u64) -> Arrival {
        self.at_micros(ms * 1_000)
    }
}
