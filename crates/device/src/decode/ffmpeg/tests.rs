//! The real FFmpeg, and programs in its place that are none.

use std::process::Command;
use std::sync::Mutex;
use std::thread;

use bytes::Bytes;
use media::annexb::{ByteStream, Ending};
use media::{Capture, CaptureSource, Clock as _, MediaTime, Timescale, TrackIndex, WallTime, h265};
use proptest::prelude::*;
use testkit::clock::SimClock;

use super::*;
use crate::picture::Picture;

fn run(program: &str, arguments: &str) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; install it"));
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A moving picture of 25 a second as H.265, and each of its pictures as FFmpeg decodes them, in order.
fn coded(size: (u32, u32), frames: usize, options: &str) -> (Vec<Frame>, Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.mp4");
    let file = file.to_str().unwrap();
    let (width, height) = size;
    run(
        "ffmpeg",
        &format!(
            "-v error -nostdin -f lavfi -i testsrc2=size={width}x{height}:rate=25 -frames:v {frames} -pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none:{options} {file}"
        ),
    );
    let stream = run(
        "ffmpeg",
        &format!("-v error -nostdin -i {file} -c copy -bsf:v hevc_mp4toannexb -f hevc -"),
    );
    let raw = run(
        "ffmpeg",
        &format!("-v error -nostdin -i {file} -pix_fmt yuv420p -f rawvideo -"),
    );
    let times = run(
        "ffprobe",
        &format!("-v error -show_entries packet=pts -of csv=p=0 {file}"),
    );
    let times = String::from_utf8(times).unwrap();
    let times: Vec<i64> = times
        .lines()
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let mut units = Vec::new();
    let mut reader = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit));
    reader.push(&stream, |unit| units.push(unit));
    reader.paused(|unit| units.push(unit));
    assert_eq!((units.len(), times.len()), (frames, frames));
    let units = units.into_iter().zip(times).map(|(unit, time)| {
        let number = sorted.binary_search(&time).unwrap() as i64;
        Frame {
            track: TrackIndex(0),
            time: MediaTime::new(900_000 + number * 3_600, Timescale::VIDEO),
            capture: Capture {
                at: WallTime::from_unix_micros(number),
                source: CaptureSource::Camera,
            },
            keyframe: unit.keyframe,
            format: unit.format,
            data: unit.data,
        }
    });
    let pictures = raw.chunks_exact((width * height * 3 / 2) as usize).map(<[u8]>::to_vec);
    (units.collect(), pictures.collect())
}

fn number(time: MediaTime) -> usize {
    usize::try_from((time.ticks() - 900_000) / 3_600).unwrap()
}

/// A decoder, and what comes out of it.
struct World {
    decoder: Decoder,
    come: Arc<Mutex<Vec<Decoded>>>,
    clock: SimClock,
}

impl World {
    fn new(program: &str, longer_side: Option<u32>) -> Self {
        let come: Arc<Mutex<Vec<Decoded>>> = Arc::default();
        let to = Arc::clone(&come);
        let wanted = Wanted {
            program: program.into(),
            longer_side,
        };
        Self {
            decoder: Decoder::new(wanted, Arc::new(move |decoded| to.lock().unwrap().push(decoded))),
            come,
            clock: SimClock::new(),
        }
    }

    fn decode(&mut self, frame: &Frame, is_for: Use) -> Result<(), Error> {
        self.decoder.decode(frame, is_for, self.clock.advance_ms(1))
    }

    /// So many pictures that came, waited for.
    fn pictures(&self, count: usize) -> Vec<Decoded> {
        self.waited(&format!("{count} pictures were"), |come| come.len() >= count)
    }

    /// All that came, waited for the one of this number.
    fn pictures_up_to(&self, last: usize) -> Vec<Decoded> {
        let is_there = |come: &[Decoded]| come.iter().any(|decoded| number(decoded.time) == last);
        self.waited(&format!("picture {last} was"), is_there)
    }

    fn waited(&self, what: &str, is_so: impl Fn(&[Decoded]) -> bool) -> Vec<Decoded> {
        for _ in 0..4_000 {
            let come = self.come.lock().unwrap();
            if is_so(&come) {
                return come.clone();
            }
            drop(come);
            thread::sleep(Duration::from_millis(5));
        }
        let come: Vec<usize> = self
            .come
            .lock()
            .unwrap()
            .iter()
            .map(|decoded| number(decoded.time))
            .collect();
        panic!("{what} to come, not {come:?}: {:?}", self.decoder.stats());
    }

    /// What becomes of a program that ends, waited for.
    fn error(&mut self, frame: &Frame) -> Error {
        for _ in 0..4_000 {
            if let Err(error) = self.decode(frame, Use::Shown) {
                return error;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it goes on")
    }
}

fn psnr(picture: &Picture, expected: &[u8]) -> f64 {
    assert_eq!(picture.as_bytes().len(), expected.len());
    let pairs = picture.as_bytes().iter().zip(expected);
    let sum: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / expected.len() as f64).max(1e-9)).log10()
}

#[test]
fn each_picture_comes_with_its_own_time() {
    for options in [
        "bframes=0:keyint=10",
        "bframes=3:keyint=30:open-gop=1",
        "bframes=4:b-adapt=0:keyint=15:open-gop=0",
    ] {
        let (frames, expected) = coded((320, 176), 60, options);
        let mut world = World::new("ffmpeg", None);
        for frame in &frames {
            world.decode(frame, Use::Shown).unwrap();
        }
        // Those that are held back come when the next ones do, or it is told that there are none.
        let (before, _) = world.decoder.process.take().unwrap();
        let _leaving = before.finish();
        let come = world.pictures(60);
        for (n, decoded) in come.iter().enumerate() {
            assert_eq!(
                (number(decoded.time), decoded.capture.at.unix_micros()),
                (n, n as i64),
                "{options}"
            );
            let psnr = psnr(&decoded.picture, &expected[n]);
            assert!(psnr > 50.0, "{options}: picture {n}: {psnr} dB");
        }
        let keyframes = |frames: &mut dyn Iterator<Item = bool>| frames.filter(|keyframe| *keyframe).count();
        assert_eq!(
            keyframes(&mut come.iter().map(|decoded| decoded.keyframe)),
            keyframes(&mut frames.iter().map(|frame| frame.keyframe))
        );
        assert_eq!(
            world.decoder.stats(),
            Stats {
                taken: 60,
                starts: 1,
                ..Stats::default()
            }
        );
    }
}

/// Times that are in another order than the pictures, as those of a burst are: behind them each has its own again. And a stream that goes on for an hour.
#[test]
fn times_in_a_wrong_order_are_made_up_for() {
    let (mut frames, _) = coded((320, 176), 60, "bframes=3:b-adapt=0:keyint=60");
    let first = frames[0].time;
    let numbers: Vec<usize> = frames.iter().map(|frame| number(frame.time)).collect();
    for (n, frame) in frames.iter_mut().enumerate() {
        if n < 20 {
            frame.time = first.offset_micros(1_000 * n as i64);
        }
        if n >= 40 {
            frame.time = frame.time.offset_micros(3_600_000_000);
        }
    }
    let mut world = World::new("ffmpeg", None);
    for frame in &frames {
        world.decode(frame, Use::Shown).unwrap();
    }
    let (before, _) = world.decoder.process.take().unwrap();
    let _leaving = before.finish();
    // Of those beside a step of time some are lost: pictures that are shown behind others, by times that are in front of theirs.
    let numbered = numbers.iter().zip(&frames);
    let sure: Vec<MediaTime> = numbered
        .filter(|(number, _)| (24..37).contains(*number) || **number >= 44)
        .map(|(_, frame)| frame.time)
        .collect();
    let missing = || -> Vec<MediaTime> {
        let come = world.come.lock().unwrap();
        let is_there = |time: &MediaTime| come.iter().any(|decoded| decoded.time == *time);
        sure.iter().copied().filter(|time| !is_there(time)).collect()
    };
    for _ in 0..4_000 {
        if missing().is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{:?} do not come", missing());
}

/// Nothing is held back that need not be: of a stream without reordering the picture is there before the next frame comes.
#[test]
fn a_picture_does_not_wait_for_the_next() {
    let (frames, _) = coded((320, 176), 10, "bframes=0:keyint=5");
    let mut world = World::new("ffmpeg", None);
    for (n, frame) in frames.iter().enumerate() {
        world.decode(frame, Use::Shown).unwrap();
        assert_eq!(number(world.pictures(n + 1)[n].time), n);
    }
}

#[test]
fn those_that_are_wanted_come_as_small_as_they_are_wanted() {
    let (frames, expected) = coded((640, 352), 50, "bframes=2:keyint=25");
    let mut world = World::new("ffmpeg", Some(160));
    for frame in &frames {
        let is_for = if number(frame.time).is_multiple_of(5) {
            Use::Shown
        } else {
            Use::Reference
        };
        world.decode(frame, is_for).unwrap();
    }
    let (before, _) = world.decoder.process.take().unwrap();
    let _leaving = before.finish();
    let come = world.pictures(10);
    for (n, decoded) in come.iter().enumerate() {
        assert_eq!(number(decoded.time), 5 * n);
        assert_eq!((decoded.picture.width(), decoded.picture.height()), (160, 88));
        let all = &expected[5 * n];
        let luma = 640 * 352;
        let whole =
            Picture::from_planes(640, 352, [&all[..luma], &all[luma..luma * 5 / 4], &all[luma * 5 / 4..]]).unwrap();
        let psnr = psnr(&decoded.picture, whole.scaled(160, 88).unwrap().as_bytes());
        assert!(psnr > 35.0, "picture {n}: {psnr} dB");
    }
}

/// Keyframes without those between them: each is shown when it is there, also of streams that reorder, and those that are no beginning (CRA) too.
#[test]
fn keyframes_alone_are_shown_at_once() {
    for options in [
        "bframes=0:keyint=10:open-gop=0",
        "bframes=3:keyint=10:open-gop=0",
        "bframes=3:keyint=10:open-gop=1",
    ] {
        let (frames, expected) = coded((320, 176), 60, options);
        let mut world = World::new("ffmpeg", None);
        let keyframes: Vec<&Frame> = frames.iter().filter(|frame| frame.keyframe).collect();
        assert!(keyframes.len() >= 5);
        for (n, keyframe) in keyframes.iter().enumerate() {
            world.decode(keyframe, Use::Alone).unwrap();
            let come = world.pictures(n + 1);
            let at = number(keyframe.time);
            assert_eq!(number(come[n].time), at, "{options}");
            assert!(psnr(&come[n].picture, &expected[at]) > 50.0, "{options}");
        }
        // What is no keyframe is of no use then.
        world.decode(&frames[1], Use::Shown).unwrap();
        assert_eq!(world.decoder.stats().skipped, 1);
        assert_eq!(world.decoder.stats().starts, 1);
    }
}

#[test]
fn a_stream_may_change_its_size_and_begin_anew() {
    let (first, _) = coded((320, 176), 20, "bframes=2:keyint=10");
    let (second, _) = coded((160, 96), 20, "bframes=2:keyint=10");
    let mut world = World::new("ffmpeg", None);
    // Other parameter sets, and then times that begin before those.
    for (part, frames) in [&first, &second, &first].into_iter().enumerate() {
        world.clock.advance(FIRST_WAIT);
        for (n, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            if frame.format.dimensions() == Some((160, 96)) {
                frame.time = frame.time.offset_micros(60_000_000);
            }
            world.decode(&frame, Use::Shown).unwrap();
            if n == 0 {
                // Those of the one before are there before this one gives some: its first is held back.
                world.pictures(20 * part);
            }
        }
    }
    let (before, _) = world.decoder.process.take().unwrap();
    let _leaving = before.finish();
    let come = world.pictures(60);
    let of_width = |width: u32| come.iter().filter(|decoded| decoded.picture.width() == width).count();
    assert_eq!((of_width(320), of_width(160)), (40, 20));
    assert_eq!(world.decoder.stats().starts, 3);
}

/// Behind a gap nothing is shown that refers to what is missing, also not what a keyframe has in front of it.
#[test]
fn after_a_gap_it_goes_on_at_a_keyframe() {
    let (frames, expected) = coded((320, 176), 60, "bframes=3:b-adapt=0:keyint=20:open-gop=1");
    let mut world = World::new("ffmpeg", None);
    for (n, frame) in frames.iter().enumerate() {
        if n == 7 {
            world.decoder.discontinuity();
        }
        if !(7..12).contains(&n) {
            world.decode(frame, Use::Shown).unwrap();
        }
    }
    let (before, _) = world.decoder.process.take().unwrap();
    let _leaving = before.finish();
    let second = frames.iter().filter(|frame| frame.keyframe).nth(1).unwrap();
    // Of those in front of the gap the last are held back for others that never come: four of seven are shown, or five, as FFmpeg's threads stand.
    let behind = number(second.time)..60;
    let come = world.pictures_up_to(59);
    let shown: Vec<usize> = come.iter().map(|decoded| number(decoded.time)).collect();
    let in_front = shown.len() - behind.len();
    assert!(
        shown.ends_with(&behind.collect::<Vec<_>>()) && (4..=7).contains(&in_front),
        "{shown:?}"
    );
    for decoded in &come {
        let n = number(decoded.time);
        let psnr = psnr(&decoded.picture, &expected[n]);
        assert!(psnr > 50.0, "picture {n}: {psnr} dB");
    }
    assert_eq!(world.decoder.stats().starts, 1);
}

/// A program that is called as FFmpeg is, and does something else.
#[cfg(unix)]
fn program(script: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ffmpeg").to_str().unwrap().to_owned();
    // Written by another process: one that is started meanwhile by another test would hold it open, and it could not be run.
    let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod +x \"$1\"";
    let written = Command::new("sh")
        .args(["-c", write, "sh", &path, script])
        .status()
        .unwrap();
    assert!(written.success());
    (folder, path)
}

/// Nobody has FFmpegs started as often as keyframes come, and none is left that nobody ends.
#[cfg(target_os = "linux")]
#[test]
fn whoever_changes_parameter_sets_all_the_time_has_two_at_the_most() {
    let (first, _) = coded((160, 96), 1, "bframes=0");
    let (second, _) = coded((320, 176), 1, "bframes=0");
    let (folder, program) = program("echo $$ >> \"${0%/*}/pids\"; exec sleep 1000");
    let alive = || {
        let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
        let is_alive = |pid: &&str| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        pids.lines().filter(is_alive).count()
    };
    let wait_for = |most: usize| {
        let is_so = (0..4_000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            alive() <= most
        });
        assert!(is_so, "{} are alive", alive());
    };
    let mut world = World::new(&program, None);
    for n in 0..253 {
        let mut frame = if n % 2 == 0 { &first[0] } else { &second[0] }.clone();
        frame.time = frame.time.offset_micros(16_000 * n);
        // More than its pipe holds.
        frame.data = Bytes::from(vec![0; 1 << 20]);
        world.clock.advance_ms(15);
        world.decode(&frame, Use::Shown).unwrap();
    }
    // Of 4.05 s.
    assert_eq!(world.decoder.stats().starts, 5);
    wait_for(2);
    // What does not even read is not waited for without end.
    world.clock.advance(STANDS_STILL);
    world.decoder.look_after(world.clock.now()).unwrap();
    assert!(world.decoder.leaving.is_none());
    wait_for(1);
    drop(world);
    wait_for(0);
}

#[test]
fn what_is_older_than_the_newest_picture_is_not_shown() {
    let world = World::new("ffmpeg", None);
    let sink = |number| in_turn(Arc::clone(&world.decoder.sink), Arc::clone(&world.decoder.turn), number);
    let picture = |number: i64| Decoded {
        picture: Picture::black(16, 16).unwrap(),
        time: MediaTime::new(900_000 + number * 3_600, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Camera,
        },
        keyframe: false,
    };
    let (before, after) = (sink(0), sink(1));
    before(picture(0));
    after(picture(2));
    before(picture(1));
    after(picture(3));
    let shown: Vec<usize> = world.pictures(3).iter().map(|decoded| number(decoded.time)).collect();
    assert_eq!(shown, [0, 2, 3]);
}

/// What waits too long goes when a keyframe comes, which is then as one behind a gap: nothing is shown that refers to what is missing.
#[cfg(unix)]
#[test]
fn a_keyframe_behind_what_was_late_begins_anew() {
    let (frames, _) = coded((160, 96), 1, "bframes=0");
    let script = "cd \"${0%/*}\"; until [ -e go ]; do sleep 0.01; done; cat > all; mv all whole";
    let (folder, program) = program(script);
    let mut world = World::new(&program, None);
    let large = |value: u8, keyframe: bool, at_us: i64| Frame {
        keyframe,
        time: frames[0].time.offset_micros(at_us),
        // More than its pipe holds.
        data: Bytes::from(vec![value; 1 << 20]),
        ..frames[0].clone()
    };
    world.decode(&large(1, true, 0), Use::Shown).unwrap();
    while world.decoder.process.as_ref().unwrap().0.has_waiting() {
        thread::sleep(Duration::from_millis(5));
    }
    world.decode(&large(2, false, 40_000), Use::Shown).unwrap();
    world.decode(&large(3, false, 80_000), Use::Shown).unwrap();
    world.clock.advance(inbox::MOST_WAIT);
    world.decode(&large(4, true, 200_000), Use::Shown).unwrap();
    world.decode(&large(5, false, 120_000), Use::Shown).unwrap();
    world.decode(&large(6, false, 240_000), Use::Shown).unwrap();
    let stats = Stats {
        taken: 5,
        skipped: 1,
        late: 2,
        starts: 1,
    };
    assert_eq!(world.decoder.stats(), stats);
    std::fs::write(folder.path().join("go"), "").unwrap();
    let (before, _) = world.decoder.process.take().unwrap();
    let _leaving = before.finish();
    let whole = (0..4_000).find_map(|_| {
        thread::sleep(Duration::from_millis(5));
        std::fs::read(folder.path().join("whole")).ok()
    });
    let whole = whole.expect("it took all of it");
    // Ends of a sequence, and what follows each.
    let ends = whole
        .windows(7)
        .filter(|bytes| bytes.starts_with(&[0, 0, 0, 2, 36 << 1, 1]));
    assert_eq!(ends.map(|bytes| bytes[6]).collect::<Vec<u8>>(), [1, 4]);
    assert!(whole.ends_with(&[6]) && !whole.windows(9).any(|bytes| bytes == [2; 9] || bytes == [5; 9]));
}

#[cfg(unix)]
#[test]
fn what_is_no_ffmpeg_is_said_and_tried_again_later() {
    let (frames, _) = coded((160, 96), 2, "bframes=0");
    let mut missing = World::new("/nowhere/ffmpeg", None);
    let error = missing.decode(&frames[0], Use::Shown).unwrap_err();
    assert!(
        matches!(&error, Error::Start { program, .. } if program == "/nowhere/ffmpeg"),
        "{error}"
    );
    assert!(error.to_string().contains("apt install ffmpeg"), "{error}");
    // For a second, then for two, nobody tries.
    for (wait_ms, is_tried) in [(100, false), (1_000, true), (1_000, false), (1_100, true)] {
        missing.clock.advance_ms(wait_ms);
        assert_eq!(
            missing.decode(&frames[0], Use::Shown).is_err(),
            is_tried,
            "{wait_ms} ms"
        );
    }
    // One that ends, one that says why, one that gives what nobody asked for, one with another clock.
    for (script, why) in [
        ("exit 1", "it said nothing"),
        ("echo '[fatal] no such thing' >&2", "no such thing"),
        ("exec cat /dev/zero", "does not say when its pictures are shown"),
        // Of more pictures than there are.
        (
            "for n in $(seq 400); do echo \"[Parsed_showinfo_2 @ 0x1] [info] n: $n pts: $n x\"; done >&2; exit 1",
            "it said nothing",
        ),
        (
            "echo '[Parsed_showinfo_2 @ 0x1] [info] config in time_base: 1/90000, x' >&2; sleep 1000",
            "its clock has 90000/1 ticks a second and not 2000000",
        ),
    ] {
        let (_folder, program) = program(script);
        let mut world = World::new(&program, None);
        let error = world.error(&frames[0]);
        assert!(
            matches!(&error, Error::Ended(words) if words.contains(why)),
            "{script}: {error}"
        );
        assert!(world.come.lock().unwrap().is_empty());
    }
    let mut other = frames[0].clone();
    other.format = Arc::new(Format::H264(media::h264::Format::default()));
    assert_eq!(missing.decode(&other, Use::Shown), Err(Error::NotH265("H.264")));
    other.format = Arc::new(Format::H265(h265::Format::default()));
    missing.clock.advance_ms(100_000);
    assert!(matches!(missing.decode(&other, Use::Shown), Err(Error::Size(_))));
}

/// It takes nothing and gives nothing.
#[cfg(unix)]
#[test]
fn one_that_stands_still_is_ended() {
    let (frames, _) = coded((160, 96), 2, "bframes=0");
    let (_folder, program) = program("exec sleep 1000");
    let mut world = World::new(&program, None);
    // More than its pipe holds.
    let mut large = frames[0].clone();
    large.data = Bytes::from(vec![0; 1 << 20]);
    world.decode(&large, Use::Shown).unwrap();
    while world.decoder.process.as_ref().unwrap().0.has_waiting() {
        thread::sleep(Duration::from_millis(5));
    }
    world.decode(&large, Use::Shown).unwrap();
    world.clock.advance(STANDS_STILL / 2);
    world.decode(&large, Use::Shown).unwrap();
    world.clock.advance(STANDS_STILL);
    assert_eq!(world.decode(&large, Use::Shown), Err(Error::StoodStill));
    assert!(world.decoder.process.is_none());
}

#[test]
fn sizes_are_even_and_of_the_same_shape() {
    for (size, longer, expected) in [
        ((1_920, 1_080), None, (1_920, 1_080)),
        ((1_920, 1_080), Some(160), (160, 90)),
        ((1_080, 1_920), Some(160), (90, 160)),
        ((100, 50), Some(160), (100, 50)),
        ((8_192, 16), Some(160), (160, 16)),
        ((640, 480), Some(0), (16, 16)),
        ((640, 480), Some(321), (320, 240)),
    ] {
        assert_eq!(shown_size(size, longer), expected, "{size:?} {longer:?}");
        assert!(Picture::black(expected.0, expected.1).is_some());
    }
}

#[test]
fn the_longer_it_fails_the_longer_is_waited() {
    let clock = SimClock::new();
    let mut backoff = Backoff::default();
    let mut waits = Vec::new();
    for _ in 0..8 {
        backoff.started(clock.now());
        backoff.failed(clock.now());
        let mut seconds = 0;
        while !backoff.is_over(clock.now()) {
            clock.advance_ms(1_000);
            seconds += 1;
        }
        waits.push(seconds);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    backoff.started(clock.now());
    clock.advance(GOES_WELL);
    backoff.failed(clock.now());
    clock.advance_ms(1_000);
    assert!(backoff.is_over(clock.now()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// However a stream is damaged: each picture is one of its own, in order, and behind the damage there are some again.
    #[test]
    fn damage_ends_with_the_next_keyframe(hits in prop::collection::vec((0_usize..40, any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        static CODED: Mutex<Vec<Frame>> = Mutex::new(Vec::new());
        let mut frames = {
            let mut cached = CODED.lock().unwrap();
            if cached.is_empty() {
                *cached = coded((160, 96), 80, "bframes=2:keyint=20:open-gop=0").0;
            }
            cached.clone()
        };
        for (which, at, value) in hits {
            let mut data = frames[which].data.to_vec();
            let at = at.index(data.len());
            data[at] = value;
            frames[which].data = Bytes::from(data);
        }
        let mut world = World::new("ffmpeg", None);
        for frame in &frames {
            // It may have ended of it, which is said.
            if world.decode(frame, Use::Shown).is_err() {
                world.clock.advance_ms(100_000);
            }
        }
        if let Some((before, _)) = world.decoder.process.take() {
            let _leaving = before.finish();
            for _ in 0..2_000 {
                if world.come.lock().unwrap().iter().any(|decoded| number(decoded.time) == 79) {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let come: Vec<usize> = world.come.lock().unwrap().iter().map(|decoded| number(decoded.time)).collect();
            prop_assert!(come.is_sorted(), "{come:?}");
            prop_assert!(come.contains(&79), "{come:?}");
        }
    }
}

/// As filmstrips ask for them: one behind the other, each when it is there, all by one FFmpeg; and by themselves where that does not work.
#[test]
fn keyframes_one_after_the_other() {
    use crate::decode::{Keyframes, StillError, keyframe};

    let (frames, expected) = coded((320, 176), 60, "bframes=3:keyint=10:open-gop=1");
    let clock = SimClock::new();
    let mut keyframes = Keyframes::new(Some("ffmpeg".into()));
    let mut all = 0;
    for frame in frames.iter().filter(|frame| frame.keyframe) {
        let picture = keyframes.decode(frame, clock.advance_ms(1)).unwrap();
        let psnr = psnr(&picture, &expected[number(frame.time)]);
        assert!(psnr > 50.0, "{psnr} dB");
        all += 1;
    }
    assert!(all >= 5);
    let mut broken = frames[0].clone();
    broken.data = Bytes::from_static(&[0, 0, 0, 3, 0x26, 1, 0xaf]);
    assert!(matches!(
        keyframes.decode(&broken, clock.now()),
        Err(StillError::Ffmpeg { .. })
    ));
    assert!(keyframes.decode(&frames[0], clock.now()).is_ok());
    assert_eq!(
        keyframes.decode(&frames[1], clock.now()),
        keyframe(&frames[1], Some(std::path::Path::new("ffmpeg")))
    );
    let missing = Keyframes::new(None).decode(&frames[0], clock.now());
    assert!(matches!(missing, Err(StillError::NoFfmpeg { .. })));
}

/// Those that are damaged cost no FFmpeg that would have to get warm anew.
#[cfg(unix)]
#[test]
fn damaged_keyframes_leave_the_others_their_ffmpeg() {
    use crate::decode::{Keyframes, StillError};

    let (frames, expected) = coded((320, 176), 60, "bframes=0:keyint=10");
    let (folder, program) = program("echo \"$*\" >> \"${0%/*}/runs\"; exec ffmpeg \"$@\"");
    let clock = SimClock::new();
    let mut keyframes = Keyframes::new(Some(program.into()));
    for (n, frame) in frames.iter().filter(|frame| frame.keyframe).enumerate() {
        let mut frame = frame.clone();
        let is_broken = (1..=3).contains(&n);
        if is_broken {
            frame.data = Bytes::from_static(&[0, 0, 0, 3, 0x26, 1, 0xaf]);
        }
        match keyframes.decode(&frame, clock.advance_ms(400)) {
            Ok(picture) => assert!(!is_broken && psnr(&picture, &expected[number(frame.time)]) > 50.0),
            Err(error) => assert!(is_broken && matches!(error, StillError::Ffmpeg { .. }), "{error}"),
        }
    }
    let runs = std::fs::read_to_string(folder.path().join("runs")).unwrap();
    assert_eq!(runs.lines().filter(|run| run.contains("showinfo")).count(), 1, "{runs}");
}
