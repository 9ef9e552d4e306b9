//! The program is killed, in the middle of each statement: what was answered is there, what was not is whole or absent.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::database::beside;

/// How many changes were answered, and what the disk holds.
type Moment = (usize, Vec<u8>, Vec<u8>);

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

#[test]
fn killed_in_the_middle_of_each_statement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    let mut store = store(&path);
    let answered = Arc::new(AtomicUsize::new(0));
    let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let (now, taken, from) = (Arc::clone(&answered), Arc::clone(&moments), path);
    let take = move || {
        let moment = (now.load(Ordering::Relaxed), read(&from), read(&beside(&from, "-wal")));
        let mut taken = taken.lock().unwrap();
        if taken.last() != Some(&moment) {
            taken.push(moment);
        }
        false
    };
    let connection = &mut store.file.as_mut().unwrap().0;
    connection.progress_handler(5, Some(take)).unwrap();
    let mut states = vec![people(&store)];
    for change in changes() {
        store.change(&change).unwrap();
        states.push(people(&store));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() >= changes().len(), "{}", moments.len());
    for (answered, file, log) in moments {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(schema::FILE);
        fs::write(&path, file).unwrap();
        fs::write(beside(&path, "-wal"), log).unwrap();
        let found = read_again(&path);
        let next = states.get(answered + 1).unwrap_or(&states[answered]);
        assert!(found == states[answered] || found == *next, "after {answered} changes");
    }
}

/// After any part of the log was written: at each frame, a byte around it, and in its middle.
#[test]
fn killed_while_the_log_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    let mut store = store(&path);
    let connection = &store.file.as_ref().unwrap().0;
    let begin = "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0";
    connection.execute_batch(begin).unwrap();
    let file = read(&path);
    let mut states = vec![people(&store)];
    for change in changes() {
        store.change(&change).unwrap();
        states.push(people(&store));
    }
    let log = read(&beside(&path, "-wal"));
    let (head, frame) = (32, 24 + 4_096);
    assert!(log.len() > head + states.len() * frame, "{}", log.len());
    let mut reached = 0;
    let ends = (head..=log.len()).step_by(frame);
    for end in ends
        .flat_map(|end| [end - 1, end, end + 1, end + frame / 2])
        .filter(|end| *end <= log.len())
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(schema::FILE);
        fs::write(&path, &file).unwrap();
        fs::write(beside(&path, "-wal"), &log[..end]).unwrap();
        let found = read_again(&path);
        let at = states.iter().skip(reached).position(|state| *state == found);
        reached += at.unwrap_or_else(|| panic!("half of a change at {end}"));
    }
    assert_eq!(reached, states.len() - 1);
}
