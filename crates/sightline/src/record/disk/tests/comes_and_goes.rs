//! A disk that is taken away, put back, or another; and what is found on one.

use super::super::super::segment::memory::Fault;
use super::*;

#[test]
fn a_disk_that_is_away_is_not_written_and_keeps_its_rows() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    source.begin().unwrap();
    source.fragment().unwrap();
    rig.work();
    rig.memory.set_away(true);
    rig.pass(Duration::from_secs(5));
    assert!(matches!(rig.state(), State::Away { .. }), "{:?}", rig.state());
    assert!(source.fragment().is_err());
    source.end(None);
    let (before, rows) = (rig.memory.operations(), rig.rows("door"));
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].ended, Some(Ended::DiskFailed));
    for _ in 0..20 {
        assert!(source.file(&mut rig, 1).is_err());
    }
    // It is looked for twice a look, and nothing else is done.
    assert!(
        rig.memory.operations() - before <= 8,
        "{}",
        rig.memory.operations() - before
    );
    assert_eq!(rig.rows("door"), rows, "no row is dropped");

    rig.memory.set_away(false);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.state(), State::Recording);
    source.file(&mut rig, 2).unwrap();
    assert_eq!(rig.rows("door").len(), 3);
    assert_agrees(&rig, "back");
    let states = rig
        .notices()
        .into_iter()
        .filter(|notice| matches!(notice, Notice::State { .. }));
    assert_eq!(states.count(), 2);
}

/// Between two looks, before a file.
#[test]
fn it_is_looked_for_before_each_file() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    rig.memory.set_away(true);
    source.begin().unwrap();
    rig.work();
    assert!(source.fragment().is_err());
    assert!(rig.memory.files().is_empty() && matches!(rig.state(), State::Away { .. }));
}

#[test]
fn another_disk_is_another_storage() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    let other = Memory::default();
    rig.memory.set_away(true);
    rig.disk.place.memory = other.clone();
    rig.disk.place.uuid = [8; 16];
    rig.pass(Duration::from_secs(5));
    let State::Away { why } = rig.state() else {
        panic!("{:?}", rig.state())
    };
    assert!(why.contains("another disk"), "{why}");
    rig.pass(Duration::from_secs(10));
    source.at_90k = None;
    source.file(&mut rig, 2).unwrap();
    let storages: Vec<StorageId> = rig.rows("door").iter().map(|row| row.storage).collect();
    assert_eq!(storages, [[7; 16], [8; 16]]);
    assert_eq!((files(&rig.memory).len(), files(&other).len()), (1, 1));
}

/// The index is lost: all is found again, in order, and what is not ours is left alone.
#[test]
fn files_that_the_index_does_not_know_are_adopted() {
    let mut rig = Rig::new();
    for name in ["a", "b/c"] {
        let mut source = Source::new(&rig, name);
        for _ in 0..3 {
            source.file(&mut rig, 3).unwrap();
            rig.pass(Duration::from_secs(40_000));
            source.at_90k = None;
        }
    }
    let before: Vec<Vec<Segment>> = ["a", "b/c"].iter().map(|name| rig.rows(name)).collect();
    let foreign = PathBuf::from("a/2025-10-06/holiday.mp4");
    {
        use super::super::super::storage::{File as _, Storage as _};
        let mut file = rig.memory.create(&foreign).unwrap();
        file.append([b"\0\0\0\x10ftypisom", b"\0\0\0\0and so on"]).unwrap();
        rig.memory.create(Path::new("a/2025-10-06/.segment.mp4.new")).unwrap();
    }
    rig.memory.next_process();
    let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
    drop(rig);
    let mut rig = Rig::on(memory, tempfile::tempdir().unwrap(), clock);
    // While it is looked through, it is recorded.
    let mut source = Source::new(&rig, "a");
    source.begin().unwrap();
    source.fragment().unwrap();
    source.end(None);
    rig.work();
    for (name, before) in ["a", "b/c"].iter().zip(before) {
        let now = rig.rows(name);
        let what = |row: &Segment| {
            (
                row.path.clone(),
                row.start_90k,
                row.duration_90k,
                row.bytes,
                row.crc,
                row.run,
            )
        };
        let found: Vec<_> = now.iter().take(before.len()).map(what).collect();
        assert_eq!(found, before.iter().map(what).collect::<Vec<_>>());
        assert!(now.windows(2).all(|pair| pair[0].id < pair[1].id));
        for row in &now {
            let table = media::recording::Fragments::read(&rig.reader().fragments(row.id).unwrap()).unwrap();
            assert_eq!(table.duration_90k(), row.duration_90k as u64);
        }
    }
    assert_eq!(rig.rows("a").len(), 4, "each once");
    let left: Vec<String> = files(&rig.memory).into_iter().map(|(path, _)| path).collect();
    assert!(left.contains(&foreign.to_string_lossy().into_owned()));
    assert!(!left.iter().any(|path| path.ends_with(".new")), "{left:?}");
}

/// What begins is told in microseconds, and lists want ticks: what met meets again.
#[test]
fn a_recovered_file_begins_where_it_began() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "a");
    source.at_90k = Some(unix_90k(rig.clock.wall()) + 77_777);
    for _ in 0..9 {
        source.file(&mut rig, 1).unwrap();
        source.at_90k = source.at_90k.map(|at_90k| at_90k + 1);
    }
    let before: Vec<i64> = rig.rows("a").iter().map(|row| row.start_90k).collect();
    let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
    drop(rig);
    let mut rig = Rig::on(memory, tempfile::tempdir().unwrap(), clock);
    rig.work();
    let after: Vec<i64> = rig.rows("a").iter().map(|row| row.start_90k).collect();
    assert_eq!(after, before);
}

/// A file that cannot be looked through keeps nobody from recording, and is tried at the next start.
#[test]
fn a_start_on_a_disk_that_fails() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "a");
    source.begin().unwrap();
    source.fragment().unwrap();
    rig.work();
    rig.index.flush().unwrap();
    let folder = copy(rig.folder.path());
    // The disk is looked for; then the file is opened.
    rig.memory.fail_in(1, Fault::Error);
    let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
    drop(rig);
    let mut rig = Rig::on(memory, folder, clock);
    assert_eq!(rig.state(), State::Recording);
    assert_eq!(rig.shared.told().1.failures, 1);
    Source::new(&rig, "b").file(&mut rig, 1).unwrap();
    assert_eq!(rig.reader().open_segments(None).unwrap().items.len(), 1);
    let mut rig = rig.restart(true);
    rig.work();
    assert_eq!(rig.rows("a")[0].ended, Some(Ended::Killed));
    assert_agrees(&rig, "again");
}

/// A file a day.
fn days(rig: &mut Rig, name: &str, count: usize) {
    let mut source = Source::new(rig, name);
    for _ in 0..count {
        source.file(rig, 1).unwrap();
        source.at_90k = None;
        rig.pass(Duration::from_secs(86_400));
    }
}

/// The index is made anew, and it is stopped or killed in the middle of that: the next start goes on, and what is found has the lower numbers even so.
#[test]
fn a_rebuild_that_is_interrupted_goes_on() {
    for is_killed in [false, true] {
        let mut rig = Rig::new();
        days(&mut rig, "a", 6);
        let mut rig = rig.without_index();
        (0..5).for_each(|_| rig.disk.tick());
        rig.record_beside("a");
        assert!(rig.disk.has_more());
        let found = rig.rows("a").len();
        assert!(found > 1 && found < 7, "{found}");
        let mut rig = if is_killed {
            rig.restart(true)
        } else {
            rig.start_again()
        };
        rig.clock.advance(Duration::from_secs(10));
        rig.record_beside("a");
        rig.work();
        let rows = rig.rows("a");
        assert_eq!(rows.len(), 8, "killed: {is_killed}");
        assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id), "{rows:?}");
        assert_agrees(&rig, "all");
        assert_eq!(rig.reader().adopting(&[7; 16]).unwrap(), None);
        // And is not done again.
        let mut rig = rig.start_again();
        let operations = rig.memory.operations();
        rig.work();
        assert!(rig.memory.operations() - operations < 3);
        assert_eq!(rig.rows("a"), rows);
    }
}

/// Whatever cannot be read once while files are looked for: the rest is found at once, and that at the next start, though it was stopped in order.
#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let mut without_one = 0;
    for at in 0..24 {
        let mut rig = Rig::new();
        let mut source = Source::new(&rig, "a");
        for _ in 0..3 {
            source.file(&mut rig, 1).unwrap();
        }
        drop(source);
        let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
        drop(rig);
        memory.fail_in(at, Fault::Error);
        let mut rig = Rig::on(memory, tempfile::tempdir().unwrap(), clock);
        rig.work();
        rig.pass(Duration::from_secs(10));
        without_one += usize::from(rig.rows("a").len() == 2);
        let mut rig = rig.start_again();
        rig.work();
        assert_eq!(rig.rows("a").len(), 3, "{at}");
        assert_agrees(&rig, "all");
    }
    assert!(without_one >= 6, "two operations a file at the least: {without_one}");
}

/// A power cut took what the index was told in the last six days.
#[test]
fn days_since_the_newest_row_are_looked_through() {
    let mut rig = Rig::new();
    days(&mut rig, "a", 1);
    rig.index.flush().unwrap();
    let folder = copy(rig.folder.path());
    days(&mut rig, "a", 6);
    let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
    drop(rig);
    let mut rig = Rig::on(memory, folder, clock);
    rig.work();
    assert_eq!(rig.rows("a").len(), 7);
    assert_agrees(&rig, "all");
}

/// Somebody renamed the folder of a camera: its files stay what they are, and each is there once, however often it is looked.
#[test]
fn a_renamed_folder_is_not_adopted_twice() {
    use super::super::super::storage::Storage as _;
    for (to, count) in [("b", 2), ("lost+found", 0)] {
        let mut rig = Rig::new();
        let mut source = Source::new(&rig, "a");
        for _ in 0..2 {
            source.file(&mut rig, 1).unwrap();
        }
        drop(source);
        let day = Path::new(to).join("2025-10-06");
        rig.memory.create_folder(Path::new(to)).unwrap();
        rig.memory.create_folder(&day).unwrap();
        for path in rig.memory.files().into_keys() {
            rig.memory.rename(&path, &day.join(path.file_name().unwrap())).unwrap();
        }
        let mut rig = rig.without_index();
        rig.work();
        assert_eq!(rig.rows("a").len(), count, "{to}");
        for _ in 0..2 {
            rig = rig.restart(true);
            rig.work();
        }
        assert_eq!(rig.rows("a").len(), count, "{to}");
    }
}

/// By hand and anyway, at the same time; killed while one of them is written, and started again an hour later.
#[test]
fn what_was_recorded_twice_is_shown_once_after_a_kill_too() {
    // When the index was written: with both begun; with the first file of the one that goes on.
    for is_begun in [true, false] {
        let mut rig = Rig::new();
        let (mut all, mut by_hand) = (Source::new(&rig, "door"), Source::new(&rig, "door"));
        // Pictures in front of what happened: they are older than their file.
        all.at_90k = Some(unix_90k(rig.clock.wall()) - 20 * SECOND_90K);
        all.begin().unwrap();
        for number in 0..30 {
            if number >= 20 {
                rig.pass(Duration::from_secs(1));
            }
            all.fragment().unwrap();
            rig.work();
        }
        all.end(None);
        rig.work();
        rig.index.flush().unwrap();
        all.begin().unwrap();
        by_hand.begin().unwrap();
        rig.work();
        if is_begun {
            rig.index.flush().unwrap();
        }
        for _ in 0..8 {
            rig.pass(Duration::from_secs(1));
            all.fragment().unwrap();
            by_hand.fragment().unwrap();
            rig.work();
        }
        by_hand.end(Some(Ended::Stopped));
        rig.work();
        if is_begun {
            rig.index.flush().unwrap();
        }
        rig.clock.advance(Duration::from_secs(3_600));
        let mut rig = rig.restart(false);
        rig.work();
        let rows = rig.rows("door");
        assert_eq!(rows.len(), 3, "{rows:#?}");
        let apart = |row: &Segment| row.age_end_90k - row.end_90k();
        // Where the index knew nothing of the one by hand, that is as old as its adoption.
        let known = rows.iter().filter(|row| is_begun || row.run == rows[0].run);
        let known: Vec<i64> = known.map(apart).collect();
        assert_eq!(known.len(), if is_begun { 3 } else { 2 });
        let (least, most) = (known.iter().min().unwrap(), known.iter().max().unwrap());
        assert!(most - least < 2 * SECOND_90K, "{known:?}");
        if is_begun {
            let shown = super::super::super::play::once(rows.iter(), i64::MIN);
            assert_eq!(shown.len(), 2, "{rows:#?}");
        }
    }
}

/// Another server has an index of its own, and would take our files for what a crash has left.
#[test]
fn a_folder_that_another_records_into_is_not_written() {
    let memory = Memory::default();
    memory.set_in_use(true);
    let mut rig = Rig::on(memory, tempfile::tempdir().unwrap(), SimClock::new());
    let State::InUse { why } = rig.state() else {
        panic!("{:?}", rig.state())
    };
    assert!(why.contains("already") && why.contains("record.path"), "{why}");
    let mut source = Source::new(&rig, "a");
    assert!(source.file(&mut rig, 1).is_err());
    assert!(files(&rig.memory).is_empty() && rig.rows("a").is_empty());
    rig.pass(Duration::from_secs(20));
    assert!(matches!(rig.state(), State::InUse { .. }));
    let said = rig.notices();
    let states = said.iter().filter(|notice| matches!(notice, Notice::State { .. }));
    assert!(states.count() <= 1, "it is said once: {said:?}");
    // That one ends.
    rig.memory.set_in_use(false);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.state(), State::Recording);
    source.file(&mut rig, 1).unwrap();
    assert_eq!(rig.rows("a").len(), 1);
}

/// As after a crash: the index was closed in order, and does not know of it.
#[test]
fn what_another_recorded_while_it_had_the_folder_is_found() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "a");
    source.file(&mut rig, 1).unwrap();
    drop(source);
    rig.memory.set_in_use(true);
    let mut rig = rig.start_again();
    assert!(matches!(rig.state(), State::InUse { .. }));
    rig.memory.set_in_use(false);
    let (memory, clock) = (rig.memory.clone(), rig.clock.clone());
    let mut other = Rig::on(memory, tempfile::tempdir().unwrap(), clock);
    let mut source = Source::new(&other, "b");
    source.file(&mut other, 1).unwrap();
    drop(source);
    drop(other.start_again());
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.state(), State::Recording);
    assert_eq!((rig.rows("a").len(), rig.rows("b").len()), (1, 1));
}
