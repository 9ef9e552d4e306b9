use std::sync::{Arc, Mutex};
use std::time::Instant;

use media::annexb::Ending;
use media::h264::{self, AccessUnits};
use media::{Capture, CaptureSource, Frame, MediaTime, Timescale, TrackIndex, WallTime, stamp};
use proptest::prelude::*;

use super::*;
use crate::decode::Decoder;
use crate::encode::{self, Encoder, OpenH264};
use crate::picture::FrameRate;
use crate::source::Taken;
use crate::source::test_pattern::{Pattern, Scene};

/// A picture as a player shows it: through our encoder among others, and back.
fn through_h264(settings: encode::Settings, count: u64, mut draw: impl FnMut(&mut Picture)) -> Picture {
    let decoder = Arc::new(Mutex::new((Decoder::new(), None)));
    let to = Arc::clone(&decoder);
    let mut units = AccessUnits::new(h264::Format::default(), Ending::Told);
    let output = move |unit: encode::AccessUnit<'_>| {
        for nal in unit.nals {
            units.push(nal);
        }
        let unit = units.finish().unwrap();
        let frame = Frame {
            track: TrackIndex(0),
            time: MediaTime::new(0, Timescale::VIDEO),
            capture: Capture {
                at: WallTime::from_unix_micros(0),
                source: CaptureSource::Camera,
            },
            keyframe: unit.keyframe,
            format: unit.format,
            data: unit.data,
        };
        let (decoder, last) = &mut *to.lock().unwrap();
        decoder.decode(&frame).unwrap();
        *last = decoder.next();
    };
    let mut encoder = OpenH264::new(settings, Box::new(output)).unwrap();
    let mut scene = Scene::new(Pattern::Moving, settings.width, settings.height).unwrap();
    let mut picture = Picture::black(settings.width, settings.height).unwrap();
    for n in 0..count {
        scene.draw(&mut picture, FrameRate::whole(30).due(n));
        draw(&mut picture);
        #[expect(clippy::disallowed_methods, reason = "any instant does")]
        let (at, source) = (Instant::now(), CaptureSource::Camera);
        encoder.encode(&picture, Taken { at, source }).unwrap();
    }
    let last = decoder.lock().unwrap().1.take();
    last.unwrap().picture
}

/// Pixels that an old receiver takes for green text: hue 40 to 80 of 180, saturation and value at least 100, in rows 5 to 25 and
/// columns 5 to 150, converted as OpenCV does (BT.601 limited range; hue in half degrees).
fn green_pixels(picture: &Picture) -> usize {
    let mut count = 0;
    for y in 5..25.min(picture.height() as usize) {
        for x in 5..150.min(picture.width() as usize) {
            let (hue, saturation, value) = hsv(rgb(picture, x, y));
            count += usize::from((40.0..=80.0).contains(&hue) && saturation >= 100.0 && value >= 100.0);
        }
    }
    count
}

fn rgb(picture: &Picture, x: usize, y: usize) -> [f64; 3] {
    let width = picture.width() as usize;
    let [luma, u, v] = picture.planes();
    let chroma = y / 2 * (width / 2) + x / 2;
    let luma = 1.164 * (f64::from(luma[y * width + x]) - 16.0);
    let (u, v) = (f64::from(u[chroma]) - 128.0, f64::from(v[chroma]) - 128.0);
    [luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u].map(|part| part.round().clamp(0.0, 255.0))
}

fn hsv([red, green, blue]: [f64; 3]) -> (f64, f64, f64) {
    let value = red.max(green).max(blue);
    let range = value - red.min(green).min(blue);
    if range == 0.0 {
        return (0.0, 0.0, value);
    }
    let degrees = if value == red {
        60.0 * (green - blue) / range
    } else if value == green {
        120.0 + 60.0 * (blue - red) / range
    } else {
        240.0 + 60.0 * (red - green) / range
    };
    (degrees.rem_euclid(360.0) / 2.0, 255.0 * range / value, value)
}

const LINES: [&str; 3] = ["PUB: 12:34:56.789", "FPS: 30.0", "LAT: 3.1ms"];

#[test]
fn receivers_find_the_green_lines_after_h264_at_800_kbps() {
    for (width, height, kbps) in [
        (320, 240, 400),
        (640, 480, 800),
        (1_280, 720, 2_000),
        (1_920, 1_080, 4_000),
    ] {
        let settings = encode::Settings {
            width,
            height,
            bitrate_kbps: kbps,
            ..encode::Settings::default()
        };
        let mut overlay = Overlay::new(Color::GREEN, Corner::TopLeft);
        let shown = through_h264(settings, 15, |picture| overlay.draw(picture, &LINES));
        let green = green_pixels(&shown);
        println!("{width}×{height}: {green} green pixels");
        assert!(green > 100, "{width}×{height}: {green}");
        let bare = through_h264(settings, 15, |_| {});
        assert!(green_pixels(&bare) <= 10, "{width}×{height}: green without text");
    }
}

#[test]
fn text_can_be_read_before_light_and_dark() {
    for background in [16, 128, 235] {
        let mut picture = Picture::black(640, 480).unwrap();
        picture.planes_mut()[0].fill(background);
        Overlay::new(Color::GREEN, Corner::TopLeft).draw(&mut picture, &LINES);
        let luma: Vec<u8> = (8..24)
            .flat_map(|y| picture.planes()[0][y * 640 + 6..][..200].to_vec())
            .collect();
        let text = luma.iter().filter(|&&luma| luma.abs_diff(145) < 20).count();
        assert!(text > 300, "{background}: {text} pixels of text");
        let outline = luma.iter().filter(|&&luma| luma < 90).count();
        assert!(outline > 300, "{background}: {outline} dark pixels around it");
    }
}

#[test]
fn lines_go_to_every_corner_and_stay_inside() {
    for (corner, right, bottom) in [
        (Corner::TopLeft, false, false),
        (Corner::TopRight, true, false),
        (Corner::BottomLeft, false, true),
        (Corner::BottomRight, true, true),
    ] {
        assert_eq!(corner.to_string().parse(), Ok(corner));
        let mut picture = Picture::black(640, 480).unwrap();
        Overlay::new(Color::RED, corner).draw(&mut picture, &LINES);
        let lit: Vec<usize> = (0..640 * 480).filter(|&at| picture.planes()[0][at] > 60).collect();
        assert!(lit.len() > 500);
        assert!(
            lit.iter()
                .all(|at| (at % 640 > 320) == right && (at / 640 > 240) == bottom)
        );
    }
    assert_eq!("middle".parse::<Corner>(), Err(UnknownCorner));
}

#[test]
fn a_receivers_lines_leave_the_publishers_as_they_are() {
    for (width, height) in [(320, 240), (640, 480), (1_920, 1_080)] {
        let mut picture = Picture::black(width, height).unwrap();
        Overlay::new(Color::GREEN, Corner::TopLeft).draw(&mut picture, &LINES);
        let published = picture.clone();
        Overlay::new(Color::RED, Corner::TopLeft)
            .beside_the_publishers()
            .draw(&mut picture, &LINES);
        let (before, after) = (published.planes()[0], picture.planes()[0]);
        let mut kept = before.iter().zip(after).filter(|&(&was, _)| was > 60);
        assert!(kept.all(|(was, is)| was == is), "{width}×{height}");
        // All of them: as many red samples as without the publisher's.
        let mut alone = Picture::black(width, height).unwrap();
        Overlay::new(Color::RED, Corner::TopLeft).draw(&mut alone, &LINES);
        let red = |picture: &Picture| picture.planes()[2].iter().filter(|&&chroma| chroma > 150).count();
        let (both, alone) = (red(&picture), red(&alone));
        assert!(both * 10 >= alone * 9, "{width}×{height}: {both} of {alone}");
    }
}

#[test]
fn tiny_pictures_and_foreign_letters_are_no_danger() {
    for (width, height) in [(16, 16), (16, 480), (640, 16)] {
        let mut picture = Picture::black(width, height).unwrap();
        for corner in [
            Corner::TopLeft,
            Corner::TopRight,
            Corner::BottomLeft,
            Corner::BottomRight,
        ] {
            Overlay::new(Color::RED, corner).draw(&mut picture, &["Grüße 🦀\n\0", "", "x".repeat(1_000).as_str()]);
        }
    }
}

/// A plane scaled as a simple player does: bilinear, pixel centres kept.
fn scaled(luma: &[u8], width: usize, height: usize, by: f64) -> (Vec<u8>, usize, usize) {
    let (to_width, to_height) = ((width as f64 * by) as usize, (height as f64 * by) as usize);
    let mut scaled = Vec::with_capacity(to_width * to_height);
    let source = |to: usize, last: usize| {
        let at = ((to as f64 + 0.5) / by - 0.5).clamp(0.0, last as f64);
        (at as usize, (at as usize + 1).min(last), at.fract())
    };
    for y in 0..to_height {
        let (top, bottom, down) = source(y, height - 1);
        for x in 0..to_width {
            let (left, right, along) = source(x, width - 1);
            let pixel = |y: usize, x: usize| f64::from(luma[y * width + x]);
            let upper = pixel(top, left) * (1.0 - along) + pixel(top, right) * along;
            let lower = pixel(bottom, left) * (1.0 - along) + pixel(bottom, right) * along;
            scaled.push((upper * (1.0 - down) + lower * down).round() as u8);
        }
    }
    (scaled, to_width, to_height)
}

/// Luma after JPEG of that quality.
fn through_jpeg(luma: &[u8], width: usize, height: usize, quality: u8) -> Vec<u8> {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, quality)
        .encode(luma, width as u16, height as u16, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let mut options = zune_jpeg::zune_core::options::DecoderOptions::default();
    options = options.jpeg_set_out_colorspace(zune_jpeg::zune_core::colorspace::ColorSpace::Luma);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(std::io::Cursor::new(&jpeg), options);
    decoder.decode().unwrap()
}

/// Adds noise of a standard deviation of about `deviation` grey levels, the same for the same seed.
fn add_noise(picture: &mut Picture, deviation: f64, seed: &mut u64) {
    for pixel in picture.planes_mut()[0].iter_mut() {
        let mut sum = 0.0;
        for _ in 0..3 {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum += (*seed >> 40) as f64 / f64::from(1 << 24) - 0.5;
        }
        // Three uniform values have a standard deviation of a half.
        *pixel = (f64::from(*pixel) + sum * 2.0 * deviation).clamp(0.0, 255.0) as u8;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_stamp_survives_h264_at_half_a_megabit_then_scaling_or_jpeg(
        time in 1_600_000_000_000_000_i64..2_200_000_000_000_000,
        scale in 0.5_f64..2.0,
        quality in 60_u8..95,
        deviation in 0.0_f64..6.0,
        corner in prop::sample::select(vec![Corner::TopRight, Corner::BottomLeft, Corner::BottomRight]),
        size in prop::sample::select(vec![(640_u32, 480_u32), (854, 480), (1_280, 720)]),
    ) {
        let (width, height) = size;
        let settings = encode::Settings { width, height, bitrate_kbps: 500, ..encode::Settings::default() };
        let mut at = WallTime::from_unix_micros(time);
        let mut seed = time as u64;
        let mut overlay = Overlay::new(Color::GREEN, Corner::TopLeft);
        let shown = through_h264(settings, 14, |picture| {
            at = at.offset_micros(33_333);
            add_noise(picture, deviation, &mut seed);
            overlay.draw(picture, &LINES);
            assert!(draw_stamp(picture, corner, at));
        });
        let luma = shown.planes()[0];
        let near = at.offset_micros(1_000_000);
        let read = stamp::read(luma, width as usize, width, height, near);
        prop_assert_eq!(read.map(|read| read.time), Some(at), "after H.264");
        let jpeg = through_jpeg(luma, width as usize, height as usize, quality);
        let read = stamp::read(&jpeg, width as usize, width, height, near);
        prop_assert_eq!(read.map(|read| read.time), Some(at), "after JPEG of quality {}", quality);
        let (luma, width, height) = scaled(luma, width as usize, height as usize, scale);
        let read = stamp::read(&luma, width, width as u32, height as u32, near);
        prop_assert_eq!(read.map(|read| read.time), Some(at), "after scaling by {}", scale);
    }
}

#[test]
fn chroma_under_the_stamp_is_neutral_and_only_there() {
    let mut picture = Picture::black(640, 480).unwrap();
    let [_, u, v] = picture.planes_mut();
    u.fill(40);
    v.fill(200);
    assert!(draw_stamp(
        &mut picture,
        Corner::TopRight,
        WallTime::from_unix_micros(1)
    ));
    let layout = stamp::Layout::new(640, 480, stamp::Corner::TopRight)
        .unwrap()
        .rectangle();
    let covered = (layout.width * layout.height / 4) as usize;
    for plane in &picture.planes()[1..] {
        assert_eq!(plane.iter().filter(|&&chroma| chroma == 128).count(), covered);
    }
    assert!(!draw_stamp(
        &mut Picture::black(64, 64).unwrap(),
        Corner::TopRight,
        WallTime::from_unix_micros(1)
    ));
}

proptest! {
    /// What was drawn is taken away again, whatever the size and wherever it was.
    #[test]
    fn a_picture_is_as_it_was_before(
        width in 8_u32..400,
        height in 8_u32..400,
        corners in prop::array::uniform2(prop::sample::select(vec![Corner::TopLeft, Corner::TopRight, Corner::BottomLeft, Corner::BottomRight])),
    ) {
        let mut picture = Picture::black(width * 2, height * 2).unwrap();
        for (n, pixel) in picture.planes_mut().into_iter().flatten().enumerate() {
            *pixel = (n % 251) as u8;
        }
        let before = picture.clone();
        let mut overlay = Overlay::new(Color::GREEN, corners[0]);
        let mut under = Under::default();
        for _ in 0..2 {
            let rows = [overlay.rows(height * 2, LINES.len()), stamp_rows(width * 2, height * 2, corners[1])];
            under.keep(&picture, rows);
            overlay.draw(&mut picture, &LINES);
            let drawn = draw_stamp(&mut picture, corners[1], WallTime::from_unix_micros(1));
            prop_assert!(picture != before || !drawn);
            under.restore(&mut picture);
            prop_assert!(picture == before);
        }
    }
}
