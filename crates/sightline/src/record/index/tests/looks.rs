//! What a look of retention costs: as much as it deletes, whatever stays in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use media::WallTime;

use super::*;
use crate::record::retention::{Camera, Plan, Storage, Usage};

const ROWS: i64 = 100_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// Steps of SQLite between two that are counted.
const COUNTED: u64 = 20;

/// So many rows of a camera, a minute each, so many of them without a gap in a run.
fn make(store: &Store, camera: i64, rows: Range<i64>, run_of: i64, has_event: bool) {
    let made = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)
        INSERT INTO segment SELECT i, ?3, 1, i / ?4, ?6 + i * ?7 + i / ?4, ?7, 1000, 700, 0, 0, 1, NULL, 'a path', i * ?7, 0, ?5 FROM n";
    let values = rusqlite::params![rows.start, rows.end, camera, run_of, has_event, BEGIN_90K, MINUTE_90K];
    store.connection.execute(made, values).unwrap();
    if run_of == 1 {
        // Each is a span by itself.
        let spans =
            "INSERT INTO span SELECT camera, start_90k, run, start_90k + duration_90k, storage, id, bytes, 1, NULL,
            iif(has_event, NULL, start_90k), 0 FROM segment WHERE id >= ?1";
        store.connection.execute(spans, [rows.start]).unwrap();
        return;
    }
    let parts = "SELECT DISTINCT run, start_90k / ?2 FROM segment WHERE camera = ?1 AND id >= ?3";
    let mut parts = store.connection.prepare(parts).unwrap();
    let parts = parts.query_map([camera, DAY_90K, rows.start], |row| {
        Ok((camera, row.get(0)?, row.get(1)?))
    });
    let parts: Vec<(i64, i64, i64)> = parts.unwrap().map(Result::unwrap).collect();
    for part in parts {
        span::settle(&store.connection, part).unwrap();
    }
}

/// An index with storages and cameras, and nothing recorded.
fn empty(path: &Path) -> Store {
    let mut store = store(path);
    store.commit(&storages()).unwrap();
    for camera in 0..2 {
        let seen = Event {
            camera: name(camera),
            start_90k: 0,
            end_90k: 0,
            ..event(camera as i64 + 1)
        };
        store.commit(&[Change::Event(seen)]).unwrap();
    }
    store
}

fn camera(keep: Option<Duration>, keep_events: Option<Duration>, quota_bytes: Option<u64>) -> Camera {
    Camera {
        id: 1,
        bytes: ROWS as u64 * 1_000,
        keep,
        keep_events,
        quota_bytes,
    }
}

/// A plan, when the newest row has just ended, and how many steps SQLite took for it.
fn look(path: &Path, camera: Camera, storage: i64) -> (Plan, u64) {
    let index = open(path);
    let mut reader = index.reader().unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(COUNTED, Ordering::Relaxed);
        false
    };
    reader.connection.progress_handler(COUNTED as i32, Some(count)).unwrap();
    let storage = Storage {
        id: storage,
        free_bytes: 1,
        floor_bytes: 1,
    };
    let usage = Usage {
        cameras: &[camera],
        storages: &[storage],
        quota_bytes: None,
    };
    let now = clock::from_unix_90k(ROWS * MINUTE_90K);
    assert!(now > WallTime::from_unix_micros(0));
    let plan = retention::plan(&reader, &usage, now).unwrap();
    (plan, steps.load(Ordering::Relaxed))
}

/// A few rows, and finding the indexes.
const FEW: u64 = 1_500;

#[test]
fn a_year_of_events_is_passed_over_at_once() {
    // A run each, as a camera records that is asked by motion; and a thousand minutes a run.
    for run_of in [1, 1_000] {
        let (_folder, path) = folder();
        let store = empty(&path);
        make(&store, 1, 1..ROWS - 100, run_of, true);
        make(&store, 1, ROWS - 100..ROWS, run_of, false);
        drop(store);
        let (plan, steps) = look(&path, camera(Some(HOUR), None, None), 1);
        assert_eq!(plan.delete.first().map(|(row, _)| row.id), Some(ROWS - 100));
        assert!(plan.delete.len() == 40 && steps < FEW + 40 * 100, "{steps}");
        let (plan, steps) = look(&path, camera(Some(2 * HOUR), Some(8_760 * HOUR), None), 1);
        assert!(plan.delete.is_empty() && steps < FEW, "{steps}");
        let (plan, steps) = look(&path, camera(Some(HOUR), Some(HOUR), Some(0)), 2);
        assert!(plan.delete.is_empty() && steps < FEW, "{steps}");
    }
}

#[test]
fn a_year_that_is_protected_is_passed_over_at_once() {
    for run_of in [1, 1_000] {
        let (_folder, path) = folder();
        let mut store = empty(&path);
        make(&store, 1, 1..ROWS, run_of, false);
        // All but the last ten of those that are old.
        let range_90k = 0..BEGIN_90K + (ROWS - 70) * MINUTE_90K;
        let protected = Protected {
            camera: name(0),
            range_90k,
            why: String::new(),
        };
        let id = store.protect(&protected).unwrap().unwrap();
        drop(store);
        let (plan, steps) = look(&path, camera(Some(HOUR), Some(HOUR), None), 1);
        assert!((8..=11).contains(&plan.delete.len()), "{}", plan.delete.len());
        assert!(steps < 2 * FEW + 11 * 100, "{steps}");
        let (plan, steps) = look(&path, camera(None, None, Some(0)), 1);
        assert!((68..=72).contains(&plan.delete.len()), "{}", plan.delete.len());
        assert!(steps < 2 * FEW + 72 * 100, "{steps}");
        let mut store = self::store(&path);
        assert!(store.release(id).unwrap());
        drop(store);
        let (plan, steps) = look(&path, camera(Some(HOUR), Some(HOUR), None), 1);
        assert_eq!(plan.delete.len(), retention::MAX_DELETED);
        assert!(steps < FEW + retention::MAX_DELETED as u64 * 200, "{steps}");
    }
}

/// Each of many short ranges protects a segment alone, and what was between them is gone.
#[test]
fn what_is_left_of_many_protections_is_passed_over_at_once() {
    let (_folder, path) = folder();
    let mut store = empty(&path);
    let last = 2_000;
    make(&store, 1, 1..last, 1, false);
    make(&store, 1, last..last + 1, 1, false);
    for row in 1..last {
        let begin_90k = BEGIN_90K + row * MINUTE_90K + row + 7;
        let protected = Protected {
            camera: name(0),
            range_90k: begin_90k..begin_90k + SECOND_90K,
            why: String::new(),
        };
        store.protect(&protected).unwrap().unwrap();
    }
    drop(store);
    let (plan, steps) = look(&path, camera(Some(HOUR), Some(HOUR), None), 1);
    assert_eq!(plan.ids(), [SegmentId(last)]);
    // And the ranges themselves, which are read.
    assert!(steps < FEW + 3 * 12 * last as u64, "{steps}");
}
