//! Motion in hundreds of made clips, and what a picture costs: `MOTION_SEEDS=50 cargo test --release -p sightline --test long motion -- --nocapture`.

#[path = "../../crates/device/src/motion/tests/clips.rs"]
mod clips;

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use device::motion::{Event, Grey, Mask, Motion, Settings, Shrinker};
use device::picture::Picture;
use media::annexb::{AccessUnit, ByteStream, Ending};
use media::{Capture, CaptureSource, Clock as _, Frame, MediaTime, Timescale, TrackIndex, WallTime};
use media::{h264, h265};
use sightline::clock::SystemClock;
use sightline::config::motion::Mode;
use sightline::motion::look::{Counts, Looker};

use self::clips::{Clip, KINDS, Kind, PICTURES, SECONDS, SIZE, Score, TREE};
use super::from_variable;
use super::support::tool;

fn settings(kind: Kind) -> Settings {
    let [left, top, right, bottom] = TREE;
    let tree = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
    let masked = matches!(kind, Kind::MaskedTree | Kind::WalkerBesideTree);
    Settings {
        mask: Mask::new(if masked { std::slice::from_ref(&tree) } else { &[] }).unwrap(),
        ..Settings::default()
    }
}

/// When motions that were told of began and ended, in seconds, and the time that it took.
fn watch(clip: &mut Clip, settings: Settings) -> (Vec<(f32, f32)>, Duration) {
    let (mut motion, mut events, mut took) = (Motion::new(settings), Vec::new(), Duration::ZERO);
    for number in 0..PICTURES * SECONDS {
        let grey = Grey::from_pixels(SIZE.0 as u32, SIZE.1 as u32, clip.picture(number)).unwrap();
        let at = MediaTime::new((number * 90_000 / PICTURES) as i64, Timescale::VIDEO);
        let begun = Instant::now();
        motion.look(&grey, at, &mut events);
        took += begun.elapsed();
    }
    motion.interrupt(&mut events);
    let seconds = |at: MediaTime| at.as_micros() as f32 / 1e6;
    let ended = events.iter().filter_map(|event| match event {
        Event::Ended { began, at, .. } => Some((seconds(*began), seconds(*at))),
        _ => None,
    });
    (ended.collect(), took)
}

#[test]
fn motion_is_found_in_hundreds_of_clips() {
    let seeds = from_variable("MOTION_SEEDS", 20);
    let (mut all, mut took) = (Score::default(), Duration::ZERO);
    for kind in KINDS {
        let mut score = Score::default();
        for seed in 0..seeds {
            let mut clip = Clip::new(kind, 1_000 + u64::from(seed));
            let (told, one) = watch(&mut clip, settings(kind));
            score.add(&clip.truth(), &told);
            took += one;
        }
        println!("{kind:?}: {score}");
        all.take(&score);
    }
    let pictures = KINDS.len() as u32 * seeds * (PICTURES * SECONDS) as u32;
    println!(
        "all: {all}; {:.0} µs a picture",
        took.as_secs_f64() * 1e6 / f64::from(pictures)
    );
    for (width, height) in [(640, 480), (1_920, 1_080)] {
        let (picture, mut shrinker) = (Picture::black(width, height).unwrap(), Shrinker::default());
        let begun = Instant::now();
        (0..100).for_each(|_| drop(shrinker.shrink(&picture)));
        println!(
            "made grey of {width}x{height}: {:.0} µs",
            begun.elapsed().as_secs_f64() * 1e4
        );
    }
    assert!(all.precision() >= 0.95 && all.recall() >= 0.95, "{all}");
}

/// Coded by FFmpeg as cameras do it, and looked at as the server does: what a second of a stream costs. For `docs/guide/motion.md`:
/// `cargo test --release -p sightline --test long what_a_stream_costs -- --nocapture`.
#[test]
fn what_a_stream_costs() {
    for (size, kbps) in [("1280x720", 2_000), ("1920x1080", 4_000)] {
        for (profile, options) in PROFILES {
            for gop in [25, 50, 100] {
                let options = format!("{options} -g {gop} -keyint_min {gop} -sc_threshold 0 -b:v {kbps}k");
                let frames = coded(&mut Clip::new(Kind::Walker, 0), COSTED, size, H264, &options);
                let [full, thrifty] = MODES.map(|mode| {
                    let looked = look(mode, settings(Kind::Walker), &frames);
                    all_of_it(mode, gop, looked.counts);
                    100.0 * looked.took.as_secs_f64() / COSTED as f64
                });
                println!("{size}, {profile}, a keyframe in {gop}: full {full:.1} % of a core, thrifty {thrifty:.2} %");
                // A keyframe costs as much as several others, and there is one for 25 of them or more.
                assert!(thrifty * 2.0 < full, "{full:.1} % and {thrifty:.2} %");
            }
        }
    }
}

/// The same of H.265, by one FFmpeg that stays and by one for each keyframe:
/// `cargo test --release -p sightline --test long what_a_stream_of_h265_costs -- --nocapture`.
#[test]
fn what_a_stream_of_h265_costs() {
    for (size, kbps) in [("1280x720", 1_500), ("1920x1080", 3_000)] {
        for gop in [25, 50] {
            let options =
                format!("-x265-params log-level=none:bframes=0:scenecut=0:keyint={gop}:min-keyint={gop} -b:v {kbps}k");
            let frames = coded(&mut Clip::new(Kind::Walker, 0), COSTED, size, H265, &options);
            let [full, thrifty] = MODES.map(|mode| {
                let (looked, memory_mib) = look_outside(mode, settings(Kind::Walker), &frames);
                all_of_it(mode, gop, looked.counts);
                (100.0 * looked.took.as_secs_f64() / COSTED as f64, memory_mib)
            });
            let before = processor_time_of_all();
            let ffmpeg = sightline::stills::ffmpeg();
            for keyframe in frames.iter().filter(|frame| frame.keyframe) {
                let picture = device::decode::keyframe(keyframe, ffmpeg.as_deref()).unwrap();
                drop(Shrinker::default().shrink(&picture));
            }
            let each = 100.0 * (processor_time_of_all() - before).as_secs_f64() / COSTED as f64;
            println!(
                "{size}, H.265, a keyframe in {gop}: full {:.1} % of a core ({:.0} MiB), thrifty {:.1} % ({:.0} MiB), by an FFmpeg for each keyframe {each:.1} %",
                full.0, full.1, thrifty.0, thrifty.1
            );
            assert!(thrifty.0 < full.0 && thrifty.0 < each);
        }
    }
}

/// What is measured is the whole work: no picture failed, and as many were looked at as there are.
fn all_of_it(mode: Mode, gop: usize, counts: Counts) {
    let looks = match mode {
        Mode::Full => 5 * COSTED as u64,
        Mode::Thrifty => (FPS * COSTED).div_ceil(gop) as u64,
    };
    assert_eq!((counts.failures, counts.late), (0, 0), "{mode}: {counts:?}");
    assert!(
        counts.looks.abs_diff(looks) <= 1 + looks / 20,
        "{mode}: {counts:?}, {looks} were to come"
    );
}

/// And how often it is right about what was coded and decoded again, at two megabits a second.
#[test]
fn motion_is_found_in_coded_clips() {
    let seeds = from_variable("MOTION_CODED", 1);
    for gop in [12, 50] {
        let mut scores = [Score::default(), Score::default()];
        for kind in CODED {
            for seed in 0..seeds {
                let mut clip = Clip::new(kind, u64::from(seed));
                let options = format!("-profile:v high -bf 0 -g {gop} -keyint_min {gop} -sc_threshold 0 -b:v 2000k");
                let frames = coded(&mut clip, SECONDS, "1280x720", H264, &options);
                for (mode, score) in MODES.iter().zip(&mut scores) {
                    score.add(&clip.truth(), &look(*mode, settings(kind), &frames).told);
                }
            }
        }
        println!("a keyframe in {gop}: full {}, thrifty {}", scores[0], scores[1]);
        assert!(
            scores[0].precision() >= 0.9 && scores[0].recall() >= 0.9,
            "{}",
            scores[0]
        );
    }
}

const MODES: [Mode; 2] = [Mode::Full, Mode::Thrifty];
/// Motion by day, at night and beside what moves always; and what is none.
const CODED: [Kind; 6] = [
    Kind::Walker,
    Kind::WalkerAtNight,
    Kind::WalkerBesideTree,
    Kind::Empty,
    Kind::Rain,
    Kind::ExposureJumps,
];
const PROFILES: [(&str, &str); 3] = [
    ("Baseline", "-profile:v baseline"),
    ("High, CABAC", "-profile:v high -bf 0"),
    ("High, CABAC, B-frames", "-profile:v high -bf 2"),
];
/// Pictures of a second in the stream: each of the clip's is shown so often.
const FPS: usize = 25;

/// Seconds of which the cost is measured.
const COSTED: usize = 12;
/// The coder, its speed, and what FFmpeg calls the stream.
type Coder = (&'static str, &'static str, &'static str);
const H264: Coder = ("libx264", "superfast", "h264");
const H265: Coder = ("libx265", "ultrafast", "hevc");

/// The beginning of a clip as a stream of that size.
fn coded(clip: &mut Clip, seconds: usize, size: &str, (coder, speed, format): Coder, options: &str) -> Vec<Frame> {
    let input: Vec<u8> = (0..PICTURES * seconds)
        .flat_map(|number| clip.picture(number))
        .collect();
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray"]);
    command.arg("-s").arg(format!("{}x{}", SIZE.0, SIZE.1));
    command.args(["-r", &PICTURES.to_string(), "-i", "-"]);
    // Noise of its own in each picture, as sensors have it: a picture that is the one before costs nothing.
    let filters = format!(
        "fps={FPS},scale={},noise=alls=3:allf=t,format=yuv420p",
        size.replace('x', ":")
    );
    command
        .args(["-vf", &filters, "-c:v", coder, "-preset", speed])
        .args(options.split(' '));
    command
        .args(["-f", format, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut ffmpeg = command.spawn().unwrap();
    let mut stdin = ffmpeg.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let stream = ffmpeg.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    let mut units = Vec::new();
    if format == "hevc" {
        let mut reader = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit));
        reader.push(&stream, |unit| units.push(unit));
        reader.paused(|unit| units.push(unit));
    } else {
        let mut reader = ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit));
        reader.push(&stream, |unit| units.push(unit));
        reader.paused(|unit| units.push(unit));
    }
    assert!(units.len().abs_diff(FPS * seconds) <= FPS / PICTURES, "{}", units.len());
    // As they are shown, but for B-frames, which are off by two pictures here: that does not matter to who looks five times a second.
    let frame = |(number, unit): (i64, AccessUnit)| Frame {
        track: TrackIndex(0),
        time: MediaTime::new(number * 90_000 / FPS as i64, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Arrival,
        },
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    };
    (0..).zip(units).map(frame).collect()
}

/// What came of looking at a stream.
struct Looked {
    /// When motions that were told of began and ended.
    told: Vec<(f32, f32)>,
    /// The processor's time that it took.
    took: Duration,
    counts: Counts,
}

fn look(mode: Mode, settings: Settings, frames: &[Frame]) -> Looked {
    let clock = SystemClock;
    let (now, begun) = (clock.now(), processor_time());
    let mut looker = Looker::new(mode, settings, now, None);
    // All of them at once, as if they had just come.
    let mut seen = looker.look(
        frames.iter().map(|frame| (frame, now + Duration::from_secs(600))),
        &clock,
    );
    seen.extend(looker.interrupt());
    let took = processor_time() - begun;
    let seconds = |at: MediaTime| at.as_micros() as f32 / 1e6;
    let ended = seen
        .iter()
        .flat_map(|seen| &seen.events)
        .filter_map(|event| match event {
            Event::Ended { began, at, .. } => Some((seconds(*began), seconds(*at))),
            _ => None,
        });
    Looked {
        told: ended.collect(),
        took,
        counts: looker.counts(),
    }
}

/// By an FFmpeg: the time of that, too, which ends behind the last picture, and its memory in MiB.
fn look_outside(mode: Mode, settings: Settings, frames: &[Frame]) -> (Looked, f64) {
    let (clock, before) = (SystemClock, processor_time_of_all());
    let now = clock.now();
    let mut looker = Looker::new(mode, settings, now, sightline::stills::ffmpeg());
    looker.look(
        frames.iter().map(|frame| (frame, now + Duration::from_secs(600))),
        &clock,
    );
    let begun = Instant::now();
    let (mut looks, mut since) = (0, Instant::now());
    let mut memory_mib = 0.0_f64;
    // Until no more come.
    while looks == 0 || since.elapsed() < Duration::from_millis(500) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", looker.trouble());
        looker.look([], &clock);
        if looker.counts().looks > looks {
            (looks, since) = (looker.counts().looks, Instant::now());
            memory_mib = memory_mib.max(memory_of_children());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let counts = looker.counts();
    drop(looker);
    // It counts when it is reaped.
    let gone = || children().is_empty();
    while !gone() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let looked = Looked {
        told: Vec::new(),
        took: processor_time_of_all() - before,
        counts,
    };
    (looked, memory_mib)
}

/// Of this process and those that it waited for: ticks of 10 ms.
fn processor_time_of_all() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind = stat.rsplit_once(')').unwrap().1;
    // utime, stime, cutime, cstime.
    let ticks: u64 = behind
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

/// Processes that this one started.
fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect::<Vec<u32>>()
    };
    tasks.flat_map(of).collect()
}

fn memory_of_children() -> f64 {
    let kib = |pid: u32| -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    children().into_iter().filter_map(kib).sum::<f64>() / 1_024.0
}

/// Of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
