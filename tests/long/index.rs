//! A year of eight cameras in the index of recordings, and of one that records when something moves: 4.4 million segments, written as a recorder does, and asked.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use media::StreamName;
use sightline::record::index::{Change, Event, Index, NotTaken, Reader, Segment, SegmentId, State};
use sightline::record::retention::{self, Segments as _};

use super::from_variable;
use super::seek::{self, Minute};

const CAMERAS: i64 = 9;
const MINUTE_90K: i64 = 60 * 90_000;
const DAY_90K: i64 = 24 * 60 * MINUTE_90K;
/// 2025-01-01.
const BEGIN_90K: i64 = 20_089 * DAY_90K;
const STORAGE: [u8; 16] = [1; 16];
const QUESTIONS: usize = 1_000;
/// The limit of ranges, and for finding the place of a seek. The 99th of a hundred is held to it in time of the processor: a busy machine takes it from a thread for
/// 4 ms at a time, which is no fault of the index. By the clock it is told.
const MOST: Duration = Duration::from_millis(5);

fn camera(number: i64) -> StreamName {
    format!("house/camera-{number}").parse().unwrap()
}

/// They do not begin at the same moment.
fn start_90k(camera_number: i64, minute: i64) -> i64 {
    BEGIN_90K + minute * MINUTE_90K + camera_number * 77_777
}

fn path(camera_number: i64, minute: i64) -> String {
    format!("house+camera-{camera_number}/2025-01-01/segment_20250101_{minute:06}.mp4")
}

fn minute(index: &Index, file: &Minute, (camera_number, minute): (i64, i64), run: i64) -> Segment {
    Segment {
        id: index.next_segment(),
        camera: camera(camera_number),
        storage: STORAGE,
        path: path(camera_number, minute),
        run: run as u64,
        start_90k: start_90k(camera_number, minute),
        duration_90k: MINUTE_90K,
        bytes: file.bytes(),
        head_bytes: file.head_bytes,
        crc: file.crc,
        drift_90k: 90,
        state: State::Whole,
        ended: None,
        age_end_90k: 0,
        is_age_sure: true,
    }
}

/// Tells it, and waits where too much waits.
fn tell(index: &Index, change: &Change) {
    while let Err(error) = index.write(change.clone()) {
        assert_eq!(error, NotTaken::Full);
        index.flush().unwrap();
    }
}

/// Tells median, 99th of a hundred, and the longest; the 99th in time of the processor is what it took.
fn measure(what: &str, mut ask: impl FnMut()) -> Duration {
    let (mut taken, mut worked) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        let (begun, begun_working) = (Instant::now(), processor_time());
        ask();
        worked.push(processor_time().saturating_sub(begun_working));
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    worked.sort_unstable();
    let (median, late) = (taken[QUESTIONS / 2], taken[QUESTIONS * 99 / 100]);
    let longest = taken[QUESTIONS - 1];
    let work = worked[QUESTIONS * 99 / 100];
    println!("{what}: p50 {median:.1?}, p99 {late:.1?} ({work:.1?} of the processor), longest {longest:.1?}");
    work
}

/// What this thread took of a processor so far.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What this process wrote so far, by its calls.
#[cfg(target_os = "linux")]
fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

fn year(path: &Path, minutes: i64, file: &Minute) -> Index {
    let index = Index::open(path, Duration::from_secs(10)).unwrap().index;
    tell(
        &index,
        &Change::Storage {
            uuid: STORAGE,
            path: path.with_file_name("recordings").display().to_string(),
        },
    );
    let begun = Instant::now();
    for at in 0..minutes {
        for number in 0..CAMERAS {
            // The last camera records when something moves: a minute, and two of nothing.
            let (run, is_recorded) = if number == CAMERAS - 1 {
                (1_000 + at / 3, at % 3 == 0)
            } else {
                (number, true)
            };
            if is_recorded {
                let segment = minute(&index, file, (number, at), run);
                tell(&index, &Change::Segment(segment, file.table.clone()));
            }
        }
        if at % 30 == 0 {
            let start_90k = BEGIN_90K + at * MINUTE_90K;
            let event = Event {
                id: index.next_event(),
                camera: camera(at / 30 % CAMERAS),
                kind: "motion".to_owned(),
                start_90k,
                end_90k: start_90k + 500_000,
                score: Some(0.5),
                data: String::new(),
            };
            tell(&index, &Change::Event(event));
        }
    }
    index.flush().unwrap();
    println!(
        "{} changes in {:.1?}, {} transactions",
        index.health().written,
        begun.elapsed(),
        index.health().transactions
    );
    assert_eq!((index.health().refused, index.health().failing), (0, None));
    index
}

fn oldest(reader: &Reader, camera: Option<&StreamName>, limit: usize) -> Vec<SegmentId> {
    let usage = reader.usage().unwrap();
    let rows = usage
        .iter()
        .find(|usage| camera.is_none_or(|camera| usage.camera == *camera));
    let rows = rows.unwrap();
    let scope = retention::Scope {
        camera: camera.map(|_| rows.camera_row),
        storages: &[rows.storage_row],
        without_events: false,
    };
    let mut found = Vec::new();
    let visit = &mut |segment: &retention::Segment| {
        found.push(SegmentId(segment.id));
        if found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    reader.oldest(scope, visit).unwrap();
    found
}

fn ask(reader: &Reader, minutes: i64, file: &Minute, state: &str) {
    let mut random = Rng::with_seed(3);
    let end_90k = BEGIN_90K + (minutes + 1) * MINUTE_90K;
    let mut limits = Vec::new();
    let mut all = 0;
    limits.push(measure(
        &format!("{state}: ranges of the whole time, as wide as 2,000 pixels"),
        || {
            let runs = reader
                .runs(
                    &camera(random.i64(0..CAMERAS - 1)),
                    BEGIN_90K..end_90k,
                    (end_90k - BEGIN_90K) / 2_000,
                )
                .unwrap();
            all += runs.runs.len();
        },
    ));
    assert_eq!(all, QUESTIONS, "each is without a gap");
    limits.push(measure(&format!("{state}: ranges of a day"), || {
        let day_90k = BEGIN_90K + random.i64(0..minutes * MINUTE_90K);
        reader
            .runs(&camera(random.i64(0..CAMERAS)), day_90k..day_90k + DAY_90K, 0)
            .unwrap();
    }));
    limits.push(measure(&format!("{state}: segment and table of an instant"), || {
        let at_90k = BEGIN_90K + MINUTE_90K + random.i64(0..(minutes - 2) * MINUTE_90K);
        let (segment, table) = reader.at(&camera(random.i64(0..CAMERAS - 1)), at_90k).unwrap().unwrap();
        assert!(segment.start_90k <= at_90k && at_90k < segment.end_90k() && table == file.table);
    }));
    measure(&format!("{state}: what is deleted first, 100 of one camera"), || {
        assert_eq!(oldest(reader, Some(&camera(random.i64(0..CAMERAS))), 100).len(), 100);
    });
    measure(
        &format!("{state}: what is deleted first of all, and nothing is"),
        || {
            assert_eq!(oldest(reader, None, 1).len(), 1);
        },
    );
    measure(&format!("{state}: bytes of all"), || {
        assert_eq!(reader.usage().unwrap().len(), CAMERAS as usize);
    });
    measure(&format!("{state}: events of a day"), || {
        let day_90k = BEGIN_90K + random.i64(0..minutes * MINUTE_90K);
        reader
            .events(&camera(random.i64(0..CAMERAS)), day_90k..day_90k + DAY_90K, None, None)
            .unwrap();
    });
    // A third of this camera's minutes are a run each; no limit is promised where there are as many, nor for what nobody waits for.
    measure(
        &format!("{state}: {} runs, joined to as many as a timeline shows", minutes / 3),
        || {
            let runs = reader
                .runs(&camera(CAMERAS - 1), BEGIN_90K..end_90k, (end_90k - BEGIN_90K) / 2_000)
                .unwrap();
            assert!(!runs.runs.is_empty());
        },
    );
    assert!(limits.iter().all(|late| *late <= MOST), "{state}: {limits:?}");
}

#[test]
fn a_year_of_eight_cameras_is_asked_in_milliseconds() {
    let minutes = i64::from(from_variable("INDEX_DAYS", 365)) * 24 * 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recordings.sqlite");
    let file = Minute::new(STORAGE, camera(0));
    let begun = Instant::now();
    let index = year(&path, minutes, &file);
    let rows = minutes * (CAMERAS - 1) + (minutes + 2) / 3;
    ask(&index.reader().unwrap(), minutes, &file, "in use");
    index.close().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("{rows} segments, {bytes} bytes: {} a segment", bytes / rows as u64);

    seek::by_http(folder.path(), STORAGE, &file, |random| {
        let (number, at) = (random.i64(0..CAMERAS - 1), random.i64(1..minutes));
        seek::Place {
            camera: camera(number),
            begin_ms: start_90k(number, at) / 90,
            path: self::path(number, at),
        }
    });

    // As it is at a start, in a process that has read nothing of it.
    let begun_again = Instant::now();
    let opened = Index::open(&path, Duration::from_secs(3_600)).unwrap();
    println!("opened in {:.1?}", begun_again.elapsed());
    assert!(
        opened.was_clean && begun_again.elapsed() < Duration::from_secs(1),
        "a start does not wait for it"
    );
    let index = opened.index;
    let reader = index.reader().unwrap();
    ask(&reader, minutes, &file, "opened anew");

    // What a recorder writes, minute by minute: a row when a file is begun, and when it is whole, every ten seconds.
    let (before, begun_writing) = (bytes_written(), Instant::now());
    let some = 60;
    for at in minutes + 10..minutes + 10 + some {
        for number in 0..CAMERAS {
            let whole = minute(&index, &file, (number, at), 5_000_000 + number);
            let open = Segment {
                state: State::Open,
                duration_90k: 0,
                ..whole.clone()
            };
            tell(&index, &Change::Segment(open, Vec::new()));
            index.flush().unwrap();
            tell(&index, &Change::Segment(whole, file.table.clone()));
        }
        index.flush().unwrap();
    }
    let written = bytes_written() - before;
    println!(
        "written: {} bytes a camera and minute, {:.1?} for {some} minutes",
        written / (some * CAMERAS) as u64,
        begun_writing.elapsed()
    );

    // Retention takes a day of all, a hundred files at a time.
    let begun_deleting = Instant::now();
    let mut deleted = 0;
    while deleted < 10_000 {
        let garbage = index.discard(oldest(&reader, None, 100)).unwrap();
        assert_eq!(garbage.len(), 100);
        garbage
            .iter()
            .for_each(|segment| tell(&index, &Change::Gone(segment.id)));
        deleted += garbage.len();
    }
    index.flush().unwrap();
    println!("deleted {deleted} in {:.1?}", begun_deleting.elapsed());
    println!("all of it took {:.1?}", begun.elapsed());
}
