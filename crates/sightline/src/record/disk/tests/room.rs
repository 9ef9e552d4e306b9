//! What is deleted, and when it pauses.

use super::super::super::index::Protected;
use super::super::super::recorder::{Free, KeepOne};
use super::super::super::report::DELETED;
use super::super::super::retention::{MAX_DELETED, Why};
use super::super::super::segment::memory::Fault;
use super::*;

fn deleted(rig: &Rig, why: Why) -> u64 {
    let at = DELETED.iter().position(|known| *known == why).unwrap();
    rig.shared.told().1.deleted[at]
}

fn protect(rig: &Rig, name: &str) -> super::super::super::index::ProtectedId {
    let protected = Protected {
        camera: camera(name),
        range_90k: 0..MAX_TIME_90K,
        why: "a test".to_owned(),
    };
    rig.index.protect(protected).unwrap()
}

/// Records until it pauses: how many files there are then, and why it does.
fn fill(rig: &mut Rig, source: &mut Source) -> (usize, String) {
    let mut taken = 0;
    while source.file(rig, 1).is_ok() {
        taken += 1;
        assert!(taken < 20);
    }
    let State::Paused { why } = rig.state() else {
        panic!("{:?}", rig.state())
    };
    (taken, why)
}

/// Some files of a camera, whose length is known.
fn some(rig: &mut Rig, name: &str, count: usize) -> u64 {
    let mut source = Source::new(rig, name);
    for _ in 0..count {
        source.file(rig, 1).unwrap();
    }
    rig.rows(name)[0].bytes
}

#[test]
fn the_oldest_go_where_a_camera_has_too_much() {
    let mut rig = Rig::new();
    let bytes = some(&mut rig, "a", 9);
    some(&mut rig, "b", 9);
    let one = KeepOne {
        quota_bytes: Some(4 * bytes),
        ..KeepOne::default()
    };
    rig.shared.set_keep(Keep {
        cameras: [(camera("a"), one)].into(),
        ..Keep::default()
    });
    let before = rig.rows("a");
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.rows("a"), before[5..]);
    assert_eq!((rig.rows("b").len(), deleted(&rig, Why::CameraQuota)), (9, 5));
    assert_agrees(&rig, "after");
    let told = Notice::Deleted {
        why: Why::CameraQuota,
        files: 5,
        bytes: 5 * bytes,
    };
    assert!(rig.notices().contains(&told));
    // All together, by what is recorded first.
    rig.shared.set_keep(Keep {
        quota_total_bytes: Some(10 * bytes),
        ..Keep::default()
    });
    rig.pass(Duration::from_secs(5));
    assert_eq!(
        (rig.rows("a").len(), rig.rows("b").len(), deleted(&rig, Why::Quota)),
        (1, 9, 3)
    );
    assert_agrees(&rig, "after");
}

#[test]
fn what_is_too_old_goes_and_its_folder_with_it() {
    let mut rig = Rig::new();
    some(&mut rig, "a", 3);
    rig.pass(Duration::from_secs(86_400));
    some(&mut rig, "a", 2);
    rig.shared.set_keep(Keep {
        others: KeepOne {
            keep: Some(Duration::from_secs(3_600)),
            ..KeepOne::default()
        },
        ..Keep::default()
    });
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.rows("a").len(), deleted(&rig, Why::Age)), (2, 3));
    assert_agrees(&rig, "after");
    use super::super::super::storage::Storage as _;
    assert_eq!(rig.memory.folders(Path::new("a")).unwrap(), [Path::new("a/2025-10-07")]);
}

/// The limit of a look.
#[test]
fn at_most_five_hundred_go_at_a_look() {
    let mut rig = Rig::new();
    let bytes = some(&mut rig, "a", MAX_DELETED + 50);
    rig.shared.set_keep(Keep {
        quota_total_bytes: Some(bytes),
        ..Keep::default()
    });
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.rows("a").len(), 50);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.rows("a").len(), 1);
    assert_agrees(&rig, "after");
}

/// Recording goes on by deleting the oldest, before the disk is full.
#[test]
fn room_is_made_before_a_file() {
    let mut rig = Rig::new();
    rig.memory.set_total_bytes(100_000);
    let mut source = Source::new(&rig, "a");
    for _ in 0..200 {
        source.file(&mut rig, 1).unwrap();
    }
    assert_eq!(rig.state(), State::Recording);
    let there = rig.rows("a");
    assert!(there.len() > 10 && there.len() < 20, "{}", there.len());
    assert_eq!(there.len() as u64 + deleted(&rig, Why::Room), 200);
    assert_eq!(rig.shared.told().1.left_out, [0; 5]);
    assert_agrees(&rig, "after");
}

/// The floor is nothing, so the disk says that it is full: the oldest goes, and the camera goes on a second later.
#[test]
fn a_disk_that_is_full_is_emptied_at_once() {
    let mut rig = Rig::new();
    rig.memory.set_total_bytes(60_000);
    rig.shared.set_keep(Keep {
        free: Free::Bytes(8_000),
        ..Keep::default()
    });
    let mut source = Source::new(&rig, "a");
    source.bytes = 5_000;
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(source.file(&mut rig, 6).is_err());
        rig.pass(Duration::from_secs(2));
    }
    assert!(failed > 0, "it was never full");
    assert!(!rig.rows("a").is_empty() && deleted(&rig, Why::Room) > 5);
    assert!(rig.rows("a").iter().all(|row| row.ended != Some(Ended::DiskFailed)));
    assert_agrees(&rig, "after");
}

#[test]
fn what_is_protected_fills_a_disk_and_recording_pauses() {
    let mut rig = Rig::new();
    rig.memory.set_total_bytes(50_000);
    let protected = protect(&rig, "a");
    let mut source = Source::new(&rig, "a");
    let (taken, why) = fill(&mut rig, &mut source);
    assert!(why.contains("protected"), "{why}");
    assert_eq!(rig.rows("a").len(), taken, "nothing is deleted");
    assert!(source.file(&mut rig, 1).is_err());
    rig.pass(Duration::from_secs(60));
    assert!(matches!(rig.state(), State::Paused { .. }));
    assert!(rig.index.release(protected).unwrap());
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.state(), State::Recording);
    rig.pass(Duration::from_secs(1));
    source.file(&mut rig, 1).unwrap();
    assert!(deleted(&rig, Why::Room) > 0);
    assert_agrees(&rig, "after");
    let ended = Notice::Ended {
        camera: camera("a"),
        why: Ended::DiskFull,
    };
    assert!(rig.notices().contains(&ended));
}

/// One camera has too much that is protected: others are recorded.
#[test]
fn a_camera_over_its_quota_stops_alone() {
    let mut rig = Rig::new();
    some(&mut rig, "a", 3);
    protect(&rig, "a");
    rig.shared.set_keep(Keep {
        cameras: [(
            camera("a"),
            KeepOne {
                quota_bytes: Some(1),
                ..KeepOne::default()
            },
        )]
        .into(),
        ..Keep::default()
    });
    let (mut a, mut b) = (Source::new(&rig, "a"), Source::new(&rig, "b"));
    rig.pass(Duration::from_secs(5));
    assert!(a.file(&mut rig, 1).is_err());
    b.file(&mut rig, 1).unwrap();
    assert_eq!((rig.rows("a").len(), rig.rows("b").len()), (3, 1));
    assert_eq!(rig.state(), State::Recording);
}

/// Deleting is killed, and fails, at any operation: no row without a file is left, no file without a row, and what goes goes.
#[test]
fn deleting_is_killed_at_any_operation() {
    for at in 0..14 {
        for fault in [Fault::Death, Fault::Error] {
            let what = format!("{fault:?} at {at}");
            let mut rig = Rig::new();
            let bytes = some(&mut rig, "a", 4);
            rig.index.flush().unwrap();
            rig.shared.set_keep(Keep {
                quota_total_bytes: Some(2 * bytes),
                ..Keep::default()
            });
            rig.memory.fail_in(at, fault);
            rig.pass(Duration::from_secs(5));
            let mut rig = rig.restart(false);
            // For quotas nothing goes until all is found.
            rig.work();
            rig.shared.set_keep(Keep {
                quota_total_bytes: Some(2 * bytes),
                ..Keep::default()
            });
            rig.pass(Duration::from_secs(5));
            assert_eq!(rig.rows("a").len(), 2, "{what}");
            assert_agrees(&rig, &what);
        }
    }
}

/// A camera whose disk fails tries again after 1 s, 2 s, 4 s … 30 s, and after one file that goes well from 1 s on.
#[test]
fn failures_are_not_repeated_at_once() {
    let mut rig = Rig::new();
    let mut source = Source::new(&rig, "a");
    let fail = |rig: &mut Rig, source: &mut Source| {
        // The disk is looked for and has room; then it fails.
        rig.memory.fail_in(2, Fault::ErrorsFromHere);
        source.begin().unwrap();
        while let Popped::Job(job) = rig.queue.pop(Duration::ZERO) {
            rig.disk.job(job);
        }
        rig.memory.next_process();
        assert!(source.fragment().is_err());
        source.end(Some(Ended::DiskFailed));
        rig.work();
        let mut waited = 0;
        while source.begin().is_err() {
            waited += 1;
            rig.pass(Duration::from_secs(1));
        }
        source.end(None);
        source.at_90k = None;
        // It was taken, and is forgotten again before it is made.
        while let Popped::Job(_) = rig.queue.pop(Duration::ZERO) {}
        waited
    };
    let pauses: Vec<u32> = (0..7).map(|_| fail(&mut rig, &mut source)).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    source.file(&mut rig, 1).unwrap();
    assert_eq!(fail(&mut rig, &mut source), 1);
}

/// What was protected is not known any more: nothing goes, whatever the limits say, and recording pauses before the disk is full.
#[test]
fn nothing_is_deleted_until_a_person_has_looked() {
    let mut rig = Rig::new();
    rig.shared.set_keeps_all(true);
    rig.memory.set_total_bytes(50_000);
    rig.shared.set_keep(Keep {
        quota_total_bytes: Some(1),
        ..Keep::default()
    });
    let mut source = Source::new(&rig, "a");
    let (taken, why) = fill(&mut rig, &mut source);
    assert!(why.contains("confirm"), "{why}");
    assert_eq!(rig.rows("a").len(), taken);
    rig.shared.set_keeps_all(false);
    rig.pass(Duration::from_secs(10));
    assert_eq!((rig.state(), rig.rows("a").len()), (State::Recording, 0));
}

/// What is found after the index was lost is older than what was begun since, and goes first; and nothing goes for a quota until all is found.
#[test]
fn what_is_found_goes_before_what_was_begun_since() {
    let mut rig = Rig::new();
    let bytes = some(&mut rig, "a", 5);
    rig.pass(Duration::from_secs(86_400));
    let mut rig = rig.without_index();
    rig.shared.set_keep(Keep {
        quota_total_bytes: Some(3 * bytes),
        ..Keep::default()
    });
    rig.record_beside("b");
    (0..4).for_each(|_| rig.disk.tick());
    assert!(rig.rows("a").len() > 3);
    rig.clock.advance(Duration::from_secs(5));
    rig.disk.tick();
    assert!(rig.disk.has_more());
    assert_eq!(deleted(&rig, Why::Quota), 0);
    rig.work();
    assert_eq!((rig.rows("a").len(), rig.rows("b").len()), (5, 1));
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.rows("a").len(), rig.rows("b").len()), (2, 1));
    assert_eq!(deleted(&rig, Why::Quota), 3);
    assert_agrees(&rig, "after");
}

/// A disk that turned read-only keeps what it has, and the index knows it: no look marks more than the first.
#[test]
fn a_disk_that_cannot_be_changed_keeps_its_rows() {
    for lacking in [3, 20] {
        let mut rig = Rig::new();
        let bytes = some(&mut rig, "a", 60);
        rig.memory.set_total_bytes(120 * bytes);
        rig.shared.set_keep(Keep {
            free: Free::Bytes((60 + lacking) * bytes),
            ..Keep::default()
        });
        rig.memory.set_read_only(true);
        for look in 0..10 {
            rig.pass(Duration::from_secs(5));
            assert_eq!(rig.rows("a").len() as u64, 60 - lacking, "{look}");
        }
        assert_ne!(rig.state(), State::Recording);
        // Somebody mends it, and does not start the program again.
        rig.memory.set_read_only(false);
        rig.pass(Duration::from_secs(10));
        rig.pass(Duration::from_secs(10));
        assert_eq!(rig.rows("a").len() as u64, 60 - lacking);
        assert_agrees(&rig, "mended");
        Source::new(&rig, "b").file(&mut rig, 1).unwrap();
        rig.pass(Duration::from_secs(5));
        assert_eq!(rig.state(), State::Recording);
        assert_agrees(&rig, "after");
    }
}

/// It gets older meanwhile, and does not go.
#[test]
fn what_cannot_be_removed_is_not_marked_for_its_age() {
    let mut rig = Rig::new();
    some(&mut rig, "a", 40);
    rig.shared.set_keep(Keep {
        others: KeepOne {
            keep: Some(Duration::from_secs(25)),
            ..KeepOne::default()
        },
        ..Keep::default()
    });
    rig.memory.set_read_only(true);
    rig.pass(Duration::from_secs(5));
    let left = rig.rows("a").len();
    assert!(left > 10 && left < 32, "{left}");
    for _ in 0..10 {
        rig.pass(Duration::from_secs(5));
    }
    assert_eq!(rig.rows("a").len(), left);
    rig.memory.set_read_only(false);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.rows("a").len(), 0);
    assert_agrees(&rig, "mended");
}

/// What cannot be deleted is not counted where something else could be.
#[test]
fn what_lies_on_a_disk_that_is_away_takes_nothing_of_another() {
    let mut rig = Rig::new();
    let bytes = some(&mut rig, "a", 5);
    rig.memory.set_away(true);
    rig.disk.place.memory = super::super::super::segment::memory::Memory::default();
    rig.disk.place.uuid = [8; 16];
    rig.shared.set_keep(Keep {
        others: KeepOne {
            quota_bytes: Some(3 * bytes),
            ..KeepOne::default()
        },
        quota_total_bytes: Some(3 * bytes),
        ..Keep::default()
    });
    rig.pass(Duration::from_secs(5));
    rig.pass(Duration::from_secs(10));
    some(&mut rig, "a", 4);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.rows("a").len(), 5 + 3);
    assert_eq!((deleted(&rig, Why::CameraQuota), deleted(&rig, Why::Quota)), (1, 0));
}
