//! What others made garbage: people who delete.

use super::super::super::segment::memory::Fault;
use super::*;

/// As [`super::super::super::recorder::Recorder::discard`].
fn discard(rig: &Rig, rows: &[Segment]) {
    let ids = rows.iter().map(|row| row.id).collect();
    rig.index.flush().unwrap();
    assert_eq!(rig.index.discard(ids).unwrap().len(), rows.len());
    rig.queue.tell_garbage();
}

fn garbage(rig: &Rig) -> usize {
    rig.reader().garbage(None).unwrap().items.len()
}

fn recorded(rig: &mut Rig, name: &str, count: usize) -> Vec<Segment> {
    let mut source = Source::new(rig, name);
    for _ in 0..count {
        source.file(rig, 1).unwrap();
    }
    // Its last row says then that it ended.
    drop(source);
    rig.work();
    rig.rows(name)
}

#[test]
fn it_is_removed_at_once_and_a_folder_is_synchronised_once() {
    let mut rig = Rig::new();
    let rows = recorded(&mut rig, "a", 20);
    recorded(&mut rig, "b", 1);
    discard(&rig, &rows[..19]);
    let before = rig.memory.operations();
    rig.work();
    let operations = rig.memory.operations() - before;
    // Each with the strip beside it, of which there is none here.
    assert!((38..50).contains(&operations), "{operations}");
    assert_eq!(rig.rows("a"), rows[19..]);
    assert_agrees(&rig, "after");
    // Its folder goes with the last of them.
    discard(&rig, &rows[19..]);
    rig.work();
    assert_agrees(&rig, "at the end");
    use super::super::super::storage::Storage as _;
    assert!(rig.memory.folders(Path::new("a")).unwrap().is_empty());
    assert_eq!(rig.rows("b").len(), 1);
}

/// A file is not removed because it is not found where another disk lies, or none.
#[test]
fn it_waits_for_its_disk() {
    let mut rig = Rig::new();
    let rows = recorded(&mut rig, "a", 3);
    // Nobody has noticed yet.
    rig.memory.set_away(true);
    discard(&rig, &rows[..2]);
    rig.work();
    assert!(matches!(rig.state(), State::Away { .. }), "{:?}", rig.state());
    discard(&rig, &rows[2..]);
    rig.pass(Duration::from_secs(60));
    assert_eq!((garbage(&rig), files(&rig.memory).len()), (3, 3));
    rig.memory.set_away(false);
    rig.pass(Duration::from_secs(10));
    assert_eq!((garbage(&rig), files(&rig.memory).len()), (0, 0));
    assert_agrees(&rig, "back");
}

#[test]
fn what_lies_on_another_disk_stays_there() {
    let mut rig = Rig::new();
    let rows = recorded(&mut rig, "a", 2);
    let other = Memory::default();
    rig.memory.set_away(true);
    rig.disk.place.memory = other.clone();
    rig.disk.place.uuid = [8; 16];
    rig.pass(Duration::from_secs(5));
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.state(), State::Recording);
    let both = recorded(&mut rig, "a", 1);
    let here: Vec<Segment> = both.into_iter().filter(|row| row.storage == [8; 16]).collect();
    assert_eq!((here.len(), files(&other).len()), (1, 1));
    discard(&rig, &[rows[0].clone(), here[0].clone()]);
    rig.work();
    assert_eq!(
        (garbage(&rig), files(&rig.memory).len(), files(&other).len()),
        (1, 2, 0)
    );
}

/// What is deleted while a start still looks for files that the index does not know is none of them.
#[test]
fn it_is_not_found_again() {
    let mut rig = Rig::new();
    recorded(&mut rig, "a", 2);
    recorded(&mut rig, "b", 2);
    let mut rig = rig.restart(true);
    let rows = rig.rows("b");
    let ids = rows.iter().map(|row| row.id).collect();
    assert_eq!(rig.index.discard(ids).unwrap().len(), 2);
    // It is looked through before it is told.
    rig.work();
    assert_eq!((rig.rows("a").len(), rig.rows("b").len(), garbage(&rig)), (2, 0, 2));
    rig.queue.tell_garbage();
    rig.work();
    assert_agrees(&rig, "after");
}

#[test]
fn what_cannot_be_removed_is_tried_with_the_next() {
    let mut rig = Rig::new();
    let rows = recorded(&mut rig, "a", 2);
    // The disk is looked for; then the file is removed.
    rig.memory.fail_in(1, Fault::Error);
    discard(&rig, &rows[..1]);
    rig.work();
    assert_eq!((garbage(&rig), files(&rig.memory).len()), (1, 2));
    assert_eq!(rig.shared.told().1.failures, 1);
    discard(&rig, &rows[1..]);
    rig.work();
    assert_agrees(&rig, "after");
    assert!(files(&rig.memory).is_empty());
}

/// A process that ends in the midst of it.
#[test]
fn a_start_goes_on_with_it() {
    let mut rig = Rig::new();
    let rows = recorded(&mut rig, "a", 3);
    discard(&rig, &rows[1..]);
    let mut rig = rig.restart(true);
    rig.work();
    assert_eq!(rig.rows("a"), rows[..1]);
    assert_agrees(&rig, "after");
}
