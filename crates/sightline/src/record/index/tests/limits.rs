//! Whatever grows has an end.

use super::*;
use crate::record::index::join::{Joined, Span};

/// Somebody holds the file, or the disk is away: so much is kept in memory, and then nothing more is taken.
#[test]
fn what_waits_to_be_written_is_bounded() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    index.flush().unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut told = 0;
    let full = loop {
        let mut next = segment(told + 1);
        next.id = index.next_segment();
        match index.write(Change::Segment(next, vec![7; MAX_FRAGMENTS_BYTES])) {
            Ok(()) => told += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(full, NotTaken::Full);
    let queued = index.health().queued_bytes;
    assert!(
        queued <= MAX_QUEUED_BYTES && queued + 2 * MAX_FRAGMENTS_BYTES > MAX_QUEUED_BYTES,
        "{queued}"
    );
    let busy = index.flush().unwrap_err();
    assert!(matches!(busy, Error::InUse { .. }), "{busy}");
    assert_eq!(index.health().failing, Some(busy));
    other.execute_batch("ROLLBACK").unwrap();
    index.flush().unwrap();
    assert_eq!((index.health().queued_bytes, index.health().failing), (0, None));
    let usage = index.reader().unwrap().usage().unwrap();
    assert_eq!(usage[0].segments, told as u64, "nothing was lost");
    index.write(Change::Carried { at_90k: 1 }).unwrap();
}

#[test]
fn readers_have_a_limit() {
    let (_folder, path) = folder();
    let index = open(&path);
    let mut readers: Vec<Reader> = (0..MAX_READERS).map(|_| index.reader().unwrap()).collect();
    assert!(matches!(index.reader(), Err(Error::Limit { limit: MAX_READERS, .. })));
    readers.pop();
    readers.push(index.reader().unwrap());
    assert!(index.reader().is_err());
}

#[test]
fn what_is_too_long_or_cannot_be_is_refused_alone() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let sound = |id| Change::Segment(segment(id), vec![0; MAX_FRAGMENTS_BYTES]);
    let with = |change: fn(&mut Segment)| {
        let mut segment = segment(3);
        change(&mut segment);
        Change::Segment(segment, Vec::new())
    };
    let with_event = |change: fn(&mut Event)| {
        let mut event = event(3);
        change(&mut event);
        Change::Event(event)
    };
    let refused = vec![
        Change::Segment(segment(3), vec![0; MAX_FRAGMENTS_BYTES + 1]),
        with(|segment| segment.path = "p".repeat(MAX_PATH_BYTES + 1)),
        with(|segment| segment.storage = storage(9)),
        with(|segment| segment.state = State::Garbage),
        with(|segment| segment.duration_90k = MAX_SEGMENT_90K + 1),
        with(|segment| segment.duration_90k = -1),
        with(|segment| segment.start_90k = -1),
        with(|segment| segment.start_90k = i64::MAX),
        with(|segment| segment.bytes = u64::MAX),
        with(|segment| segment.id = SegmentId(0)),
        with_event(|event| event.kind = "k".repeat(MAX_KIND_BYTES + 1)),
        with_event(|event| event.data = "d".repeat(MAX_DATA_BYTES + 1)),
        with_event(|event| event.end_90k = event.start_90k - 1),
        with_event(|event| event.end_90k = event.start_90k + MAX_SEGMENT_90K + 1),
        with_event(|event| event.score = Some(f64::NAN)),
        Change::Storage {
            uuid: storage(5),
            path: "p".repeat(MAX_PATH_BYTES + 1),
        },
        Change::Moved {
            camera: name(0),
            run: 7,
            by_90k: i64::MIN,
        },
    ];
    let count = refused.len() as u64;
    let mut changes = storages();
    changes.push(sound(1));
    changes.extend(refused);
    changes.push(sound(2));
    let done = store.commit(&changes).unwrap();
    assert_eq!(done.refused, count);
    assert!(done.why.is_some_and(|why| why.contains("table of fragments")));
    let found = dump(&store.connection);
    assert_eq!(
        (found["segment"].len(), found["span"].len(), found["event"].len()),
        (2, 1, 0),
        "{found:?}"
    );
    assert_eq!(found["camera"].len(), 1);
}

#[test]
fn storages_cameras_and_protected_ranges_have_a_limit() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let told = |number: usize| Change::Storage {
        uuid: (number as u128).to_be_bytes(),
        path: String::new(),
    };
    let changes: Vec<Change> = (0..=MAX_STORAGES).chain(0..MAX_STORAGES).map(told).collect();
    assert_eq!(store.commit(&changes).unwrap().refused, 1);
    let seen = |number: i64| {
        let mut event = event(number);
        event.camera = format!("camera-{number}").parse().unwrap();
        Change::Event(event)
    };
    let changes: Vec<Change> = (1..=MAX_CAMERAS as i64 + 1).map(seen).collect();
    assert_eq!(store.commit(&changes).unwrap().refused, 1);

    let protected = |number: i64| Protected {
        camera: "camera-1".parse().unwrap(),
        range_90k: number..number + 1,
        why: String::new(),
    };
    for number in 0..10 {
        store.protect(&protected(number)).unwrap().unwrap();
    }
    let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO protected SELECT NULL, 1, i, i + 1, '', NULL FROM n";
    store.connection.execute(more, [MAX_PROTECTED as i64 - 11]).unwrap();
    store.protect(&protected(10)).unwrap().unwrap();
    let error = store.protect(&protected(11)).unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                limit: MAX_PROTECTED,
                ..
            }
        ),
        "{error}"
    );
    let empty = Protected {
        range_90k: 5..5,
        ..protected(1)
    };
    assert_eq!(store.protect(&empty).unwrap().unwrap_err(), Error::NotSound);
}

/// A run stays where it is, rather than that something is no longer protected, or that there are more ranges than may be.
#[test]
fn a_run_is_not_moved_without_room_for_its_protection() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut changes = storages();
    changes.push(Change::Segment(segment(1), Vec::new()));
    store.commit(&changes).unwrap();
    let protected = Protected {
        camera: name(0),
        range_90k: 0..segment(1).start_90k + 1,
        why: String::new(),
    };
    store.protect(&protected).unwrap().unwrap();
    let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO protected (camera, start_90k, end_90k, why) SELECT 99, i, i + 1, '' FROM n";
    store.connection.execute(more, [MAX_PROTECTED as i64 - 1]).unwrap();
    let moved = Change::Moved {
        camera: name(0),
        run: 7,
        by_90k: MINUTE_90K,
    };
    let done = store.commit(std::slice::from_ref(&moved)).unwrap();
    assert_eq!(
        done.why,
        Some("the number of protected ranges would be 10001; 10000 is the most".to_owned())
    );
    store
        .connection
        .execute("DELETE FROM protected WHERE start_90k = 5", [])
        .unwrap();
    assert_eq!(store.commit(&[moved]).unwrap().refused, 0);
    assert!(store.discard(&[SegmentId(1)]).unwrap().is_empty());
}

#[test]
fn cameras_that_have_nothing_any_more_are_forgotten_at_a_start() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    index.write(Change::Segment(segment(1), Vec::new())).unwrap();
    let other = Segment {
        camera: name(1),
        ..segment(2)
    };
    index.write(Change::Segment(other, Vec::new())).unwrap();
    assert_eq!(index.discard(vec![SegmentId(1)]).unwrap().len(), 1);
    index.write(Change::Gone(SegmentId(1))).unwrap();
    index.close().unwrap();
    drop(open(&path));
    assert_eq!(dump(&store(&path).connection)["camera"].len(), 1);
}

#[test]
fn the_oldest_events_go() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let changes: Vec<Change> = [1, 2, 3, MAX_EVENTS + 2].map(event).map(Change::Event).into();
    assert_eq!(store.commit(&changes).unwrap().refused, 0);
    assert_eq!(dump(&store.connection)["event"].len(), 2, "as many as numbers may be");
}

/// The log of SQLite is taken over while it is written, and cut.
#[test]
fn the_log_does_not_grow() {
    let (_folder, path) = folder();
    let index = open(&path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    let reader = index.reader().unwrap();
    let mut most = 0;
    for id in 1..=200 {
        index.write(Change::Segment(segment(id), vec![3; 100_000])).unwrap();
        index.flush().unwrap();
        assert_eq!(reader.usage().unwrap()[0].segments, id as u64);
        most = most.max(std::fs::metadata(schema::beside(&path, "-wal")).unwrap().len());
    }
    assert!(std::fs::metadata(&path).unwrap().len() > 18_000_000);
    assert!(most < 6 << 20, "{most}");
}

/// What one look of retention deletes at the most, of many cameras: the log of SQLite has room for it where the ballast was.
#[test]
fn the_ballast_is_enough_for_a_look_of_retention() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let (cameras, minutes) = (50, 200);
    let mut changes = storages();
    for minute in 0..minutes {
        for camera in 0..cameras {
            let segment = Segment {
                camera: format!("camera-{camera}").parse().unwrap(),
                run: camera as u64,
                start_90k: BEGIN_90K + minute * MINUTE_90K,
                ..segment(1 + minute * cameras + camera)
            };
            changes.push(Change::Segment(segment, vec![7; 300]));
        }
    }
    assert_eq!(store.commit(&changes).unwrap().refused, 0);
    store
        .connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    let oldest: Vec<SegmentId> = (1..=500).map(SegmentId).collect();
    assert_eq!(store.discard(&oldest).unwrap().len(), 500);
    let gone: Vec<Change> = oldest.into_iter().map(Change::Gone).collect();
    assert_eq!(store.commit(&gone).unwrap().refused, 0);
    let log = std::fs::metadata(schema::beside(&path, "-wal")).unwrap().len();
    assert!(log < ballast::BALLAST_BYTES / 2, "{log}");
}

fn span(run: u64, start_90k: i64, end_90k: i64) -> Span {
    Span {
        run,
        start_90k,
        end_90k,
        bytes: (end_90k - start_90k) as u64,
        ended: Some(Ended::Stopped),
    }
}

/// Ten thousand are told at once; going on where it ended gives the rest, and all of it once.
#[test]
fn runs_are_told_in_pages() {
    let count = MAX_RUNS as i64 * 2 + 5_000;
    let all: Vec<Span> = (0..count)
        .map(|number| span(number as u64, 10 * number, 10 * number + 9))
        .collect();
    for resolution_90k in [0, 1] {
        let (mut from_90k, mut told, mut pages) = (3, Vec::new(), 0);
        loop {
            let mut joined = Joined::new(from_90k..10 * count, resolution_90k);
            for span in all.iter().filter(|span| span.end_90k > from_90k) {
                if !joined.push(span) {
                    break;
                }
            }
            let page = joined.finish();
            assert!(page.runs.len() <= MAX_RUNS);
            told.extend(page.runs);
            pages += 1;
            match page.next_90k {
                Some(next_90k) => from_90k = next_90k,
                None => break,
            }
        }
        assert_eq!((told.len() as i64, pages), (count, 3));
        assert!(told.windows(2).all(|pair| pair[0].end_90k < pair[1].start_90k));
        assert_eq!(
            (told[0].start_90k, told[0].bytes),
            (3, 6),
            "cut where it was asked for, its bytes too"
        );
    }
}

#[test]
fn more_runs_at_one_instant_than_are_told_end_as_well() {
    let mut joined = Joined::new(5..100, 0);
    for number in 0..MAX_RUNS as u64 + 3 {
        assert!(joined.push(&span(number, 1, 50)));
    }
    assert!(!joined.push(&span(1 << 40, 60, 70)));
    let told = joined.finish();
    assert_eq!((told.runs.len(), told.next_90k), (MAX_RUNS, Some(60)));
    assert!(told.runs.iter().all(|run| run.overlaps), "each lies over others");
}

/// However many spans are joined into few, the look at them ends.
#[test]
fn a_look_at_very_many_spans_is_taken_in_turns() {
    let mut joined = Joined::new(0..i64::MAX, 1_000);
    let seen = (0..1_000_000)
        .take_while(|number| joined.push(&span(*number as u64, 10 * number, 10 * number + 5)))
        .count();
    assert_eq!(seen, 200_000);
    let told = joined.finish();
    assert_eq!((told.runs.len(), told.next_90k), (1, Some(2_000_000)));
}

/// Storages of which it is remembered that they are looked through, as many as there may be; and what begins has numbers behind what is found.
#[test]
fn storages_that_are_looked_through_are_limited() {
    let (_folder, path) = folder();
    let index = open(&path);
    let numbers = index.keep_segments(0);
    assert_eq!((numbers.start, index.next_segment().0), (1, numbers.end));
    let first = Some(SegmentId(numbers.start));
    let told = |number: usize, first| Change::Adopting {
        storage: (number as u128).to_be_bytes(),
        first,
    };
    for number in 0..=MAX_STORAGES {
        index.write(told(number, first)).unwrap();
    }
    index.write(told(0, None)).unwrap();
    index.flush().unwrap();
    assert_eq!(index.health().refused, 1);
    let reader = index.reader().unwrap();
    assert_eq!(reader.adopting(&0_u128.to_be_bytes()).unwrap(), None);
    assert_eq!(reader.adopting(&1_u128.to_be_bytes()).unwrap(), Some(numbers.clone()));
    drop((reader, index));
    assert_eq!(open(&path).next_segment().0, numbers.end + 1, "none is given twice");
}

#[test]
fn the_oldest_minutes_of_motion_go() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let minute = |minute| Change::Intensity {
        camera: name(0),
        minute,
        seconds: [1; 60],
    };
    assert_eq!(store.commit(&[minute(7), minute(3)]).unwrap().refused, 0);
    let sequence = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'intensity'";
    store.connection.execute(sequence, [MAX_INTENSITIES]).unwrap();
    assert_eq!(store.commit(&[minute(9)]).unwrap().refused, 0);
    let left = &dump(&store.connection)["intensity"];
    assert_eq!(left.len(), 2, "those that were told first go: {left:?}");
    assert_eq!(store.commit(&[minute(-1), minute(i64::MAX)]).unwrap().refused, 2);
}
