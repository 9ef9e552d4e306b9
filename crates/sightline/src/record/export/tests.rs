//! Exports of made recordings, as FFmpeg reads them: which pictures there are is told by comparing them with those that were recorded.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::demux::Demuxer;
use media::{Capture, CaptureSource, Frame, Track, TrackIndex, WallTime};

use super::footage::Footage;
use super::plan::Wanted;
use super::*;
use crate::clock::SystemClock;
use crate::record::archive;
use crate::record::index::Segment;
use crate::record::library::made::{Made, NOON_90K, NOON_US, pictures, ran};
use crate::record::library::view::View;

const SECOND_90K: i64 = 90_000;
const SIZE: (usize, usize) = (160, 120);

struct World {
    exports: Arc<Exports>,
    events: Arc<Events>,
    made: Made,
}

/// For a clip of `door`.
fn wish(range_90k: Range<i64>) -> Wish {
    Wish {
        camera: "door".parse().unwrap(),
        range_90k,
        name: None,
        kind: Kind::Clip,
        is_exact: false,
        by: "test".to_owned(),
    }
}

impl World {
    fn new() -> Self {
        Self::of(Made::new())
    }

    fn of(made: Made) -> Self {
        let clock = Arc::new(SystemClock);
        let hub = media::hub::Hub::new(media::hub::Limits::default());
        let events = Events::new(&hub, Arc::clone(&clock) as Arc<dyn Clock>);
        let recorder = made.recorder.clone();
        let told = Arc::clone(&events);
        let exports = Exports::new(
            move || Some(recorder.clone()),
            None,
            told,
            clock,
            || jiff::tz::TimeZone::UTC,
        );
        Self { exports, events, made }
    }

    /// Frames of `seconds` in files of three.
    fn record(&self, start_s: i64, tracks: &[Track], frames: Vec<Frame>) {
        let start = NOON_90K + start_s * SECOND_90K;
        self.made.record("door", start, tracks, frames, Duration::from_secs(3));
    }

    fn order(&self, range_s: (f64, f64), change: impl FnOnce(&mut Wish)) -> Export {
        let at = |seconds: f64| NOON_90K + (seconds * 90_000.0).round() as i64;
        let mut wish = wish(at(range_s.0)..at(range_s.1));
        change(&mut wish);
        self.exports.order(wish).unwrap()
    }

    fn wait(&self, export: &Export) -> Export {
        let begun = Instant::now();
        loop {
            let now = self.exports.get(&export.camera, export.number).unwrap();
            if !now.state.is_open() {
                return now;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{now:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn done(&self, range_s: (f64, f64), change: impl FnOnce(&mut Wish)) -> (Export, PathBuf) {
        let export = self.wait(&self.order(range_s, change));
        assert_eq!(export.state, State::Done, "{export:?}");
        let path = self.folder().join(&export.file);
        assert_eq!(path.metadata().unwrap().len(), export.bytes);
        (export, path)
    }

    fn folder(&self) -> PathBuf {
        self.made.root().join(FOLDER)
    }
}

/// What FFmpeg makes, as frames: 25 pictures a second of the test pattern, and a tone where it is asked for.
fn stream(seconds: u32, encoder: &str, tone: bool) -> (Vec<Track>, Vec<Frame>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.mp4");
    let (width, height) = SIZE;
    let sound = match tone {
        true => "-f lavfi -i sine=440:sample_rate=48000 -c:a aac -b:a 64k",
        false => "-an",
    };
    let (input, codec) = sound.split_once(" -c:a").unwrap_or(("", ""));
    let codec = if codec.is_empty() {
        "-an".to_owned()
    } else {
        format!("-c:a{codec}")
    };
    let arguments = format!(
        "-v error -nostdin -f lavfi -i testsrc2=size={width}x{height}:rate=25 {input} -t {seconds} -pix_fmt yuv420p {encoder} {codec} \
         -video_track_timescale 90000 -movflags empty_moov+default_base_moof+frag_keyframe -f mp4 {}",
        path.display()
    );
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    ran("ffmpeg", &arguments.join(" "));
    let bytes = std::fs::read(path).unwrap();
    let moof = bytes.windows(4).position(|name| name == b"moof").unwrap() - 4;
    let mut demuxer = Demuxer::new();
    demuxer.header(&bytes[..moof]).unwrap();
    let (mut tracks, mut frames): (Vec<Track>, Vec<Frame>) = (Vec::new(), Vec::new());
    for sample in demuxer.piece(&bytes[moof..]).unwrap() {
        let index = TrackIndex(u8::from(sample.kind() == media::Kind::Audio));
        let timescale = sample.time.scale();
        if !tracks.iter().any(|track| track.index == index) {
            let format = Arc::clone(&sample.format);
            tracks.push(Track {
                index,
                format,
                timescale,
            });
        }
        frames.push(Frame {
            track: index,
            time: sample.time,
            capture: Capture {
                at: WallTime::from_unix_micros(NOON_US + sample.time.as_micros()),
                source: CaptureSource::Camera,
            },
            keyframe: sample.keyframe,
            format: sample.format,
            data: sample.data,
        });
    }
    tracks.sort_by_key(|track| track.index.0);
    (tracks, frames)
}

const PLAIN: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -keyint_min 25 -sc_threshold 0";

/// The pictures that FFmpeg shows, in grey.
fn shown(path: &Path) -> Vec<Vec<u8>> {
    let (width, height) = SIZE;
    let arguments = format!(
        "-v error -nostdin -i {} -an -vf scale={width}:{height} -vsync passthrough -pix_fmt gray -f rawvideo -",
        path.display()
    );
    ran("ffmpeg", &arguments)
        .chunks(width * height)
        .map(<[u8]>::to_vec)
        .collect()
}

/// The pattern itself: picture n of what was recorded.
fn pattern(seconds: u32) -> Vec<Vec<u8>> {
    let (width, height) = SIZE;
    let arguments = format!(
        "-v error -nostdin -f lavfi -i testsrc2=size={width}x{height}:rate=25 -t {seconds} -pix_fmt yuv420p -f rawvideo -"
    );
    let luma = width * height;
    ran("ffmpeg", &arguments)
        .chunks(luma * 3 / 2)
        .map(|picture| picture[..luma].to_vec())
        .collect()
}

/// Which of the pattern each picture is.
fn numbers(shown: &[Vec<u8>], pattern: &[Vec<u8>]) -> Vec<usize> {
    // Every seventh pixel is enough to tell them apart.
    let apart = |a: &[u8], b: &[u8]| -> u64 {
        let pixels = a.iter().zip(b).step_by(7);
        pixels.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
    };
    shown
        .iter()
        .map(|picture| {
            let nearest = pattern
                .iter()
                .enumerate()
                .min_by_key(|(_, other)| apart(picture, other));
            nearest.unwrap().0
        })
        .collect()
}

/// What ffprobe says of an entry of each stream, or of the whole.
fn probe(path: &Path, what: &str) -> Vec<String> {
    let arguments = format!("-v error -show_entries {what} -of csv=p=0 {}", path.display());
    let said = String::from_utf8(ran("ffprobe", &arguments)).unwrap();
    said.lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
}

/// A keyframe each second, files of three, eight seconds: what is not asked for to the frame begins with a keyframe, and ends with its group.
#[test]
fn a_clip_is_exact_to_the_group() {
    let world = World::new();
    let (track, frames) = pictures(8, 25, "160x120");
    world.record(0, &[track], frames);
    let (export, path) = world.done((2.2, 5.5), |_| {});
    assert_eq!(numbers(&shown(&path), &pattern(8)), (50..150).collect::<Vec<_>>());
    assert_eq!(
        export.covers_90k,
        Some(NOON_90K + 2 * SECOND_90K..NOON_90K + 6 * SECOND_90K)
    );
    assert_eq!(
        (export.plays_90k, &export.gaps_90k[..], &export.rest, &export.note),
        (4 * 90_000, &[][..], &None, &None)
    );
    assert_eq!(export.file, "door_20261122_120002.mp4");
    assert_eq!(probe(&path, "format=duration"), ["4.000000"]);
    // Its tables stand in front: whoever downloads it can begin to play.
    let bytes = std::fs::read(&path).unwrap();
    let at = |name: &[u8]| bytes.windows(4).position(|found| found == name).unwrap();
    assert!(at(b"moov") < at(b"mdat"));
    // Nothing is left beside it but what is known of it.
    let mut left: Vec<_> = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".1.json", "door_20261122_120002.mp4"]);
}

#[test]
fn a_clip_is_exact_to_the_frame_where_that_is_asked() {
    let world = World::new();
    let (track, frames) = pictures(8, 25, "160x120");
    world.record(0, &[track], frames);
    let pattern = pattern(8);
    for (range, expected) in [
        ((2.2, 5.5), 55..138),
        // Within one group.
        ((3.2, 3.4), 80..85),
        // At a keyframe nothing need be encoded again.
        ((2.0, 4.0), 50..100),
        // Between two pictures: the one that is shown then.
        ((2.21, 4.01), 55..101),
        // From before the first on, to behind the last.
        ((-5.0, 20.0), 0..200),
    ] {
        let (export, path) = world.done(range, |wish| wish.is_exact = true);
        let expected: Vec<usize> = expected.collect();
        assert_eq!(numbers(&shown(&path), &pattern), expected, "{range:?}");
        let start = NOON_90K + 3_600 * expected[0] as i64;
        let end = NOON_90K + 3_600 * (expected[expected.len() - 1] as i64 + 1);
        assert_eq!((export.covers_90k, export.note), (Some(start..end), None), "{range:?}");
        assert_eq!(export.plays_90k, 3_600 * expected.len() as u64);
        assert_eq!(probe(&path, "stream=start_time"), ["0.000000"]);
    }
}

/// Pictures that refer to later ones: what is cut at the end is encoded again, too, and all are shown once and in order.
#[test]
fn b_pictures_are_cut_to_the_frame() {
    let world = World::new();
    let (tracks, frames) = stream(
        8,
        "-c:v libx264 -preset veryfast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0",
        false,
    );
    world.record(0, &tracks, frames);
    let pattern = pattern(8);
    let (_, path) = world.done((2.2, 5.5), |_| {});
    assert_eq!(numbers(&shown(&path), &pattern), (50..150).collect::<Vec<_>>());
    for (range, expected) in [((2.21, 5.51), 55..138), ((3.21, 3.41), 80..86), ((0.0, 4.21), 0..106)] {
        let (export, path) = world.done(range, |wish| wish.is_exact = true);
        assert_eq!(export.note, None);
        let expected: Vec<usize> = expected.collect();
        let numbers = numbers(&shown(&path), &pattern);
        // When the first pictures of such a stream are decoded is guessed, and with it when a file begins: so it is exact to a picture.
        let is_near = |a: Option<&usize>, b: Option<&usize>| a.zip(b).is_some_and(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{range:?}: {numbers:?}"
        );
        assert!(
            is_near(numbers.first(), expected.first()) && is_near(numbers.last(), expected.last()),
            "{range:?}: {numbers:?}"
        );
    }
}

#[test]
fn sound_begins_and_ends_with_the_pictures() {
    let world = World::new();
    let (tracks, frames) = stream(8, PLAIN, true);
    assert_eq!(tracks.len(), 2);
    world.record(0, &tracks, frames);
    for is_exact in [false, true] {
        let (_, path) = world.done((2.2, 5.5), |wish| wish.is_exact = is_exact);
        let streams = probe(&path, "stream=codec_type,start_time,duration");
        let times: Vec<(String, f64, f64)> = streams
            .iter()
            .map(|line| {
                let mut parts = line.split(',');
                let mut next = || parts.next().unwrap().to_owned();
                (next(), next().parse().unwrap(), next().parse().unwrap())
            })
            .collect();
        let [(video, starts, lasts), (audio, sound, sounds)] = &times[..] else {
            panic!("{times:?}")
        };
        assert_eq!((&**video, &**audio, *starts), ("video", "audio", 0.0));
        // A frame of sound is 21 ms.
        assert!(
            (*sound - *starts).abs() < 0.022 && (sounds - lasts).abs() < 0.044,
            "{times:?}"
        );
        let expected = if is_exact { 3.32 } else { 4.0 };
        assert!((lasts - expected).abs() < 0.001, "{times:?}");
        // All of it is decoded without a complaint.
        ran(
            "ffmpeg",
            &format!("-v error -nostdin -xerror -i {} -f null -", path.display()),
        );
    }
}

/// What is missing is left out, and told.
#[test]
fn gaps_are_left_out_and_told() {
    let world = World::new();
    let (tracks, frames) = stream(8, PLAIN, true);
    world.record(0, &tracks, frames.clone());
    world.record(18, &tracks, frames);
    let (export, path) = world.done((6.05, 21.0), |_| {});
    let expected: Vec<usize> = (150..200).chain(0..75).collect();
    assert_eq!(numbers(&shown(&path), &pattern(8)), expected);
    assert_eq!(export.plays_90k / 90_000, 5);
    let [gap] = &export.gaps_90k[..] else {
        panic!("{export:?}")
    };
    assert!((gap.start - NOON_90K - 8 * SECOND_90K).abs() < 9_000, "{gap:?}");
    assert_eq!(gap.end, NOON_90K + 18 * SECOND_90K);
    // FFmpeg shows the first picture 21 ms longer than the others, for the sake of the sound.
    ran(
        "ffmpeg",
        &format!("-v error -nostdin -xerror -i {} -f null -", path.display()),
    );
    // To the frame, too.
    let (_, path) = world.done((6.43, 18.43), |wish| wish.is_exact = true);
    let expected: Vec<usize> = (160..200).chain(0..11).collect();
    assert_eq!(numbers(&shown(&path), &pattern(8)), expected);
}

/// A file that somebody removed is a gap, and one of which a part was overwritten is one from there on.
#[test]
fn a_file_that_is_gone_or_damaged_is_a_gap() {
    let world = World::new();
    let (track, frames) = pictures(8, 25, "160x120");
    let start = NOON_90K;
    let files = world
        .made
        .record("door", start, &[track], frames, Duration::from_secs(2));
    assert_eq!(files.len(), 4);
    std::fs::remove_file(world.made.root().join(&files[1].path)).unwrap();
    let damaged = world.made.root().join(&files[2].path);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let second = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, name)| name == b"moof")
        .nth(1)
        .unwrap()
        .0;
    bytes[second..second + 8].fill(0);
    std::fs::write(&damaged, bytes).unwrap();
    let (export, path) = world.done((0.0, 8.0), |_| {});
    let expected: Vec<usize> = (0..50).chain(100..125).chain(150..200).collect();
    assert_eq!(numbers(&shown(&path), &pattern(8)), expected);
    let gaps: Vec<(i64, i64)> = export
        .gaps_90k
        .iter()
        .map(|gap| ((gap.start - start) / SECOND_90K, (gap.end - start) / SECOND_90K))
        .collect();
    assert_eq!(gaps, [(2, 4), (5, 6)]);
}

/// It is not gone: an export without it would be one with a gap that nobody looks for. Where the archive is, and what it says, is in the log alone.
#[test]
fn what_is_archived_and_cannot_be_had_fails_an_export() {
    let made = Made::new();
    let (track, frames) = pictures(2, 25, "160x120");
    let mut files = made.record("door", NOON_90K, &[track], frames, Duration::from_secs(2));
    let segment = Segment {
        storage: archive::STORAGE,
        ..files.remove(0)
    };
    let reader = made.recorder.reader().unwrap();
    let not_set = Archive::new(archive::World {
        recorder: Box::new(|| None),
        clock: Arc::new(SystemClock),
        random: crate::random::bits,
        catalogue: made.folder.path().join("archive.sqlite"),
    });
    for archive in [None, Some(&not_set)] {
        let places = View::new(&reader, &made.recorder)
            .and_archive(archive)
            .places()
            .unwrap();
        let footage = Footage {
            segment: segment.clone(),
            rows: Vec::new(),
            continues: false,
            end_90k: segment.end_90k(),
        };
        let wanted = Wanted {
            range_90k: segment.start_90k..segment.end_90k(),
            kind: Kind::Clip,
            is_exact: false,
        };
        let stop = plan::make(&wanted, &[footage], &places, &mut |_| Ok(())).unwrap_err();
        assert_eq!(stop.to_string(), archive::AWAY);
    }
}

/// Other parameter sets, then another size, each with its entry.
#[test]
fn parameter_sets_may_change_on_the_way() {
    let world = World::new();
    let (tracks, first) = stream(4, PLAIN, false);
    let (cabac, second) = stream(
        4,
        "-c:v libx264 -preset veryfast -bf 0 -g 25 -keyint_min 25 -sc_threshold 0 -profile:v high",
        false,
    );
    let (large, third) = stream(4, &format!("{PLAIN} -s 320x240"), false);
    world.record(0, &tracks, first);
    world.record(4, &cabac, second);
    world.record(8, &large, third);
    let pattern = pattern(4);
    for is_exact in [false, true] {
        let (export, path) = world.done((2.0, 9.96), |wish| wish.is_exact = is_exact);
        let last = if is_exact { 49 } else { 50 };
        let expected: Vec<usize> = (50..100).chain(0..100).chain(0..last).collect();
        assert_eq!(numbers(&shown(&path), &pattern), expected);
        assert_eq!((export.rest, export.note), (None, None));
        ran(
            "ffmpeg",
            &format!("-v error -nostdin -xerror -i {} -f null -", path.display()),
        );
    }
}

/// Another codec is another file: it is said where that begins. H.265 is not encoded again.
#[test]
fn another_codec_is_left_for_another_export() {
    let world = World::new();
    let (tracks, frames) = stream(
        4,
        "-c:v libx265 -preset ultrafast -x265-params keyint=25:min-keyint=25:scenecut=0:bframes=0:log-level=none",
        false,
    );
    let (other, others) = stream(4, PLAIN, false);
    world.record(0, &tracks, frames);
    world.record(4, &other, others);
    let (export, path) = world.done((1.5, 8.0), |wish| wish.is_exact = true);
    assert!(export.note.as_ref().unwrap().contains("H.265"));
    let rest = export.rest.as_ref().unwrap();
    assert_eq!(rest.from_90k, NOON_90K + 4 * SECOND_90K);
    assert_eq!(numbers(&shown(&path), &pattern(4)), (25..100).collect::<Vec<_>>());
    let range = (4.0, 8.0);
    let (_, path) = world.done(range, |_| {});
    assert_eq!(shown(&path).len(), 100);
}

#[test]
fn a_time_lapse_is_keyframes_at_its_own_pace() {
    let world = World::new();
    let (tracks, frames) = stream(8, PLAIN, true);
    world.record(0, &tracks, frames.clone());
    world.record(3_600, &tracks, frames);
    let lapse = |speed, fps| move |wish: &mut Wish| wish.kind = Kind::Timelapse { speed, fps };
    // Each second's keyframe is shown for a quarter of one; the hour without anything is not.
    let (export, path) = world.done((0.0, 3_608.0), lapse(4, 25));
    let expected: Vec<usize> = (0..8).chain(0..8).map(|second| 25 * second).collect();
    assert_eq!(numbers(&shown(&path), &pattern(8)), expected);
    assert_eq!(probe(&path, "stream=codec_type"), ["video"]);
    assert_eq!(export.file, "door_20261122_120000_x4.mp4");
    let lasts = export.plays_90k as f64 / 90_000.0;
    assert!((3.75..=4.0).contains(&lasts), "{lasts}");
    // Faster than there are keyframes to be shown: some are left out, and it keeps its rate.
    let (export, path) = world.done((0.0, 8.0), lapse(100, 25));
    assert_eq!(numbers(&shown(&path), &pattern(8)), [0, 100]);
    assert_eq!(export.plays_90k, 2 * 3_600);
}

#[test]
fn names_are_given_once_and_exports_can_be_deleted() {
    let world = World::new();
    let (track, frames) = pictures(2, 25, "160x120");
    world.record(0, &[track], frames);
    let named = |wish: &mut Wish| wish.name = Some("who rang".parse().unwrap());
    let (one, path) = world.done((0.0, 1.0), named);
    let (two, other) = world.done((0.0, 1.0), named);
    assert_eq!((&*one.file, &*two.file), ("who rang.mp4", "who rang_2.mp4"));
    let of = |text: &str| text.parse::<StreamName>().unwrap();
    // By its camera alone.
    assert!(matches!(
        world.exports.get(&of("yard"), one.number),
        Err(Error::Nothing)
    ));
    assert!(matches!(
        world.exports.delete(&of("yard"), one.number),
        Err(Error::Nothing)
    ));
    world.exports.delete(&one.camera, one.number).unwrap();
    assert!(!path.exists() && other.exists());
    assert!(matches!(
        world.exports.open(&one.camera, one.number),
        Err(Error::Nothing)
    ));
    let numbers: Vec<u64> = world
        .exports
        .list()
        .unwrap()
        .iter()
        .map(|export| export.number)
        .collect();
    assert_eq!(numbers, [2]);
    let nothing = world.wait(&world.order((50.0, 60.0), |_| {}));
    assert_eq!(nothing.state, State::Failed);
    assert!(nothing.reason.unwrap().contains("nothing is recorded"));
    assert!(matches!(
        world.exports.open(&of("door"), 3),
        Err(Error::NotDone("failed"))
    ));
}

/// After a kill at any point of it: what was being made is made, what was done is there, and nothing else.
#[test]
fn what_was_begun_is_made_after_a_kill() {
    let world = World::new();
    let (track, frames) = pictures(4, 25, "160x120");
    world.record(0, &[track], frames);
    let (done, path) = world.done((0.0, 2.0), |_| {});
    let before = std::fs::read(&path).unwrap();
    // As a kill leaves it: begun, with some of it written; and given its name, but not told.
    for (number, file) in [(5, ""), (6, "given.mp4")] {
        let mut export = done.clone();
        (export.number, export.state) = (number, State::Running);
        export.file = if file.is_empty() { "next.mp4" } else { file }.to_owned();
        state::write(&world.folder(), &export).unwrap();
        std::fs::write(world.folder().join(state::part(number, 9)), b"half").unwrap();
        if !file.is_empty() {
            std::fs::write(world.folder().join(file), b"whole").unwrap();
        }
    }
    let World { exports, made, .. } = world;
    drop(exports);
    let world = World::of(made);
    world.exports.resume().unwrap();
    for number in [5, 6] {
        let export = world.exports.get(&done.camera, number).unwrap();
        let export = world.wait(&export);
        assert_eq!(export.state, State::Done, "{export:?}");
        assert_eq!(std::fs::read(world.folder().join(&export.file)).unwrap(), before);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let parts = std::fs::read_dir(world.folder()).unwrap().filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".part")
    });
    assert_eq!(parts.count(), 0);
}

#[test]
fn so_many_may_wait_and_no_more() {
    let world = World::new();
    // The thread is held up.
    world.exports.resume().unwrap();
    let mut known = world.exports.lock();
    let wish = wish(0..1);
    for number in 1..=MAX_WAITING as u64 {
        let export = Export::new(
            number,
            format!("{number}.mp4"),
            wish.clone(),
            WallTime::from_unix_micros(0),
        );
        known.as_mut().unwrap().exports.insert(number, Entry::new(export));
    }
    let other = Arc::clone(&world.exports);
    let asked = wish.clone();
    let waiting = std::thread::spawn(move || other.order(asked));
    // Whoever comes first, the thread or this: one is taken off the list at the most, and that is not done yet.
    drop(known);
    let refused = waiting.join().unwrap();
    assert!(matches!(refused, Err(Error::TooMany { limit: MAX_WAITING, .. })) || refused.is_ok());
    let mut known = world.exports.lock();
    for number in 1..=MAX_EXPORTS as u64 {
        let export = Export::new(
            number,
            format!("{number}.mp4"),
            wish.clone(),
            WallTime::from_unix_micros(0),
        );
        let export = Export {
            state: State::Failed,
            ..export
        };
        known.as_mut().unwrap().exports.insert(number, Entry::new(export));
    }
    drop(known);
    assert!(matches!(
        world.exports.order(wish),
        Err(Error::TooMany { limit: MAX_EXPORTS, .. })
    ));
}

/// Whatever becomes of an export, what was kept for it is not kept any longer.
#[test]
fn nothing_is_kept_for_an_export_that_is_over() {
    let world = World::new();
    let (track, frames) = pictures(8, 25, "160x120");
    world.record(0, &[track], frames);
    let protected = || {
        world
            .made
            .recorder
            .reader()
            .unwrap()
            .protected(None, None)
            .unwrap()
            .items
    };
    world.done((0.0, 2.0), |_| {});
    let begun = Instant::now();
    // It is told to be done first.
    while !protected().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", protected());
        std::thread::sleep(Duration::from_millis(5));
    }
    // The thread is held up: it waits.
    let mut known = world.exports.lock();
    let export = Export::new(
        9,
        "9.mp4".to_owned(),
        wish(NOON_90K..NOON_90K + SECOND_90K),
        WallTime::from_unix_micros(0),
    );
    let export = Export {
        state: State::Failed,
        ..export
    };
    keeping::keep(&world.made.recorder, &export);
    known.as_mut().unwrap().exports.insert(9, Entry::new(export.clone()));
    drop(known);
    assert_eq!(protected().len(), 1);
    world.exports.delete(&export.camera, 9).unwrap();
    assert_eq!(protected(), []);
}

/// A thousand exports with a thousand gaps each would be 70 MB of text.
#[test]
fn a_list_of_exports_has_few_gaps_of_each() {
    let world = World::new();
    world.exports.resume().unwrap();
    let wish = wish(0..1);
    let export = Export::new(1, "1.mp4".to_owned(), wish, WallTime::from_unix_micros(0));
    let gaps: Vec<_> = (0..state::MAX_GAPS as i64).map(|at| 2 * at..2 * at + 1).collect();
    let export = Export {
        state: State::Done,
        gaps_90k: gaps.clone(),
        ..export
    };
    world
        .exports
        .lock()
        .as_mut()
        .unwrap()
        .exports
        .insert(1, Entry::new(export.clone()));
    let listed = world.exports.list().unwrap().remove(0);
    assert_eq!(
        (&listed.gaps_90k[..], listed.more_gaps),
        (&gaps[..MAX_LISTED_GAPS], 990)
    );
    let told = world.exports.get(&export.camera, 1).unwrap();
    assert_eq!((told.gaps_90k, told.more_gaps), (gaps, 0));
}

/// A disk that hangs has so many threads, and no more.
#[tokio::test]
async fn so_many_ask_at_a_time_and_the_others_are_told() {
    let world = World::new();
    let mut turns = Vec::new();
    for _ in 0..MAX_QUESTIONS {
        turns.push(world.exports.turn().await.unwrap());
    }
    let soon = Duration::from_millis(20);
    assert!(matches!(world.exports.turn_within(soon).await, Err(Error::Busy)));
    turns.pop();
    drop(world.exports.turn().await.unwrap());
}

#[tokio::test]
async fn who_listens_is_told_how_far_it_is() {
    let world = World::new();
    let (track, frames) = pictures(8, 25, "160x120");
    world.record(0, &[track], frames);
    let mut listener = world.events.listen(None);
    let export = world.order((0.0, 8.0), |_| {});
    let (mut kinds, mut percents) = (Vec::new(), Vec::new());
    loop {
        let crate::events::Heard::Event(event) = listener.next().await else {
            panic!()
        };
        let form = serde_json::to_value(event.form(crate::events::Sight::NoPeers)).unwrap();
        assert_eq!(
            (form["export"].as_str(), form["stream"].as_str()),
            (Some(&*export.id()), Some("door"))
        );
        let kind = form["kind"].as_str().unwrap().to_owned();
        percents.extend(form["percent"].as_u64());
        let is_over = kind == "export.ended";
        kinds.push(kind);
        if is_over {
            assert_eq!(form["state"], "done");
            break;
        }
    }
    assert_eq!(kinds[0], "export.started");
    assert!(percents.is_sorted() && !percents.is_empty() && percents.iter().all(|percent| *percent < 100));
}
