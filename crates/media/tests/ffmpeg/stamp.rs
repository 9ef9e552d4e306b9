//! The stamp through real encoders and scalers: every single picture has to read back.

use media::WallTime;
use media::stamp::{self, Corner, Layout, Reader};
use rstest::rstest;

use crate::program::ffmpeg;

const FIRST: WallTime = WallTime::from_unix_micros(1_763_719_485_123_457);
const INTERVAL_US: i64 = 33_367;

/// A picture in I420.
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    fn bytes(&self) -> usize {
        (self.width * self.height * 3 / 2) as usize
    }

    fn text(&self) -> String {
        format!("{}x{}", self.width, self.height)
    }
}

/// Moving texture with sensor noise of a standard deviation of some 12 levels: more than an encoder at 0.5 Mb/s can follow.
fn noisy_pictures(size: &Size, corner: Corner, frames: u32) -> Vec<u8> {
    let layout = Layout::new(size.width, size.height, corner).expect("it fits");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
            .to_le_bytes()
            .iter()
            .take(4)
            .map(|&byte| i32::from(byte))
            .sum::<i32>()
            / 4
            - 127
    };
    let mut video = Vec::new();
    for frame in 0..frames {
        let start = video.len();
        for y in 0..size.height {
            for x in 0..size.width {
                let (u, v) = (x + 5 * frame, y + 3 * frame);
                let texture = ((u / 24) * 37 + (v / 24) * 91) % 200 + 20;
                video.push((texture as i32 + noise() / 2).clamp(0, 255) as u8);
            }
        }
        stamp::draw(&mut video[start..], size.width as usize, &layout, time(frame));
        video.resize(start + size.bytes(), 128);
    }
    video
}

fn time(frame: u32) -> WallTime {
    FIRST.offset_micros(i64::from(frame) * INTERVAL_US)
}

/// Asserts that every picture says its own time.
fn assert_reads(video: &[u8], size: &Size, frames: u32, what: &str) {
    assert_eq!(video.len(), size.bytes() * frames as usize, "{what}");
    let mut reader = Reader::default();
    for (frame, picture) in (0..).zip(video.chunks(size.bytes())) {
        let near = FIRST.offset_micros(3_600_000_000);
        let alone = stamp::read(picture, size.width as usize, size.width, size.height, near);
        assert_eq!(
            alone.map(|reading| reading.time),
            Some(time(frame)),
            "{what}, picture {frame}"
        );
        let remembered = reader.read(picture, size.width as usize, size.width, size.height, near);
        assert_eq!(
            remembered.map(|reading| reading.time),
            Some(time(frame)),
            "{what}, picture {frame} by Reader"
        );
    }
}

fn encoded(video: &[u8], size: &Size, encoder: &str) -> Vec<u8> {
    ffmpeg(
        &format!(
            "-f rawvideo -pix_fmt yuv420p -s {} -r 30 -i pipe:0 {encoder} pipe:1",
            size.text()
        ),
        video,
    )
}

fn decoded(format: &str, stream: &[u8], filter: &str) -> Vec<u8> {
    ffmpeg(
        &format!("-f {format} -i pipe:0 {filter} -fps_mode passthrough -f rawvideo -pix_fmt yuv420p pipe:1"),
        stream,
    )
}

#[rstest]
#[case::vga(640, 480, "500k", Corner::TopRight)]
#[case::vga_bottom(640, 480, "500k", Corner::BottomLeft)]
#[case::quarter(320, 240, "150k", Corner::TopLeft)]
#[case::hd(1280, 720, "900k", Corner::BottomRight)]
fn h264_at_low_bitrate_and_scaled(
    #[case] width: u32,
    #[case] height: u32,
    #[case] bitrate: &str,
    #[case] corner: Corner,
    #[values("ultrafast", "veryfast")] preset: &str,
) {
    let size = Size { width, height };
    let frames = 30;
    let video = noisy_pictures(&size, corner, frames);
    let encoder = format!(
        "-c:v libx264 -profile:v baseline -preset {preset} -tune zerolatency -g 10 -b:v {bitrate} -maxrate {bitrate} -bufsize {bitrate} -f h264"
    );
    let stream = encoded(&video, &size, &encoder);
    assert_reads(&decoded("h264", &stream, ""), &size, frames, "unscaled");
    for (part, of) in [(1, 2), (3, 4), (3, 2), (2, 1)] {
        for scaler in ["bicubic", "fast_bilinear"] {
            let scaled = Size {
                width: (width * part / of) & !1,
                height: (height * part / of) & !1,
            };
            let filter = format!("-vf scale={}:{}:flags={scaler}", scaled.width, scaled.height);
            let what = format!("scaled by {part}/{of} {scaler}");
            assert_reads(&decoded("h264", &stream, &filter), &scaled, frames, &what);
        }
    }
}

#[rstest]
fn jpeg(#[values(10, 31)] quality: u32) {
    let size = Size {
        width: 640,
        height: 480,
    };
    let video = noisy_pictures(&size, Corner::TopRight, 10);
    let stream = encoded(&video, &size, &format!("-c:v mjpeg -q:v {quality} -f mjpeg"));
    assert_reads(
        &decoded("mjpeg", &stream, "-vf scale=in_range=full:out_range=limited"),
        &size,
        10,
        "JPEG",
    );
    let half = Size {
        width: 320,
        height: 240,
    };
    assert_reads(
        &decoded("mjpeg", &stream, "-vf scale=320:240"),
        &half,
        10,
        "JPEG at half size",
    );
}

#[rstest]
#[case::letterbox("scale=640:360,pad=640:480:0:60:black")]
#[case::pillarbox("scale=480:360,pad=640:360:80:0:white")]
#[case::squeezed("scale=640:240")]
#[case::odd_offset("pad=701:517:33:21:gray")]
#[case::darkened("eq=contrast=0.6:brightness=-0.05")]
fn boxed_and_squeezed(#[case] filter: &str) {
    let size = Size {
        width: 640,
        height: 480,
    };
    let video = noisy_pictures(&size, Corner::TopRight, 5);
    let stream = encoded(
        &video,
        &size,
        "-c:v libx264 -profile:v baseline -preset ultrafast -b:v 500k -f h264",
    );
    let size = match filter {
        letterbox if letterbox.contains("640:480") => size,
        pillarbox if pillarbox.contains("640:360") => Size {
            width: 640,
            height: 360,
        },
        squeezed if squeezed.contains("640:240") => Size {
            width: 640,
            height: 240,
        },
        odd if odd.contains("701") => Size {
            width: 702,
            height: 518,
        },
        _ => size,
    };
    let filter = filter.replace("701:517", "702:518");
    assert_reads(&decoded("h264", &stream, &format!("-vf {filter}")), &size, 5, &filter);
}
