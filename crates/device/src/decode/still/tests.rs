use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use media::annexb::{ByteStream, Ending};
use media::{Capture, CaptureSource, MediaTime, Timescale, TrackIndex, WallTime, h264, h265};
use proptest::prelude::*;

use super::*;

fn frame(unit: annexb::AccessUnit) -> Frame {
    Frame {
        track: TrackIndex(0),
        time: MediaTime::new(9_000, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Camera,
        },
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    }
}

fn ffmpeg(arguments: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args("-v error -nostdin -y".split(' ').chain(arguments.split_whitespace()))
        .output()
        .unwrap_or_else(|error| panic!("ffmpeg: {error}; install ffmpeg"));
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Four frames of a moving picture, and what FFmpeg decodes of the first: as a [`Picture`] holds it.
fn coded(codec: &str, size: &str, options: &str) -> (Vec<Frame>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (file, format) = (
        folder.path().join("a"),
        if codec == "libx265" { "hevc" } else { "h264" },
    );
    let file = file.to_str().unwrap();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=size={size}:rate=30 -frames:v 4 -pix_fmt yuv420p -c:v {codec} {options} -f {format} {file}"
    ));
    let expected = ffmpeg(&format!(
        "-f {format} -i {file} -frames:v 1 -pix_fmt yuv420p -f rawvideo -"
    ));
    let stream = std::fs::read(file).unwrap();
    (units(format, &stream), expected)
}

fn units(format: &str, stream: &[u8]) -> Vec<Frame> {
    let mut units = Vec::new();
    if format == "hevc" {
        let mut reader = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit));
        reader.push(stream, |unit| units.push(unit));
        reader.paused(|unit| units.push(unit));
    } else {
        let mut reader = ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit));
        reader.push(stream, |unit| units.push(unit));
        reader.paused(|unit| units.push(unit));
    }
    units.into_iter().map(frame).collect()
}

/// The worst of the planes.
fn psnr(picture: &Picture, expected: &[u8]) -> f64 {
    assert_eq!(picture.as_bytes().len(), expected.len());
    let pairs = picture.as_bytes().iter().zip(expected);
    let sum: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / expected.len() as f64).max(1e-9)).log10()
}

fn program() -> Option<PathBuf> {
    Some(PathBuf::from("ffmpeg"))
}

#[test]
fn a_keyframe_of_h264_needs_nobody() {
    let (frames, expected) = coded("libx264", "320x180", "-bf 2");
    let picture = keyframe(&frames[0], None).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 180));
    assert!(picture.as_bytes() == expected);
    assert_eq!(
        keyframe(&frames[1], None),
        Err(StillError::NoKeyframe { at_us: 100_000 })
    );
}

#[test]
fn a_keyframe_of_h265_is_what_ffmpeg_makes_of_it() {
    let (frames, expected) = coded("libx265", "640x358", "-x265-params log-level=none");
    let picture = keyframe(&frames[0], program().as_deref()).unwrap();
    assert_eq!((picture.width(), picture.height()), (640, 358));
    let psnr = psnr(&picture, &expected);
    assert!(psnr > 50.0, "{psnr} dB");
    let missing = keyframe(&frames[0], None).unwrap_err().to_string();
    assert!(missing.contains("apt install ffmpeg"), "{missing}");
    let elsewhere = keyframe(&frames[0], Some(Path::new("/nowhere/ffmpeg")))
        .unwrap_err()
        .to_string();
    assert!(elsewhere.contains("/nowhere/ffmpeg cannot be started"), "{elsewhere}");
}

/// Ten bits, full range: what comes out is a picture like any other.
#[test]
fn a_keyframe_of_ten_bits_is_a_picture_of_eight() {
    let (frames, expected) = coded(
        "libx265",
        "320x180",
        "-vf format=yuv420p10le -pix_fmt yuv420p10le -x265-params log-level=none",
    );
    let psnr = psnr(&keyframe(&frames[0], program().as_deref()).unwrap(), &expected);
    assert!(psnr > 45.0, "{psnr} dB");
}

/// Each picture of a stream with B-frames, as FFmpeg decodes it; between them that in front; in front of all the first.
#[test]
fn the_picture_that_is_shown_at_an_instant() {
    for (codec, options, at_least) in [
        ("libx264", "-bf 3 -g 100 -x264-params b-pyramid=normal", 90.0),
        ("libx265", "-bf 3 -x265-params log-level=none", 50.0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.mp4");
        let file = file.to_str().unwrap();
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 12 -pix_fmt yuv420p -c:v {codec} {options} {file}"
        ));
        let name = if codec == "libx265" { "hevc" } else { "h264" };
        let stream = ffmpeg(&format!("-i {file} -c copy -bsf:v {name}_mp4toannexb -f {name} -"));
        let expected = ffmpeg(&format!("-i {file} -pix_fmt yuv420p -f rawvideo -"));
        let expected: Vec<&[u8]> = expected.chunks_exact(320 * 180 * 3 / 2).collect();
        let times = std::process::Command::new("ffprobe")
            .args("-v error -show_entries packet=pts -of csv=p=0".split(' ').chain([file]))
            .output()
            .unwrap();
        let times = String::from_utf8(times.stdout).unwrap();
        let times: Vec<i64> = times
            .lines()
            .map(|line| line.trim_end_matches(',').parse().unwrap())
            .collect();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut frames = units(name, &stream);
        for (frame, time) in frames.iter_mut().zip(&times) {
            let number = sorted.binary_search(time).unwrap() as i64;
            frame.time = MediaTime::new(3_600 * number, Timescale::VIDEO);
        }
        for (number, expected) in expected.iter().enumerate() {
            for off in [0, 3_599] {
                let at = MediaTime::new(3_600 * number as i64 + off, Timescale::VIDEO);
                let (picture, time) = shown(&frames, at, program().as_deref()).unwrap();
                assert_eq!(time.ticks(), 3_600 * number as i64);
                let psnr = psnr(&picture, expected);
                assert!(psnr > at_least, "{codec} {number}: {psnr} dB");
            }
        }
        let before = MediaTime::new(-1, Timescale::VIDEO);
        assert_eq!(shown(&frames, before, program().as_deref()).unwrap().1.ticks(), 0);
        assert!(matches!(
            shown(&frames[1..], before, None),
            Err(StillError::NoKeyframe { .. })
        ));
        assert!(matches!(shown(&[], before, None), Err(StillError::NoKeyframe { .. })));
    }
}

#[test]
fn what_cannot_be_decoded_says_why() {
    let (mut frames, _) = coded("libx265", "320x180", "-x265-params log-level=none");
    let mut broken = frames.remove(0);
    broken.data = Bytes::from_static(&[0, 0, 0, 4, 0x26, 0x01, 0xff, 0xff]);
    let error = keyframe(&broken, program().as_deref()).unwrap_err();
    assert!(
        matches!(&error, StillError::Ffmpeg { codec: "H.265", at_us: 100_000, why } if !why.is_empty()),
        "{error}"
    );
    broken.format = Arc::new(Format::H265(h265::Format::default()));
    assert_eq!(
        keyframe(&broken, program().as_deref()),
        Err(StillError::Size { width: 0, height: 0 })
    );
    broken.format = Arc::new(Format::H264(h264::Format::default()));
    assert!(matches!(keyframe(&broken, None), Err(StillError::Decoder(_))));
    broken.format = Arc::new(Format::G711(media::audio::G711 {
        law: media::audio::Law::Mu,
        sample_rate_hz: 8_000,
        channels: 1,
    }));
    assert_eq!(keyframe(&broken, None), Err(StillError::NoPictures("G.711")));
}

#[test]
fn sizes_are_within_what_is_decoded() {
    for (told, expected) in [
        (Some((1_920, 1_080)), Some((1_920, 1_080))),
        (Some((4_096, 2_304)), Some((4_096, 2_304))),
        (Some((4_096, 2_306)), None),
        (Some((641, 359)), Some((640, 358))),
        (Some((16, 16)), Some((16, 16))),
        (Some((15, 16)), None),
        (Some((8_194, 16)), None),
        (Some((u32::MAX, u32::MAX)), None),
        (None, None),
    ] {
        assert_eq!(size(told).ok(), expected, "{told:?}");
    }
}

proptest! {
    /// A stranger's bytes behind parameter sets that are right.
    #[test]
    fn damaged_keyframes_give_a_picture_or_a_reason(at in 0_usize..2_000, value: u8) {
        let (frames, _) = {
            static CODED: std::sync::OnceLock<(Vec<Frame>, Vec<u8>)> = std::sync::OnceLock::new();
            CODED.get_or_init(|| coded("libx264", "320x180", ""))
        };
        let mut frame = frames[0].clone();
        let mut data = frame.data.to_vec();
        let at = at % data.len();
        data[at] = value;
        frame.data = data.into();
        if let Ok(picture) = keyframe(&frame, None) {
            prop_assert_eq!((picture.width(), picture.height()), (320, 180));
        }
    }
}
