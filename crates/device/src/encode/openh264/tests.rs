use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::annexb;
use media::h264::{self, nal};
use media::{CaptureSource, track};

use super::*;
use crate::source::test_pattern::{Pattern, Scene};

/// What came out for one picture.
struct Coded {
    nals: Vec<Vec<u8>>,
    keyframe: bool,
}

impl Coded {
    fn bits(&self) -> usize {
        self.nals.iter().map(|nal| (nal.len() + 4) * 8).sum()
    }

    fn of_type(&self, unit_type: u8) -> impl Iterator<Item = &Vec<u8>> {
        self.nals.iter().filter(move |nal| h264::unit_type(nal) == unit_type)
    }
}

/// An encoder fed with a test scene, picture by picture.
struct Bench {
    encoder: OpenH264,
    coded: Arc<Mutex<Vec<Coded>>>,
    scene: Scene,
    picture: Picture,
    fps: FrameRate,
    next: u64,
    still: bool,
}

impl Bench {
    fn new(settings: Settings, pattern: Pattern) -> Self {
        let coded = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&coded);
        let output = move |unit: AccessUnit<'_>| {
            to.lock().unwrap().push(Coded {
                nals: unit.nals.iter().map(|nal| nal.to_vec()).collect(),
                keyframe: unit.keyframe,
            });
        };
        Self {
            encoder: OpenH264::new(settings, Box::new(output)).unwrap(),
            coded,
            scene: Scene::new(pattern, settings.width, settings.height).unwrap(),
            picture: Picture::black(settings.width, settings.height).unwrap(),
            fps: settings.fps,
            next: 0,
            still: false,
        }
    }

    /// Encodes `count` pictures and gives what came out.
    fn run(&mut self, count: u64) -> Vec<Coded> {
        for n in self.next..self.next + count {
            let at = if self.still { Duration::ZERO } else { self.fps.due(n) };
            self.scene.draw(&mut self.picture, at);
            self.encoder.encode(&self.picture, taken()).unwrap();
        }
        self.next += count;
        std::mem::take(&mut self.coded.lock().unwrap())
    }

    fn kbps(&mut self, seconds: u64) -> f64 {
        let pictures = seconds * u64::from(self.fps.frames());
        let bits: usize = self.run(pictures).iter().map(Coded::bits).sum();
        bits as f64 / seconds as f64 / 1_000.0
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant does")]
fn taken() -> Taken {
    Taken {
        at: Instant::now(),
        source: CaptureSource::Camera,
    }
}

fn keyframes(coded: &[Coded]) -> Vec<usize> {
    let positions = coded.iter().enumerate().filter(|(_, unit)| unit.keyframe);
    positions.map(|(at, _)| at).collect()
}

#[test]
fn every_picture_gives_an_access_unit_and_gops_are_exact() {
    let mut bench = Bench::new(Settings::default(), Pattern::Moving);
    let coded = bench.run(35);
    assert_eq!(coded.len(), 35);
    assert_eq!(keyframes(&coded), [0, 10, 20, 30]);
    for unit in &coded {
        let slices = unit.of_type(nal::SLICE).chain(unit.of_type(nal::IDR));
        assert_eq!(slices.count(), 1, "a small picture is one slice");
        for slice in unit.of_type(nal::SLICE) {
            assert_eq!(h264::slice_header(slice).unwrap().slice_type, h264::SliceType::P);
        }
    }
}

#[test]
fn a_keyframe_on_demand_starts_a_new_gop() {
    let settings = Settings {
        gop_frames: 60,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings, Pattern::Moving);
    bench.run(7);
    bench.encoder.request_keyframe();
    let coded = bench.run(70);
    assert_eq!(keyframes(&coded), [0, 60]);
}

#[test]
fn parameter_sets_say_what_players_need_and_never_change() {
    let mut bench = Bench::new(Settings::default(), Pattern::Moving);
    let mut coded = bench.run(15);
    bench.encoder.set_bitrate_kbps(2_000).unwrap();
    bench.encoder.set_fps(FrameRate::whole(15)).unwrap();
    bench.encoder.request_keyframe();
    coded.extend(bench.run(15));
    let sets: Vec<_> = coded
        .iter()
        .filter(|unit| unit.keyframe)
        .map(|unit| unit.of_type(nal::SPS).chain(unit.of_type(nal::PPS)).collect::<Vec<_>>())
        .collect();
    assert!(sets.len() >= 3);
    assert!(sets.iter().all(|set| set.len() == 2 && *set == sets[0]));
    let format = h264::Format::new(sets[0].iter()).unwrap();
    assert_eq!(format.dimensions(), Some((640, 480)));
    assert_eq!(format.max_reorder_frames(), Some(0));
    // Constrained Baseline, level 3.0.
    assert_eq!(format.profile_level_id(), Some([66, 0xc0, 30]));
    assert_eq!(track::Format::H264(format).dimensions(), Some((640, 480)));
}

/// What FFmpeg's program says of a stream, and what it complains of.
fn ffmpeg(program: &str, arguments: &[&str], coded: &[Coded]) -> (String, String) {
    let mut stream = Vec::new();
    for nal in coded.iter().flat_map(|unit| &unit.nals) {
        annexb::push_annex_b(nal, &mut stream);
    }
    let file = tempfile::NamedTempFile::with_suffix(".h264").unwrap();
    std::fs::write(file.path(), stream).unwrap();
    let output = Command::new(program)
        .args(["-v", "warning", "-err_detect", "explode", "-f", "h264", "-i"])
        .arg(file.path())
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; install ffmpeg"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn ffmpeg_finds_nothing_wrong_with_it() {
    for (width, height) in [(640, 480), (1_366, 768)] {
        let settings = Settings {
            width,
            height,
            ..Settings::default()
        };
        let coded = Bench::new(settings, Pattern::Moving).run(25);
        let entries =
            "stream=profile,width,height,has_b_frames,level,color_range,color_space,color_transfer,color_primaries";
        let (found, complaints) = ffmpeg("ffprobe", &["-show_entries", entries, "-of", "default=nw=1"], &coded);
        for expected in [
            "profile=Constrained Baseline".to_owned(),
            format!("width={width}"),
            format!("height={height}"),
            "has_b_frames=0".to_owned(),
            "color_range=tv".to_owned(),
            "color_space=smpte170m".to_owned(),
            "color_transfer=smpte170m".to_owned(),
            "color_primaries=smpte170m".to_owned(),
        ] {
            assert!(found.lines().any(|line| line == expected), "no {expected} in {found}");
        }
        assert_eq!(complaints, "");
        let (pictures, complaints) = ffmpeg("ffmpeg", &["-f", "framecrc", "-"], &coded);
        assert_eq!(complaints, "");
        assert_eq!(pictures.lines().filter(|line| !line.starts_with('#')).count(), 25);
    }
}

#[test]
fn sizes_that_are_no_multiple_of_16_are_cropped() {
    for (width, height) in [(16, 16), (18, 34), (854, 480), (1_366, 768)] {
        let settings = Settings {
            width,
            height,
            ..Settings::default()
        };
        let coded = Bench::new(settings, Pattern::Moving).run(3);
        let format = h264::Format::new(coded[0].of_type(nal::SPS)).unwrap();
        assert_eq!(format.dimensions(), Some((width, height)));
    }
}

#[test]
fn the_bitrate_is_held_within_a_tenth_over_ten_seconds() {
    for still in [false, true] {
        for kbps in [500, 800, 2_000] {
            let settings = Settings {
                bitrate_kbps: kbps,
                ..Settings::default()
            };
            let mut bench = Bench::new(settings, Pattern::Moving);
            bench.still = still;
            for window in 0..2 {
                let got = bench.kbps(10);
                let off = got / f64::from(kbps) - 1.0;
                assert!(off.abs() < 0.1, "still {still}, window {window}: {got} of {kbps} kb/s");
            }
        }
    }
}

#[test]
fn the_bitrate_is_held_when_content_changes() {
    let mut bench = Bench::new(Settings::default(), Pattern::Bars);
    let simple = bench.kbps(10);
    assert!(simple < 880.0, "{simple} kb/s");
    bench.scene = Scene::new(Pattern::Moving, 640, 480).unwrap();
    let moving = bench.kbps(10);
    assert!((moving - 800.0).abs() < 80.0, "{moving} kb/s");
}

#[test]
fn bitrate_and_frame_rate_change_while_running() {
    let mut bench = Bench::new(Settings::default(), Pattern::Moving);
    bench.kbps(2);
    bench.encoder.set_bitrate_kbps(2_400).unwrap();
    let more = bench.kbps(10);
    assert!((more - 2_400.0).abs() < 240.0, "{more} kb/s");
    bench.encoder.set_bitrate_kbps(400).unwrap();
    bench.encoder.set_fps(FrameRate::whole(15)).unwrap();
    bench.fps = FrameRate::whole(15);
    let less = bench.kbps(10);
    assert!((less - 400.0).abs() < 40.0, "{less} kb/s");
}

#[test]
fn a_bitrate_beyond_the_level_gets_a_higher_level() {
    let mut bench = Bench::new(Settings::default(), Pattern::Moving);
    bench.run(3);
    bench.encoder.set_bitrate_kbps(30_000).unwrap();
    let coded = bench.run(3);
    assert!(coded[0].keyframe, "new parameter sets need a keyframe");
    let format = h264::Format::new(coded[0].of_type(nal::SPS)).unwrap();
    assert_eq!(format.profile_level_id().unwrap()[2], 41);
}

#[test]
fn large_pictures_are_cut_into_slices_and_two_encoders_share_the_threads() {
    let settings = Settings {
        width: 1_280,
        height: 720,
        bitrate_kbps: 3_000,
        ..Settings::default()
    };
    let run = move || {
        let mut bench = Bench::new(settings, Pattern::Moving);
        bench.run(12)
    };
    let [one, other] = [std::thread::spawn(run), std::thread::spawn(run)].map(|thread| thread.join().unwrap());
    let expected = if threads(&settings, 2) > 1 && std::thread::available_parallelism().unwrap().get() > 1 {
        SLICES as usize
    } else {
        1
    };
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.of_type(nal::SLICE).chain(one.of_type(nal::IDR)).count(), expected);
        assert_eq!(one.nals, other.nals, "the same pictures give the same bytes");
    }
}

#[test]
fn threads_are_for_large_pictures() {
    let sized = |width, height| Settings {
        width,
        height,
        ..Settings::default()
    };
    assert_eq!(threads(&sized(640, 480), 8), 1);
    assert_eq!(threads(&sized(1_280, 720), 1), 1);
    assert_eq!(threads(&sized(1_280, 720), 2), 2);
    assert_eq!(threads(&sized(3_840, 2_160), 64), MAX_THREADS);
}

#[test]
fn encoders_come_and_go_without_leaving_threads() {
    // Threads take over the name of the one that makes them.
    const NAME: &str = "come-and-go";
    let settings = Settings {
        width: 1_280,
        height: 720,
        ..Settings::default()
    };
    let named = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == NAME).count()
    };
    let run = move || {
        for _ in 0..10 {
            Bench::new(settings, Pattern::Bars).run(2);
        }
    };
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
    // Encoders of other tests may share the threads for a while.
    let left = (0..200).find(|_| {
        std::thread::sleep(Duration::from_millis(50));
        named() == 0
    });
    assert!(left.is_some(), "{} threads are left", named());
}

#[test]
fn what_cannot_be_encoded_is_refused_by_name() {
    let huge = Settings {
        width: 8_192,
        height: 8_192,
        ..Settings::default()
    };
    let refused = OpenH264::new(huge, Box::new(|_| {})).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "openh264 refuses 8192×8192@30, 800 kb/s: more macroblocks than level 5.2 allows (36,864 a picture, 2,073,600 a second); choose a smaller size or rate"
    );
    let mut encoder = OpenH264::new(Settings::default(), Box::new(|_| {})).unwrap();
    let wrong = encoder.encode(&Picture::black(320, 240).unwrap(), taken()).unwrap_err();
    assert!(matches!(wrong, Error::Size { width: 320, .. }), "{wrong}");
}

#[test]
fn bitrates_beyond_the_range_are_clamped() {
    let settings = Settings {
        bitrate_kbps: 0,
        gop_frames: 0,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings, Pattern::Bars);
    assert_eq!(keyframes(&bench.run(3)), [0, 1, 2]);
    bench.encoder.set_bitrate_kbps(u32::MAX).unwrap();
    bench.run(3);
}
