use proptest::prelude::*;

use super::*;
use crate::picture::FrameRate;
use crate::source::test_pattern::{Pattern, Scene};

fn scene(width: u32, height: u32) -> Picture {
    let mut picture = Picture::black(width, height).unwrap();
    let mut scene = Scene::new(Pattern::Moving, width, height).unwrap();
    scene.draw(&mut picture, FrameRate::whole(30).due(7));
    picture
}

fn decoded(jpeg: &[u8]) -> Picture {
    decode(jpeg).unwrap()
}

/// Of all three planes.
fn psnr(one: &Picture, other: &Picture) -> f64 {
    let pairs = one.as_bytes().iter().zip(other.as_bytes());
    let sum: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / one.as_bytes().len() as f64)).log10()
}

#[test]
fn what_is_written_is_the_picture() {
    let picture = scene(640, 360);
    for (quality, at_least) in [(50, 30.0), (80, 33.0), (95, 38.0), (100, 42.0)] {
        let shape = Shape {
            max_width: None,
            quality,
        };
        let back = decoded(&encode(&picture, shape).unwrap());
        let psnr = psnr(&picture, &back);
        assert!(psnr > at_least, "{psnr} dB at {quality}");
    }
}

/// Black, white, grey and colours come back as they were, within what rounding twice costs.
#[test]
fn range_and_colours_stay() {
    for colour in [
        [16, 128, 128],
        [235, 128, 128],
        [126, 128, 128],
        [82, 90, 240],
        [145, 54, 34],
        [41, 240, 110],
    ] {
        let mut picture = Picture::black(64, 48).unwrap();
        for (plane, value) in picture.planes_mut().into_iter().zip(colour) {
            plane.fill(value);
        }
        let shape = Shape {
            max_width: None,
            quality: 100,
        };
        let back = decoded(&encode(&picture, shape).unwrap());
        for (plane, value) in back.planes().into_iter().zip(colour) {
            let off = plane.iter().map(|pixel| pixel.abs_diff(value)).max().unwrap();
            assert!(off <= 2, "{colour:?}: off by {off}");
        }
    }
}

#[test]
fn a_smaller_one_is_the_same_picture() {
    let picture = scene(1_280, 720);
    let shape = Shape {
        max_width: Some(320),
        quality: 95,
    };
    let back = decoded(&encode(&picture, shape).unwrap());
    assert_eq!((back.width(), back.height()), (320, 180));
    let smaller = picture.scaled(320, 180).unwrap();
    let psnr = psnr(&smaller, &back);
    assert!(psnr > 33.0, "{psnr} dB");
}

#[test]
fn sizes_are_even_and_never_larger() {
    for (size, max_width, expected) in [
        ((640, 480), None, (640, 480)),
        ((640, 480), Some(640), (640, 480)),
        ((640, 480), Some(641), (640, 480)),
        ((640, 480), Some(u16::MAX), (640, 480)),
        ((640, 480), Some(321), (320, 240)),
        ((1_920, 1_080), Some(320), (320, 180)),
        ((1_920, 1_080), Some(0), (16, 16)),
        ((8_192, 16), Some(160), (160, 16)),
        ((16, 8_192), Some(160), (16, 8_192)),
        ((2_560, 1_922), Some(640), (640, 480)),
    ] {
        let shape = Shape { max_width, quality: 80 };
        assert_eq!(shape.size_of(size.0, size.1), expected, "{size:?} within {max_width:?}");
    }
}

/// FFmpeg reads it, and sees the same picture.
#[test]
fn others_see_the_same() {
    let picture = scene(640, 360);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jpg");
    std::fs::write(
        &file,
        encode(
            &picture,
            Shape {
                max_width: None,
                quality: 95,
            },
        )
        .unwrap(),
    )
    .unwrap();
    // To limited range, as a `Picture` is.
    let arguments = [
        "-v",
        "error",
        "-i",
        file.to_str().unwrap(),
        "-vf",
        "scale=out_range=tv",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "rawvideo",
        "-",
    ];
    let output = std::process::Command::new("ffmpeg")
        .args(arguments)
        .output()
        .expect("ffmpeg is installed");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = Picture::black(640, 360).unwrap();
    assert_eq!(output.stdout.len(), seen.as_bytes().len());
    let mut rest = &output.stdout[..];
    for plane in seen.planes_mut() {
        let (bytes, behind) = rest.split_at(plane.len());
        plane.copy_from_slice(bytes);
        rest = behind;
    }
    let psnr = psnr(&picture, &seen);
    assert!(psnr > 36.0, "{psnr} dB");
}

proptest! {
    /// Any size within any width: a JPEG of the size that was said, never larger than the picture.
    #[test]
    fn any_size_becomes_one_that_was_said(
        width in 8_u32..200, height in 8_u32..200, max_width in prop::option::of(any::<u16>().prop_map(|width| width % 500)), quality: u8
    ) {
        let (width, height) = (width * 2, height * 2);
        let shape = Shape { max_width, quality };
        let (wide, high) = shape.size_of(width, height);
        prop_assert!(wide <= width && high <= height && wide.is_multiple_of(2) && high.is_multiple_of(2));
        prop_assert!(wide >= 16 && high >= 16);
        let jpeg = encode(&Picture::black(width, height).unwrap(), shape).unwrap();
        let back = decoded(&jpeg);
        prop_assert_eq!((back.width(), back.height()), (wide, high));
    }

    /// The largest there are, too, as far as they can be said without making them.
    #[test]
    fn any_size_that_is_said_is_one_that_a_picture_has(width in 8_u32..=4_096, height in 8_u32..=4_096, max_width: u16) {
        let (width, height) = (width * 2, height * 2);
        let (wide, high) = Shape { max_width: Some(max_width), quality: 80 }.size_of(width, height);
        prop_assert!((16..=width).contains(&wide) && (16..=height).contains(&high));
        prop_assert!(wide.is_multiple_of(2) && high.is_multiple_of(2));
    }
}
