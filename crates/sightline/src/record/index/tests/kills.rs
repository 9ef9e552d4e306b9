//! The program is killed, at any step: the file opens, and holds whole transactions and nothing else.
//!
//! What a killed process leaves is what it wrote until then, in this order: the log grows frame by frame, then pages of the file are replaced from it. All of these
//! moments are made by hand; and real processes are killed too.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

type Dump = BTreeMap<String, Vec<String>>;

const TRANSACTIONS: i64 = 12;
const PAGE_BYTES: usize = 4_096;
/// Of the log, and of each page in it.
const LOG_HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;

/// One transaction, with some of everything.
fn changes(number: i64) -> Vec<Change> {
    let mut changes = if number == 1 { storages() } else { Vec::new() };
    for part in 0..4 {
        let id = 4 * number + part;
        let mut next = segment(id);
        next.camera = name((part % 3) as usize);
        next.run = (number / 3) as u64;
        changes.push(Change::Segment(next, vec![id as u8; 700]));
    }
    changes.push(Change::Event(event(number)));
    if number > 3 {
        changes.push(Change::Gone(SegmentId(4 * (number - 3))));
        changes.push(Change::Moved {
            camera: name(1),
            run: (number / 3 - 1) as u64,
            by_90k: MINUTE_90K,
        });
    }
    changes.push(Change::Carried { at_90k: number });
    changes
}

/// What is there after each transaction, from none on.
fn states() -> Vec<Dump> {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut states = vec![dump(&store.connection)];
    for number in 1..=TRANSACTIONS {
        store.commit(&changes(number)).unwrap();
        states.push(dump(&store.connection));
    }
    states
}

/// What the next process finds.
fn find(file: &[u8], log: &[u8]) -> Dump {
    let (_folder, path) = folder();
    fs::write(&path, file).unwrap();
    fs::write(schema::beside(&path, "-wal"), log).unwrap();
    let found = schema::open(&path, schema::MIGRATIONS).unwrap();
    assert_eq!(found.migrated_from, None);
    let sound: String = found
        .connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    dump(&found.connection)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// What is written from now on is in the log alone, which is empty.
fn store_of_a_log(path: &Path) -> Store {
    let store = store(path);
    store
        .connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    store
}

/// Stopped after every few instructions of SQLite, in the middle of each statement.
#[test]
fn killed_in_the_middle_of_statements() {
    let states = states();
    let (_folder, path) = folder();
    let mut store = store(&path);
    let committed = Arc::new(AtomicUsize::new(0));
    // So little memory that pages of a transaction are written before its end.
    store.connection.execute_batch("PRAGMA cache_size = 5").unwrap();
    // What was there at which moment. Looked at later: SQLite is not asked from within itself.
    let moments: Arc<Mutex<(usize, Vec<_>)>> = Arc::default();
    let (now, taken, from) = (Arc::clone(&committed), Arc::clone(&moments), path);
    let take = move || {
        let left = (
            now.load(Ordering::Relaxed),
            read(&from),
            read(&schema::beside(&from, "-wal")),
        );
        let (looks, taken) = &mut *taken.lock().unwrap();
        *looks += 1;
        if taken.last() != Some(&left) {
            taken.push(left);
        }
        false
    };
    store.connection.progress_handler(31, Some(take)).unwrap();
    for number in 1..=TRANSACTIONS {
        store.commit(&changes(number)).unwrap();
        committed.store(number as usize, Ordering::Relaxed);
    }
    store.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    let (looks, moments) = std::mem::take(&mut *moments.lock().unwrap());
    assert!(
        looks > 300 && moments.len() > 2 * TRANSACTIONS as usize,
        "{looks} {}",
        moments.len()
    );
    for (committed, file, log) in moments {
        assert!(find(&file, &log) == states[committed], "after {committed}");
    }
}

/// Stopped after any part of the log was written: at each frame, a byte around it, and in its middle.
#[test]
fn killed_while_the_log_is_written() {
    let states = states();
    let (_folder, path) = folder();
    let mut store = store_of_a_log(&path);
    let file = read(&path);
    let log = schema::beside(&path, "-wal");
    let mut ends = vec![0];
    for number in 1..=TRANSACTIONS {
        store.commit(&changes(number)).unwrap();
        ends.push(read(&log).len());
    }
    assert!(read(&path) == file, "all of it is in the log");
    let log = read(&log);
    let frame_bytes = FRAME_HEAD_BYTES + PAGE_BYTES;
    let frames = (log.len() - LOG_HEAD_BYTES) / frame_bytes;
    assert!(
        frames > 100 && LOG_HEAD_BYTES + frames * frame_bytes == log.len(),
        "{frames}"
    );
    let mut lengths = vec![0, 1, LOG_HEAD_BYTES - 1];
    for frame in 0..=frames {
        let at = LOG_HEAD_BYTES + frame * frame_bytes;
        lengths.extend(
            [at - 1, at, at + 1, at + frame_bytes / 2]
                .into_iter()
                .filter(|length| *length <= log.len()),
        );
    }
    for length in lengths {
        let whole = ends.iter().filter(|end| **end <= length).count() - 1;
        assert!(find(&file, &log[..length]) == states[whole], "{length} of {ends:?}");
    }
}

/// Stopped while the first transaction makes the tables: none of them is there, or all.
#[test]
fn killed_while_the_tables_are_made() {
    let (_folder, path) = folder();
    let _store = store(&path);
    let (file, log) = (read(&path), read(&schema::beside(&path, "-wal")));
    assert!(log.len() > 10 * PAGE_BYTES, "{}", log.len());
    for length in (0..=log.len()).step_by(1_030).chain([log.len()]) {
        let (_folder, path) = folder();
        fs::write(&path, &file).unwrap();
        fs::write(schema::beside(&path, "-wal"), &log[..length]).unwrap();
        let opened = Index::open(&path, NEVER).unwrap();
        assert!(
            opened.aside.is_none() && opened.is_new == (length < log.len()),
            "{length}"
        );
        storages()
            .into_iter()
            .for_each(|change| opened.index.write(change).unwrap());
        opened.index.close().unwrap();
    }
}

/// Stopped after any number of pages was taken over from the log.
#[test]
fn killed_while_the_log_is_taken_over() {
    let last = states().pop().unwrap();
    let (_folder, path) = folder();
    let mut store = store_of_a_log(&path);
    let before = read(&path);
    for number in 1..=TRANSACTIONS {
        store.commit(&changes(number)).unwrap();
    }
    let log = read(&schema::beside(&path, "-wal"));
    store
        .connection
        .execute_batch("PRAGMA wal_checkpoint(PASSIVE)")
        .unwrap();
    let after = read(&path);
    assert!(after.len() > before.len() && after.len().is_multiple_of(PAGE_BYTES));
    let mut file = before;
    let mut written = 0;
    for at in (0..after.len()).step_by(PAGE_BYTES) {
        let page = &after[at..at + PAGE_BYTES];
        if file.get(at..at + PAGE_BYTES) == Some(page) {
            continue;
        }
        for part in [PAGE_BYTES / 2, PAGE_BYTES] {
            file.resize(file.len().max(at + part), 0);
            file[at..at + part].copy_from_slice(&page[..part]);
            assert!(find(&file, &log) == last, "{part} bytes of page {}", at / PAGE_BYTES);
        }
        written += 1;
    }
    assert!(written > 10, "{written}");
}

/// They stand in the heads of files, and a run is told by one. Nothing need be written between two kills.
#[test]
fn numbers_that_were_given_before_a_kill_are_not_given_again() {
    let mut given = SegmentId(0);
    // Those before never end, and so they are never closed in order.
    let mut before: Vec<(Index, PathBuf, tempfile::TempDir)> = Vec::new();
    for round in 0..4 {
        let (folder, path) = folder();
        if let Some((_, left, _)) = before.last() {
            for part in ["", "-wal"] {
                let name = |path: &Path| PathBuf::from(format!("{}{part}", path.display()));
                fs::copy(name(left), name(&path)).unwrap();
            }
        }
        let index = open(&path);
        let next = index.next_segment();
        assert!(next > given, "round {round}: {next:?} behind {given:?}");
        given = next;
        before.push((index, path, folder));
    }
}

const CHILD: &str = "SIGHTLINE_TEST_INDEX";
const OF_EACH: i64 = 8;

/// Transaction `number` of the process that is killed.
fn tell(index: &Index, number: i64) {
    for part in 1..=OF_EACH {
        let id = index.next_segment();
        // Without a gap; a kill leaves one in the numbers.
        let mut next = segment((number - 1) * OF_EACH + part);
        next.id = id;
        index.write(Change::Segment(next, vec![id.0 as u8; 9_000])).unwrap();
    }
    index.write(Change::Carried { at_90k: number }).unwrap();
    index.flush().unwrap();
}

/// The process that is killed: this program, started by the test below. Started by nobody it has nothing to do.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let index = Index::open(Path::new(&path), NEVER).unwrap().index;
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    let begin = index.reader().unwrap().carried_90k().unwrap().unwrap_or(0);
    for number in begin + 1.. {
        tell(&index, number);
        writeln!(std::io::stdout(), "\ntold {number}").unwrap();
    }
}

/// A process that tells as fast as it can, killed at any instant, again and again: what it said is written is there, and what is there is whole.
#[test]
fn a_process_is_killed_again_and_again() {
    let (_folder, path) = folder();
    let mut random = fastrand::Rng::with_seed(5);
    let mut before = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "record::index::tests::kills::child", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told = |line: String| line.strip_prefix("told ").map(|number| number.parse::<i64>().unwrap());
        let some = random.usize(1..60);
        let mut last = lines.by_ref().filter_map(told).take(some).last().unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(0..3_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said until then.
        last = lines
            .filter_map(|line| line.strip_prefix("told ").and_then(|number| number.parse().ok()))
            .last()
            .unwrap_or(last);

        let opened = Index::open(&path, NEVER).unwrap();
        assert!(!opened.was_clean && !opened.is_new && opened.aside.is_none(), "{round}");
        let reader = opened.index.reader().unwrap();
        let found = reader.carried_90k().unwrap().unwrap();
        assert!(found >= last && last > before, "{round}: {before} {last} {found}");
        assert_eq!(reader.check(10).unwrap(), [""; 0], "{round}");
        let usage = &reader.usage().unwrap()[0];
        let bytes: u64 = (1..=found * OF_EACH).map(|id| segment(id).bytes).sum();
        assert_eq!(
            (usage.segments as i64, usage.bytes),
            (found * OF_EACH, bytes),
            "{round}"
        );
        let runs = reader.runs(&name(0), 0..MAX_TIME_90K, 0).unwrap().runs;
        assert_eq!(
            (runs.len(), runs[0].recorded_90k),
            (1, found * OF_EACH * MINUTE_90K),
            "{round}"
        );
        before = found;
    }
}
