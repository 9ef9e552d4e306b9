//! Kills, power cuts and failures at each operation.

use super::super::super::segment::memory::{Fault, PowerCut};
use super::*;

const FILES: usize = 2;
/// A sync is among them.
const FRAGMENTS: usize = 6;

/// Two cameras that record some files each.
fn record(rig: &mut Rig) {
    record_with(rig, |_| {});
}

fn record_with(rig: &mut Rig, mut each_second: impl FnMut(&Rig)) {
    let mut sources = [Source::new(rig, "a"), Source::new(rig, "b")];
    for _ in 0..FILES {
        let mut begun = Vec::new();
        for source in &mut sources {
            begun.push(source.begin().is_ok());
        }
        rig.work();
        for _ in 0..FRAGMENTS {
            rig.pass(Duration::from_secs(1));
            each_second(rig);
            if rig.memory.is_dead() {
                return;
            }
            for (source, is_taken) in sources.iter_mut().zip(&mut begun) {
                *is_taken = *is_taken && source.fragment().is_ok();
            }
            rig.work();
        }
        for (source, is_taken) in sources.iter_mut().zip(begun) {
            source.end((!is_taken).then_some(Ended::DiskFailed));
        }
        rig.work();
    }
}

fn rig(memory: Memory) -> Rig {
    Rig::on(memory, tempfile::tempdir().unwrap(), SimClock::new())
}

fn operations() -> u64 {
    let mut rig = rig(Memory::default());
    record(&mut rig);
    assert_agrees(&rig, "nothing failed");
    assert_eq!((rig.rows("a").len(), rig.rows("b").len()), (FILES, FILES));
    rig.memory.operations()
}

fn fragments(rig: &Rig) -> u64 {
    let rows = ["a", "b"].iter().flat_map(|name| rig.rows(name));
    let seconds: i64 = rows.map(|row| row.duration_90k / SECOND_90K).sum();
    seconds as u64
}

/// Killed at any operation: after the next start rows and files are of one mind, and all that was written is there. The index knows what it knew when its
/// transaction was last written, which may be nothing.
#[test]
fn it_is_killed_at_any_operation() {
    for at in 0..operations() {
        let flushed_at = (at % 2 == 0).then_some(9);
        let what = format!("killed at {at}, the index was written at {flushed_at:?}");
        let (rig, written) = recorded(Memory::failing(at, Fault::Death), flushed_at);
        let mut rig = rig.restart(false);
        rig.work();
        assert_agrees(&rig, &what);
        let found = fragments(&rig);
        assert!(found >= written && found <= written + 1, "{what}: {found} of {written}");
        // And it goes on.
        Source::new(&rig, "c").file(&mut rig, 2).unwrap();
        assert_agrees(&rig, &what);
    }
}

/// Likewise by a power cut: what was said to be durable is there.
#[test]
fn the_power_goes_at_any_operation() {
    let kinds = [PowerCut::Nothing, PowerCut::Zeros, PowerCut::Most];
    for (at, kind) in (0..=operations()).zip(kinds.into_iter().cycle()) {
        let what = format!("{kind:?} left at {at}");
        let (rig, written) = recorded(Memory::failing(at, Fault::Death), Some(9));
        // Two cameras, five seconds each, and a fragment that comes as it is looked.
        let durable = written.saturating_sub(2 * 6);
        rig.memory.power_cut(kind);
        let mut rig = rig.restart(false);
        rig.work();
        // What the index knows may be gone: then nothing is lost but a row without a file, which whoever plays it finds. Files are all in it.
        let reader = rig.reader();
        let told: Vec<String> = ["a", "b"]
            .iter()
            .flat_map(|name| rows(&reader, name))
            .map(|row| row.path)
            .collect();
        for (path, _) in files(&rig.memory) {
            assert!(told.contains(&path), "{what}: {path} is unknown");
        }
        assert!(reader.open_segments(None).unwrap().items.is_empty(), "{what}");
        let found = fragments(&rig);
        assert!(found >= durable, "{what}: {found} of {written}");
    }
}

/// The disk fails at any operation, once or from there on, and the process goes on.
#[test]
fn the_disk_fails_at_any_operation() {
    for at in 0..operations() {
        // What fails for ever does so wherever it begins.
        let faults = [Fault::Error, Fault::ErrorsFromHere];
        for fault in faults.into_iter().take(1 + usize::from(at % 4 == 0)) {
            let what = format!("{fault:?} at {at}");
            let (mut rig, _) = recorded(Memory::failing(at, fault), None);
            if fault == Fault::Error {
                // Whatever it was, it records again.
                for _ in 0..4 {
                    rig.pass(Duration::from_secs(10));
                }
                Source::new(&rig, "c").file(&mut rig, 2).unwrap();
                assert_eq!(rig.rows("c").len(), 1, "{what}");
                assert_eq!(rig.state(), State::Recording, "{what}");
            }
            let known = fragments(&rig);
            // What could not be removed or cut is seen to at the next start.
            let mut rig = rig.restart(true);
            rig.work();
            if fault == Fault::Error {
                assert_agrees(&rig, &what);
            }
            assert!(fragments(&rig) >= known, "{what}");
            for row in ["a", "b"].iter().flat_map(|name| rig.rows(name)) {
                // What could not be cut off is there still.
                let bytes = rig.memory.files()[Path::new(&row.path)].len() as u64;
                assert!(bytes >= row.bytes, "{what}: {row:?}");
            }
        }
    }
}

/// Records, and says how many fragments were written before the fault. The index is written at this second.
fn recorded(memory: Memory, flushed_at: Option<u32>) -> (Rig, u64) {
    let mut rig = rig(memory);
    let mut seconds = 0;
    record_with(&mut rig, |rig| {
        seconds += 1;
        // A process that is dead writes nothing.
        if Some(seconds) == flushed_at && !rig.memory.is_dead() {
            rig.index.flush().unwrap();
        }
    });
    let written = rig.shared.told().1.fragments;
    (rig, written)
}
