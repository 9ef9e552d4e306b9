//! The index on real files.

mod damage;
mod kills;
mod limits;
mod looks;
mod migrations;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::Value;

use super::write::Store;
use super::*;
use crate::record::retention::Segments as _;
use crate::record::{clock, retention};

const SECOND_90K: i64 = 90_000;
const MINUTE_90K: i64 = 60 * SECOND_90K;
/// A minute before a day begins.
const BEGIN_90K: i64 = 20_000 * DAY_90K - MINUTE_90K;
/// So long that nothing is written by itself.
const NEVER: Duration = Duration::from_secs(3_600);

/// A folder of its own, and where the index is in it.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recordings.db");
    (folder, path)
}

fn open(path: &Path) -> Index {
    Index::open(path, NEVER).unwrap().index
}

fn name(camera: usize) -> StreamName {
    ["door", "house/garden", "yard"][camera].parse().unwrap()
}

fn storage(storage: u8) -> StorageId {
    [storage + 1; 16]
}

fn storages() -> Vec<Change> {
    let told = |number| Change::Storage {
        uuid: storage(number),
        path: format!("/disk/{number}"),
    };
    (0..2).map(told).collect()
}

/// A minute of the first camera.
fn segment(id: i64) -> Segment {
    Segment {
        id: SegmentId(id),
        camera: name(0),
        storage: storage(0),
        path: format!("door/2024-10-03/segment_{id}.mp4"),
        run: 7,
        start_90k: BEGIN_90K + id * MINUTE_90K,
        duration_90k: MINUTE_90K,
        bytes: 1_000 + id as u64,
        head_bytes: 700,
        crc: u32::MAX - id as u32,
        drift_90k: -id,
        state: State::Whole,
        ended: None,
        age_end_90k: id * MINUTE_90K,
        is_age_sure: true,
    }
}

/// What is deleted first, of these storages and of one camera or of all.
fn oldest(reader: &Reader, storages: &[StorageId], camera: Option<&StreamName>, limit: usize) -> Vec<i64> {
    let found = walked(reader, storages, camera, false);
    found.into_iter().take(limit).map(|segment| segment.id).collect()
}

fn walked(
    reader: &Reader,
    storages: &[StorageId],
    camera: Option<&StreamName>,
    without_events: bool,
) -> Vec<retention::Segment> {
    let usage = reader.usage().unwrap();
    let there = usage.iter().filter(|usage| storages.contains(&usage.storage));
    let there: BTreeSet<i64> = there.map(|usage| usage.storage_row).collect();
    let row = usage.iter().find(|usage| Some(&usage.camera) == camera);
    let row = row.map(|usage| usage.camera_row);
    if camera.is_some() && row.is_none() {
        return Vec::new();
    }
    let scope = retention::Scope {
        camera: row,
        storages: &there.into_iter().collect::<Vec<i64>>(),
        without_events,
    };
    let mut found = Vec::new();
    let visit = &mut |segment: &retention::Segment| {
        found.push(*segment);
        ControlFlow::Continue(())
    };
    reader.oldest(scope, visit).unwrap();
    found
}

fn event(id: i64) -> Event {
    Event {
        id: EventId(id),
        camera: name(0),
        kind: "motion".to_owned(),
        start_90k: BEGIN_90K + id * SECOND_90K,
        end_90k: BEGIN_90K + (id + 5) * SECOND_90K,
        score: Some(0.5),
        data: "{}".to_owned(),
    }
}

/// What stands in the tables, in order.
fn dump(connection: &rusqlite::Connection) -> BTreeMap<String, Vec<String>> {
    let tables = [
        "meta",
        "storage",
        "camera",
        "segment",
        "age",
        "fragments",
        "span",
        "usage",
        "event",
        "intensity",
        "protected",
    ];
    tables
        .into_iter()
        .map(|table| {
            let mut statement = connection
                .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
                .unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                let values: Vec<Value> = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
                Ok(format!("{values:?}"))
            });
            (table.to_owned(), rows.unwrap().map(Result::unwrap).collect())
        })
        .collect()
}

fn store(path: &Path) -> Store {
    Store::new(schema::open(path, schema::MIGRATIONS).unwrap().connection, path)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_was_told_is_found() {
    let (_folder, path) = folder();
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(opened.is_new && opened.was_clean && opened.aside.is_none());
    let index = opened.index;
    let reader = index.reader().unwrap();
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    for id in 1..=3 {
        assert_eq!(index.next_segment(), SegmentId(id));
        index.write(Change::Segment(segment(id), vec![id as u8; 40])).unwrap();
    }
    index.write(Change::Event(event(1))).unwrap();
    index.write(Change::Carried { at_90k: BEGIN_90K }).unwrap();
    assert_eq!(reader.usage().unwrap(), [], "nothing is written yet");
    index.flush().unwrap();
    assert_eq!(index.health().transactions, 1, "all in one");

    let (found, fragments) = reader.at(&name(0), BEGIN_90K + 2 * MINUTE_90K).unwrap().unwrap();
    assert_eq!((found, fragments), (segment(2), vec![2; 40]));
    assert_eq!(
        reader.at(&name(0), BEGIN_90K + 4 * MINUTE_90K).unwrap(),
        None,
        "its end is not in it"
    );
    assert_eq!(reader.at(&name(1), BEGIN_90K).unwrap(), None, "another camera");
    assert_eq!(reader.segment(SegmentId(3)).unwrap(), Some(segment(3)));
    assert_eq!(reader.fragments(SegmentId(9)).unwrap(), [0; 0]);
    let runs = reader.runs(&name(0), 0..MAX_TIME_90K, 0).unwrap();
    assert_eq!(runs.runs.len(), 1);
    let run = Run {
        run: 7,
        start_90k: BEGIN_90K + MINUTE_90K,
        end_90k: BEGIN_90K + 4 * MINUTE_90K,
        recorded_90k: 3 * MINUTE_90K,
        bytes: 3_006,
        ended: None,
        overlaps: false,
    };
    assert_eq!((&runs.runs[0], runs.next_90k), (&run, None));
    assert_eq!(
        reader.events(&name(0), 0..MAX_TIME_90K, None, None).unwrap().items,
        [event(1)]
    );
    assert_eq!(
        reader
            .events(&name(0), 0..MAX_TIME_90K, Some("noise"), None)
            .unwrap()
            .items,
        []
    );
    assert_eq!(reader.carried_90k().unwrap(), Some(BEGIN_90K));
    assert_eq!(reader.storages().unwrap()[1], (storage(1), "/disk/1".to_owned()));
    let times = CameraTimes {
        camera: name(0),
        oldest_90k: run.start_90k,
        newest_90k: run.end_90k,
    };
    assert_eq!(reader.cameras().unwrap(), [times]);
    assert_eq!(reader.check(10).unwrap(), [""; 0]);
    drop(reader);
    index.close().unwrap();

    let opened = Index::open(&path, NEVER).unwrap();
    assert!(opened.was_clean && !opened.is_new, "closed in order");
    assert_eq!(opened.index.next_segment(), SegmentId(4), "no number is given twice");
    assert_eq!(opened.index.next_event(), EventId(2));
}

/// Newest first, of each camera those that hold all of its words.
#[test]
fn events_are_found_by_words() {
    let (_folder, path) = folder();
    let index = open(&path);
    let told = |id: i64, camera: usize, kind: &str, data: &str| {
        let event = Event {
            camera: name(camera),
            kind: kind.to_owned(),
            data: data.to_owned(),
            ..event(id)
        };
        index.write(Change::Event(event)).unwrap();
    };
    told(1, 0, "motion", "{}");
    told(2, 0, "Person", r#"{"who":"Ánh"}"#);
    told(3, 1, "motion", r#"{"zone":"gate"}"#);
    told(4, 0, "motion", r#"{"zone":"gate"}"#);
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    let found = |cameras: &[(usize, &[&str])], most: usize| -> Vec<i64> {
        let of =
            |(camera, words): &(usize, &[&str])| (name(*camera), words.iter().map(|word| (*word).to_owned()).collect());
        let cameras: Vec<_> = cameras.iter().map(of).collect();
        let events = reader.search(&cameras, most).unwrap();
        events.into_iter().map(|event| event.id.0).collect()
    };
    assert_eq!(found(&[(0, &["motion"]), (1, &["motion"])], 20), [4, 3, 1]);
    assert_eq!(found(&[(0, &["motion"]), (1, &["motion"])], 2), [4, 3]);
    assert_eq!(found(&[(0, &["motion", "gate"])], 20), [4]);
    assert_eq!(found(&[(0, &["person", "ánh"])], 20), [2]);
    assert_eq!(found(&[(0, &["%"]), (2, &["motion"])], 20), [0; 0]);
}

/// A start goes by these: what is open, what is garbage, and what the index knows of a day.
#[test]
fn a_start_finds_what_was_left_over() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    for id in 1..=4 {
        index.write(Change::Segment(segment(id), vec![1])).unwrap();
    }
    let being_written = Segment {
        state: State::Open,
        duration_90k: 0,
        bytes: 0,
        ..segment(5)
    };
    index.write(Change::Segment(being_written, Vec::new())).unwrap();
    let garbage = index.discard(vec![SegmentId(2), SegmentId(5), SegmentId(77)]).unwrap();
    let paths: Vec<&str> = garbage.iter().map(|segment| segment.path.as_str()).collect();
    assert_eq!(
        paths,
        ["door/2024-10-03/segment_2.mp4"],
        "what is being written is no garbage"
    );
    let reader = index.reader().unwrap();
    let open: Vec<SegmentId> = reader
        .open_segments(None)
        .unwrap()
        .items
        .iter()
        .map(|segment| segment.id)
        .collect();
    assert_eq!(open, [SegmentId(5)]);
    assert_eq!(reader.garbage(None).unwrap().items, garbage);
    assert_eq!(
        reader.runs(&name(0), 0..MAX_TIME_90K, 0).unwrap().runs.len(),
        2,
        "there is a gap now"
    );
    assert_eq!(
        reader
            .runs(&name(0), 0..MAX_TIME_90K, MINUTE_90K + 1)
            .unwrap()
            .runs
            .len(),
        1,
        "shorter than asked for"
    );
    let late = index
        .write(Change::Segment(segment(2), Vec::new()))
        .and_then(|()| index.write(Change::Gone(SegmentId(2))));
    late.unwrap();
    let recovered = Segment {
        ended: Some(Ended::Killed),
        ..segment(5)
    };
    index.write(Change::Segment(recovered, vec![9])).unwrap();
    index.flush().unwrap();
    assert_eq!(index.health().refused, 1, "what is garbage stays that");
    assert_eq!(reader.garbage(None).unwrap().items, []);
    assert_eq!(reader.open_segments(None).unwrap().items, []);
    assert_eq!(reader.segment(SegmentId(2)).unwrap(), None);
    let runs = reader.runs(&name(0), 0..MAX_TIME_90K, 0).unwrap().runs;
    assert_eq!((runs.len(), runs[1].ended), (2, Some(Ended::Killed)));
}

/// What is open was being written when somebody closed the index: its file has to be looked at.
/// They stand in heads of files, whether anything was told of them or not.
#[test]
fn no_number_is_given_twice_though_nothing_was_told_of_it() {
    let (_folder, path) = folder();
    let index = open(&path);
    let numbers = index.keep_segments(1_000);
    assert_eq!(numbers.start, 1_001);
    let last = [(); 3].map(|()| index.next_segment().0)[2];
    assert_eq!(last, numbers.end + 2);
    index.close().unwrap();
    let Opened { index, was_clean, .. } = Index::open(&path, NEVER).unwrap();
    assert!(was_clean);
    assert_eq!(index.next_segment().0, last + 1);
    // What is found stands in front of what begins, however far apart.
    let again = index.keep_segments(u64::MAX);
    assert!(again.start > last + 1 && again.end == index.next_segment().0);
    assert!(again.end < 1 << 40, "it does not use them up: {again:?}");
}

#[test]
fn it_is_never_clean_while_something_is_open() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    let being_written = Segment {
        state: State::Open,
        ..segment(1)
    };
    index.write(Change::Segment(being_written, Vec::new())).unwrap();
    index.close().unwrap();
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(!opened.was_clean);
    opened.index.write(Change::Segment(segment(1), Vec::new())).unwrap();
    opened.index.close().unwrap();
    assert!(Index::open(&path, NEVER).unwrap().was_clean);
}

#[test]
fn what_is_protected_is_no_garbage() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    for id in 1..=5 {
        index.write(Change::Segment(segment(id), Vec::new())).unwrap();
    }
    // From within the second to where the fourth begins.
    let range_90k = segment(2).start_90k + 1..segment(4).start_90k;
    let protected = Protected {
        camera: name(0),
        range_90k,
        why: "a visitor".to_owned(),
    };
    let id = index.protect(protected.clone()).unwrap();
    let reader = index.reader().unwrap();
    let ids = |segments: Vec<Segment>| segments.iter().map(|segment| segment.id.0).collect::<Vec<i64>>();
    assert_eq!(oldest(&reader, &[storage(0)], None, 10), [1, 4, 5]);
    assert_eq!(reader.protected(Some(&name(0)), None).unwrap().items, [(id, protected)]);
    let all = || (1..=5).map(SegmentId).collect::<Vec<_>>();
    assert_eq!(ids(index.discard(all()).unwrap()), [1, 4, 5]);
    assert!(index.release(id).unwrap() && !index.release(id).unwrap());
    assert_eq!(ids(index.discard(all()).unwrap()), [2, 3]);
    assert_eq!(reader.usage().unwrap(), []);
}

/// A machine without a clock records in 1970, until it knows better.
#[test]
fn a_run_is_moved_with_what_lies_in_it() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    let early = |id: i64| Segment {
        start_90k: id * MINUTE_90K,
        ..segment(id)
    };
    for id in 1..=3 {
        index.write(Change::Segment(early(id), Vec::new())).unwrap();
    }
    let open = Segment {
        state: State::Open,
        duration_90k: 0,
        ..early(4)
    };
    index.write(Change::Segment(open, Vec::new())).unwrap();
    let event = Event {
        start_90k: 2 * MINUTE_90K,
        end_90k: 2 * MINUTE_90K + SECOND_90K,
        ..event(1)
    };
    index.write(Change::Event(event)).unwrap();
    let moved = Change::Moved {
        camera: name(0),
        run: 7,
        by_90k: BEGIN_90K,
    };
    index.write(moved).unwrap();
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    for id in 1..=3 {
        assert_eq!(reader.segment(SegmentId(id)).unwrap(), Some(segment(id)));
    }
    assert_eq!(
        reader.segment(SegmentId(4)).unwrap().unwrap().start_90k,
        segment(4).start_90k
    );
    let runs = reader.runs(&name(0), 0..MAX_TIME_90K, 0).unwrap().runs;
    assert_eq!(
        (runs.len(), runs[0].start_90k, runs[0].recorded_90k),
        (1, segment(1).start_90k, 3 * MINUTE_90K)
    );
    let events = reader
        .events(&name(0), BEGIN_90K..MAX_TIME_90K, None, None)
        .unwrap()
        .items;
    assert_eq!(events[0].start_90k, BEGIN_90K + 2 * MINUTE_90K);
}

/// What reaches beyond a run that is moved concerns others as well: it stays, and goes along.
#[test]
fn what_touches_a_run_that_is_moved_is_at_both_times() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let early = |id: i64, run: u64| Segment {
        start_90k: id * MINUTE_90K,
        run,
        ..segment(id)
    };
    let mut changes = storages();
    // Two minutes of one run, then two of another.
    changes.extend([(1, 7), (2, 7), (3, 9), (4, 9)].map(|(id, run)| Change::Segment(early(id, run), Vec::new())));
    let happened = Event {
        start_90k: 3 * MINUTE_90K - SECOND_90K,
        end_90k: 3 * MINUTE_90K + SECOND_90K,
        ..event(1)
    };
    changes.push(Change::Event(happened.clone()));
    assert_eq!(store.commit(&changes).unwrap().refused, 0);
    let protect = |store: &mut Store, range_90k| {
        let protected = Protected {
            camera: name(0),
            range_90k,
            why: "a visitor".to_owned(),
        };
        store.protect(&protected).unwrap().unwrap()
    };
    let both = protect(&mut store, 2 * MINUTE_90K + 5..3 * MINUTE_90K + 5);
    let within = protect(&mut store, MINUTE_90K + 5..MINUTE_90K + 9);
    let moved = |run, by_90k| Change::Moved {
        camera: name(0),
        run,
        by_90k,
    };
    assert_eq!(store.commit(&[moved(7, BEGIN_90K)]).unwrap().refused, 0);
    let index = open(&path);
    let reader = index.reader().unwrap();
    let ranges = || -> Vec<(ProtectedId, Range<i64>)> {
        let told = reader.protected(None, None).unwrap().items;
        told.into_iter()
            .map(|(id, protected)| (id, protected.range_90k))
            .collect()
    };
    let copy = ProtectedId(3);
    assert_eq!(
        ranges(),
        [
            (both, 2 * MINUTE_90K + 5..3 * MINUTE_90K + 5),
            (within, BEGIN_90K + MINUTE_90K + 5..BEGIN_90K + MINUTE_90K + 9),
            (copy, BEGIN_90K + 2 * MINUTE_90K + 5..BEGIN_90K + 3 * MINUTE_90K),
        ]
    );
    let told = reader.events(&name(0), 0..MAX_TIME_90K, None, None).unwrap().items;
    let copied = Event {
        id: EventId(2),
        start_90k: happened.start_90k + BEGIN_90K,
        end_90k: 3 * MINUTE_90K + BEGIN_90K,
        ..happened.clone()
    };
    assert_eq!(told, [happened, copied]);
    assert_eq!(
        oldest(&reader, &[storage(0)], None, 10),
        [4],
        "one of each run, and one for the other range"
    );
    // The other run comes to the same place, and with it what reached into it.
    assert_eq!(store.commit(&[moved(9, BEGIN_90K)]).unwrap().refused, 0);
    assert_eq!(oldest(&reader, &[storage(0)], None, 10), [4]);
    assert_eq!(ranges().len(), 4);
    // Whichever is named.
    assert!(store.release(copy).unwrap() && !store.release(both).unwrap());
    assert_eq!(ranges().len(), 1);
    assert_eq!(oldest(&reader, &[storage(0)], None, 10), [2, 3, 4]);
    assert_eq!(store.events.next(), EventId(4), "no number is given twice");
}

/// Age is counted by a time of its own. Rows that were written before it was known move with it, once.
#[test]
fn ages_are_set_right_once() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let unsure = Segment {
        is_age_sure: false,
        ..segment(2)
    };
    let mut changes = storages();
    changes.extend([segment(1), unsure.clone()].map(|segment| Change::Segment(segment, Vec::new())));
    for by_90k in [1_000, 5] {
        changes.push(Change::Sure { at_90k: 77, by_90k });
    }
    assert_eq!(store.commit(&changes).unwrap().refused, 0);
    let index = open(&path);
    let reader = index.reader().unwrap();
    assert_eq!(reader.segment(SegmentId(1)).unwrap(), Some(segment(1)));
    let now = reader.segment(SegmentId(2)).unwrap().unwrap();
    assert_eq!((now.age_end_90k, now.is_age_sure), (unsure.age_end_90k + 1_000, true));
    assert_eq!(now.start_90k, unsure.start_90k, "the date that people see stays");
    assert_eq!(reader.carried_90k().unwrap(), Some(77));
}

/// A year of rows that are not sure: they become so at once, and a kill finds all of them or none.
#[test]
fn however_many_rows_are_set_right_at_once() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store.commit(&storages()).unwrap();
    let unsure = |id| Segment {
        is_age_sure: false,
        ..segment(id)
    };
    for ids in [1..=10_000, 10_001..=20_000] {
        let changes: Vec<Change> = ids.map(|id| Change::Segment(unsure(id), Vec::new())).collect();
        assert_eq!(store.commit(&changes).unwrap().refused, 0);
    }
    store
        .connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let set = Change::Sure { at_90k: 77, by_90k: -3 };
    store.commit(&[set]).unwrap();
    let log = std::fs::metadata(schema::beside(&path, "-wal")).unwrap().len();
    assert!(log < 20_000, "{log}");
    // Those of the next time are others.
    store.commit(&[Change::Segment(unsure(20_001), Vec::new())]).unwrap();
    let index = open(&path);
    let reader = index.reader().unwrap();
    for (id, by_90k) in [(1, -3), (20_000, -3), (20_001, 0)] {
        let told = reader.segment(SegmentId(id)).unwrap().unwrap();
        assert_eq!(
            (told.age_end_90k, told.is_age_sure),
            (segment(id).age_end_90k + by_90k, by_90k != 0)
        );
    }
    let ended = clock::unix_90k(walked(&reader, &[storage(0)], None, false)[0].ended);
    assert!((ended - segment(1).age_end_90k + 3).abs() <= 1, "{ended}");
    // What nobody needs any more goes at a start.
    let ages = |store: &Store| -> i64 {
        let count = store
            .connection
            .query_row("SELECT count(*) FROM age", [], |row| row.get(0));
        count.unwrap()
    };
    assert_eq!(ages(&store), 2);
    store
        .connection
        .execute("DELETE FROM segment WHERE id <= 20000", [])
        .unwrap();
    drop((reader, index));
    drop(open(&path));
    assert_eq!(ages(&store), 1);
}

/// Between two statements of one answer others write: it is that of one moment all the same.
#[test]
fn an_answer_is_that_of_one_moment() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let index = open(&path);
    let mut reader = index.reader().unwrap();
    // Now it is in one run and storage, now in others, and its table says in which.
    let as_of = |number: i64| {
        let segment = Segment {
            run: number as u64 % 3,
            storage: storage((number % 2) as u8),
            bytes: number as u64,
            start_90k: BEGIN_90K + number % 5,
            ..segment(1)
        };
        Change::Segment(segment, number.to_be_bytes().to_vec())
    };
    let mut changes = storages();
    changes.push(as_of(0));
    store.commit(&changes).unwrap();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let number = std::sync::Arc::clone(&written);
    let store = std::sync::Mutex::new(store);
    let write = move || {
        let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        store.lock().unwrap().commit(&[as_of(next)]).unwrap();
        false
    };
    reader.connection.progress_handler(5, Some(write)).unwrap();
    for _ in 0..30 {
        let before = written.load(std::sync::atomic::Ordering::Relaxed);
        let (segment, table) = reader.at(&name(0), BEGIN_90K + MINUTE_90K / 2).unwrap().unwrap();
        assert_eq!(table, segment.bytes.to_be_bytes());
        let found = reader.segments(&name(0), 0..MAX_TIME_90K, None, 10).unwrap();
        assert_eq!(found.items.len(), 1);
        let after = written.load(std::sync::atomic::Ordering::Relaxed);
        assert!(after > before + 10, "{before} {after}");
    }
    reader.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
}

/// What has events is kept longer: it is told apart, whichever came first, the event or the end of the segment.
#[test]
fn segments_with_events_are_told_apart() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut changes = storages();
    let at = |id: i64, minute: i64| Event {
        start_90k: segment(minute).start_90k + SECOND_90K,
        end_90k: segment(minute).start_90k + 2 * SECOND_90K,
        ..event(id)
    };
    let open = Segment {
        state: State::Open,
        duration_90k: 0,
        ..segment(5)
    };
    changes.extend((1..=4).map(|id| Change::Segment(segment(id), Vec::new())));
    // It goes on into the third.
    let long = Event {
        end_90k: segment(3).start_90k,
        ..at(1, 2)
    };
    changes.extend([
        Change::Event(long),
        Change::Segment(open, Vec::new()),
        Change::Event(at(2, 5)),
        Change::Segment(segment(5), Vec::new()),
    ]);
    assert_eq!(store.commit(&changes).unwrap().refused, 0);
    let index = self::open(&path);
    let reader = index.reader().unwrap();
    let of = |without_events| {
        let found = walked(&reader, &[storage(0)], Some(&name(0)), without_events);
        let told = |segment: retention::Segment| {
            assert_eq!(clock::unix_90k(segment.ended), segment.id * MINUTE_90K);
            (segment.id, segment.has_event)
        };
        found.into_iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(of(false), [(1, false), (2, true), (3, true), (4, false), (5, true)]);
    assert_eq!(of(true), [(1, false), (4, false)]);
    // It happened in the first as well, and what is left without is behind.
    store.commit(&[Change::Event(at(3, 1))]).unwrap();
    assert_eq!(of(true), [(4, false)]);
    store.commit(&[Change::Event(at(4, 4))]).unwrap();
    assert_eq!(of(true), []);
}

/// Every answer is found by an index, whatever SQLite thinks of how large the tables are.
#[test]
fn no_question_reads_a_whole_table() {
    let (_folder, path) = folder();
    let store = store(&path);
    for question in read::QUESTIONS
        .iter()
        .chain(oldest::QUESTIONS)
        .chain(intensity::QUESTIONS)
    {
        let mut statement = store
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {question}"))
            .unwrap();
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        assert!(
            !steps.is_empty() && !steps.iter().any(|step| step.starts_with("SCAN")),
            "{question}: {steps:?}"
        );
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(
            !sorts || question.contains("ORDER BY first DESC"),
            "{question}: {steps:?}"
        );
    }
}

/// The last page costs what the first does.
#[test]
fn pages_do_not_read_what_was_told_before() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut changes = storages();
    for id in 1..=5_000 {
        changes.push(Change::Segment(segment(id), Vec::new()));
        changes.push(Change::Event(event(id)));
    }
    store.commit(&changes).unwrap();
    let index = open(&path);
    let mut reader = index.reader().unwrap();
    let steps = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    reader.connection.progress_handler(10, Some(count)).unwrap();
    let all = 0..MAX_TIME_90K;
    let (mut segments, mut events) = (None, None);
    let mut costs = Vec::new();
    for _ in 0..5 {
        let page = reader.segments(&name(0), all.clone(), segments, MAX_PAGE).unwrap();
        assert_eq!(page.items.len(), MAX_PAGE);
        segments = page.next;
        let of_segments = steps.swap(0, Ordering::Relaxed);
        let page = reader.events(&name(0), all.clone(), None, events).unwrap();
        assert_eq!(page.items.len(), MAX_PAGE);
        events = page.next;
        costs.push((of_segments, steps.swap(0, Ordering::Relaxed)));
    }
    let (first, last) = (costs[0], costs[4]);
    assert!(
        last.0 < first.0 + first.0 / 4 && last.1 < first.1 + first.1 / 4,
        "{costs:?}"
    );
}

#[test]
fn it_is_written_by_itself_when_it_is_time() {
    let (_folder, path) = folder();
    let index = Index::open(&path, Duration::from_millis(20)).unwrap().index;
    for told in 1..=3 {
        index.write(Change::Carried { at_90k: told }).unwrap();
        wait_until("it is written", || index.health().written == told as u64);
    }
    assert_eq!(index.reader().unwrap().carried_90k().unwrap(), Some(3));
    assert_eq!(index.health().queued_bytes, 0);
    assert_eq!(index.health().transactions, 3);
}

/// Whoever reads sees whole transactions while others write, and is not waited for.
#[test]
fn readers_and_the_writer_do_not_wait_for_each_other() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    index.flush().unwrap();
    let last = 200;
    let seen = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        for seen in &seen {
            let reader = index.reader().unwrap();
            scope.spawn(move || {
                let mut before = 0;
                wait_until("the last is seen", || {
                    let count = reader.usage().unwrap().first().map_or(0, |usage| usage.segments);
                    assert!(count >= before && count.is_multiple_of(5), "{before} {count}");
                    before = count;
                    seen.store(count, Ordering::Relaxed);
                    count == last
                });
            });
        }
        for id in 1..=last {
            index.write(Change::Segment(segment(id as i64), vec![0; 300])).unwrap();
            if id % 5 == 0 {
                index.flush().unwrap();
                // Each of them looked at this one, while the next is not yet written.
                wait_until("all have seen it", || {
                    seen.iter().all(|seen| seen.load(Ordering::Relaxed) == id)
                });
            }
        }
    });
    // In the middle of an answer.
    let reader = index.reader().unwrap();
    let scope = retention::Scope {
        camera: None,
        storages: &[1],
        without_events: false,
    };
    let mut next = last as i64;
    let visit = &mut |_: &retention::Segment| {
        next += 1;
        index.write(Change::Segment(segment(next), Vec::new())).unwrap();
        index.flush().unwrap();
        ControlFlow::Continue(())
    };
    reader.oldest(scope, visit).unwrap();
    assert_eq!(next, 2 * last as i64, "it ends with what there was when it was asked");
}

#[test]
fn what_moved_is_told_in_steps() {
    let (_folder, path) = folder();
    let index = open(&path);
    let minute = BEGIN_90K / MINUTE_90K;
    let told = |second: usize, moved: u8| {
        let mut seconds = [0; 60];
        seconds[second] = moved;
        Change::Intensity {
            camera: name(0),
            minute,
            seconds,
        }
    };
    // Each second keeps the most, however often it is told.
    for change in [told(3, 9), told(5, 40), told(3, 20), told(3, 10), told(59, 7)] {
        index.write(change).unwrap();
    }
    let mut next = [0; 60];
    next[0] = 255;
    index
        .write(Change::Intensity {
            camera: name(0),
            minute: minute + 1,
            seconds: next,
        })
        .unwrap();
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    let ask = |from: i64, to: i64, step_90k: i64| {
        let range = BEGIN_90K + from * SECOND_90K..BEGIN_90K + to * SECOND_90K;
        reader.intensity(&name(0), range, step_90k).unwrap()
    };
    assert_eq!(ask(0, 6, SECOND_90K), [0, 0, 0, 20, 0, 40]);
    assert_eq!(ask(0, 12, 4 * SECOND_90K), [20, 40, 0]);
    assert_eq!(ask(3, 5, SECOND_90K / 2), [20, 20, 0, 0]);
    assert_eq!(ask(58, 62, SECOND_90K), [0, 7, 255, 0]);
    // What is cut off is asked for as well.
    assert_eq!(ask(0, 61, MINUTE_90K), [40, 255]);
    assert!(ask(5, 5, SECOND_90K).is_empty());
    assert_eq!(ask(0, 1_000_000, SECOND_90K).len(), MAX_STEPS);
    assert_eq!(reader.intensity(&name(1), 0..MINUTE_90K, MINUTE_90K).unwrap(), [0]);
    index.close().unwrap();
    // It is a reason to remember the camera.
    assert_eq!(dump(&store(&path).connection)["camera"].len(), 1);
}
