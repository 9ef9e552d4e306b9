//! The program is killed in the middle of a statement: the file opens, and holds whole minutes and hours and nothing else.

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::database::beside;
use crate::feed::sample::KEPT;

const MINUTES: i64 = 6;

/// What is done, each in one transaction.
const STEPS: [fn(&mut Store, &Ring); 8] = [
    |store, _| assert_eq!(store.series("door"), Ok(Some(1))),
    |store, ring| store.write(ring, NOON / MINUTE).unwrap(),
    |store, ring| store.write(ring, NOON / MINUTE + 1).unwrap(),
    |store, ring| store.write(ring, NOON / MINUTE + 2).unwrap(),
    // Again, with what is known by now.
    |store, ring| store.write(ring, NOON / MINUTE + 2).unwrap(),
    |store, ring| store.write(ring, NOON / MINUTE + 3).unwrap(),
    |store, ring| store.make(ring, NOON / HOUR).unwrap(),
    |store, ring| {
        let unmade = BTreeSet::new();
        store.retain(ring, NOON + 3 * HOUR, &unmade, &LIMITS).unwrap();
    },
];

fn ring() -> Ring {
    let mut random = fastrand::Rng::with_seed(3);
    let mut ring = Ring::default();
    for second in NOON..NOON + MINUTES * MINUTE {
        ring.begin(second);
        for series in 0..8 {
            let figures: Vec<f64> = (0..KEPT).map(|_| random.f64() * 1_000.0).collect();
            ring.push(series, second, &figures);
        }
    }
    ring
}

fn dump(store: &Store) -> Vec<String> {
    let rows = |sql: &str| -> Vec<String> {
        let mut rows = store.connection.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    [
        "SELECT id || ' ' || name FROM series ORDER BY id",
        "SELECT id || ' ' || minute || ' ' || hex(data) FROM second ORDER BY id",
        "SELECT id || ' ' || hex(data) FROM minute ORDER BY id",
        "SELECT id || ' ' || hex(data) FROM hour ORDER BY id",
    ]
    .into_iter()
    .flat_map(rows)
    .collect()
}

/// What the next process finds.
fn find(file: &[u8], log: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    std::fs::write(&path, file).unwrap();
    std::fs::write(beside(&path, "-wal"), log).unwrap();
    let store = Store::open(&path).unwrap();
    assert!(!beside(&path, ".unreadable").exists());
    let sound: String = store
        .connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    dump(&store)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

#[test]
fn killed_in_the_middle_of_statements() {
    let ring = ring();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut store = Store::open(&path).unwrap();
    // So little memory that pages of a transaction are written before its end.
    store.connection.execute_batch("PRAGMA cache_size = 5").unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    // What was there at which moment. Looked at later: SQLite is not asked from within itself.
    let moments: Arc<Mutex<(usize, Vec<_>)>> = Arc::default();
    let (now, taken, from) = (Arc::clone(&done), Arc::clone(&moments), path);
    let take = move || {
        let left = (now.load(Relaxed), read(&from), read(&beside(&from, "-wal")));
        let (looks, taken) = &mut *taken.lock().unwrap();
        *looks += 1;
        if taken.last() != Some(&left) {
            taken.push(left);
        }
        false
    };
    let mut states = vec![dump(&store)];
    for (number, step) in STEPS.into_iter().enumerate() {
        store.connection.progress_handler(3, Some(take.clone())).unwrap();
        step(&mut store, &ring);
        store.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
        done.store(number + 1, Relaxed);
        states.push(dump(&store));
    }
    let (looks, moments) = std::mem::take(&mut *moments.lock().unwrap());
    assert!(looks > 100 && moments.len() > STEPS.len(), "{looks} {}", moments.len());
    for (done, file, log) in moments {
        let found = find(&file, &log);
        assert!(
            found == states[done] || found == states[done + 1],
            "in the middle of step {done}"
        );
    }
}
