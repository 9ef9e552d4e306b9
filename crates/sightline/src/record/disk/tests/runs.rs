//! Files, their runs and their rows.

use std::collections::BTreeSet;

use media::recording::{Found as FoundHead, Fragments, Head};

use super::*;

fn head(rig: &Rig, row: &Segment) -> Head {
    match Head::read(&rig.memory.files()[Path::new(&row.path)]) {
        FoundHead::Whole(head, _) => head,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_follow_each_other_are_a_run() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "house/door");
    for _ in 0..3 {
        source.file(&mut rig, 4).unwrap();
    }
    drop(source);
    rig.work();
    let rows = rig.rows("house/door");
    assert_eq!(rows.len(), 3);
    for (number, row) in rows.iter().enumerate() {
        let head = head(&rig, row);
        assert_eq!((head.run, head.number), (rows[0].id.0 as u64, number as u32));
        assert_eq!((row.run, row.storage, head.storage), (head.run, [7; 16], [7; 16]));
        assert_eq!(unix_90k(head.start), row.start_90k);
        assert_eq!(row.duration_90k, 4 * SECOND_90K);
        // Its camera goes away at last.
        assert_eq!(row.ended, (number == 2).then_some(Ended::Stopped));
        let table = rig.reader().fragments(row.id).unwrap();
        let table = Fragments::read(&table).unwrap();
        assert_eq!((table.len(), u64::from(row.head_bytes) + table.bytes()), (4, row.bytes));
    }
    assert!(rows.windows(2).all(|pair| pair[0].end_90k() == pair[1].start_90k));
    assert_eq!(rows[0].path, "house+door/2025-10-06/segment_20251006_000000.mp4");
    // Completed: a player finds its duration and its index.
    let bytes = &rig.memory.files()[Path::new(&rows[0].path)];
    assert!(bytes.windows(4).any(|word| word == b"sidx") && bytes.windows(4).any(|word| word == b"mehd"));
    assert_agrees(&rig, "all");
    let counters = rig.shared.told().1;
    assert_eq!((counters.fragments, counters.segments), (12, 3));
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    assert_eq!(counters.bytes, bytes);
    let finished = rig
        .notices()
        .into_iter()
        .filter(|notice| matches!(notice, Notice::Finished { .. }));
    assert_eq!(finished.count(), 3);
}

#[test]
fn a_row_is_open_while_its_file_is_written() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.begin().unwrap();
    source.fragment().unwrap();
    rig.work();
    let open = rig.reader().open_segments(None).unwrap().items;
    assert_eq!(open.len(), 1);
    assert!(rig.memory.files().contains_key(Path::new(&open[0].path)));
    source.end(None);
    rig.work();
    assert_agrees(&rig, "ended");
}

#[test]
fn a_file_that_is_cut_short_ends_its_run() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    source.begin().unwrap();
    source.fragment().unwrap();
    // More than fits, while the disk does nothing.
    source.bytes = 5 << 20;
    assert!(source.fragment().is_ok() && source.fragment().is_err());
    source.bytes = 100;
    assert!(source.fragment().is_err(), "nothing can be decoded over the gap");
    // The camera may not know why, and goes on as if nothing was.
    source.end(None);
    source.begin().unwrap();
    rig.work();
    source.fragment().unwrap();
    source.end(Some(Ended::Stopped));
    rig.work();
    let rows = rig.rows("door");
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (rows[1].run, rows[1].ended, rows[1].duration_90k),
        (rows[0].run, Some(Ended::DiskSlow), 2 * SECOND_90K)
    );
    assert_eq!(
        (rows[2].run, rows[2].ended),
        (rows[2].id.0 as u64, Some(Ended::Stopped))
    );
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.shared.told().1.left_out, [2, 0, 0, 0, 0]);
    let notices = rig.notices();
    let left_out = Notice::LeftOut {
        camera: camera("door"),
        why: LeftOut::Slow,
        fragments: 2,
    };
    assert!(notices.contains(&left_out), "{notices:?}");
    assert_agrees(&rig, "all");
}

/// The run says that it goes on, and then the next file is not taken.
#[test]
fn a_file_that_is_not_taken_ends_the_run_of_the_last() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    assert_eq!(rig.rows("door")[0].ended, None);
    rig.queue.hold_all(Some(LeftOut::Full));
    assert!(source.begin().is_err());
    rig.work();
    assert_eq!(rig.rows("door")[0].ended, Some(Ended::DiskFull));
    let ended = Notice::Ended {
        camera: camera("door"),
        why: Ended::DiskFull,
    };
    assert!(rig.notices().contains(&ended));
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let mut rig = Rig::new();
    let (mut one, mut other) = (Source::new(&rig, "door"), Source::new(&rig, "door"));
    one.begin().unwrap();
    other.begin().unwrap();
    rig.work();
    for source in [&mut one, &mut other] {
        source.fragment().unwrap();
        source.end(None);
    }
    rig.work();
    let mut names: Vec<String> = files(&rig.memory).into_iter().map(|(path, _)| path).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "door/2025-10-06/segment_20251006_000000.mp4",
            "door/2025-10-06/segment_20251006_000000_2.mp4"
        ]
    );
    assert_agrees(&rig, "both");
}

/// A power cut takes five seconds at the most.
#[test]
fn what_was_written_is_durable_after_five_seconds() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.begin().unwrap();
    rig.work();
    for second in 1..=30 {
        source.fragment().unwrap();
        rig.pass(Duration::from_secs(1));
        let counters = rig.shared.told().1;
        assert_eq!(counters.syncs, second / 5, "one each five seconds");
    }
    // Where nothing was written there is nothing to make durable.
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.shared.told().1.syncs, 6);
}

#[test]
fn a_file_without_a_fragment_leaves_nothing() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 0).unwrap();
    assert!(rig.memory.files().is_empty());
    assert_agrees(&rig, "nothing");
}

#[test]
fn all_files_end_when_it_is_stopped() {
    let mut rig = Rig::new();
    let mut sources = [Source::new(&rig, "a"), Source::new(&rig, "b")];
    for source in &mut sources {
        source.begin().unwrap();
        source.fragment().unwrap();
    }
    rig.work();
    rig.queue.close();
    assert!(sources[0].begin().is_err());
    rig.work();
    rig.disk.stop();
    assert_agrees(&rig, "stopped");
    assert!(
        ["a", "b"]
            .iter()
            .all(|name| rig.rows(name)[0].ended == Some(Ended::Stopped))
    );
    let mut next = rig.restart(true);
    next.work();
    assert_agrees(&next, "and started again");
}

/// What the index does not take waits, and nothing is begun meanwhile: rows cannot grow without a limit.
#[test]
fn an_index_that_is_full_stops_recording() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    let event = |number| {
        Change::Event(super::super::super::index::Event {
            id: super::super::super::index::EventId(number),
            camera: camera("door"),
            kind: "test".to_owned(),
            start_90k: 1,
            end_90k: 2,
            score: None,
            data: "x".repeat(4_000),
        })
    };
    let mut number = 1;
    while rig.index.write(event(number)).is_ok() {
        number += 1;
    }
    while rig
        .index
        .write(Change::Gone(super::super::super::index::SegmentId(i64::MAX)))
        .is_ok()
    {}
    source.begin().unwrap();
    source.fragment().unwrap();
    source.end(None);
    source.begin().unwrap();
    rig.work();
    assert_eq!(
        rig.disk.untold.len(),
        3,
        "the row of the first file: open, whole, and the last"
    );
    assert!(source.fragment().is_err());
    source.end(Some(Ended::DiskFailed));
    rig.index.flush().unwrap();
    rig.pass(Duration::from_secs(5));
    assert!(rig.disk.untold.is_empty());
    assert_eq!(
        rig.shared.told().1.left_out,
        [1, 0, 0, 0, 0],
        "nothing failed: it is slow"
    );
    source.file(&mut rig, 1).unwrap();
    assert_eq!(rig.rows("door").len(), 2);
    assert_agrees(&rig, "written again");
}

#[test]
fn rows_say_their_age() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    let row = &rig.rows("door")[0];
    assert!(!row.is_age_sure, "the clock is watched for ten minutes first");
    assert_eq!(row.age_end_90k, unix_90k(rig.clock.wall()));
    for _ in 0..130 {
        rig.pass(Duration::from_secs(5));
    }
    assert!(rig.rows("door")[0].is_age_sure);
    source.file(&mut rig, 2).unwrap();
    assert!(rig.rows("door")[1].is_age_sure);
    // It is kept, at most a minute behind.
    let kept_90k = rig.reader().carried_90k().unwrap().unwrap();
    assert!(unix_90k(rig.clock.wall()) - kept_90k <= 70 * SECOND_90K);
}

#[test]
fn paths_of_rows_stay_within_the_root() {
    let mut row = {
        let mut rig = Rig::new();
        let mut source = Source::new(&rig, "door");
        source.file(&mut rig, 1).unwrap();
        rig.rows("door").remove(0)
    };
    assert!(path_of(&row).is_some());
    for wrong in ["", "/etc/passwd", "../a.mp4", "door/../../a.mp4"] {
        row.path = wrong.to_owned();
        assert!(path_of(&row).is_none(), "{wrong}");
    }
}

/// A stream whose format changes all the time begins files all the time.
#[test]
fn a_camera_begins_so_many_files_in_a_minute() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "a");
    let limit = super::super::files::MAX_FILES_A_MINUTE as usize;
    for _ in 0..limit {
        source.begin().unwrap();
        source.fragment().unwrap();
        source.end(None);
        rig.work();
    }
    source.begin().unwrap();
    rig.work();
    assert!(source.fragment().is_err());
    source.end(None);
    let mut other = Source::new(&rig, "b");
    other.file(&mut rig, 1).unwrap();
    rig.pass(Duration::from_secs(59));
    source.at_90k = None;
    source.file(&mut rig, 1).unwrap();
    assert_eq!(rig.rows("a").len(), limit + 1);
}

/// Who does not listen is told how much was missed, and what is kept for him does not grow.
#[test]
fn notices_have_a_limit() {
    let mut rig = Rig::new();
    for _ in 0..MAX_NOTICES + 7 {
        rig.shared.notice(Notice::Recovered {
            whole: 1,
            damaged: 0,
            removed: 0,
        });
    }
    let missed = rig.notices.try_recv().unwrap_err();
    assert!(
        matches!(missed, broadcast::error::TryRecvError::Lagged(7)),
        "{missed:?}"
    );
    assert_eq!(rig.notices().len(), MAX_NOTICES);
}

/// The index knows nothing of what was begun since it was written.
#[test]
fn no_run_has_the_number_of_one_that_a_kill_ended() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        let mut source = Source::new(&rig, "door");
        source.begin().unwrap();
        source.fragment().unwrap();
        rig.work();
        drop(source);
        rig = rig.restart(false);
        rig.work();
        rig.clock.advance(Duration::from_secs(5));
    }
    let rows = rig.rows("door");
    let runs: BTreeSet<u64> = rows.iter().map(|row| row.run).collect();
    assert_eq!((rows.len(), runs.len()), (4, 4), "{rows:#?}");
}

/// Each index that is made anew finds the files of all before it.
#[test]
fn no_run_has_the_number_of_one_of_an_index_that_was_lost() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        let mut source = Source::new(&rig, "door");
        source.file(&mut rig, 1).unwrap();
        drop(source);
        rig = rig.without_index();
        rig.work();
        rig.clock.advance(Duration::from_secs(5));
    }
    let rows = rig.rows("door");
    let runs: BTreeSet<u64> = rows.iter().map(|row| row.run).collect();
    assert_eq!((rows.len(), runs.len()), (4, 4), "{rows:#?}");
    assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id), "{rows:#?}");
}
