use std::collections::BTreeMap;
use std::str::FromStr as _;

use media::recording::{ROOM_BYTES, SEAL_BYTES};
use media::{StreamName, WallTime};

use super::super::storage::{Place as _, Root, System};
use super::memory::{Fault, Memory, PowerCut};
use media::recording::{Scanner, Search};

use super::recover::READ_BYTES;
use super::*;

/// `ftyp` and a `moov` that has nothing in it.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x0cmoov1234";
const FRAGMENTS: u32 = 7;

fn head(number: u32) -> Head {
    Head {
        storage: [9; 16],
        camera: StreamName::from_str("door").unwrap(),
        run: 3,
        number,
        start: WallTime::from_unix_micros(1_763_719_485_000_000),
    }
}

fn path(number: u32) -> PathBuf {
    PathBuf::from(format!("door/2025-11-21/segment_20251121_1004{number:02}.mp4"))
}

fn fragment(segment: u32, number: u32) -> Vec<u8> {
    let content = vec![(16 * segment + number) as u8; 40 + 7 * number as usize];
    [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat()
}

fn told(number: u32) -> Told {
    Told {
        end_90k: 90_000 * i64::from(number + 1),
        wall: WallTime::from_unix_micros(1_763_719_486_000_000),
    }
}

/// What a file of so many fragments holds.
fn expected(segment: u32, fragments: u32) -> Vec<u8> {
    let mut bytes = head(segment).write(INIT).unwrap().to_vec();
    let mut sealer = Sealer::new();
    for number in 0..fragments {
        let fragment = fragment(segment, number);
        bytes.extend_from_slice(&fragment);
        bytes.extend_from_slice(&sealer.seal(&fragment, &told(number)));
    }
    bytes
}

/// What a recorder was told of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    written: u32,
    durable: u32,
    /// Finished, with this.
    kept: Option<u32>,
}

/// Records three files, a sync after each third fragment; whatever fails, it goes on in the next.
fn record(memory: &Memory) -> BTreeMap<PathBuf, Heard> {
    record_files(memory, 0..3)
}

fn record_files(memory: &Memory, segments: std::ops::Range<u32>) -> BTreeMap<PathBuf, Heard> {
    let mut heard = BTreeMap::new();
    for segment in segments {
        let path = path(segment);
        let Ok(mut file) = Segment::create(memory, &path, &head(segment), INIT) else {
            continue;
        };
        let said: &mut Heard = heard.entry(path).or_default();
        for number in 0..FRAGMENTS {
            let appended = file.append(&fragment(segment, number), &told(number));
            said.written = file.written().fragments;
            let synchronised = appended.and_then(|()| if number % 3 == 2 { file.sync() } else { Ok(()) });
            said.durable = file.durable().fragments;
            if synchronised.is_err() {
                assert!(
                    file.append(&fragment(segment, number), &told(number)).is_err(),
                    "it was given up"
                );
                assert!(file.sync().is_err());
                break;
            }
        }
        let finished = file.finish(memory, None);
        let kept = finished.kept.map_or(0, |whole| whole.fragments);
        assert_eq!(kept + finished.lost_fragments, said.written);
        said.durable = kept;
        said.kept = Some(kept);
    }
    heard
}

/// What the program does with its folder at the start.
fn start(memory: &Memory) -> BTreeMap<PathBuf, Recovered> {
    memory.next_process();
    let folder = PathBuf::from("door/2025-11-21");
    sweep(memory, &folder).unwrap();
    let files = memory.list(&folder).unwrap();
    files
        .into_iter()
        .map(|path| {
            let recovered = recover(memory, &path).unwrap();
            (path, recovered)
        })
        .collect()
}

/// After recovery each file is a beginning of what was recorded, with its index saying so; there is no other file.
fn check(memory: &Memory, recovered: &BTreeMap<PathBuf, Recovered>, what: &str) -> BTreeMap<PathBuf, u32> {
    let mut fragments = BTreeMap::new();
    let files = memory.files();
    for (path, recovered) in recovered {
        match recovered {
            Recovered::Whole { head: found, whole, .. } => {
                let segment = found.number;
                assert_eq!((found, path), (&head(segment), &self::path(segment)), "{what}");
                assert!(
                    files[path] == expected(segment, whole.fragments),
                    "{what}: other bytes in {}",
                    path.display()
                );
                fragments.insert(path.clone(), whole.fragments);
            }
            Recovered::Removed => assert!(!files.contains_key(path), "{what}"),
            other => panic!("{what}: {} is {other:?}", path.display()),
        }
    }
    assert!(files.keys().eq(fragments.keys()), "{what}: {:?}", files.keys());
    fragments
}

fn operations() -> u64 {
    let memory = Memory::default();
    let heard = record(&memory);
    assert!(heard.len() == 3 && heard.values().all(|said| said.kept == Some(FRAGMENTS)));
    memory.operations()
}

/// The disk fails at any operation, once or from there on. The process goes on: what it was told is kept is there; after a restart too.
#[test]
fn the_disk_fails_at_any_operation() {
    for at in 0..operations() {
        for fault in [Fault::Error, Fault::ErrorsFromHere] {
            let what = format!("{fault:?} at {at}");
            let memory = Memory::failing(at, fault);
            let heard = record(&memory);
            if fault == Fault::Error {
                let kept: u32 = heard.values().filter_map(|said| said.kept).sum();
                assert!(
                    kept >= 2 * FRAGMENTS,
                    "{what}: it costs one file at the most: {heard:?}"
                );
            }
            let found = check(&memory, &start(&memory), &what);
            for (path, said) in &heard {
                // What could not be cut may still be whole.
                let there = found.get(path).copied().unwrap_or(0);
                assert!(
                    there >= said.durable && there <= said.written,
                    "{what}: {there} {said:?}"
                );
                if fault == Fault::Error && said.kept.is_some_and(|kept| kept > 0) {
                    assert_eq!(Some(there), said.kept, "{what}");
                }
            }
        }
    }
}

/// Killed at any operation: all that was appended is there, and nothing that has no name.
#[test]
fn the_process_is_killed_at_any_operation() {
    for at in 0..operations() {
        let what = format!("killed at {at}");
        let memory = Memory::failing(at, Fault::Death);
        let heard = record(&memory);
        let found = check(&memory, &start(&memory), &what);
        for (path, said) in &heard {
            let there = found.get(path).copied().unwrap_or(0);
            assert!(
                there >= said.written && there <= said.written + 1,
                "{what}: {there} {said:?}"
            );
        }
        // Once more: it changes nothing.
        assert_eq!(check(&memory, &start(&memory), &what), found);
    }
}

/// The power goes at any operation, and at the end: all that was said to be durable is there.
#[test]
fn the_power_goes_at_any_operation() {
    for at in 0..=operations() {
        for kind in [PowerCut::Nothing, PowerCut::Zeros, PowerCut::Most] {
            let what = format!("{kind:?} left at {at}");
            let memory = Memory::failing(at, Fault::Death);
            let heard = record(&memory);
            memory.power_cut(kind);
            let found = check(&memory, &start(&memory), &what);
            for (path, said) in &heard {
                let there = found.get(path).copied().unwrap_or(0);
                assert!(
                    there >= said.durable && there <= said.written + 1,
                    "{what}: {there} {said:?}"
                );
            }
        }
    }
}

/// Something fails, or the process is killed and started again; it records on, and then the power goes. Nothing may have been left half durable.
#[test]
fn the_power_goes_after_any_fault() {
    for at in 0..operations() {
        for fault in [Fault::Error, Fault::Death] {
            for kind in [PowerCut::Nothing, PowerCut::Zeros, PowerCut::Most] {
                let what = format!("{fault:?} at {at}, then {kind:?} left");
                let memory = Memory::failing(at, fault);
                let mut heard = record(&memory);
                if fault == Fault::Death {
                    let recovered = check(&memory, &start(&memory), &what);
                    for (path, said) in &mut heard {
                        said.durable = recovered.get(path).copied().unwrap_or(0);
                    }
                }
                let later = record_files(&memory, 3..6);
                assert!(
                    later.values().all(|said| said.durable == FRAGMENTS),
                    "{what}: {later:?}"
                );
                heard.extend(later);
                memory.power_cut(kind);
                let found = check(&memory, &start(&memory), &what);
                for (path, said) in &heard {
                    let there = found.get(path).copied().unwrap_or(0);
                    assert!(
                        there >= said.durable && there <= said.written + 1,
                        "{what}: {there} {said:?} in {}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// The disk fails at any operation of recovery; called again with the same files, it gives what it would have given, durably.
#[test]
fn recovery_is_called_again() {
    for killed in 0..operations() {
        for at in 0..40 {
            let what = format!("killed at {killed}, recovery failed at {at}");
            let memory = Memory::failing(killed, Fault::Death);
            record(&memory);
            memory.next_process();
            let paths = memory.list(Path::new("door/2025-11-21")).unwrap();
            memory.fail_in(at, Fault::Error);
            let recover = |path: &PathBuf| recover(&memory, path).or_else(|_| recover(&memory, path));
            let found: BTreeMap<_, _> = paths
                .iter()
                .filter(|path| !path.to_string_lossy().ends_with(LEFTOVER))
                .map(|path| (path.clone(), recover(path).expect(&what)))
                .collect();
            let leftovers = sweep(&memory, Path::new("door/2025-11-21"));
            leftovers
                .or_else(|_| sweep(&memory, Path::new("door/2025-11-21")))
                .unwrap();
            check(&memory, &found, &what);
            memory.power_cut(PowerCut::Nothing);
            let files = memory.files();
            let is_removed = |path: &PathBuf| found[path] == Recovered::Removed;
            let mut removed = found.keys().filter(|path| is_removed(path));
            assert!(removed.all(|path| !files.contains_key(path)), "{what}: it came back");
        }
    }
}

#[test]
fn a_file_that_is_not_there() {
    let memory = Memory::default();
    record(&memory);
    for path in [
        "door/2025-11-21/gone.mp4",
        "door/2024-02-29/gone.mp4",
        "garden/gone/gone.mp4",
        "gone.mp4",
    ] {
        assert_eq!(recover(&memory, Path::new(path)).unwrap(), Recovered::Removed, "{path}");
    }
    let (_folder, system) = folder_for("gone");
    assert_eq!(recover(&system, &path(0)).unwrap(), Recovered::Removed);
}

/// Whichever byte of a finished file turns, the file stays as it is, and what is in front is known to be whole.
#[test]
fn a_byte_that_turns_takes_nothing_away() {
    let memory = Memory::default();
    record_files(&memory, 0..1);
    let (path, good) = (path(0), expected(0, FRAGMENTS));
    let media_at = expected(0, 0).len();
    let ends: Vec<usize> = (1..=FRAGMENTS).map(|fragments| expected(0, fragments).len()).collect();
    // What others may have in their heads is not summed up: some places of it will do.
    for at in (0..media_at).step_by(97).chain(media_at..good.len()) {
        for mask in [0x01, 0x80, 0xff] {
            let what = format!("byte {at} ^ {mask:#x}");
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            memory.damage(&path, &bytes);
            let in_front = ends.iter().filter(|end| **end <= at).count() as u32;
            for _ in 0..2 {
                match recover(&memory, &path).unwrap() {
                    Recovered::Damaged {
                        head: found,
                        whole,
                        behind_bytes,
                        ..
                    } => {
                        assert_eq!((found, whole.fragments), (head(0), in_front), "{what}");
                        assert_eq!(
                            media_at as u64 + whole.bytes + behind_bytes,
                            bytes.len() as u64,
                            "{what}"
                        );
                    }
                    Recovered::NotOurs | Recovered::Whole { cut_bytes: 0, .. } if at < media_at => {}
                    other => panic!("{what}: {other:?}"),
                }
                assert!(memory.files()[&path] == bytes, "{what}: it was changed");
            }
        }
    }
}

/// As above with sectors that are lost, and with the end torn off too: all that has a seal behind it stays.
#[test]
fn a_hole_takes_nothing_away() {
    let memory = Memory::default();
    record_files(&memory, 0..1);
    let (path, good) = (path(0), expected(0, FRAGMENTS));
    let (media_at, last) = (expected(0, 0).len(), expected(0, FRAGMENTS - 1).len() - SEAL_BYTES);
    for from in (media_at..last).step_by(7) {
        for length in [16, 100, 512] {
            for end in [good.len(), good.len() - 20] {
                let mut bytes = good[..end].to_vec();
                bytes[from..(from + length).min(last)].fill(0);
                if bytes == good[..end] {
                    continue;
                }
                memory.damage(&path, &bytes);
                let recovered = recover(&memory, &path).unwrap();
                assert!(
                    matches!(recovered, Recovered::Damaged { .. }),
                    "{length} from {from} of {end}: {recovered:?}"
                );
                assert!(memory.files()[&path] == bytes, "{length} from {from} of {end}: changed");
            }
        }
    }
}

/// Recovery itself is killed at any of its operations.
#[test]
fn recovery_is_killed_at_any_operation() {
    let killed = 31;
    let whole = || {
        let memory = Memory::failing(killed, Fault::Death);
        (record(&memory), memory)
    };
    let (heard, memory) = whole();
    let found = check(&memory, &start(&memory), "not disturbed");
    assert!(
        heard.values().any(|said| said.durable < said.written),
        "a file was torn: {heard:?}"
    );
    for at in 0..60 {
        let (_, memory) = whole();
        memory.next_process();
        memory.fail_in(at, Fault::Death);
        for segment in 0..3 {
            let _ = recover(&memory, &path(segment));
        }
        assert_eq!(
            check(&memory, &start(&memory), &format!("recovery killed at {at}")),
            found
        );
    }
}

#[test]
fn a_name_that_is_taken_is_left_alone() {
    let memory = Memory::default();
    record(&memory);
    let before = memory.files();
    let error = Segment::create(&memory, &path(1), &head(9), INIT).unwrap_err();
    assert_eq!(
        (error.step, error.error.kind()),
        (Step::Create, io::ErrorKind::AlreadyExists)
    );
    assert_eq!(memory.files(), before);
}

#[test]
fn fragments_have_a_size() {
    let memory = Memory::default();
    let mut file = Segment::create(&memory, &path(0), &head(0), INIT).unwrap();
    for bytes in [0, MAX_FRAGMENT_BYTES + 1] {
        assert!(file.append(&vec![0; bytes], &told(0)).is_err());
    }
    file.append(&fragment(0, 0), &told(0)).unwrap();
    assert_eq!(file.finish(&memory, None).kept.map(|whole| whole.fragments), Some(1));
}

fn folder_for(name: &str) -> (tempfile::TempDir, System) {
    let folder = tempfile::Builder::new().prefix(name).tempdir().unwrap();
    let (system, _) = Root(folder.path().to_owned()).look(Some([9; 16])).unwrap();
    (folder, system)
}

/// The same by a real file system: cut at each byte of the last two fragments, as a kill does.
#[test]
fn files_of_the_system_are_recovered() {
    let (folder, system) = folder_for("recovered");
    let mut file = Segment::create(&system, &path(0), &head(0), INIT).unwrap();
    for number in 0..3 {
        file.append(&fragment(0, number), &told(number)).unwrap();
    }
    assert_eq!(file.finish(&system, None).kept.map(|whole| whole.fragments), Some(3));
    let at = folder.path().join(path(0));
    let bytes = std::fs::read(&at).unwrap();
    assert!(bytes == expected(0, 3));
    let (one, two) = (expected(0, 1).len(), expected(0, 2).len());
    for length in one..=bytes.len() {
        std::fs::write(&at, &bytes[..length]).unwrap();
        let fragments = 1 + u32::from(length >= two) + u32::from(length >= bytes.len());
        match recover(&system, &path(0)).unwrap() {
            Recovered::Whole { whole, cut_bytes, .. } => {
                assert_eq!(whole.fragments, fragments);
                assert_eq!(std::fs::metadata(&at).unwrap().len() + cut_bytes, length as u64);
            }
            other => panic!("{other:?}"),
        }
    }
    // Without a whole fragment it does not stay, nor does what never got its name; what others put there does.
    std::fs::write(&at, &bytes[..one - SEAL_BYTES / 2]).unwrap();
    std::fs::write(at.with_file_name(".segment_20251121_100401.mp4.new"), &bytes[..9]).unwrap();
    std::fs::write(at.with_file_name("holiday.mp4"), b"\0\0\0\x10ftypisom").unwrap();
    let day = Path::new("door/2025-11-21");
    assert_eq!(recover(&system, &path(0)).unwrap(), Recovered::Removed);
    assert_eq!(sweep(&system, day).unwrap(), 1);
    assert_eq!(recover(&system, &day.join("holiday.mp4")).unwrap(), Recovered::NotOurs);
    assert_eq!(system.list(day).unwrap(), [day.join("holiday.mp4")]);
}

/// Twice the longest read, so that pieces of any size meet.
#[test]
fn a_large_file_of_the_system() {
    let (folder, system) = folder_for("large");
    let mut file = Segment::create(&system, &path(0), &head(0), INIT).unwrap();
    let content = vec![0x5a; READ_BYTES * 2 / 3];
    let large = [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat();
    (0..5).for_each(|number| file.append(&large, &told(number)).unwrap());
    file.sync().unwrap();
    let (written, bytes) = (*file.durable(), file.bytes());
    assert_eq!(std::fs::metadata(folder.path().join(path(0))).unwrap().len(), bytes);
    // Not finished: as if killed now.
    drop(file);
    let recovered = recover(&system, &path(0)).unwrap();
    let Recovered::Whole {
        head: found,
        head_bytes,
        whole,
        table,
        cut_bytes,
    } = recovered
    else {
        panic!("{recovered:?}");
    };
    assert_eq!((found, whole, cut_bytes), (head(0), written, 0));
    assert_eq!(head_bytes + whole.bytes, bytes);
    let rows: Vec<_> = table
        .unwrap()
        .iter()
        .map(|row| (row.bytes as usize, row.duration_90k))
        .collect();
    assert_eq!(rows, [(large.len(), 90_000); 5]);
}

/// The seeds of the fuzz target of recordings, made here so that they are what their names say. `RENEW=1` writes them.
#[test]
fn seeds_of_the_fuzzer() {
    let (good, media_at) = (expected(0, 3), expected(0, 0).len());
    let (one, two) = (expected(0, 1).len(), expected(0, 2).len());
    let torn = &good[..good.len() - 30];
    let mut damaged = good.clone();
    damaged[one + 20] ^= 1;
    // The target puts the room behind the head, or behind nothing.
    let head_bytes = media_at - ROOM_BYTES;
    // Length of the head, the file, where what is whole of it ends, and whether more was sealed.
    let seeds = [
        ("whole", head_bytes, &good[..], good.len(), false),
        ("torn", head_bytes, torn, two, false),
        ("damaged", head_bytes, &damaged, one, true),
        ("fragments", 0, &good, good.len(), false),
        ("fragments_damaged", 0, &damaged, one, true),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recording");
    for (name, head_bytes, file, whole_end, is_damaged) in seeds {
        assert_eq!(Head::read(file), Found::Whole(head(0), media_at));
        let mut scanner = Scanner::new();
        scanner.push(&file[media_at..]);
        assert_eq!(media_at as u64 + scanner.whole().bytes, whole_end as u64, "{name}");
        let mut search = Search::new(scanner.whole().fragments);
        assert_eq!(search.push(&file[whole_end..]), is_damaged, "{name}");
        // Size of the pieces, less one; length of the head; head; what is behind it.
        let length = (head_bytes as u16).to_be_bytes();
        let seed = [&[6], &length[..], &file[..head_bytes], &file[media_at..]].concat();
        assert!(seed.len() <= 1_024, "{name}: the fuzzer takes small ones whole");
        let at = folder.join(name);
        if std::env::var_os("RENEW").is_some() {
            std::fs::write(&at, &seed).unwrap();
        }
        assert!(
            std::fs::read(&at).unwrap() == seed,
            "{name} is another: RENEW=1 writes it"
        );
    }
}
