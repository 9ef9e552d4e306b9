use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use media::h264::{self, nal};
use media::{CaptureSource, Clock};
use testkit::clock::SystemClock;

use super::*;
use crate::encode::AccessUnit;
use crate::source::test_pattern::{Pattern, Scene};

/// What came out for one picture.
struct Coded {
    keyframe: bool,
    taken: Instant,
    out: Instant,
    bytes: usize,
    sets: Vec<Vec<u8>>,
}

struct Bench {
    encoder: Ffmpeg,
    coded: Receiver<Coded>,
    scene: Scene,
    picture: Picture,
    next: u64,
}

impl Bench {
    fn new(program: &str, settings: Settings) -> Result<Self, Error> {
        let (to, coded) = mpsc::channel();
        let output = move |unit: AccessUnit<'_>| {
            let is_set = |unit: &&&[u8]| matches!(h264::unit_type(unit), nal::SPS | nal::PPS);
            let _ = to.send(Coded {
                keyframe: unit.keyframe,
                taken: unit.taken.at,
                out: SystemClock.now(),
                bytes: unit.nals.iter().map(|unit| unit.len() + 4).sum(),
                sets: unit.nals.iter().filter(is_set).map(|unit| unit.to_vec()).collect(),
            });
        };
        Ok(Self {
            encoder: Ffmpeg::with_program(program, Codec::X264, settings, Box::new(output))?,
            coded,
            scene: Scene::new(Pattern::Moving, settings.width, settings.height).unwrap(),
            picture: Picture::black(settings.width, settings.height).unwrap(),
            next: 0,
        })
    }

    fn give(&mut self) -> Result<Instant, Error> {
        self.scene.draw(&mut self.picture, FrameRate::whole(30).due(self.next));
        self.next += 1;
        let (at, source) = (SystemClock.now(), CaptureSource::Camera);
        self.encoder.encode(&self.picture, Taken { at, source })?;
        Ok(at)
    }

    /// Encodes `count` pictures, each given when the one before is out.
    fn run(&mut self, count: usize) -> Vec<Coded> {
        (0..count)
            .map(|_| {
                let at = self.give().unwrap();
                let coded = self.coded.recv_timeout(Duration::from_secs(10)).expect("it comes out");
                assert_eq!(coded.taken, at, "the capture time of another picture");
                coded
            })
            .collect()
    }
}

#[test]
fn every_picture_comes_out_before_the_next_goes_in() {
    let mut bench = Bench::new(PROGRAM, Settings::default()).unwrap();
    let coded = bench.run(35);
    let keyframes: Vec<usize> = (0..35).filter(|&n| coded[n].keyframe).collect();
    assert_eq!(keyframes, [0, 10, 20, 30]);
    for coded in coded.iter().filter(|coded| coded.keyframe) {
        let format = h264::Format::new(&coded.sets).unwrap();
        assert_eq!(format.dimensions(), Some((640, 480)));
        assert_eq!(format.profile_level_id().unwrap()[0], 66);
    }
    let mut latencies: Vec<_> = coded[5..].iter().map(|coded| coded.out - coded.taken).collect();
    latencies.sort_unstable();
    println!(
        "libx264 through the pipe: p50 {:?}, p95 {:?}",
        latencies[15], latencies[28]
    );
}

#[test]
fn another_bitrate_takes_over_at_the_next_gop() {
    let settings = Settings {
        bitrate_kbps: 400,
        ..Settings::default()
    };
    let mut bench = Bench::new(PROGRAM, settings).unwrap();
    let before: usize = bench.run(64).iter().map(|coded| coded.bytes).sum();
    bench.encoder.set_bitrate_kbps(2_000).unwrap();
    let coded = bench.run(66);
    let keyframes: Vec<usize> = (0..26).filter(|&n| coded[n].keyframe).collect();
    assert_eq!(keyframes, [6, 16], "the GOP that had begun is finished first");
    let after: usize = coded[6..].iter().map(|coded| coded.bytes).sum();
    assert!(after > before * 3, "{before} bytes in 64 pictures became {after} in 60");
}

#[test]
fn keyframes_are_at_most_a_second_apart() {
    let settings = Settings {
        gop_frames: 600,
        fps: FrameRate::whole(15),
        ..Settings::default()
    };
    assert_eq!(gop_frames(&settings), 15);
    assert_eq!(gop_frames(&Settings::default()), 10);
}

#[test]
fn a_child_that_dies_is_an_error_with_its_words() {
    let mut bench = Bench::new(PROGRAM, Settings::default()).unwrap();
    bench.run(3);
    bench.encoder.running.kill();
    let error = loop {
        match bench.give() {
            Ok(_) => thread::sleep(Duration::from_millis(5)),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.starts_with("libx264 (FFmpeg) failed: it ended"), "{error}");
}

#[test]
fn what_it_says_is_passed_on() {
    let settings = Settings::default();
    let mut bench = Bench::new(PROGRAM, settings).unwrap();
    // A command line that FFmpeg cannot work with.
    let arguments = ["-loglevel", "error", "-nostdin", "-f", "rawvideo", "-i", "pipe:0"].map(str::to_owned);
    let output = Arc::clone(&bench.encoder.output);
    bench.encoder.running = Child::start(PROGRAM, &arguments, settings, output).unwrap();
    let error = loop {
        match bench.give() {
            Ok(_) => thread::sleep(Duration::from_millis(5)),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("size"), "{error}");
}

/// A stand-in that says what the script says, and ends.
fn said_by(script: &str) -> String {
    let arguments = ["-c".to_owned(), script.to_owned()];
    let output: Output = Box::new(|_| {});
    let output = Arc::new(Mutex::new(output));
    let mut child = Child::start("/bin/sh", &arguments, Settings::default(), output).unwrap();
    let picture = Picture::black(16, 16).unwrap();
    let (at, source) = (SystemClock.now(), CaptureSource::Camera);
    loop {
        match child.give(picture.as_bytes(), Taken { at, source }, PATIENCE) {
            Ok(()) => thread::sleep(Duration::from_millis(5)),
            Err(why) => return why,
        }
    }
}

#[test]
fn its_last_words_are_passed_on_not_its_first() {
    let noise = "yes 'non-monotonous DTS, harmless' | head -n 100 >&2";
    let why = said_by(&format!(
        "{noise}; echo 'Cannot allocate memory for the device' >&2; exit 1"
    ));
    assert_eq!(why, "Cannot allocate memory for the device");
}

#[test]
fn a_signal_to_our_process_group_does_not_reach_it() {
    let bench = Bench::new(PROGRAM, Settings::default()).unwrap();
    let id = i32::try_from(bench.encoder.running.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid);
}

#[test]
fn a_missing_program_is_named() {
    let error = Bench::new("/nonexistent/ffmpeg", Settings::default()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("/nonexistent/ffmpeg cannot be started: No such file or directory"),
        "{error}"
    );
}

#[test]
fn children_leave_nothing_behind() {
    let children = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists.map(|list| list.split_whitespace().count()).sum::<usize>()
    };
    let mut bench = Bench::new(PROGRAM, Settings::default()).unwrap();
    bench.run(2);
    let id = bench.encoder.running.id();
    assert!(children() >= 1);
    drop(bench);
    assert!(
        !std::path::Path::new(&format!("/proc/{id}")).exists(),
        "a zombie is left"
    );
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let mut bench = Bench::new(PROGRAM, Settings::default()).unwrap();
    bench.picture = Picture::black(320, 240).unwrap();
    bench.scene = Scene::new(Pattern::Moving, 320, 240).unwrap();
    assert!(matches!(bench.give(), Err(Error::Size { width: 320, .. })));
}
