use bytes::Bytes;
use media::recording::Told;
use media::{Clock as _, WallTime};

use super::super::clock::{Span, unix_90k};
use super::super::index::{MAX_TIME_90K, Segment, State as RowState};
use super::super::segment;
use super::super::sink::{Begin, End, Full, Piece};
use super::super::storage::{Place as _, Root, Volume as _};
use super::*;
use crate::clock::SystemClock;

/// `ftyp`, and a `moov` with nothing in it but room for a duration.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x1cmoov\0\0\0\x14free\x01\0\0\0\0\0\0\0\0\0\0\0";

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings::new(folder.path().join("recordings"), folder.path().join("index.db"))
}

fn clocks() -> Clocks {
    Clocks {
        clock: Arc::new(SystemClock),
        zone: || TimeZone::UTC,
        is_synchronised: || false,
    }
}

fn start(settings: Settings) -> Recorder {
    Recorder::start(settings, clocks()).unwrap()
}

fn camera() -> StreamName {
    "house/door".parse().unwrap()
}

fn begin(sink: &mut dyn Sink, start: WallTime) -> Result<(), Full> {
    sink.begin(Begin {
        init_segment: Bytes::from_static(INIT),
        start,
        first_shown_90k: 0,
        continues: false,
        clip: Some("who rang".parse().unwrap()),
    })
}

fn fragment(sink: &mut dyn Sink, number: i64) -> Result<(), Full> {
    let content = vec![number as u8; 1_000];
    let bytes = [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat();
    sink.fragment(Piece {
        bytes: Bytes::from(bytes),
        duration_90k: 90_000,
        keyframe: true,
        told: Told {
            end_90k: 90_000 * number,
            wall: SystemClock.wall(),
        },
    })
}

fn rows(recorder: &Recorder) -> Vec<Segment> {
    recorder.index().unwrap().flush().unwrap();
    let reader = recorder.reader().unwrap();
    reader.segments(&camera(), 0..MAX_TIME_90K, None, 1_000).unwrap().items
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was written and not ended, killed: here by leaving the thread alone with its files and copying all of it.
#[test]
fn it_records_stops_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(settings(&folder));
    let mut notices = recorder.notices();
    let mut sink = recorder.sink(&camera());
    let wall = SystemClock.wall();
    begin(&mut *sink, wall).unwrap();
    (1..=3).for_each(|number| fragment(&mut *sink, number).unwrap());
    let start_90k = unix_90k(wall);
    sink.end(End {
        span: Span {
            start_90k,
            end_90k: start_90k + 3 * 90_000,
            drift_90k: 7,
        },
        ended: None,
    });
    let finished = notices.blocking_recv().unwrap();
    let Notice::Finished { path, duration_90k, .. } = finished else {
        panic!("{finished:?}")
    };
    assert!(path.ends_with("who rang.mp4") && duration_90k == 3 * 90_000);
    begin(&mut *sink, wall).unwrap();
    fragment(&mut *sink, 1).unwrap();
    wait_for("it is written", || recorder.report().counters.fragments == 4);
    let report = recorder.report();
    let storage = &report.storages[0];
    assert_eq!(
        (&storage.state, &storage.path),
        (&State::Recording, &folder.path().join("recordings"))
    );
    assert!(storage.total_bytes > 0 && storage.free_bytes > 0);

    // What a kill leaves.
    let killed = tempfile::tempdir().unwrap();
    recorder.index().unwrap().flush().unwrap();
    copy(folder.path(), killed.path());
    assert!(recorder.stop(Duration::from_secs(30)));
    assert!(fragment(&mut *sink, 2).is_err() && begin(&mut *sink, wall).is_err());
    assert!(matches!(recorder.reader(), Err(AskError::Stopped)));
    assert!(recorder.stop(Duration::ZERO), "once more");

    for (folder, ended) in [(&folder, index::Ended::Stopped), (&killed, index::Ended::Killed)] {
        let recorder = start(settings(folder));
        let rows = rows(&recorder);
        let ends: Vec<_> = rows.iter().map(|row| row.ended).collect();
        assert_eq!(ends, [None, Some(ended)]);
        assert!(rows[1].path.ends_with("who rang_2.mp4"), "{}", rows[1].path);
        let (volume, _) = Root(folder.path().join("recordings")).look(None).unwrap();
        for (row, fragments) in rows.iter().zip([3, 1]) {
            assert_eq!(row.state, RowState::Whole);
            let found = segment::recover(&volume, row.path.as_ref()).unwrap();
            let segment::Recovered::Whole {
                whole,
                cut_bytes: 0,
                head_bytes,
                ..
            } = found
            else {
                panic!("{found:?}")
            };
            assert_eq!((whole.fragments, head_bytes + whole.bytes), (fragments, row.bytes));
        }
        assert!(recorder.stop(Duration::from_secs(30)));
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A file of one fragment, as it stands in the index.
fn record(recorder: &Recorder, sink: &mut dyn Sink) -> Segment {
    let wall = SystemClock.wall();
    begin(sink, wall).unwrap();
    fragment(sink, 1).unwrap();
    let start_90k = unix_90k(wall);
    sink.end(End {
        span: Span {
            start_90k,
            end_90k: start_90k + 90_000,
            drift_90k: 0,
        },
        ended: Some(index::Ended::Stopped),
    });
    wait_for("it is finished", || {
        rows(recorder).last().is_some_and(|row| row.state == RowState::Whole)
    });
    rows(recorder).pop().unwrap()
}

#[test]
fn what_is_deleted_is_removed_by_whoever_writes() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(settings(&folder));
    let mut sink = recorder.sink(&camera());
    let root = folder.path().join("recordings");
    let garbage = || {
        recorder.index().unwrap().flush().unwrap();
        recorder.reader().unwrap().garbage(None).unwrap().items.len()
    };
    let row = record(&recorder, &mut *sink);
    assert!(root.join(&row.path).exists());
    assert_eq!(recorder.discard(vec![row.id]).unwrap(), 1);
    wait_for("its row is gone", || garbage() == 0);
    assert!(!root.join(&row.path).exists());
    assert_eq!(recorder.discard(vec![row.id]).unwrap(), 0, "once");

    // A kill in between, with all that there is of the day: its folder goes with it, and is then not missed.
    let row = record(&recorder, &mut *sink);
    assert_eq!(recorder.index().unwrap().discard(vec![row.id]).unwrap().len(), 1);
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    assert!(recorder.stop(Duration::from_secs(30)));
    assert_eq!(recorder.discard(vec![row.id]), Err(AskError::Stopped));
    let root = killed.path().join("recordings");
    let opened = Index::open(&killed.path().join("index.db"), Duration::from_secs(10)).unwrap();
    let said = Arc::new(Shared::new(&root));
    let clocks = clocks();
    let found = Found {
        is_new: opened.is_new,
        was_clean: opened.was_clean,
        create: None,
        sync: Duration::from_secs(5),
        removes: true,
        random: || 0,
        claim_within: Duration::ZERO,
    };
    let queue = Queue::new(Arc::clone(&clocks.clock));
    let (index, told) = (Arc::new(opened.index), Arc::clone(&said));
    let mut disk = Disk::new(Root(root.clone()), found, clocks, queue, index, told).unwrap();
    (0..10).for_each(|_| disk.tick());
    let (storage, counters) = said.told();
    assert_eq!((storage.state, counters.failures), (State::Recording, 0));
    assert!(!root.join(&row.path).exists() && !found.was_clean);
}

/// One at a time: the next waits a little, as where a process takes the place of another, and then says which has it.
#[test]
fn an_index_has_one_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(settings(&folder));
    let mut sink = first.sink(&camera());
    record(&first, &mut *sink);
    // Whoever still asks it has the index open, though the recorder was stopped.
    let held = first.index().unwrap();
    assert!(first.stop(Duration::from_secs(30)));
    let begun = Instant::now();
    let refused = Recorder::start(settings(&folder), clocks()).unwrap_err();
    assert!(begun.elapsed() >= LOCK_WITHIN);
    let StartError::InUse { lock, by } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(*lock, folder.path().join("index.db.lock"));
    assert!(*by == Some(std::process::id()) || cfg!(windows), "{by:?}");
    assert!(
        refused.to_string().contains("records with this state folder already"),
        "{refused}"
    );
    drop(held);
    let second = start(settings(&folder));
    assert_eq!(rows(&second).len(), 1);
    assert!(second.stop(Duration::from_secs(30)));
}

/// Two servers with state folders of their own, and one folder of recordings: the second says so, and records when the first has ended.
#[test]
fn a_folder_of_recordings_has_one_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let other = Settings {
        index_path: folder.path().join("other.db"),
        ..settings(&folder)
    };
    let first = start(settings(&folder));
    let mut sink = first.sink(&camera());
    record(&first, &mut *sink);
    let begun = Instant::now();
    let second = start(other.clone());
    assert!(
        begun.elapsed() >= LOCK_WITHIN,
        "as where a process takes the place of another"
    );
    let State::InUse { why } = second.report().storages[0].state.clone() else {
        panic!("{:?}", second.report())
    };
    assert!(
        why.contains("record.path") && second.is_kept_out() && !first.is_kept_out(),
        "{why}"
    );
    let mut refused = second.sink(&camera());
    wait_for("nothing is taken", || begin(&mut *refused, SystemClock.wall()).is_err());
    assert!(rows(&second).is_empty(), "nothing is adopted");
    drop(refused);
    assert!(second.stop(Duration::from_secs(30)));
    // One that ends meanwhile is waited for.
    drop(sink);
    assert!(first.stop(Duration::from_secs(30)));
    let (volume, _) = Root(other.root.clone()).look(None).unwrap();
    let claim = volume.claim(Duration::ZERO).unwrap();
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(claim);
    });
    let second = start(other);
    ending.join().unwrap();
    assert_eq!(second.report().storages[0].state, State::Recording);
    wait_for("it is found", || rows(&second).len() == 1);
    assert!(second.stop(Duration::from_secs(30)));
}

/// A folder that holds something else is not touched, and the rest of the program starts.
#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("recordings");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("holiday.jpg"), b"").unwrap();
    let recorder = start(settings(&folder));
    let State::Away { why } = recorder.report().storages[0].state.clone() else {
        panic!()
    };
    assert!(why.contains("not empty"), "{why}");
    let mut sink = recorder.sink(&camera());
    assert_eq!(begin(&mut *sink, SystemClock.wall()), Err(Full));
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
    assert!(recorder.stop(Duration::from_secs(30)));
}

/// What waits would wait for ever, and nobody would know why.
#[test]
fn a_thread_that_ended_by_itself_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(settings(&folder));
    assert_eq!(recorder.report().storages[0].state, State::Recording);
    recorder.shared.queue.close();
    let state = || recorder.report().storages[0].state.clone();
    wait_for("it ended", || matches!(state(), State::Failing { .. }));
    let State::Failing { why } = state() else { panic!() };
    assert!(why.contains("start the program again"), "{why}");
    assert!(recorder.stop(Duration::from_secs(30)));
    assert_eq!(state(), State::Recording, "it was stopped");
}

#[test]
fn the_floor_of_free_space() {
    let room = |total_bytes| Room {
        free_bytes: 0,
        total_bytes,
    };
    assert_eq!(Free::Usual.floor_bytes(room(100 << 30)), 5 << 30);
    assert_eq!(Free::Bytes(7).floor_bytes(room(100)), 7);
    assert_eq!(Free::Bytes(700).floor_bytes(room(100)), 100);
    assert_eq!(Free::Percent(3).floor_bytes(room(1_000)), 30);
    assert_eq!(Free::Percent(255).floor_bytes(room(1_000)), 1_000);
}
