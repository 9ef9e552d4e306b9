//! A machine that has no date when it starts to record.

use super::super::super::index::{SegmentId, put_aside};
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A machine that says it is 1970, and what it is off by.
fn without_date() -> (SimClock, i64) {
    let clock = SimClock::at(WallTime::from_unix_micros(3_600_000_000));
    (clock, unix_90k(WallTime::from_unix_micros(1_795_374_900_000_000)))
}

/// The camera ends its run at the next keyframe, as it does where its clock is set.
fn get_date(rig: &mut Rig, source: &mut Source, by_90k: i64) {
    rig.clock.step_wall(by_90k / 9 * 100);
    source.end(Some(Ended::Clock));
    rig.pass(Duration::from_secs(5));
}

#[test]
fn what_was_recorded_without_a_date_is_moved_when_the_machine_gets_one() {
    let (clock, by_90k) = without_date();
    let mut rig = Rig::on(Memory::default(), tempfile::tempdir().unwrap(), clock);
    let (mut door, mut yard) = (Source::new(&rig, "door"), Source::new(&rig, "yard"));
    door.file(&mut rig, 2).unwrap();
    // A run that has ended before, and one that goes on over the change.
    yard.file(&mut rig, 2).unwrap();
    yard.begin().unwrap();
    yard.end(Some(Ended::Stopped));
    rig.work();
    door.begin().unwrap();
    door.fragment().unwrap();
    rig.pass(Duration::from_secs(1));
    let before: Vec<i64> = ["door", "yard"]
        .iter()
        .flat_map(|name| rig.rows(name))
        .map(|row| row.start_90k)
        .collect();
    rig.clock.step_wall(by_90k / 9 * 100);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.rows("yard")[0].start_90k, before[1] + by_90k, "it was over");
    assert_eq!(rig.rows("door")[0].start_90k, before[0], "it is being written");
    door.end(Some(Ended::Clock));
    door.file(&mut rig, 2).unwrap();
    rig.pass(Duration::from_secs(5));
    let after: Vec<i64> = rig.rows("door").iter().map(|row| row.start_90k).collect();
    assert_eq!(after[0], before[0] + by_90k);
    assert_eq!(after[1], after[0] + 2 * SECOND_90K, "as it was recorded");
    assert!(after[2] > after[1]);
    assert_eq!(rig.rows("yard").len(), 1);
    // Once, and nothing that has a date.
    rig.pass(HOUR);
    assert_eq!(
        rig.rows("door").iter().map(|row| row.start_90k).collect::<Vec<_>>(),
        after
    );
    assert_agrees(&rig, "moved");
}

/// Its files lie in folders of 1970, and their heads say so: no row is lost or made twice by looking there.
#[test]
fn a_run_that_was_moved_is_not_found_once_more() {
    for knows in [true, false] {
        let (clock, by_90k) = without_date();
        let mut rig = Rig::on(Memory::default(), tempfile::tempdir().unwrap(), clock);
        let mut source = Source::new(&rig, "door");
        for _ in 0..3 {
            source.file(&mut rig, 2).unwrap();
        }
        source.begin().unwrap();
        source.fragment().unwrap();
        rig.work();
        get_date(&mut rig, &mut source, by_90k);
        let rows = rig.rows("door");
        assert_eq!(rows.len(), 4);
        // What the index was not told before the kill is found at its new time as well.
        source.file(&mut rig, 2).unwrap();
        let mut rig = rig.restart(knows);
        rig.work();
        assert_eq!(rig.rows("door").len(), 5, "{knows}");
        let places = |rows: &[Segment]| {
            rows.iter()
                .map(|row| (row.id, row.path.clone(), row.start_90k))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&rig.rows("door"))[..4], places(&rows)[..], "{knows}");
        // All is looked through, as where a disk was written elsewhere.
        rig.index
            .write(Change::Adopting {
                storage: [7; 16],
                first: Some(SegmentId(1 << 40)),
            })
            .unwrap();
        let mut rig = rig.restart(true);
        rig.work();
        assert_eq!(rig.rows("door").len(), 5, "{knows}");
        assert_agrees(&rig, "looked through");
    }
}

/// The index is lost, and what is put aside can be read: files are found where they were moved to.
#[test]
fn that_a_run_was_moved_is_taken_over_from_an_index_that_is_put_aside() {
    let (clock, by_90k) = without_date();
    let mut rig = Rig::on(Memory::default(), tempfile::tempdir().unwrap(), clock);
    let mut source = Source::new(&rig, "door");
    source.file(&mut rig, 2).unwrap();
    source.begin().unwrap();
    source.fragment().unwrap();
    rig.work();
    get_date(&mut rig, &mut source, by_90k);
    let times = |rig: &Rig| rig.rows("door").iter().map(|row| row.start_90k).collect::<Vec<_>>();
    let before = times(&rig);
    assert_eq!(before.len(), 2);
    drop(source);
    let Rig {
        memory,
        clock,
        disk,
        index,
        folder,
        ..
    } = rig;
    drop((disk, index));
    put_aside(&folder.path().join("index.db")).unwrap();
    memory.next_process();
    let mut rig = Rig::on(memory, folder, clock);
    rig.work();
    assert_eq!(times(&rig), before);
}
