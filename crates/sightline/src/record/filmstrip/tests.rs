use std::time::Instant;

use super::*;
use crate::clock::SystemClock;
use crate::record::index::Segment;
use crate::record::library::made::{Made, NOON_90K, pictures};
use crate::record::segment;

/// The strips below a folder.
pub(crate) fn strips(folder: &Path) -> Vec<PathBuf> {
    files(folder, strip::EXTENSION)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path, extension));
        } else if path.extension().is_some_and(|known| known == extension) {
            all.push(path);
        }
    }
    all
}

fn fragments(made: &Made, segment: &Segment) -> Fragments {
    let reader = made.recorder.reader().unwrap();
    Fragments::read(&reader.fragments(segment.id).unwrap()).unwrap()
}

fn finished<'a>(segment: &'a Segment, fragments: &'a Fragments) -> Finished<'a> {
    Finished {
        path: Path::new(&segment.path),
        head_bytes: segment.head_bytes,
        bytes: segment.bytes,
        fragments,
    }
}

fn made(size: &str) -> (Made, Vec<Segment>) {
    let made = Made::new();
    let (track, frames) = pictures(8, 25, size);
    let segments = made.record("door", NOON_90K, &[track], frames, Duration::from_secs(4));
    (made, segments)
}

#[test]
fn a_strip_lies_beside_its_file_and_takes_its_share_at_the_most() {
    let (made, segments) = made("320x180");
    for segment in &segments {
        let fragments = fragments(&made, segment);
        assert!(keep(&made.root(), &finished(segment, &fragments), &SystemClock).unwrap());
        // Made once more: the first stays.
        assert!(keep(&made.root(), &finished(segment, &fragments), &SystemClock).unwrap());
        let path = made.root().join(&segment.path).with_extension("strip");
        let bytes = std::fs::read(path).unwrap();
        assert!(
            bytes.len() as u64 <= segment.bytes / 32,
            "{} of {}",
            bytes.len(),
            segment.bytes
        );
        let strip = Strip::read(&bytes).unwrap();
        assert_eq!((strip.width, strip.height, strip.at_90k[0]), (160, 90, 0));
    }
    assert_eq!(
        (strips(&made.root()).len(), files(&made.root(), "new").len()),
        (segments.len(), 0)
    );
}

/// Of a stream of so few bytes a strip would be too much of it.
#[test]
fn where_it_would_take_too_much_there_is_none() {
    let (made, segments) = made("64x48");
    let fragments = fragments(&made, &segments[0]);
    let small = Finished {
        bytes: 30_000,
        ..finished(&segments[0], &fragments)
    };
    assert!(!keep(&made.root(), &small, &SystemClock).unwrap());
    assert!(strips(&made.root()).is_empty());
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strip_goes_with_its_file() {
    let (made, segments) = made("320x180");
    for segment in &segments {
        let fragments = fragments(&made, segment);
        assert!(keep(&made.root(), &finished(segment, &fragments), &SystemClock).unwrap());
    }
    let range = NOON_90K..segments[0].end_90k();
    made.library().delete("door".parse().unwrap(), range).await.unwrap();
    wait_for("both are gone", || {
        files(&made.root(), "mp4").len() == segments.len() - 1 && strips(&made.root()).len() == segments.len() - 1
    });
    // The folder goes with the last of both.
    let all = NOON_90K..NOON_90K + 60 * 90_000;
    made.library().delete("door".parse().unwrap(), all).await.unwrap();
    wait_for("the folders are gone", || {
        let left = std::fs::read_dir(made.root().join("door"))
            .into_iter()
            .flatten()
            .count();
        left == 0 && strips(&made.root()).is_empty()
    });
}

/// It was deleted while its strip was made: the file first, so it is seen here that it is gone.
#[test]
fn the_strip_of_a_file_that_is_gone_does_not_stay() {
    let (made, segments) = made("320x180");
    let path = Path::new(&segments[0].path);
    let (storage, _) = Root(made.root()).look(None).unwrap();
    std::fs::remove_file(made.root().join(path)).unwrap();
    put(&storage, path, &strip::beside(path).unwrap(), b"strip").unwrap();
    assert!(strips(&made.root()).is_empty());
    let fragments = fragments(&made, &segments[0]);
    assert!(keep(&made.root(), &finished(&segments[0], &fragments), &SystemClock).is_err());
}

/// What a kill left: one without a name, one whose file was removed before it.
#[test]
fn what_a_kill_leaves_is_swept() {
    let (made, segments) = made("320x180");
    let path = Path::new(&segments[0].path);
    let folder = made.root().join(path).parent().unwrap().to_owned();
    let fragments = fragments(&made, &segments[0]);
    assert!(keep(&made.root(), &finished(&segments[0], &fragments), &SystemClock).unwrap());
    std::fs::write(folder.join(".segment_1.strip.new"), "torn").unwrap();
    std::fs::write(folder.join("segment_1.strip"), "orphan").unwrap();
    let (storage, _) = Root(made.root()).look(None).unwrap();
    assert_eq!(segment::sweep(&storage, path.parent().unwrap()).unwrap(), 2);
    assert_eq!(strips(&made.root()), [made.root().join(path).with_extension("strip")]);
    assert_eq!(files(&made.root(), "mp4").len(), segments.len());
}

/// A clock that each look moves on by so much: what a keyframe takes.
struct Slow(std::sync::Mutex<Instant>, Duration);

impl Clock for Slow {
    fn now(&self) -> Instant {
        let mut now = self.0.lock().unwrap();
        *now += self.1;
        *now
    }

    fn wall(&self) -> media::WallTime {
        media::WallTime::from_unix_micros(0)
    }
}

#[test]
fn a_slow_machine_makes_fewer() {
    let (made, segments) = made("320x180");
    let fragments = fragments(&made, &segments[0]);
    let file = std::fs::File::open(made.root().join(&segments[0].path)).unwrap();
    let mut head = vec![0; segments[0].head_bytes as usize];
    strip::read_exactly(&file, 0, &mut head).unwrap();
    let mut reading = Reading {
        file: &file,
        head: &head,
        width: 160,
        keyframes: Keyframes::new(None),
    };
    for (taken_ms, expected) in [(1, vec![0, 1, 2, 3]), (20, vec![0, 2]), (100, vec![0])] {
        let clock = Slow(std::sync::Mutex::new(Instant::now()), Duration::from_millis(taken_ms));
        let tiles = tiles(&mut reading, &fragments, &clock).unwrap();
        let seconds: Vec<u32> = tiles.iter().map(|(at, _)| at / 90_000).collect();
        assert_eq!(seconds, expected, "{taken_ms} ms");
    }
}
