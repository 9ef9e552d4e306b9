//! Made pictures, encoded and decoded again.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use device::encode::{self, Encoder as _, OpenH264};
use device::picture::{FrameRate, Picture};
use device::source::Taken;
use media::annexb::{self, ByteStream, Ending};
use media::h264::{self, AccessUnits};
use media::h265;
use media::{Capture, CaptureSource, Timescale};
use testkit::clock::SimClock;

use super::*;

const SIZE: (u32, u32) = (320, 240);
const PICTURES: u32 = 10;
const SECONDS: u32 = 24;
/// A box passes from left to right meanwhile: pictures.
const MOVES: std::ops::Range<u32> = 120..160;

/// A grey wall with some noise, and what passes in front of it.
fn picture(number: u32) -> Picture {
    let mut picture = Picture::black(SIZE.0, SIZE.1).unwrap();
    let [luma, ..] = picture.planes_mut();
    let mut bits = u64::from(number) + 1;
    for pixel in luma.iter_mut() {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *pixel = 96 + (bits >> 61) as u8;
    }
    if MOVES.contains(&number) {
        let left = ((number - MOVES.start) * 6) as usize;
        for row in luma.chunks_mut(SIZE.0 as usize).skip(90).take(70) {
            row[left..left + 40].fill(200);
        }
    }
    picture
}

/// All of it, with a keyframe a second.
fn frames(clock: &SimClock) -> Vec<Frame> {
    let stream = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&stream);
    let output = move |unit: encode::AccessUnit<'_>| {
        let mut stream = to.lock().unwrap();
        unit.nals.iter().for_each(|nal| annexb::push_annex_b(nal, &mut stream));
    };
    let settings = encode::Settings {
        width: SIZE.0,
        height: SIZE.1,
        fps: FrameRate::whole(PICTURES),
        gop_frames: PICTURES,
        ..encode::Settings::default()
    };
    let mut encoder = OpenH264::new(settings, Box::new(output)).unwrap();
    for number in 0..PICTURES * SECONDS {
        let (at, source) = (clock.now(), CaptureSource::Camera);
        encoder.encode(&picture(number), Taken { at, source }).unwrap();
    }
    drop(encoder);
    let mut units = Vec::new();
    let mut reader = ByteStream::new(AccessUnits::new(h264::Format::default(), Ending::NextUnit));
    reader.push(&stream.lock().unwrap(), |unit| units.push(unit));
    reader.paused(|unit| units.push(unit));
    frames_of(units, clock)
}

/// Access units as they come, one behind the other.
fn frames_of(units: Vec<annexb::AccessUnit>, clock: &SimClock) -> Vec<Frame> {
    let frame = |(number, unit): (i64, annexb::AccessUnit)| Frame {
        track: TrackIndex(0),
        time: MediaTime::new(number * 90_000 / i64::from(PICTURES), Timescale::VIDEO),
        capture: Capture {
            at: clock.wall(),
            source: CaptureSource::Arrival,
        },
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    };
    (0..).zip(units).map(frame).collect()
}

/// Looks at frames as they come, and says how often something began and ended, and where the last was.
fn watch(looker: &mut Looker, frames: &[Frame], clock: &SimClock) -> Vec<(WallTime, Event)> {
    let mut told = Vec::new();
    let mut note = |seen: Seen| {
        for event in &seen.events {
            let (Event::Began { at, .. } | Event::Second { at, .. } | Event::Ended { at, .. }) = event;
            told.push((seen.wall_of(*at), event.clone()));
        }
    };
    for frame in frames {
        clock.advance_ms(1_000 / u64::from(PICTURES));
        looker
            .look([(frame, clock.now())], clock)
            .into_iter()
            .for_each(&mut note);
    }
    looker.interrupt().into_iter().for_each(&mut note);
    told
}

#[test]
fn what_moves_is_seen_when_it_does() {
    let clock = SimClock::new();
    let frames = frames(&clock);
    for (mode, decoded, looks) in [(Mode::Full, 240, 120), (Mode::Thrifty, 24, 24)] {
        let mut looker = Looker::new(mode, motion::Settings::default(), clock.now(), None);
        let begun = clock.wall();
        let told = watch(&mut looker, &frames, &clock);
        let counts = looker.counts();
        assert_eq!((counts.decoded, counts.failures, counts.late), (decoded, 0, 0));
        assert!(counts.looks.abs_diff(looks) <= 1, "{counts:?}");
        let of = |is: fn(&Event) -> bool| -> Vec<f64> {
            let found = told.iter().filter(|(_, event)| is(event));
            found.map(|(at, _)| at.micros_since(begun) as f64 / 1e6).collect()
        };
        let began = of(|event| matches!(event, Event::Began { .. }));
        let ended = of(|event| matches!(event, Event::Ended { .. }));
        let ([began], [ended]) = (&began[..], &ended[..]) else {
            panic!("{mode}: {told:?}")
        };
        assert!(
            (11.5..14.5).contains(began) && (14.5..17.5).contains(ended),
            "{mode}: {began} to {ended}"
        );
    }
}

#[test]
fn who_is_behind_goes_on_at_a_keyframe_and_says_so() {
    let clock = SimClock::new();
    let frames = frames(&clock);
    let mut looker = Looker::new(Mode::Full, motion::Settings::default(), clock.now(), None);
    watch(&mut looker, &frames[..15], &clock);
    assert_eq!(looker.counts().decoded, 15);
    // Published long ago: what is no keyframe is left out, also what follows it and is on time.
    let long_ago = clock.now();
    clock.advance(LATE + Duration::from_millis(1));
    looker.look(frames[15..18].iter().map(|frame| (frame, long_ago)), &clock);
    looker.look([(&frames[18], clock.now())], &clock);
    assert_eq!(
        (looker.counts().decoded, looker.counts().late),
        (15, 0),
        "it had been interrupted"
    );
    looker.look([(&frames[20], clock.now()), (&frames[21], clock.now())], &clock);
    assert_eq!(looker.counts().decoded, 17);
    looker.look([(&frames[22], long_ago), (&frames[23], clock.now())], &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (17, 2));
    // What the hub left out counts as well.
    looker.look([(&frames[30], clock.now())], &clock);
    looker.skip(5);
    looker.look([(&frames[36], clock.now()), (&frames[40], clock.now())], &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (19, 8));
}

#[test]
fn damage_is_not_being_late() {
    let clock = SimClock::new();
    let mut frames = frames(&clock);
    let whole = frames[5].data.clone();
    // The length of its unit is more than there is of it.
    frames[5].data = whole.slice(..whole.len() / 2);
    let mut looker = Looker::new(Mode::Full, motion::Settings::default(), clock.now(), None);
    watch(&mut looker, &frames[..30], &clock);
    let counts = looker.counts();
    assert_eq!(counts.late, 0);
    assert!(
        counts.decoded >= 25 && counts.decoded + counts.failures <= 30,
        "{counts:?}"
    );
    // Sound and what is not H.264 are passed over.
    let mut other = frames[40].clone();
    other.track = TrackIndex(1);
    looker.look([(&frames[30], clock.now()), (&other, clock.now())], &clock);
    assert_eq!(looker.counts().decoded, counts.decoded + 1);
}

/// A stream begins with all since its keyframe, which may be long ago: that is no reason to say that this machine is too slow.
#[test]
fn what_was_there_before_is_not_too_late() {
    let clock = SimClock::new();
    let mut frames = frames(&clock);
    // Of one keyframe.
    frames
        .iter_mut()
        .skip(1)
        .for_each(|frame| frame.keyframe = frame.keyframe && frame.time.ticks() > 9_000 * 100);
    let begun = clock.now();
    clock.advance(Duration::from_secs(5));
    let joined = clock.now();
    let published = |number: u64| begun + Duration::from_millis(100 * number);
    let mut looker = Looker::new(Mode::Full, motion::Settings::default(), joined, None);
    looker.look((0..10).map(|n| (&frames[n as usize], published(n))), &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (10, 0));
    // Where it does not come to them in time either, it goes on at a keyframe, and that is all.
    clock.advance(LATE + Duration::from_millis(1));
    looker.look((10..60).map(|n| (&frames[n as usize], published(n))), &clock);
    looker.look([(&frames[70], clock.now())], &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (10, 0));
    looker.look([(&frames[110], clock.now())], &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (11, 0));
    // From now on it is.
    let before = clock.now();
    clock.advance(LATE + Duration::from_millis(1));
    looker.look([(&frames[111], before), (&frames[112], clock.now())], &clock);
    assert_eq!((looker.counts().decoded, looker.counts().late), (11, 2));
}

/// The same as H.265, with a keyframe a second.
fn h265_frames(clock: &SimClock) -> Vec<Frame> {
    let mut command = Command::new("ffmpeg");
    command.args("-v error -nostdin -f rawvideo -pix_fmt yuv420p".split(' '));
    command.args([
        "-s",
        &format!("{}x{}", SIZE.0, SIZE.1),
        "-r",
        &PICTURES.to_string(),
        "-i",
        "-",
    ]);
    command.args("-c:v libx265 -preset ultrafast -x265-params".split(' '));
    command.arg(format!(
        "log-level=none:bframes=0:scenecut=0:keyint={PICTURES}:min-keyint={PICTURES}"
    ));
    command
        .args(["-f", "hevc", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut ffmpeg = command.spawn().expect("install ffmpeg");
    let mut input = ffmpeg.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        (0..PICTURES * SECONDS).for_each(|number| input.write_all(picture(number).as_bytes()).unwrap());
    });
    let stream = ffmpeg.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    let mut units = Vec::new();
    let mut reader = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit));
    reader.push(&stream, |unit| units.push(unit));
    reader.paused(|unit| units.push(unit));
    assert_eq!(units.len() as u32, PICTURES * SECONDS);
    frames_of(units, clock)
}

#[test]
fn what_moves_is_seen_in_h265_by_one_ffmpeg() {
    let clock = SimClock::new();
    let frames = h265_frames(&clock);
    for (mode, decoded, looks) in [(Mode::Full, 240, 120), (Mode::Thrifty, 24, 24)] {
        let ffmpeg = crate::stills::ffmpeg();
        assert!(ffmpeg.is_some(), "install ffmpeg");
        let mut looker = Looker::new(mode, motion::Settings::default(), clock.now(), ffmpeg);
        let mut seen = Vec::new();
        let mut tries = 0;
        // All of it at once, by this clock; its pictures come by another.
        for second in frames.chunks(PICTURES as usize) {
            seen.extend(looker.look(second.iter().map(|frame| (frame, clock.now())), &clock));
        }
        while looker.counts().looks + 2 < looks && tries < 4_000 {
            tries += 1;
            std::thread::sleep(Duration::from_millis(5));
            seen.extend(looker.look([], &clock));
        }
        let counts = looker.counts();
        assert_eq!((counts.failures, counts.late), (0, 0), "{mode}");
        assert_eq!(counts.decoded, decoded, "{mode}");
        assert!(counts.looks.abs_diff(looks) <= 2, "{mode}: {counts:?}");
        assert_eq!(looker.trouble(), None);
        let of = |is: fn(&Event) -> Option<MediaTime>| -> Vec<f64> {
            let events = seen.iter().flat_map(|seen| &seen.events);
            events.filter_map(is).map(|at| at.as_micros() as f64 / 1e6).collect()
        };
        let began = of(|event| match event {
            Event::Began { at, .. } => Some(*at),
            _ => None,
        });
        let ended = of(|event| match event {
            Event::Ended { at, .. } => Some(*at),
            _ => None,
        });
        let ([began], [ended]) = (&began[..], &ended[..]) else {
            panic!("{mode}: {began:?} {ended:?}")
        };
        assert!(
            (11.5..14.5).contains(began) && (14.5..17.5).contains(ended),
            "{mode}: {began} to {ended}"
        );
    }
}

/// What an FFmpeg has not worked through of what a stream begins with goes at the next keyframe: that is no reason to say that this machine is too slow. Later it is.
#[cfg(unix)]
#[test]
fn an_ffmpeg_may_take_its_time_for_what_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ffmpeg");
    // Written by another process: one that another test starts meanwhile would hold it open, and it could not be run.
    let write = "printf '#!/bin/sh\nexec sleep 1000\n' > \"$1\" && chmod +x \"$1\"";
    let written = Command::new("sh").args(["-c", write, "sh"]).arg(&program).status();
    assert!(written.unwrap().success());
    let clock = SimClock::new();
    let first = h265_frames(&clock).swap_remove(0);
    let frame = |number: i64| Frame {
        keyframe: number % 10 == 0,
        time: MediaTime::new(number * 9_000, Timescale::VIDEO),
        // More than the pipe holds.
        data: vec![0; 1 << 17].into(),
        ..first.clone()
    };
    let mut looker = Looker::new(Mode::Full, motion::Settings::default(), clock.now(), Some(program));
    // Its first keyframe comes later.
    clock.advance(BEGINS_WITHIN / 2);
    let mut look = |numbers: std::ops::Range<i64>| {
        let frames: Vec<Frame> = numbers.map(frame).collect();
        looker.look(frames.iter().map(|frame| (frame, clock.now())), &clock);
        looker.counts()
    };
    assert_eq!(look(0..10).decoded, 10);
    clock.advance(Duration::from_secs(2));
    assert_eq!(look(10..20).late, 0, "it begins");
    clock.advance(BEGINS_WITHIN / 2 - Duration::from_secs(2));
    let counts = look(20..21);
    assert!(counts.late >= 9 && counts.failures == 0, "{counts:?}");
}

/// Whatever is called FFmpeg: it is said, and tried again some time.
#[test]
fn an_ffmpeg_that_does_not_work_is_said() {
    let clock = SimClock::new();
    let frames = h265_frames(&clock);
    let mut looker = Looker::new(
        Mode::Thrifty,
        motion::Settings::default(),
        clock.now(),
        Some("/nowhere/ffmpeg".into()),
    );
    looker.look(frames.iter().take(20).map(|frame| (frame, clock.now())), &clock);
    assert!(
        looker.trouble().is_some_and(|why| why.contains("/nowhere/ffmpeg")),
        "{:?}",
        looker.trouble()
    );
    assert_eq!((looker.counts().failures, looker.counts().looks), (1, 0));
    // Without one they are passed over.
    let mut looker = Looker::new(Mode::Thrifty, motion::Settings::default(), clock.now(), None);
    looker.look(frames.iter().map(|frame| (frame, clock.now())), &clock);
    assert_eq!(looker.counts(), Counts::default());
}
