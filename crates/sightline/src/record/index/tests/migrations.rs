//! From one format to the next.

use super::*;

const NEXT: &str = "ALTER TABLE event ADD COLUMN seen INTEGER NOT NULL DEFAULT 0; CREATE TABLE motion (id INTEGER PRIMARY KEY) STRICT;";

/// Today's format, and those behind it.
fn formats(more: &[&'static str]) -> (u32, Vec<&'static str>) {
    let now = schema::MIGRATIONS;
    (now.len() as u32, now.iter().chain(more).copied().collect())
}

/// What lies in a folder with a copy.
fn with_copy(format: u32) -> [String; 2] {
    ["recordings.db".to_owned(), format!("recordings.db.format-{format}")]
}

/// A file of today's format, with something in it, closed.
fn first(path: &Path) -> BTreeMap<String, Vec<String>> {
    let found = schema::open(path, schema::MIGRATIONS).unwrap();
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
    let (now, migrations) = formats(&[NEXT]);
    let found = schema::open(&path, &migrations).unwrap();
    assert_eq!((found.migrated_from, found.is_new), (Some(now), false));
    let after = dump(&found.connection);
    assert_eq!(before["segment"], after["segment"]);
    assert!(after["event"][0].ends_with("Integer(0)]"), "{:?}", after["event"]);
    drop(found);
    assert_eq!(names(folder.path()), with_copy(now));

    // What was copied is what there was, and the version before can use it.
    let [_, copy] = with_copy(now).map(|name| folder.path().join(name));
    let found = schema::open(&copy, schema::MIGRATIONS).unwrap();
    assert_eq!(dump(&found.connection), before);
    drop(found);

    // Once is enough.
    let found = schema::open(&path, &migrations).unwrap();
    assert_eq!(found.migrated_from, None);
    drop(found);

    // The copy of the time before goes, when the next was made.
    let (_, third) = formats(&[NEXT, "CREATE TABLE third (id INTEGER PRIMARY KEY) STRICT"]);
    let found = schema::open(&path, &third).unwrap();
    assert_eq!(found.migrated_from, Some(now + 1));
    drop(found);
    let _ = std::fs::remove_file(schema::beside(&copy, "-wal"));
    let _ = std::fs::remove_file(schema::beside(&copy, "-shm"));
    assert_eq!(names(folder.path()), with_copy(now + 1));
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let (folder, path) = folder();
    let before = first(&path);
    let (now, wrong) = formats(&[NEXT, "CREATE TABLE fourth (id INTEGER); UPDATE nothing SET id = 1"]);
    let error = schema::open(&path, &wrong).unwrap_err();
    let is_of = |from: u32, to: u32| (from, to) == (now + 1, now + 2);
    assert!(
        matches!(error, Error::Migration { from, to, .. } if is_of(from, to)),
        "{error}"
    );
    let [_, copy] = with_copy(now).map(|name| folder.path().join(name));
    let found = schema::open(&copy, schema::MIGRATIONS).unwrap();
    assert_eq!(dump(&found.connection), before);
    drop(found);
    // The step before it was whole.
    let found = schema::open(&path, &wrong[..wrong.len() - 1]).unwrap();
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
    let (now, migrations) = formats(&[NEXT]);
    let [_, copy] = with_copy(now);
    for left in [".new", ".new-journal"] {
        std::fs::write(folder.path().join(format!("{copy}{left}")), "half of it").unwrap();
    }
    let found = schema::open(&path, &migrations).unwrap();
    assert_eq!(dump(&found.connection)["segment"], before["segment"]);
    drop(found);
    assert_eq!(names(folder.path()), with_copy(now));
}

#[test]
fn a_newer_file_is_left_as_it_is() {
    let (folder, path) = folder();
    first(&path);
    let (now, migrations) = formats(&[NEXT]);
    drop(schema::open(&path, &migrations).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let error = schema::open(&path, schema::MIGRATIONS).unwrap_err();
    let is_of = |found: u32, known: u32| (found, known) == (now + 1, now);
    assert!(
        matches!(error, Error::Newer { found, known, .. } if is_of(found, known)),
        "{error}"
    );
    assert!(error.to_string().contains("start the newer version"), "{error}");
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert_eq!(names(folder.path()), with_copy(now));
}

/// What was recorded before motion was kept stays, and motion is kept from then on.
#[test]
fn a_file_of_the_first_format_is_brought_to_todays() {
    let (folder, path) = folder();
    let found = schema::open(&path, &schema::MIGRATIONS[..1]).unwrap();
    let told = "INSERT INTO camera VALUES (1, 'door');
        INSERT INTO event VALUES (1, 1, 'bell', 90000, 90000, NULL, 'null');";
    found.connection.execute_batch(told).unwrap();
    drop(found);
    let index = open(&path);
    let change = Change::Intensity {
        camera: name(0),
        minute: 0,
        seconds: [3; 60],
    };
    index.write(change).unwrap();
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    assert_eq!(reader.intensity(&name(0), 0..90_000, 90_000).unwrap(), [3]);
    assert_eq!(reader.events(&name(0), 0..900_000, None, None).unwrap().items.len(), 1);
    assert!(names(folder.path()).contains(&"recordings.db.format-1".to_owned()));
}
