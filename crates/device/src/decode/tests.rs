use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use media::annexb::{ByteStream, Ending};
use media::h264::AccessUnits;
use media::{CaptureSource, Timescale, TrackIndex, WallTime};
use proptest::prelude::*;

use super::*;
use crate::encode::{self, Encoder, OpenH264};
use crate::picture::FrameRate;
use crate::source::Taken;
use crate::source::test_pattern::{Pattern, Scene};

fn frame(unit: annexb::AccessUnit, ticks: i64) -> Frame {
    Frame {
        track: TrackIndex(0),
        time: MediaTime::new(ticks, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(ticks),
            source: CaptureSource::Camera,
        },
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    }
}

/// Frames of an Annex B stream, 3,000 ticks apart in the order of `order`.
fn frames(stream: &[u8], order: impl IntoIterator<Item = i64>) -> Vec<Frame> {
    let mut units = Vec::new();
    let mut reader = ByteStream::new(AccessUnits::new(h264::Format::default(), Ending::NextUnit));
    reader.push(stream, |unit| units.push(unit));
    reader.paused(|unit| units.push(unit));
    units
        .into_iter()
        .zip(order)
        .map(|(unit, at)| frame(unit, at * 3_000))
        .collect()
}

/// What our encoder makes of the test scene, and the pictures it was given.
fn encoded(settings: encode::Settings, count: u64) -> (Vec<Frame>, Vec<Picture>) {
    let stream = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&stream);
    let output = move |unit: encode::AccessUnit<'_>| {
        let mut stream = to.lock().unwrap();
        unit.nals.iter().for_each(|nal| annexb::push_annex_b(nal, &mut stream));
    };
    let mut encoder = OpenH264::new(settings, Box::new(output)).unwrap();
    let mut scene = Scene::new(Pattern::Moving, settings.width, settings.height).unwrap();
    let mut pictures = Vec::new();
    for n in 0..count {
        let mut picture = Picture::black(settings.width, settings.height).unwrap();
        scene.draw(&mut picture, FrameRate::whole(30).due(n));
        #[expect(clippy::disallowed_methods, reason = "any instant does")]
        let (at, source) = (Instant::now(), CaptureSource::Camera);
        encoder.encode(&picture, Taken { at, source }).unwrap();
        pictures.push(picture);
    }
    drop(encoder);
    let stream = stream.lock().unwrap();
    (frames(&stream, 0..), pictures)
}

fn decode_all(decoder: &mut Decoder, frames: &[Frame]) -> Vec<Decoded> {
    let mut decoded = Vec::new();
    for frame in frames {
        decoder.decode(frame).unwrap();
        while let Some(picture) = decoder.next() {
            decoded.push(picture);
        }
    }
    decoder.flush();
    while let Some(picture) = decoder.next() {
        decoded.push(picture);
    }
    decoded
}

fn luma_psnr(one: &Picture, other: &Picture) -> f64 {
    let squares = one.planes()[0].iter().zip(other.planes()[0]);
    let sum: f64 = squares.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / one.planes()[0].len() as f64)).log10()
}

/// Runs FFmpeg or ffprobe and gives its output.
fn run(program: &str, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; install ffmpeg"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "{program} {arguments}");
    output.stdout
}

/// A stream that x264 made, with presentation order, and its pictures as FFmpeg decodes them.
fn x264(folder: &Path, options: &str) -> (Vec<Frame>, Vec<Vec<u8>>) {
    let file = folder.join("x264.mp4");
    let file = file.to_str().unwrap();
    let quiet = "-v error -nostdin -y";
    let encode = format!(
        "{quiet} -f lavfi -i testsrc2=size=320x176:rate=30 -frames:v 90 -pix_fmt yuv420p -c:v libx264 -threads 1 {options} {file}"
    );
    run("ffmpeg", &encode, &[]);
    let times = run(
        "ffprobe",
        &format!("-v error -show_entries packet=pts -of csv=p=0 {file}"),
        &[],
    );
    let times: Vec<i64> = String::from_utf8(times)
        .unwrap()
        .lines()
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let order = times.iter().map(|time| sorted.binary_search(time).unwrap() as i64);
    let stream = run(
        "ffmpeg",
        &format!("{quiet} -i {file} -c copy -bsf:v h264_mp4toannexb -f h264 -"),
        &[],
    );
    let raw = run("ffmpeg", &format!("{quiet} -i {file} -f rawvideo -"), &[]);
    let pictures = raw.chunks_exact(320 * 176 * 3 / 2).map(<[u8]>::to_vec).collect();
    (frames(&stream, order), pictures)
}

#[test]
fn our_own_streams_come_back_at_once() {
    let (frames, pictures) = encoded(encode::Settings::default(), 30);
    let mut decoder = Decoder::new();
    for (frame, picture) in frames.iter().zip(&pictures) {
        decoder.decode(frame).unwrap();
        let decoded = decoder.next().expect("no delay");
        assert_eq!(
            (decoded.time, decoded.capture, decoded.keyframe),
            (frame.time, frame.capture, frame.keyframe)
        );
        let psnr = luma_psnr(&decoded.picture, picture);
        assert!(psnr > 30.0, "{psnr} dB");
        assert!(decoder.next().is_none());
    }
    let expected = Stats {
        decoded: 30,
        ..Stats::default()
    };
    assert_eq!(decoder.stats(), expected);
}

#[test]
fn sliced_and_cropped_pictures_too() {
    let settings = encode::Settings {
        width: 1_366,
        height: 768,
        bitrate_kbps: 4_000,
        ..encode::Settings::default()
    };
    let (frames, pictures) = encoded(settings, 12);
    let decoded = decode_all(&mut Decoder::new(), &frames);
    assert_eq!(decoded.len(), 12);
    for (decoded, picture) in decoded.iter().zip(&pictures) {
        assert_eq!((decoded.picture.width(), decoded.picture.height()), (1_366, 768));
        assert!(luma_psnr(&decoded.picture, picture) > 28.0);
    }
}

#[test]
fn streams_with_b_frames_are_bit_exact_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        "-preset medium -profile:v high -g 30",
        "-preset medium -profile:v high -bf 3 -x264-params b-pyramid=normal:keyint=25",
        "-preset fast -profile:v main -bf 2 -x264-params slices=3",
        "-preset ultrafast -profile:v baseline -tune zerolatency",
    ] {
        let (frames, expected) = x264(folder.path(), options);
        assert_eq!((frames.len(), expected.len()), (90, 90), "{options}");
        let mut decoder = Decoder::new();
        let decoded = decode_all(&mut decoder, &frames);
        assert_eq!(decoded.len(), 90, "{options}: {:?}", decoder.stats());
        for (n, (decoded, expected)) in decoded.iter().zip(&expected).enumerate() {
            assert_eq!(decoded.time.ticks(), n as i64 * 3_000, "{options}: order");
            assert!(decoded.picture.as_bytes() == expected, "{options}: picture {n} differs");
        }
    }
}

#[test]
fn after_an_error_it_goes_on_at_the_next_keyframe() {
    let (frames, _) = encoded(encode::Settings::default(), 30);
    let mut decoder = Decoder::new();
    let mut broken = frames;
    broken[13].data = Bytes::from_static(&[0, 0, 0, 2, 0x41, 0x9a]);
    let results: Vec<bool> = broken.iter().map(|frame| decoder.decode(frame).is_ok()).collect();
    assert_eq!(results.iter().filter(|ok| !**ok).count(), 1);
    let shown: Vec<i64> = std::iter::from_fn(|| decoder.next())
        .map(|picture| picture.time.ticks() / 3_000)
        .collect();
    assert_eq!(shown, (0..13).chain(20..30).collect::<Vec<_>>());
    let stats = decoder.stats();
    assert_eq!((stats.errors, stats.skipped), (1, 6));
}

#[test]
fn a_gap_is_not_decoded_from_wrong_references() {
    let (frames, _) = encoded(encode::Settings::default(), 30);
    let mut decoder = Decoder::new();
    decoder.decode(&frames[0]).unwrap();
    decoder.discontinuity();
    for frame in &frames[5..] {
        decoder.decode(frame).unwrap();
    }
    let shown: Vec<i64> = std::iter::from_fn(|| decoder.next())
        .map(|picture| picture.time.ticks() / 3_000)
        .collect();
    assert_eq!(shown, [0].into_iter().chain(10..30).collect::<Vec<_>>());
}

#[test]
fn a_stream_may_change_its_size() {
    let (mut stream, _) = encoded(encode::Settings::default(), 10);
    let small = encode::Settings {
        width: 320,
        height: 240,
        ..encode::Settings::default()
    };
    let (after, _) = encoded(small, 10);
    stream.extend(after.into_iter().map(|mut frame| {
        frame.time = MediaTime::new(frame.time.ticks() + 30_000, Timescale::VIDEO);
        frame
    }));
    let widths: Vec<u32> = decode_all(&mut Decoder::new(), &stream)
        .iter()
        .map(|decoded| decoded.picture.width())
        .collect();
    assert_eq!(widths, [[640; 10], [320; 10]].concat());
}

/// A sequence parameter set of the Baseline profile: `(value, bits)` for fixed lengths, exp-Golomb for the rest.
fn sps(columns: u32, rows: u32, reference_frames: u32, crop: Option<[u32; 4]>) -> Vec<u8> {
    let mut bits = Vec::new();
    let fixed = |bits: &mut Vec<bool>, value: u64, count: u32| {
        bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    };
    let golomb = |bits: &mut Vec<bool>, value: u32| {
        let value = u64::from(value) + 1;
        let length = 64 - value.leading_zeros();
        bits.extend((1..length).map(|_| false));
        bits.extend((0..length).rev().map(|bit| value >> bit & 1 == 1));
    };
    fixed(&mut bits, 66 << 16 | 0xc0 << 8 | 62, 24);
    // Id, log2_max_frame_num − 4, pic_order_cnt_type 2, reference frames, no gaps.
    [0, 0, 2, reference_frames]
        .into_iter()
        .for_each(|value| golomb(&mut bits, value));
    fixed(&mut bits, 0, 1);
    golomb(&mut bits, columns - 1);
    golomb(&mut bits, rows - 1);
    // Frames only, 8×8 inference.
    fixed(&mut bits, 0b11, 2);
    fixed(&mut bits, u64::from(crop.is_some()), 1);
    crop.into_iter().flatten().for_each(|value| golomb(&mut bits, value));
    fixed(&mut bits, 0b01, 2);
    let mut unit = vec![0x67];
    let mut zeros = 0;
    for byte in bits.chunks(8) {
        let byte = byte
            .iter()
            .enumerate()
            .fold(0_u8, |byte, (at, &bit)| byte | u8::from(bit) << (7 - at));
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

#[test]
fn sizes_are_limited_before_memory_is_taken() {
    assert_eq!(rusty::check(&sps(256, 144, 16, None)), Ok(()));
    for (unit, expected) in [
        (sps(257, 144, 1, None), "257×144 macroblocks; at most 36864 are decoded"),
        (sps(16_384, 16_384, 1, None), "frame too large"),
        (sps(40, 30, 17, None), "17 reference pictures; at most 16 are allowed"),
        (sps(40, 30, 1, Some([0, 320, 0, 0])), "crop"),
        (vec![0x67, 66], "truncated"),
        (vec![], "truncated"),
    ] {
        let refused = rusty::check(&unit).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused} does not say {expected}");
    }
    // Together they are 0 in 32 bits: a panic in rusty_h264 where overflow is checked, else our own refusal.
    assert!(rusty::check(&sps(40, 30, 1, Some([u32::MAX - 1, 2, 0, 0]))).is_err());
}

#[test]
fn what_is_no_h264_is_refused() {
    let (mut frames, _) = encoded(encode::Settings::default(), 1);
    let mut frame = frames.remove(0);
    frame.format = Arc::new(Format::H265(media::h265::Format::default()));
    assert_eq!(Decoder::new().decode(&frame), Err(Error::Codec("H.265")));
}

#[test]
fn reordering_that_was_not_announced_costs_one_picture() {
    let (frames, _) = encoded(encode::Settings::default(), 1);
    let picture = Picture::black(16, 16).unwrap();
    let mut reorder = Reorder::default();
    let mut ready = VecDeque::new();
    let mut late = 0;
    for _ in 0..2 {
        reorder.keyframe(None, &mut ready);
        for at in [0, 2, 1, 4, 3, 6, 5] {
            let slice = if at % 2 == 1 { SliceType::B } else { SliceType::P };
            reorder.slices([slice].into_iter());
            let decoded = Decoded {
                picture: picture.clone(),
                time: MediaTime::new(at, Timescale::VIDEO),
                capture: frames[0].capture,
                keyframe: at == 0,
            };
            late += reorder.push(decoded, &mut ready);
        }
    }
    reorder.flush(&mut ready);
    let shown: Vec<i64> = ready.iter().map(|picture| picture.time.ticks()).collect();
    assert_eq!(shown, [0, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(late, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_streams_end_in_errors_only(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        static FRAMES: Mutex<Vec<Frame>> = Mutex::new(Vec::new());
        let mut frames = {
            let mut cached = FRAMES.lock().unwrap();
            if cached.is_empty() {
                let small = encode::Settings { width: 160, height: 128, ..encode::Settings::default() };
                *cached = encoded(small, 20).0;
            }
            cached.clone()
        };
        for (which, at, value) in hits {
            let frame = which.get(&frames[..]).clone();
            let index = which.index(frames.len());
            let mut data = frame.data.to_vec();
            let at = at.index(data.len());
            data[at] = value;
            frames[index].data = Bytes::from(data);
        }
        let mut decoder = Decoder::new();
        for frame in &frames {
            let _ = decoder.decode(frame);
            while decoder.next().is_some() {}
        }
        let stats = decoder.stats();
        prop_assert_eq!(stats.decoded + stats.errors + stats.skipped + stats.late, 20);
    }
}
