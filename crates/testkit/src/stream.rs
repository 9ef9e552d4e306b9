//! Streams with known content, frame by frame.
//!
//! Belongs here: H.264 access units with valid parameter sets and slice headers and a payload that tells which frame it is, and
//! sound to go with them. Does not belong here: pictures (the payload of a slice decodes to noise at best), packets.

use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use media::{
    Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, annexb, audio, h264, sei,
};

/// NAL unit headers: nal_ref_idc 3, and the type (H.264 Table 7-1).
const SPS: u8 = 0x67;
const PPS: u8 = 0x68;
const IDR: u8 = 0x65;
const SLICE: u8 = 0x41;
/// Bits of frame_num; log2_max_frame_num_minus4 is 4.
const FRAME_NUM_BITS: u32 = 8;

/// What the pictures are like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Position in the stream's list of tracks.
    pub track: TrackIndex,
    /// Pixels; multiples of 16 need no cropping.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second.
    pub fps: u32,
    /// A keyframe every so many pictures; 0: only the first and those asked for.
    pub gop_frames: u64,
    /// Size of an IDR slice NAL unit in bytes, at least 8.
    pub idr_bytes: usize,
    /// Size of any other slice NAL unit in bytes, at least 8.
    pub frame_bytes: usize,
    /// Slices per picture, each of the size above.
    pub slices: u32,
    /// Each access unit begins with the capture time as SEI.
    pub sei: bool,
    /// Time of the first picture in ticks of 90 kHz.
    pub first_ticks: i64,
    /// Decides the payload.
    pub seed: u64,
}

impl Default for Settings {
    /// 640×480 at 30 fps, a keyframe every ten pictures, about 800 kb/s.
    fn default() -> Self {
        Self {
            track: TrackIndex(0),
            width: 640,
            height: 480,
            fps: 30,
            gop_frames: 10,
            idr_bytes: 12_000,
            frame_bytes: 2_400,
            slices: 1,
            sei: false,
            first_ticks: 0,
            seed: 0,
        }
    }
}

/// Makes the access units of one H.264 track, in order.
#[derive(Debug)]
pub struct Video {
    settings: Settings,
    format: Arc<Format>,
    number: u64,
    since_keyframe: u64,
    keyframes: u64,
    keyframe_wanted: bool,
}

impl Video {
    /// A stream that begins with a keyframe.
    ///
    /// # Panics
    /// When the settings describe no valid stream.
    pub fn new(settings: Settings) -> Self {
        assert!(settings.idr_bytes >= 8 && settings.frame_bytes >= 8 && settings.slices >= 1 && settings.fps >= 1);
        Self {
            settings,
            format: Arc::new(format_of(&settings)),
            number: 0,
            since_keyframe: 0,
            keyframes: 0,
            keyframe_wanted: true,
        }
    }

    /// Parameter sets.
    pub fn format(&self) -> &Arc<Format> {
        &self.format
    }

    /// The track to publish.
    pub fn track(&self) -> Track {
        Track {
            index: self.settings.track,
            format: Arc::clone(&self.format),
            timescale: Timescale::VIDEO,
        }
    }

    /// The next picture is a keyframe, and the count to the one after begins anew.
    pub fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// Other dimensions from the next picture on, which is a keyframe.
    pub fn resize(&mut self, width: u32, height: u32) {
        (self.settings.width, self.settings.height) = (width, height);
        self.format = Arc::new(format_of(&self.settings));
        self.keyframe_wanted = true;
    }

    /// Media time from one picture to the next in microseconds, rounded down.
    pub fn interval_us(&self) -> u64 {
        1_000_000 / u64::from(self.settings.fps)
    }

    /// The next access unit, captured at `capture`.
    pub fn next_frame(&mut self, capture: WallTime) -> Frame {
        let Settings { gop_frames, .. } = self.settings;
        let due = gop_frames > 0 && self.since_keyframe >= gop_frames;
        let keyframe = std::mem::take(&mut self.keyframe_wanted) || due;
        if keyframe {
            self.since_keyframe = 0;
            self.keyframes += 1;
        }
        let mut data = Vec::new();
        if self.settings.sei {
            annexb::push_length_prefixed(&sei::h264(capture), &mut data);
        }
        for slice in 0..self.settings.slices {
            annexb::push_length_prefixed(&self.slice(keyframe, slice), &mut data);
        }
        let ticks = i64::try_from(self.number * 90_000 / u64::from(self.settings.fps)).unwrap_or(i64::MAX);
        self.number += 1;
        self.since_keyframe += 1;
        Frame {
            track: self.settings.track,
            time: MediaTime::new(self.settings.first_ticks.saturating_add(ticks), Timescale::VIDEO),
            capture: Capture {
                at: capture,
                source: CaptureSource::Camera,
            },
            keyframe,
            format: Arc::clone(&self.format),
            data: data.into(),
        }
    }

    /// Slice header (§7.3.3) and payload.
    fn slice(&self, keyframe: bool, slice: u32) -> Vec<u8> {
        let s = &self.settings;
        let macroblocks = s.width.div_ceil(16) * s.height.div_ceil(16);
        let mut bits = Bits::new(if keyframe { IDR } else { SLICE });
        bits.ue(macroblocks * slice / s.slices);
        bits.ue(if keyframe { 7 } else { 5 }); // all slices I, all slices P
        bits.ue(0); // pic_parameter_set_id
        bits.u(FRAME_NUM_BITS, (self.since_keyframe & 0xff) as u32);
        if keyframe {
            bits.ue((self.keyframes & 1) as u32); // idr_pic_id differs between neighbours
            bits.u(2, 0); // no_output_of_prior_pics_flag, long_term_reference_flag
        } else {
            bits.u(3, 0); // no override, no modification, no adaptive marking
        }
        bits.ue(0); // slice_qp_delta 0
        let mut unit = bits.stop();
        // No byte of the payload is zero, so emulation prevention never adds any.
        let mut rng = Rng::with_seed(s.seed ^ (self.number << 8) ^ u64::from(slice));
        let bytes = if keyframe { s.idr_bytes } else { s.frame_bytes };
        while unit.len() < bytes {
            unit.push(rng.u8(1..));
        }
        unit
    }
}

fn format_of(settings: &Settings) -> Format {
    let units = [sps(settings.width, settings.height, settings.fps), pps()];
    Format::H264(h264::Format::new(units).expect("our own parameter sets are valid"))
}

/// Sequence parameter set, §7.3.2.1.1: constrained baseline, level 3.1, output in decoding order, frame rate in the VUI.
fn sps(width: u32, height: u32, fps: u32) -> Vec<u8> {
    let (across, down) = (width.div_ceil(16), height.div_ceil(16));
    let mut bits = Bits::new(SPS);
    bits.u(8, 66); // profile_idc
    bits.u(8, 0xc0); // constraint_set0_flag, constraint_set1_flag
    bits.u(8, 31); // level_idc
    bits.ue(0); // seq_parameter_set_id
    bits.ue(FRAME_NUM_BITS - 4);
    bits.ue(2); // pic_order_cnt_type
    bits.ue(1); // max_num_ref_frames
    bits.u(1, 0); // gaps_in_frame_num_value_allowed_flag
    bits.ue(across - 1);
    bits.ue(down - 1);
    bits.u(2, 0b11); // frame_mbs_only_flag, direct_8x8_inference_flag
    let (right, bottom) = ((across * 16 - width) / 2, (down * 16 - height) / 2);
    let cropped = right > 0 || bottom > 0;
    bits.u(1, u32::from(cropped));
    if cropped {
        [0, right, 0, bottom].into_iter().for_each(|edge| bits.ue(edge));
    }
    bits.u(1, 1); // vui_parameters_present_flag
    bits.u(4, 0); // aspect ratio, overscan, video signal, chroma location
    bits.u(1, 1); // timing_info_present_flag
    bits.u(32, 1); // num_units_in_tick
    bits.u(32, fps * 2); // time_scale, in fields
    bits.u(1, 1); // fixed_frame_rate_flag
    bits.u(4, 0); // NAL HRD, VCL HRD, picture structure, bitstream restriction
    escaped(bits.stop())
}

/// Picture parameter set, §7.3.2.2: CAVLC, one slice group, nothing optional.
fn pps() -> Vec<u8> {
    let mut bits = Bits::new(PPS);
    bits.ue(0); // pic_parameter_set_id
    bits.ue(0); // seq_parameter_set_id
    bits.u(2, 0); // entropy_coding_mode_flag, bottom_field_pic_order_in_frame_present_flag
    [0, 0, 0].into_iter().for_each(|value| bits.ue(value)); // slice groups, reference indices
    bits.u(3, 0); // weighted prediction
    [0, 0, 0].into_iter().for_each(|value| bits.ue(value)); // quantisers, 0 as se(v)
    bits.u(3, 0); // deblocking control, constrained intra prediction, redundant pictures
    bits.stop()
}

/// Emulation prevention, §7.3.1.
fn escaped(unit: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len() + 4);
    for byte in unit {
        if byte <= 3 && out.ends_with(&[0, 0]) {
            out.push(3);
        }
        out.push(byte);
    }
    out
}

/// Writes the syntax elements of a NAL unit.
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn new(header: u8) -> Self {
        Self {
            bytes: vec![header],
            free: 0,
        }
    }

    /// u(n), §7.2.
    fn u(&mut self, count: u32, value: u32) {
        for bit in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> bit) & 1) as u8) << self.free;
            }
        }
    }

    /// ue(v), §9.1.
    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.u(length, 0);
        self.u(length + 1, value + 1);
    }

    /// rbsp_trailing_bits, §7.3.2.11.
    fn stop(mut self) -> Vec<u8> {
        self.u(1, 1);
        self.bytes
    }
}

/// Makes the frames of one audio track: G.711 µ-law, 8 kHz, 20 ms each.
#[derive(Debug)]
pub struct Audio {
    track: TrackIndex,
    format: Arc<Format>,
    number: u64,
    first_ticks: i64,
}

impl Audio {
    /// Samples in a frame.
    const SAMPLES: u32 = 160;

    /// Sound on the track at `track` that begins at `first_ticks` of 8 kHz.
    pub fn new(track: TrackIndex, first_ticks: i64) -> Self {
        Self {
            track,
            format: Arc::new(Format::G711(audio::G711 {
                law: audio::Law::Mu,
                sample_rate_hz: 8_000,
                channels: 1,
            })),
            number: 0,
            first_ticks,
        }
    }

    /// The track to publish.
    pub fn track(&self) -> Track {
        Track {
            index: self.track,
            format: Arc::clone(&self.format),
            timescale: Timescale::G711,
        }
    }

    /// The next 20 ms, recorded at `capture`. Every byte is the number of the frame, modulo 256.
    pub fn next_frame(&mut self, capture: WallTime) -> Frame {
        let ticks = i64::try_from(self.number * u64::from(Self::SAMPLES)).unwrap_or(i64::MAX);
        let data = Bytes::from(vec![(self.number & 0xff) as u8; Self::SAMPLES as usize]);
        self.number += 1;
        Frame {
            track: self.track,
            time: MediaTime::new(self.first_ticks.saturating_add(ticks), Timescale::G711),
            capture: Capture {
                at: capture,
                source: CaptureSource::Camera,
            },
            keyframe: true,
            format: Arc::clone(&self.format),
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use media::annexb::{frame_to_annex_b, nal_units, units};
    use media::h264::{AccessUnits, SliceType, nal, slice_header, unit_type};

    use super::*;

    const WALL: WallTime = WallTime::from_unix_micros(1_700_000_000_123_456);

    #[test]
    fn parameter_sets_say_what_was_asked_for() {
        for (width, height) in [(640, 480), (1920, 1080), (322, 242)] {
            let video = Video::new(Settings {
                width,
                height,
                fps: 25,
                ..Settings::default()
            });
            let Format::H264(format) = &**video.format() else {
                panic!("not H.264");
            };
            assert_eq!(format.dimensions(), Some((width, height)));
            assert_eq!(format.frame_rate(), Some(25.0));
            assert_eq!(format.max_reorder_frames(), Some(0));
            assert_eq!(format.codec_string().as_deref(), Some("avc1.42C01F"));
            assert!(format.is_complete());
        }
    }

    #[test]
    fn keyframes_come_every_gop_and_when_asked_for() {
        let mut video = Video::new(Settings {
            gop_frames: 4,
            ..Settings::default()
        });
        let mut keyframes = Vec::new();
        for number in 0..12 {
            if number == 6 {
                video.request_keyframe();
            }
            if video.next_frame(WALL).keyframe {
                keyframes.push(number);
            }
        }
        assert_eq!(keyframes, [0, 4, 6, 10]);
    }

    #[test]
    fn slices_have_the_size_and_header_asked_for() {
        let mut video = Video::new(Settings {
            slices: 3,
            idr_bytes: 5_000,
            frame_bytes: 700,
            sei: true,
            ..Settings::default()
        });
        for number in 0..11 {
            let frame = video.next_frame(WALL);
            assert_eq!(frame.time.ticks(), number * 3_000);
            assert_eq!(sei::find(&frame.data, frame.format.codec()), Some(WALL));
            let slices: Vec<_> = nal_units(&frame.data).skip(1).collect();
            assert_eq!(slices.len(), 3);
            for (index, slice) in slices.into_iter().enumerate() {
                let header = slice_header(slice).expect("a slice header");
                assert_eq!(slice.len(), if frame.keyframe { 5_000 } else { 700 });
                assert_eq!(unit_type(slice), if frame.keyframe { nal::IDR } else { nal::SLICE });
                assert_eq!(
                    header.slice_type,
                    if frame.keyframe { SliceType::I } else { SliceType::P }
                );
                assert_eq!(header.first_mb, 400 * index as u32);
            }
        }
    }

    /// The parser of byte streams finds the same access units again.
    #[test]
    fn survives_the_way_through_a_byte_stream() {
        let mut video = Video::new(Settings {
            slices: 2,
            ..Settings::default()
        });
        let frames: Vec<_> = (0..25).map(|_| video.next_frame(WALL)).collect();
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| frame_to_annex_b(frame, &mut stream));
        let mut parser = AccessUnits::new(h264::Format::default(), annexb::Ending::NextUnit);
        let mut found: Vec<_> = units(&stream).filter_map(|unit| parser.push(unit)).collect();
        found.extend(parser.finish());
        assert_eq!(found.len(), frames.len());
        for (found, frame) in found.iter().zip(&frames) {
            assert_eq!(found.data, frame.data);
            assert_eq!(found.keyframe, frame.keyframe);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let frame = |seed| {
            Video::new(Settings {
                seed,
                ..Settings::default()
            })
            .next_frame(WALL)
            .data
        };
        assert_eq!(frame(1), frame(1));
        assert_ne!(frame(1), frame(2));
    }

    #[test]
    fn a_resized_stream_has_new_parameter_sets() {
        let mut video = Video::new(Settings::default());
        let before = video.next_frame(WALL);
        video.resize(320, 240);
        let after = video.next_frame(WALL);
        assert!(after.keyframe);
        assert_ne!(before.format, after.format);
        assert_eq!(after.format.dimensions(), Some((320, 240)));
    }

    #[test]
    fn sound_is_numbered_and_timed() {
        let mut audio = Audio::new(TrackIndex(1), 800);
        let frames: Vec<_> = (0..3).map(|_| audio.next_frame(WALL)).collect();
        let times: Vec<_> = frames.iter().map(|frame| frame.time.ticks()).collect();
        assert_eq!(times, [800, 960, 1_120]);
        assert!(frames[2].data.iter().all(|&byte| byte == 2));
        assert_eq!(frames[2].data.len(), 160);
    }
}
