use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use media::Clock as _;
use proptest::prelude::*;
use testkit::clock::SystemClock;

use super::*;
use crate::picture::Pool;
use crate::source::Wanted;

const PLAIN: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 15 -pix_fmt yuv420p";
/// Two B-frames that others refer to, and a GOP that does not divide the length.
const PYRAMID: &str = "-c:v libx264 -preset medium -bf 3 -b_strategy 0 -x264-params b-pyramid=normal:keyint=24:scenecut=0 -pix_fmt yuv420p";

fn opening() -> Opening {
    Opening {
        wanted: Wanted {
            width: 640,
            height: 480,
            fps: FrameRate::whole(25),
            raw: true,
        },
        clock: Arc::new(SystemClock),
        pool: Pool::default(),
    }
}

/// Has FFmpeg make a file of so many seconds.
fn make(path: &Path, seconds: &str, arguments: &str) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x120:rate=30",
    ]);
    ffmpeg.args([
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-map",
        "0:v",
        "-t",
        seconds,
    ]);
    ffmpeg.args(arguments.split_whitespace()).arg(path);
    let done = ffmpeg.output().expect("ffmpeg runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Presentation times of the pictures in the order of the file, in seconds from the earliest.
fn probed(path: &Path) -> Vec<f64> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
    ]);
    let said = ffprobe.arg(path).output().expect("ffprobe runs");
    let times = String::from_utf8(said.stdout).unwrap();
    relative(
        times
            .lines()
            .map(|line| line.trim_end_matches(',').parse().unwrap())
            .collect(),
    )
}

fn relative(times: Vec<f64>) -> Vec<f64> {
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    times.into_iter().map(|time| time - first).collect()
}

/// One pass over a file: presentation times as above, and the units.
fn read(path: &Path, fps: Option<FrameRate>) -> (Vec<f64>, Vec<AccessUnit>, f64) {
    let mut reader = File::new(path, fps).reader(&opening()).unwrap();
    let mut times = Vec::new();
    let mut units = Vec::new();
    let mut last = i64::MIN;
    while let Some(timed) = reader.next().unwrap() {
        assert!(timed.decode > last, "decoding times go on");
        last = timed.decode;
        times.push(timed.present as f64 / 1e9);
        units.push(timed.unit);
    }
    (relative(times), units, reader.duration() as f64 / 1e9)
}

fn assert_same(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (n, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() < 0.000_5,
            "picture {n}: {got} instead of {expected}"
        );
    }
}

#[test]
fn times_are_those_that_ffprobe_reads() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("plain.mp4", PLAIN.to_owned()),
        ("pyramid.mp4", PYRAMID.to_owned()),
        ("faststart.mp4", format!("{PYRAMID} -movflags faststart")),
        (
            "fragments.mp4",
            format!("{PYRAMID} -movflags frag_keyframe+empty_moov+default_base_moof"),
        ),
        (
            "small.mp4",
            format!("{PYRAMID} -movflags empty_moov+default_base_moof -frag_duration 100000"),
        ),
        ("sound.mp4", format!("{PYRAMID} -map 1:a -c:a aac")),
        (
            "sound-fragments.mp4",
            format!("-map 1:a -c:a aac {PLAIN} -movflags frag_keyframe+empty_moov+default_base_moof"),
        ),
        ("ticks.mp4", format!("{PYRAMID} -video_track_timescale 1000")),
        ("phone.mov", format!("{PYRAMID} -movflags faststart")),
    ] {
        let path = folder.path().join(name);
        make(&path, "3.1", &arguments);
        let (times, units, duration) = read(&path, None);
        println!("{name}: {} pictures, {duration} s", units.len());
        assert_same(&times, &probed(&path));
        assert_eq!(units.len(), 93, "{name}");
        // In fragments FFmpeg guesses how long the last picture lasts, less than a frame off.
        assert!((duration - 3.1).abs() < 0.034, "{name}: {duration}");
        assert_eq!(units[0].format.dimensions(), Some((160, 120)));
        assert!(units[0].keyframe && units.iter().all(|unit| !unit.data.is_empty()));
        let b = arguments.contains(PYRAMID);
        assert_eq!(units.iter().any(|unit| unit.has_b), b, "{name}");
    }
}

#[test]
fn bare_h264_gets_the_times_it_had_in_its_container() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [("plain", PLAIN), ("pyramid", PYRAMID)] {
        let mp4 = folder.path().join(format!("{name}.mp4"));
        make(&mp4, "3.1", arguments);
        let bare = mp4.with_extension("h264");
        let copied = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&mp4)
            .args(["-c", "copy"])
            .arg(&bare)
            .status();
        assert!(copied.unwrap().success());
        let (times, units, duration) = read(&bare, None);
        assert_same(&times, &probed(&mp4));
        assert!((duration - 3.1).abs() < 0.001);
        let (_, from_mp4, _) = read(&mp4, None);
        for (bare, mp4) in units.iter().zip(&from_mp4) {
            assert_eq!((bare.keyframe, bare.has_b), (mp4.keyframe, mp4.has_b));
            // x264's advertisement is in the stream once and in MP4's first sample; the pictures are the same.
            assert_eq!(slices(bare), slices(mp4));
        }
        let (_, _, slow) = read(&bare, FrameRate::new(15, 1));
        assert!((slow - 6.2).abs() < 0.001, "{slow}");
    }
}

fn slices(unit: &AccessUnit) -> Vec<&[u8]> {
    media::annexb::nal_units(&unit.data)
        .filter(|nal| media::h264::slice_header(nal).is_some())
        .collect()
}

/// Plays until so many access units have come.
fn play(source: &mut dyn Source, count: usize) -> Vec<(AccessUnit, Instant, Instant)> {
    let mut played = Vec::new();
    let until = SystemClock.now() + Duration::from_secs(30);
    while played.len() < count {
        assert!(SystemClock.now() < until, "{} of {count}", played.len());
        match source.next(Duration::from_millis(50)) {
            Ok(Some(Captured::AccessUnit { unit, taken })) => played.push((unit, taken.at, SystemClock.now())),
            Ok(Some(Captured::Picture { .. })) => panic!("a picture"),
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
    }
    played
}

#[test]
fn plays_in_real_time_and_starts_over_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.mp4");
    make(&path, "0.5", PYRAMID);
    let mut source = File::new(&path, None).open(&opening()).unwrap();
    let text = format!(
        "file {}, H.264 160×120@30, over and over, without sound",
        path.display()
    );
    assert_eq!(source.description().text, text);
    let played = play(&mut *source, 45);
    let mut shown: Vec<Instant> = played.iter().map(|(_, at, _)| *at).collect();
    assert!(
        shown.windows(2).any(|pair| pair[1] < pair[0]),
        "B-frames are shown in another order"
    );
    shown.sort();
    for pair in shown.windows(2) {
        let gap = (pair[1] - pair[0]).as_secs_f64() * 1e3;
        assert!((gap - 33.33).abs() < 0.1, "{gap} ms");
    }
    for (_, at, delivered) in &played {
        assert!(at <= delivered);
    }
    let keyframes: Vec<usize> = (0..45).filter(|&n| played[n].0.keyframe).collect();
    assert_eq!(keyframes, [0, 15, 30]);
    // Presentation runs behind decoding by the depth of the B-frames, so that much is the oldest where the machine lets nobody wait.
    let late = |(_, at, delivered): &(AccessUnit, Instant, Instant)| (*delivered - *at).as_secs_f64() * 1e3;
    let mut late: Vec<f64> = played.iter().map(late).collect();
    late.sort_by(f64::total_cmp);
    assert!(late[30] < 250.0, "{late:?}");
}

#[test]
fn time_that_was_slept_through_is_not_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.mp4");
    make(&path, "1", PLAIN);
    let mut source = File::new(&path, None).open(&opening()).unwrap();
    play(&mut *source, 3);
    thread::sleep(Duration::from_millis(2_600));
    let began = SystemClock.now();
    play(&mut *source, 30);
    let took = SystemClock.now() - began;
    assert!(took > Duration::from_millis(800), "{took:?}");
}

#[test]
fn a_new_version_is_taken_up_when_it_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    make(&path, "0.4", PLAIN);
    let mut source = File::new(&path, None).open(&opening()).unwrap();
    assert_eq!(play(&mut *source, 1)[0].0.format.dimensions(), Some((160, 120)));
    let new = folder.path().join("new.mp4");
    make(&new, "0.4", &format!("-vf scale=320:240 {PLAIN}"));
    fs::rename(&new, &path).unwrap();
    assert_eq!(
        play(&mut *source, 25).pop().unwrap().0.format.dimensions(),
        Some((320, 240))
    );
    fs::remove_file(&path).unwrap();
    let error = loop {
        if let Err(error) = source.next(Duration::from_millis(50)) {
            break error;
        }
    };
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot open {}: ", path.display())),
        "{error}"
    );
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |name: &str| {
        let error = File::new(folder.path().join(name), None)
            .open(&opening())
            .err()
            .unwrap();
        assert!(!error.retryable);
        error.to_string()
    };
    let with = |name: &str, content: &[u8]| {
        fs::write(folder.path().join(name), content).unwrap();
        fails(name)
    };
    assert!(fails("nothing.mp4").contains("cannot open"));
    assert!(fails(".").contains("it is no file"));
    assert!(with("empty.mp4", b"").contains("it is empty"));
    assert!(with("text.mp4", b"this is a text, not a film").contains("neither MP4 nor H.264"));
    let made = |name: &str, arguments: &str| {
        make(&folder.path().join(name), "0.5", arguments);
        fails(name)
    };
    assert!(made("film.mkv", PLAIN).contains("it is Matroska or WebM; MP4 and H.264"));
    assert!(made("film.ts", PLAIN).contains("MPEG transport stream"));
    assert!(made("new.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none").contains("H.265, not H.264"));
    assert!(made("sound.mp4", "-map -0:v -map 1:a -c:a aac").contains("it holds no pictures"));
    assert!(made("old.mp4", "-c:v mpeg4").contains("codec that is not known, not H.264"));
    let bare = with("bare.h264", &[0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 0, 0, 1, 0x68, 0xCE]);
    assert!(
        bare.contains("sequence parameter set: it ends before seq_parameter_set_id; make an MP4 of it"),
        "{bare}"
    );
    let delimiter = with("delimiter.h264", &[0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 9, 0xF0]);
    assert!(delimiter.contains("there is no picture in it"), "{delimiter}");
    let h265 = with("bare.h265", &[0, 0, 0, 1, 0x40, 1, 0xC, 1]);
    assert!(h265.contains("it is H.265"), "{h265}");
    let endless = with(
        "boxes.mp4",
        &[&b"\0\0\0\x08ftyp"[..], &b"\0\0\0\x08free".repeat(MANY)].concat(),
    );
    assert!(endless.contains("cannot play"), "{endless}");
    let huge = with("huge.mp4", &[&ftyp()[..], b"\x7F\xFF\xFF\xFFmoov", &[0; 64]].concat());
    assert!(huge.contains("at most 67108864 are taken"), "{huge}");
}

const MANY: usize = 20_000;

fn ftyp() -> Vec<u8> {
    b"\0\0\0\x14ftypisom\0\0\x02\0isom".to_vec()
}

#[test]
fn a_cut_file_plays_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.mp4");
    make(
        &whole,
        "2",
        &format!("{PLAIN} -movflags frag_keyframe+empty_moov+default_base_moof"),
    );
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let mut source = File::new(&cut, None).open(&opening()).unwrap();
    let played = play(&mut *source, 50);
    // Whole fragments of half a second each, over and over.
    let keyframes = (0..50).filter(|&n| played[n].0.keyframe).count();
    assert!(keyframes >= 3, "{keyframes}");
    // Without its index at the end an MP4 is nothing.
    make(&whole, "2", PLAIN);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = File::new(&cut, None).open(&opening()).err().unwrap().to_string();
    assert!(error.contains("cannot play"), "{error}");
}

#[test]
fn ten_files_leave_none_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leak.mp4");
    make(&path, "0.2", PLAIN);
    let open = || {
        let links = fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter(|target| *target == path).count()
    };
    for _ in 0..10 {
        let mut source = File::new(&path, None).open(&opening()).unwrap();
        play(&mut *source, 8);
        assert_eq!(open(), 1);
        drop(source);
        assert_eq!(open(), 0);
    }
}

/// Small files of each kind, made once.
fn specimens() -> &'static [Vec<u8>] {
    static SPECIMENS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SPECIMENS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let kinds = [
            ("a.mp4", format!("{PYRAMID} -map 1:a -c:a aac")),
            (
                "b.mp4",
                format!("{PYRAMID} -movflags frag_keyframe+empty_moov+default_base_moof"),
            ),
            ("c.h264", PYRAMID.to_owned()),
        ];
        kinds
            .iter()
            .map(|(name, arguments)| {
                let path = folder.path().join(name);
                make(&path, "0.4", arguments);
                fs::read(path).unwrap()
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn mutated_and_cut_files_never_panic(
        kind in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        // Where the boxes are: near the start and near the end.
        header_changes in prop::collection::vec((0..2_500_usize, any::<bool>(), prop_oneof![Just(0_u8), Just(1), Just(0x7F), Just(0xFF), any::<u8>()]), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = specimens()[kind].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for (at, from_end, value) in header_changes {
            let at = at % bytes.len();
            let at = if from_end { bytes.len() - 1 - at } else { at };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        if let Ok(mut reader) = File::new(file.path(), None).reader(&opening()) {
            let mut count = 0;
            while let Ok(Some(_)) = reader.next() {
                count += 1;
                // One sample in such a file cannot be had more often than this, however many a mutated table claims.
                if count > 20_000 {
                    break;
                }
            }
            let _ = reader.duration();
        }
    }
}
