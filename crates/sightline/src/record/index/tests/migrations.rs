//! From one format to the next.

use super::*;

const NEXT: &str = "ALTER TABLE event ADD COLUMN seen INTEGER NOT NULL DEFAULT 0; CREATE TABLE motion (id INTEGER PRIMARY KEY) STRICT;";

/// A file of the first format, with something in it, closed.
fn first(path: &Path) -> BTreeMap<String, Vec<String>> {
    let found = schema::open(path, &schema::MIGRATIONS[..1]).unwrap();
    assert!(found.is_new && found.migrated_from.is_none());
    let mut store = Store::new(found.connection, path);
    let mut changes = storages();
    changes.extend((1..=50).map(|id| Change::Segment(segment(id), vec![id as u8; 100])));
    changes.push(Change::Event(event(1)));
    store.commit(&changes).unwrap();
    dump(&store.connection)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_copy_is_made_before_a_file_is_changed() {
    let (folder, path) = folder();
    let before = first(&path);
    let migrations = [schema::MIGRATIONS[0], NEXT];
    let found = schema::open(&path, &migrations).unwrap();
    assert_eq!((found.migrated_from, found.is_new), (Some(1), false));
    let after = dump(&found.connection);
    assert_eq!(before["segment"], after["segment"]);
    assert!(after["event"][0].ends_with("Integer(0)]"), "{:?}", after["event"]);
    drop(found);
    assert_eq!(names(folder.path()), ["recordings.db", "recordings.db.format-1"]);

    // What was copied is what there was, and the version before can use it.
    let copy = folder.path().join("recordings.db.format-1");
    let found = schema::open(&copy, &migrations[..1]).unwrap();
    assert_eq!(dump(&found.connection), before);
    drop(found);

    // Once is enough.
    let found = schema::open(&path, &migrations).unwrap();
    assert_eq!(found.migrated_from, None);
    drop(found);

    // The copy of the time before goes, when the next was made.
    let third = [
        migrations[0],
        migrations[1],
        "CREATE TABLE third (id INTEGER PRIMARY KEY) STRICT",
    ];
    let found = schema::open(&path, &third).unwrap();
    assert_eq!(found.migrated_from, Some(2));
    drop(found);
    let _ = std::fs::remove_file(schema::beside(&copy, "-wal"));
    let _ = std::fs::remove_file(schema::beside(&copy, "-shm"));
    assert_eq!(names(folder.path()), ["recordings.db", "recordings.db.format-2"]);
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let (folder, path) = folder();
    let before = first(&path);
    let wrong = [
        schema::MIGRATIONS[0],
        NEXT,
        "CREATE TABLE fourth (id INTEGER); UPDATE nothing SET id = 1",
    ];
    let error = schema::open(&path, &wrong).unwrap_err();
    assert!(matches!(error, Error::Migration { from: 2, to: 3, .. }), "{error}");
    let found = schema::open(&folder.path().join("recordings.db.format-1"), &wrong[..1]).unwrap();
    assert_eq!(dump(&found.connection), before);
    drop(found);
    // The step before it was whole.
    let found = schema::open(&path, &wrong[..2]).unwrap();
    assert_eq!(
        (found.migrated_from, dump(&found.connection)["segment"].len()),
        (None, 50)
    );
    assert!(found.connection.prepare("SELECT * FROM fourth").is_err());
}

/// A copy that was interrupted lies beside it: it is begun anew.
#[test]
fn a_copy_that_was_interrupted_is_made_anew() {
    let (folder, path) = folder();
    let before = first(&path);
    for left in ["recordings.db.format-1.new", "recordings.db.format-1.new-journal"] {
        std::fs::write(folder.path().join(left), "half of it").unwrap();
    }
    let found = schema::open(&path, &[schema::MIGRATIONS[0], NEXT]).unwrap();
    assert_eq!(dump(&found.connection)["segment"], before["segment"]);
    drop(found);
    assert_eq!(names(folder.path()), ["recordings.db", "recordings.db.format-1"]);
}

#[test]
fn a_newer_file_is_left_as_it_is() {
    let (folder, path) = folder();
    first(&path);
    let migrations = [schema::MIGRATIONS[0], NEXT];
    drop(schema::open(&path, &migrations).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let error = schema::open(&path, &migrations[..1]).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("start the newer version"), "{error}");
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert_eq!(names(folder.path()), ["recordings.db", "recordings.db.format-1"]);
}
