//! What the USB camera shows: a level of grey that tells the picture's number.

use std::process::Command;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use testkit::usb_camera::{FPS, Format, HEIGHT, Pictures, WIDTH};

/// Of every ten JPEG pictures this one is cut off.
pub(crate) const CUT: u64 = 7;

/// The grey of a picture, full range: 16 levels in turn.
pub(crate) fn level(number: u64) -> u8 {
    40 + (number % 16) as u8 * 10
}

/// Makes the camera's pictures. H.264 is made once, by FFmpeg, and repeats.
pub(crate) fn pictures() -> Pictures {
    let h264 = access_units();
    Box::new(move |format, number| match format {
        Format::Mjpeg => {
            let jpeg = without_tables(&jpeg(level(number)));
            if number % 10 == CUT {
                jpeg[..jpeg.len() / 2].to_vec()
            } else {
                jpeg
            }
        }
        Format::Yuyv => [level(number), 128].repeat(usize::from(WIDTH) * usize::from(HEIGHT)),
        Format::H264 => h264[number as usize % h264.len()].clone(),
    })
}

fn jpeg(level: u8) -> Vec<u8> {
    // A slope on top, so that the picture has some size.
    let pixel = |n: usize| level.saturating_add((n % usize::from(WIDTH) / 40) as u8);
    let pixels: Vec<u8> = (0..usize::from(WIDTH) * usize::from(HEIGHT))
        .flat_map(|n| [pixel(n); 3])
        .collect();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder
        .encode(&pixels, WIDTH, HEIGHT, ColorType::Rgb)
        .expect("a JPEG picture");
    out
}

/// Motion JPEG as USB cameras send it: without Huffman tables.
fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut out = jpeg[..2].to_vec();
    let mut at = 2;
    while jpeg[at + 1] != 0xDA {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] != 0xC4 {
            out.extend_from_slice(&jpeg[at..end]);
        }
        at = end;
    }
    out.extend_from_slice(&jpeg[at..]);
    out
}

/// Two seconds of H.264, a keyframe a second, cut at the access unit delimiters.
fn access_units() -> Vec<Vec<u8>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        &format!("testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS}"),
        "-t",
        "2",
    ]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
    ]);
    ffmpeg.args(["-g", &FPS.to_string(), "-x264-params", "aud=1", "-f", "h264", "-"]);
    let stream = ffmpeg.output().expect("ffmpeg runs").stdout;
    let delimiter = |window: &[u8]| window[..4] == [0, 0, 0, 1] && window[4] & 0x1F == 9;
    let starts: Vec<usize> = (0..stream.len().saturating_sub(4))
        .filter(|&at| delimiter(&stream[at..at + 5]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let units: Vec<Vec<u8>> = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| stream[start..end].to_vec())
        .collect();
    assert_eq!(units.len(), 2 * FPS as usize);
    units
}
