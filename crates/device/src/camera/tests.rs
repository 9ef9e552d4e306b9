use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use media::annexb::Ending;
use media::h264::{self, AccessUnits};
use media::{CaptureSource, sei, stamp};
use testkit::clock::SimClock;

use super::*;
use crate::decode::{Decoded, Decoder};
use crate::encode::{Encoder, OpenH264};
use crate::picture::Picture;
use crate::source::test_pattern::{Pattern, Scene};
use crate::source::{Captured, Description, Error, Kind, Opening, Source, Taken, Wanted};

/// The clocks of this machine.
pub(super) struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "here it is handed down from")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "here it is handed down from")]
    fn wall(&self) -> WallTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WallTime::from_unix_micros(media::time::micros(since.unwrap()))
    }
}

/// What the source does from one opening on.
#[derive(Clone, Debug)]
enum Act {
    /// Cannot be opened.
    Refuse,
    /// Gives so many pictures of that size at 100 a second, then fails.
    Pictures(u32, u32, u32),
    /// Gives so many access units of its own at 100 a second, then fails; raw pictures where those are wanted and it has some.
    Units(u32, bool),
    /// Gives nothing.
    Silence,
    /// Takes that long to open.
    Slow(Duration),
    /// Panics when read.
    Panic,
}

/// A source that follows a script, and repeats its last act for ever.
struct Scripted {
    acts: VecDeque<Act>,
    /// Held open by each opened source, so that a leak shows.
    device: PathBuf,
    log: Arc<Log>,
}

/// What was done to a source.
#[derive(Default)]
struct Log {
    opened: AtomicUsize,
    wanted: Mutex<Vec<Wanted>>,
    brightness: Mutex<Vec<i32>>,
}

impl Scripted {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self {
            acts: acts.into_iter().collect(),
            device: PathBuf::from("/dev/null"),
            log: Arc::default(),
        }
    }
}

struct Playing {
    act: Act,
    left: u32,
    scene: Option<Scene>,
    units: VecDeque<media::annexb::AccessUnit>,
    with: Opening,
    description: Description,
    log: Arc<Log>,
    _descriptor: std::fs::File,
}

impl Open for Scripted {
    fn name(&self) -> String {
        "scripted".to_owned()
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        self.log.opened.fetch_add(1, SeqCst);
        self.log.wanted.lock().unwrap().push(with.wanted);
        let act = if self.acts.len() > 1 {
            self.acts.pop_front()
        } else {
            self.acts.front().cloned()
        };
        let mut act = act.unwrap();
        match act {
            Act::Refuse => return Err(Error::retryable("no camera", "it is unplugged", "plug it in")),
            Act::Slow(time) => thread::sleep(time),
            Act::Units(count, true) if with.wanted.raw => act = Act::Pictures(count, 160, 128),
            _ => {}
        }
        let (left, size, kind) = match act {
            Act::Pictures(left, width, height) => (left, (width, height), Kind::Raw),
            Act::Units(left, _) => (left, (320, 240), Kind::Coded),
            _ => (u32::MAX, (0, 0), Kind::Raw),
        };
        let units = if kind == Kind::Coded {
            coded(320, 240, left)
        } else {
            VecDeque::new()
        };
        Ok(Box::new(Playing {
            description: Description {
                text: format!("scripted {act:?}"),
                kind,
                width: size.0,
                height: size.1,
                fps: with.wanted.fps,
            },
            scene: Scene::new(Pattern::Bars, size.0, size.1),
            act,
            left,
            units,
            with: with.clone(),
            log: Arc::clone(&self.log),
            _descriptor: std::fs::File::open(&self.device).unwrap(),
        }))
    }
}

impl Source for Playing {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        match self.act {
            Act::Panic => panic!("scripted panic"),
            Act::Pictures(..) | Act::Units(..) => thread::sleep(Duration::from_millis(10)),
            _ => {
                thread::sleep(timeout);
                return Ok(None);
            }
        }
        if self.left == 0 {
            return Err(Error::retryable(
                "the camera is gone",
                "it was unplugged",
                "plug it in again",
            ));
        }
        self.left -= 1;
        let taken = Taken {
            at: self.with.clock.now(),
            source: CaptureSource::Camera,
        };
        if let Some(unit) = self.units.pop_front() {
            return Ok(Some(Captured::AccessUnit { unit, taken }));
        }
        let (width, height) = (self.description.width, self.description.height);
        let mut picture = self.with.pool.take(width, height).unwrap();
        self.scene
            .as_mut()
            .unwrap()
            .draw(&mut picture, Duration::from_millis(u64::from(self.left) * 10));
        Ok(Some(Captured::Picture { picture, taken }))
    }

    fn set_brightness(&mut self, value: i32) -> bool {
        self.log.brightness.lock().unwrap().push(value);
        true
    }
}

/// Access units as a camera makes them: a keyframe every five, the first of them missing.
fn coded(width: u32, height: u32, count: u32) -> VecDeque<media::annexb::AccessUnit> {
    let settings = encode::Settings {
        width,
        height,
        gop_frames: 5,
        ..encode::Settings::default()
    };
    let units = Arc::new(Mutex::new(VecDeque::new()));
    let to = Arc::clone(&units);
    let mut assembler = AccessUnits::new(h264::Format::default(), Ending::Told);
    let output = move |unit: encode::AccessUnit<'_>| {
        for nal in unit.nals {
            assembler.push(nal);
        }
        to.lock().unwrap().extend(assembler.finish());
    };
    let mut encoder = OpenH264::new(settings, Box::new(output)).unwrap();
    let mut scene = Scene::new(Pattern::Bars, width, height).unwrap();
    let mut picture = Picture::black(width, height).unwrap();
    for n in 0..=u64::from(count) {
        scene.draw(&mut picture, Duration::from_millis(n * 10));
        let (at, source) = (RealClock.now(), CaptureSource::Camera);
        encoder.encode(&picture, Taken { at, source }).unwrap();
    }
    let mut units = std::mem::take(&mut *units.lock().unwrap());
    units.pop_front();
    units
}

/// A camera under test, and what came out of it.
struct Stage {
    camera: Camera,
    output: Receiver<Output>,
    decoder: Decoder,
    log: Arc<Log>,
}

const NOTHING: Drawing = Drawing {
    lines: None,
    stamp: None,
};

/// For tests beside these.
pub(super) fn scripted(source: Box<dyn Open>, drawing: Drawing) -> Settings {
    Settings {
        low: true,
        ..settings(source, drawing)
    }
}

fn settings(source: Box<dyn Open>, drawing: Drawing) -> Settings {
    Settings {
        name: "Front door".to_owned(),
        source,
        encode: encode::Settings {
            width: 160,
            height: 128,
            fps: FrameRate::whole(100),
            ..encode::Settings::default()
        },
        encoder: encode::Preference::OpenH264,
        drawing,
        zone: Arc::new(|_| 3_600),
        retry: Duration::from_millis(40)..=Duration::from_millis(80),
        seed: 1,
        low: false,
    }
}

impl Stage {
    fn new(acts: impl IntoIterator<Item = Act>, drawing: Drawing) -> Self {
        Self::with(Scripted::new(acts), drawing, |settings| settings)
    }

    fn with(source: Scripted, drawing: Drawing, change: impl FnOnce(Settings) -> Settings) -> Self {
        let log = Arc::clone(&source.log);
        let (to, output) = mpsc::channel();
        let sink = Box::new(move |output| {
            let _ = to.send(output);
        });
        let settings = change(settings(Box::new(source), drawing));
        Self {
            camera: Camera::start(settings, Arc::new(RealClock), sink).unwrap(),
            output,
            decoder: Decoder::new(),
            log,
        }
    }

    fn next(&self) -> Output {
        self.output
            .recv_timeout(Duration::from_secs(8))
            .expect("the camera goes on")
    }

    fn frame(&self) -> Frame {
        loop {
            if let Output::Frame(frame) = self.next() {
                return frame;
            }
        }
    }

    fn status(&self) -> Status {
        loop {
            if let Output::Status(status) = self.next() {
                return status;
            }
        }
    }

    fn running(&self) -> Status {
        loop {
            let status = self.status();
            if matches!(status, Status::Running { .. }) {
                return status;
            }
        }
    }

    fn decoded(&mut self) -> Decoded {
        loop {
            let frame = self.frame();
            self.decoder.decode(&frame).unwrap();
            if let Some(decoded) = self.decoder.next() {
                return decoded;
            }
        }
    }

    /// The frames until the handle says no more come, decoded.
    fn drain(&self) {
        while self.output.try_recv().is_ok() {}
    }
}

fn is_dark(picture: &Picture) -> bool {
    let luma = picture.planes()[0];
    luma.iter().filter(|&&luma| luma < 60).count() * 4 > luma.len() * 3
}

#[test]
fn frames_carry_track_times_and_capture_time() {
    let drawing = Drawing {
        lines: Some(Corner::TopLeft),
        stamp: Some(Corner::TopRight),
    };
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        let _ = to.send(output);
    });
    let settings = Settings {
        encode: encode::Settings {
            fps: FrameRate::whole(60),
            ..encode::Settings::default()
        },
        ..settings(Box::new(Pattern::Moving), drawing)
    };
    let camera = Camera::start(settings, Arc::new(RealClock), sink).unwrap();
    let outputs: Vec<Output> = output.iter().take(63).collect();
    let before = RealClock.wall();
    camera.stop();
    let statuses: Vec<&Status> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Status(status) => Some(status),
            _ => None,
        })
        .collect();
    let running = Status::Running {
        source: "test pattern, 640×480@60".to_owned(),
        encoder: "openh264: as set".to_owned(),
        passing: false,
    };
    assert_eq!(statuses.last(), Some(&&running), "{statuses:?}");
    let first = outputs
        .iter()
        .position(|output| matches!(output, Output::Track(_)))
        .unwrap();
    let Output::Track(track) = &outputs[first] else {
        unreachable!()
    };
    assert_eq!(track.format.dimensions(), Some((640, 480)));
    let mut decoder = Decoder::new();
    let mut reader = stamp::Reader::default();
    let mut last = -1;
    let mut count = 0;
    for output in &outputs[first..] {
        let Output::Frame(frame) = output else { continue };
        assert!(Arc::ptr_eq(&frame.format, &track.format));
        assert!(frame.time.ticks() > last);
        last = frame.time.ticks();
        assert_eq!(sei::find(&frame.data, media::Codec::H264), Some(frame.capture.at));
        let age_us = before.micros_since(frame.capture.at);
        assert!((0..3_000_000).contains(&age_us), "{age_us}");
        decoder.decode(frame).unwrap();
        let picture = decoder.next().unwrap().picture;
        let stamp = reader.read(picture.planes()[0], 640, 640, 480, before);
        assert_eq!(stamp.map(|stamp| stamp.time), Some(frame.capture.at));
        count += 1;
    }
    assert!(count >= 58);
}

#[test]
fn a_camera_that_is_not_there_shows_why_and_its_picture_returns() {
    let mut stage = Stage::new(
        [Act::Refuse, Act::Refuse, Act::Refuse, Act::Pictures(u32::MAX, 320, 240)],
        NOTHING,
    );
    let mut slates = 0;
    loop {
        let decoded = stage.decoded();
        let size = (decoded.picture.width(), decoded.picture.height());
        if size == (320, 240) {
            assert!(decoded.keyframe, "new parameter sets come with a keyframe");
            assert!(!is_dark(&decoded.picture));
            break;
        }
        assert_eq!(size, (160, 128));
        assert!(is_dark(&decoded.picture));
        slates += 1;
    }
    // Three waits of 40, 80 and 80 ms at 100 slates a second, where the machine keeps up.
    assert!((1..60).contains(&slates), "{slates} slates");
    assert_eq!(stage.log.opened.load(SeqCst), 4);
    let stats = stage.camera.handle().stats();
    assert_eq!((stats.failures, stats.slates), (3, slates));
}

#[test]
fn statuses_tell_the_story_once() {
    let acts = [
        Act::Pictures(5, 160, 128),
        Act::Refuse,
        Act::Refuse,
        Act::Pictures(u32::MAX, 160, 128),
    ];
    // Long enough for a busy machine to notice each state.
    let stage = Stage::with(Scripted::new(acts), NOTHING, |settings| Settings {
        retry: Duration::from_millis(400)..=Duration::from_millis(400),
        ..settings
    });
    let told: Vec<Status> = (0..5).map(|_| stage.status()).collect();
    let [
        Status::Starting { source },
        Status::Running { .. },
        Status::Slate { error, retry_in },
        Status::Slate { error: then, .. },
        Status::Running { .. },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(source, "scripted");
    assert_eq!(error.what, "the camera is gone");
    assert_eq!(then.what, "no camera");
    assert!(*retry_in <= Duration::from_millis(480));
}

/// Its device is free meanwhile, and nobody sees a picture of it.
#[test]
fn a_camera_that_is_switched_off_is_closed_and_comes_back() {
    let device = tempfile::NamedTempFile::new().unwrap();
    let is_open = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let opened = |descriptor: &std::fs::DirEntry| {
            std::fs::read_link(descriptor.path()).is_ok_and(|path| path == device.path())
        };
        descriptors.filter(opened).count() > 1
    };
    for act in [Act::Pictures(u32::MAX, 320, 240), Act::Units(600, false)] {
        let mut source = Scripted::new([act]);
        source.device = device.path().to_owned();
        let mut stage = Stage::with(source, NOTHING, |settings| settings);
        let handle = stage.camera.handle();
        while is_dark(&stage.decoded().picture) {}
        assert!(is_open());
        handle.set_capture(false);
        while stage.status() != Status::Off {}
        // From here on all that comes are slates.
        for _ in 0..5 {
            assert!(is_dark(&stage.decoded().picture));
        }
        while is_open() {
            stage.decoded();
        }
        handle.set_capture(true);
        while is_dark(&stage.decoded().picture) {}
        assert_eq!(handle.stats().failures, 0, "switching it off is no failure");
        // Before its thread has seen that it was off.
        handle.set_capture(false);
        handle.set_capture(true);
        stage.drain();
        while is_dark(&stage.decoded().picture) {}
        stage.camera.stop();
    }
}

/// One that cannot be opened is not tried for ever while nobody wants it.
#[test]
fn what_is_switched_off_is_not_tried_again() {
    let stage = Stage::new([Act::Refuse], NOTHING);
    let handle = stage.camera.handle();
    while stage.log.opened.load(SeqCst) < 2 {
        stage.frame();
    }
    handle.set_capture(false);
    while stage.status() != Status::Off {}
    let opened = stage.log.opened.load(SeqCst);
    // Its longest wait is 80 ms, 8 slates.
    for _ in 0..30 {
        stage.frame();
    }
    assert!(stage.log.opened.load(SeqCst) <= opened + 1);
    handle.set_capture(true);
    while stage.log.opened.load(SeqCst) < opened + 3 {
        stage.frame();
    }
}

#[test]
fn ten_unplugs_leak_nothing() {
    let device = tempfile::NamedTempFile::new().unwrap();
    let open = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        descriptors
            .filter(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|path| path == device.path()))
            .count()
    };
    let mut source = Scripted::new((0..12).flat_map(|_| [Act::Pictures(8, 640, 480), Act::Refuse]));
    source.device = device.path().to_owned();
    let before = open();
    let stage = Stage::with(source, NOTHING, |settings| settings);
    for _ in 0..10 {
        stage.running();
        assert!(
            open() <= before + 1,
            "the device is held open {} times",
            open() - before
        );
    }
    assert!(stage.camera.handle().stats().failures >= 18);
    let handle = stage.camera.handle();
    stage.camera.stop();
    assert!(handle.mailbox.wait_until_left(Duration::ZERO), "a thread is left");
    assert_eq!(
        Arc::strong_count(&handle.mailbox),
        1,
        "something still holds the mailbox"
    );
    assert_eq!(
        Arc::strong_count(&handle.stats),
        1,
        "something still holds the counters"
    );
}

#[test]
fn a_slow_taker_costs_pictures_and_no_delay() {
    let source = Scripted::new([Act::Pictures(u32::MAX, 160, 128)]);
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        if let Output::Frame(frame) = output {
            let _ = to.send(RealClock.wall().micros_since(frame.capture.at));
            thread::sleep(Duration::from_millis(50));
        }
    });
    let camera = Camera::start(settings(Box::new(source), NOTHING), Arc::new(RealClock), sink).unwrap();
    let ages: Vec<i64> = output.iter().take(12).collect();
    let stats = camera.handle().stats();
    // A picture waits 10 ms until a newer one replaces it; a queue of two would make it 60.
    let mut sorted = ages.clone();
    sorted.sort_unstable();
    assert!(sorted[ages.len() / 2] < 40_000, "{ages:?}");
    assert!(stats.dropped * 2 > stats.captured, "{stats:?}");
    assert!(stats.captured <= stats.dropped + stats.encoded + 2, "{stats:?}");
}

#[test]
fn the_cameras_own_h264_passes_from_a_keyframe_on() {
    let stage = Stage::new([Act::Units(60, true)], NOTHING);
    assert_eq!(
        stage.running(),
        Status::Running {
            source: "scripted Units(60, true)".to_owned(),
            encoder: "the source's own H.264".to_owned(),
            passing: true,
        }
    );
    let mut decoder = Decoder::new();
    for n in 0..40 {
        let frame = stage.frame();
        assert_eq!(frame.keyframe, n % 5 == 0, "frame {n}");
        assert_eq!(frame.format.dimensions(), Some((320, 240)));
        assert_eq!(sei::find(&frame.data, media::Codec::H264), Some(frame.capture.at));
        decoder.decode(&frame).unwrap();
        assert!(decoder.next().is_some());
    }
    assert!(!stage.log.wanted.lock().unwrap()[0].raw);
    // With the overlay it has to be encoded here.
    stage.camera.handle().set_overlay(true);
    loop {
        if let Status::Running { encoder, .. } = stage.status()
            && encoder == "openh264: as set"
        {
            break;
        }
    }
    assert!(stage.log.wanted.lock().unwrap().last().unwrap().raw);
    assert_eq!(stage.frame().format.dimensions(), Some((160, 128)));
}

#[test]
fn a_slate_between_coded_frames_is_as_large_as_they_are() {
    let mut stage = Stage::new([Act::Units(20, false), Act::Refuse, Act::Units(20, false)], NOTHING);
    let mut story = Vec::new();
    while story.len() < 3 {
        let decoded = stage.decoded();
        assert_eq!((decoded.picture.width(), decoded.picture.height()), (320, 240));
        let dark = is_dark(&decoded.picture);
        if story.last() != Some(&dark) {
            assert!(decoded.keyframe, "a change of encoder begins with a keyframe");
            story.push(dark);
        }
    }
    assert_eq!(story, [false, true, false]);
}

#[test]
fn a_camera_obeys_while_running() {
    let stage = Stage::new([Act::Pictures(u32::MAX, 160, 128)], NOTHING);
    let handle = stage.camera.handle();
    stage.running();
    for _ in 0..20 {
        stage.frame();
    }
    stage.drain();
    handle.set_bitrate_kbps(5);
    handle.set_brightness(7);
    handle.set_fps(FrameRate::whole(50));
    while stage.log.opened.load(SeqCst) < 2 {
        stage.frame();
    }
    let wanted = *stage.log.wanted.lock().unwrap().last().unwrap();
    assert_eq!(wanted.fps, FrameRate::whole(50));
    for _ in 0..20 {
        stage.frame();
    }
    // Brightness is told to the source that was opened anew, too.
    assert_eq!(stage.log.brightness.lock().unwrap().last(), Some(&7));
    assert_eq!(handle.stats().failures, 0, "a change of the rate is no failure");
}

#[test]
fn a_keyframe_comes_when_asked_for() {
    let source = Scripted::new([Act::Pictures(u32::MAX, 160, 128)]);
    let mut settings = settings(Box::new(source), NOTHING);
    settings.encode.gop_frames = 600;
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        if let Output::Frame(frame) = output {
            let _ = to.send(frame.keyframe);
        }
    });
    let camera = Camera::start(settings, Arc::new(RealClock), sink).unwrap();
    let mut keyframes = output
        .iter()
        .enumerate()
        .filter(|(_, keyframe)| *keyframe)
        .map(|(at, _)| at as u64);
    assert_eq!(keyframes.next(), Some(0));
    let handle = camera.handle();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(50));
        let before = handle.stats().encoded;
        handle.request_keyframe();
        let after = handle.stats().encoded;
        let at = keyframes.next().unwrap();
        // One picture may have been on its way into the encoder.
        assert!(
            (before..=after + 2).contains(&at),
            "asked for between {before} and {after}, came at {at}"
        );
    }
}

#[test]
fn a_better_encoder_takes_over_and_gives_back_when_it_dies() {
    let acts = [Act::Pictures(u32::MAX, 160, 128)];
    let mut stage = Stage::with(Scripted::new(acts), NOTHING, |settings| Settings {
        encoder: encode::Preference::Ffmpeg(encode::Codec::X264),
        ..settings
    });
    let running = |stage: &Stage| match stage.running() {
        Status::Running { encoder, .. } => encoder,
        _ => String::new(),
    };
    assert_eq!(running(&stage), "openh264: until others have been tried");
    let taken_over = running(&stage);
    assert!(taken_over.starts_with("libx264 (FFmpeg): as set; "), "{taken_over}");
    assert!(stage.decoded().keyframe, "it begins with a keyframe");
    for _ in 0..20 {
        stage.decoded();
    }
    // Killed twice, it is given up.
    let given_up = loop {
        for id in ffmpegs() {
            let _ = std::process::Command::new("kill").args(["-9", &id]).status();
        }
        let frame_or_status = stage.next();
        if let Output::Status(Status::Running { encoder, .. }) = frame_or_status {
            break encoder;
        }
    };
    assert!(
        given_up.starts_with("openh264: libx264 (FFmpeg) failed: "),
        "{given_up}"
    );
    assert!(stage.camera.handle().stats().encoder_failures >= 2);
    stage.decoder.discontinuity();
    for _ in 0..20 {
        stage.decoded();
    }
}

/// Process ids of the FFmpegs that encode pictures of this module's unusual size.
fn ffmpegs() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            let mine = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let parent = mine
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.split(' ').nth(1).map(str::to_owned));
            parent == Some(std::process::id().to_string()) && line.contains("160x128")
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn stopping_does_not_wait_for_a_device_that_opens() {
    for act in [
        Act::Slow(Duration::from_secs(3)),
        Act::Silence,
        Act::Refuse,
        Act::Pictures(u32::MAX, 160, 128),
    ] {
        let stage = Stage::new([act.clone()], NOTHING);
        thread::sleep(Duration::from_millis(100));
        let begun = RealClock.now();
        stage.camera.stop();
        let took = RealClock.now().duration_since(begun);
        // Seven tenths of a second, and what a busy machine adds; the slow one takes three.
        assert!(took < Duration::from_secs(2), "{act:?}: {took:?}");
    }
}

#[test]
fn a_source_that_takes_long_to_start_is_announced() {
    let stage = Stage::new([Act::Silence], NOTHING);
    let mut decoder = Decoder::new();
    let frame = stage.frame();
    decoder.decode(&frame).unwrap();
    assert!(is_dark(&decoder.next().unwrap().picture));
    assert_eq!(stage.camera.handle().stats().failures, 0);
}

#[test]
fn a_panic_of_a_source_is_an_error_of_that_source() {
    let stage = Stage::new([Act::Panic, Act::Pictures(u32::MAX, 160, 128)], NOTHING);
    loop {
        if let Status::Slate { error, .. } = stage.status() {
            assert_eq!(error.why, "an error in this program: scripted panic");
            break;
        }
    }
    stage.running();
}

#[test]
fn a_panic_of_the_encode_thread_ends_the_camera_and_says_so() {
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| match output {
        Output::Frame(_) => panic!("sink panic"),
        Output::Status(status) => {
            let _ = to.send(status);
        }
        Output::Track(_) => {}
    });
    let camera = Camera::start(settings(Box::new(Pattern::Bars), NOTHING), Arc::new(RealClock), sink).unwrap();
    let ended = Status::Ended {
        why: "sink panic".to_owned(),
    };
    assert!(output.iter().any(|status| status == ended));
    camera.stop();
}

fn packager(clock: &SimClock, sink: Sink) -> Packager {
    Packager::new(
        Arc::new(clock.clone()),
        sink,
        Arc::new(Stats::default()),
        FrameRate::whole(25),
        Arc::default(),
    )
}

#[test]
fn the_stream_says_the_rate_that_was_agreed_on() {
    let stage = Stage::with(
        Scripted::new([Act::Pictures(u32::MAX, 160, 128)]),
        NOTHING,
        |settings| settings,
    );
    let rate = |frame: &Frame| match &*frame.format {
        media::Format::H264(format) => format.frame_rate(),
        _ => None,
    };
    let handle = stage.camera.handle();
    let first = stage.frame();
    assert_eq!(rate(&first), Some(100.0));
    handle.set_bitrate_kbps(300);
    handle.set_fps(FrameRate::whole(50));
    let mut formats = vec![first.format];
    while rate(&stage.frame()) != Some(50.0) {}
    for _ in 0..40 {
        let frame = stage.frame();
        if !Arc::ptr_eq(formats.last().unwrap(), &frame.format) {
            formats.push(frame.format.clone());
        }
    }
    let sets = |format: &media::Format| match format {
        media::Format::H264(format) => format.parameter_sets().count(),
        _ => 0,
    };
    assert_eq!(formats.len(), 2, "a format for each rate and none besides");
    assert!(formats.iter().all(|format| sets(format) == 2), "the id stays");
}

#[test]
fn a_ceiling_holds_whatever_is_set_and_gives_it_back() {
    let word: crate::source::Word = "test".parse().unwrap();
    let mut settings = settings(word.opener(&crate::source::Settings::default()), NOTHING);
    settings.encode = encode::Settings {
        width: 320,
        height: 240,
        fps: FrameRate::whole(60),
        bitrate_kbps: 1_500,
        gop_frames: 600,
    };
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        if let Output::Frame(frame) = output {
            let _ = to.send(frame.data.len());
        }
    });
    let camera = Camera::start(settings, Arc::new(RealClock), sink).unwrap();
    let handle = camera.handle();
    let mean = || {
        let sizes = (0..100).map(|_| output.recv_timeout(Duration::from_secs(8)).unwrap());
        // What was asked for before them holds for the second half.
        sizes.skip(50).sum::<usize>() / 50
    };
    let before = mean();
    handle.set_ceiling_kbps(Some(200));
    handle.set_bitrate_kbps(2_000);
    let limited = mean();
    assert!(limited * 2 < before, "{limited} bytes a frame, {before} before");
    handle.set_ceiling_kbps(None);
    let again = mean();
    assert!(again > limited * 2, "{again} bytes a frame, {limited} before");
}

#[test]
fn a_step_of_wall_time_moves_the_capture_time_alone() {
    let clock = SimClock::new();
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        if let Output::Frame(frame) = output {
            let _ = to.send(frame);
        }
    });
    let mut packager = packager(&clock, sink);
    let units = coded(160, 128, 4);
    for (n, unit) in units.into_iter().enumerate() {
        if n == 2 {
            clock.step_wall(-3_600_000_000);
        }
        let at = clock.advance_ms(40);
        let source = CaptureSource::Camera;
        clock.advance_ms(3);
        packager.passed(unit, Taken { at, source });
    }
    let frames: Vec<Frame> = output.try_iter().collect();
    let ticks: Vec<i64> = frames.iter().map(|frame| frame.time.ticks()).collect();
    assert_eq!(ticks, [0, 3_870, 7_740, 11_610]);
    let captured: Vec<i64> = frames
        .iter()
        .map(|frame| frame.capture.at.micros_since(SimClock::START))
        .collect();
    assert_eq!(
        captured,
        [40_000, 83_000, 126_000 - 3_600_000_000, 169_000 - 3_600_000_000]
    );
}

#[test]
fn a_capture_time_in_the_source_is_believed_when_it_is_fresh() {
    let clock = SimClock::new();
    let (to, output) = mpsc::channel();
    let sink = Box::new(move |output| {
        if let Output::Frame(frame) = output {
            let _ = to.send(frame);
        }
    });
    let mut packager = packager(&clock, sink);
    let unit = coded(160, 128, 1).pop_front().unwrap();
    for (age_us, believed) in [
        (0, true),
        (9_000_000, true),
        (11_000_000, false),
        (-40_000, true),
        (-60_000, false),
    ] {
        let stated = clock.wall().offset_micros(-age_us);
        let mut data = Vec::new();
        media::annexb::push_length_prefixed(&sei::h264(stated), &mut data);
        data.extend_from_slice(&unit.data);
        let unit = media::annexb::AccessUnit {
            capture: Some(stated),
            data: data.into(),
            ..unit.clone()
        };
        let (at, source) = (clock.now(), CaptureSource::Arrival);
        packager.passed(unit, Taken { at, source });
        let frame = output.try_recv().unwrap();
        let expected = if believed {
            (stated, CaptureSource::Sei)
        } else {
            (clock.wall(), CaptureSource::Arrival)
        };
        assert_eq!((frame.capture.at, frame.capture.source), expected, "{age_us}");
        let messages = media::annexb::nal_units(&frame.data).filter_map(sei::read_h264);
        assert_eq!(messages.collect::<Vec<_>>(), [expected.0], "{age_us}");
    }
}
