//! Files that are not what was written. No panic, no endless loop, nothing deleted; a word for people, and an index that works where there can be one.

use std::fs;

use super::*;

/// A file with a few hundred rows, closed, and its bytes.
fn sound(path: &Path) -> Vec<u8> {
    let index = open(path);
    storages().into_iter().for_each(|change| index.write(change).unwrap());
    for id in 1..=300 {
        let mut segment = segment(id);
        segment.run = (id / 20) as u64;
        segment.camera = name((id % 2) as usize);
        index.write(Change::Segment(segment, vec![id as u8; 300])).unwrap();
        index.write(Change::Event(event(id))).unwrap();
    }
    let protected = Protected {
        camera: name(0),
        range_90k: BEGIN_90K..BEGIN_90K + 9 * MINUTE_90K,
        why: "kept".to_owned(),
    };
    index.protect(protected).unwrap();
    index.close().unwrap();
    fs::read(path).unwrap()
}

/// Asks and tells everything that there is. What comes of it is one thing or another.
fn use_it(index: &Index) -> Result<(), Error> {
    let reader = index.reader()?;
    let all = 0..MAX_TIME_90K;
    for camera in [name(0), name(1)] {
        for resolution_90k in [0, DAY_90K] {
            let _ = reader.runs(&camera, all.clone(), resolution_90k);
        }
        for minute in (0..300).step_by(30) {
            let _ = reader.at(&camera, BEGIN_90K + minute * MINUTE_90K);
        }
        let _ = reader.segments(&camera, all.clone(), None, 1_000);
        let _ = reader.events(&camera, all.clone(), None, None);
        let _ = reader.protected(Some(&camera), None);
    }
    for id in (1..=300).step_by(17) {
        let _ = reader.segment(SegmentId(id));
        let _ = reader.fragments(SegmentId(id));
    }
    let _ = (
        reader.open_segments(None),
        reader.garbage(None),
        reader.usage(),
        reader.cameras(),
        reader.carried_90k(),
        reader.storages(),
    );
    for (camera, without_events) in [(None, false), (None, true), (Some(1), false), (Some(2), true)] {
        let scope = retention::Scope {
            camera,
            storages: &[1, 2],
            without_events,
        };
        let _ = reader.oldest(scope, &mut |_| ControlFlow::Continue(()));
    }
    let _ = (reader.protected(None, None), reader.check(5));
    let mut new = segment(301);
    new.id = index.next_segment();
    for change in [
        Change::Segment(new, vec![1; 200]),
        Change::Event(event(301)),
        Change::Gone(SegmentId(3)),
    ] {
        let _ = index.write(change);
    }
    let moved = Change::Moved {
        camera: name(0),
        run: 2,
        by_90k: MINUTE_90K,
    };
    let _ = index.write(moved);
    index.flush()?;
    index.discard((1..=300).map(SegmentId).collect()).map(drop)
}

/// Opens it and uses it. Whether it was put aside; then it lies there as it was, and another works.
fn try_it(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let opened = Index::open(path, NEVER)?;
    if let Some(aside) = opened.aside {
        assert!(
            fs::read(&aside).unwrap() == bytes,
            "what cannot be read is kept as it is"
        );
        assert!(opened.is_new);
        use_it(&opened.index).unwrap();
        opened.index.close().unwrap();
        return Ok(true);
    }
    let used = use_it(&opened.index);
    let closed = opened.index.close();
    used.and(closed).map(|()| false)
}

#[test]
fn turned_bits_and_overwritten_pieces_are_no_panic() {
    let (_made, path) = folder();
    let sound = sound(&path);
    let mut random = fastrand::Rng::with_seed(11);
    let (mut aside, mut damaged, mut unnoticed, mut other) = (0, 0, 0, Vec::new());
    for round in 0..90 {
        let (_folder, path) = folder();
        let mut bytes = sound.clone();
        // The head and the first pages as often as all others together.
        let within = if round % 2 == 0 { bytes.len() } else { 6_000 };
        let at = random.usize(..within);
        match round % 3 {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            _ => {
                let end = (at + random.usize(1..3_000)).min(bytes.len());
                bytes[at..end].fill_with(|| random.u8(..));
            }
        }
        fs::write(&path, &bytes).unwrap();
        match try_it(&path, &bytes) {
            Ok(true) => aside += 1,
            Ok(false) => unnoticed += 1,
            Err(Error::Damaged { .. }) => {
                damaged += 1;
                assert!(
                    schema::beside(&path, schema::DAMAGED).exists(),
                    "the next start puts it aside"
                );
            }
            Err(error) => other.push(error.to_string()),
        }
    }
    assert!(
        aside > 3 && damaged > 3 && unnoticed > 3,
        "{aside} {damaged} {unnoticed} {other:?}"
    );
    // A turned bit in the head may make it one of another program or a newer version. Nothing else is thought of it.
    assert!(
        other.len() < 15 && other.iter().all(|error| error.contains("recordings.db")),
        "{other:?}"
    );
}

#[test]
fn a_file_that_was_cut_is_no_panic() {
    let (_made, path) = folder();
    let sound = sound(&path);
    let lengths = [
        0,
        1,
        15,
        16,
        99,
        100,
        101,
        1_000,
        4_095,
        4_096,
        4_097,
        9_000,
        sound.len() / 2,
        sound.len() - 4_096,
        sound.len() - 1,
    ];
    for length in lengths {
        let (_folder, path) = folder();
        let bytes = &sound[..length];
        fs::write(&path, bytes).unwrap();
        match try_it(&path, bytes) {
            // Of the last page a byte is missing, or nothing is there at all.
            Ok(false) => assert!(length == 0 || length + 1 == sound.len(), "{length}"),
            Ok(true) => {}
            Err(error) => assert!(error.is_damage(), "{length}: {error}"),
        }
    }
}

#[test]
fn what_is_no_database_is_put_aside_with_its_log_and_never_deleted() {
    let (folder, path) = folder();
    for number in 1..=schema::MAX_ASIDE {
        let text = format!("no database {number}").repeat(1_000);
        fs::write(&path, &text).unwrap();
        fs::write(schema::beside(&path, "-wal"), "its log").unwrap();
        let opened = Index::open(&path, NEVER).unwrap();
        let aside = folder.path().join(format!("recordings.db.unreadable-{number}"));
        assert_eq!((opened.aside, opened.is_new), (Some(aside.clone()), true));
        assert_eq!(fs::read_to_string(&aside).unwrap(), text);
        assert_eq!(fs::read_to_string(schema::beside(&aside, "-wal")).unwrap(), "its log");
        use_it(&opened.index).unwrap();
    }
    fs::write(&path, "one more").unwrap();
    let error = Index::open(&path, NEVER).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyAside {
                count: schema::MAX_ASIDE,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "one more");
    // As the message says: they are moved away, and it works.
    for number in 1..=schema::MAX_ASIDE {
        let aside = folder.path().join(format!("recordings.db.unreadable-{number}"));
        fs::remove_file(schema::beside(&aside, "-wal")).unwrap();
        fs::remove_file(aside).unwrap();
    }
    assert!(Index::open(&path, NEVER).unwrap().aside.is_some());
}

#[test]
fn what_is_somebody_elses_or_no_file_is_left_alone() {
    let (folder, path) = folder();
    fs::create_dir(&path).unwrap();
    let error = Index::open(&path, NEVER).unwrap_err();
    assert_eq!(error, Error::Folder { path: path.clone() });
    assert!(error.to_string().contains("move it away"), "{error}");
    fs::remove_dir(&path).unwrap();

    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('Mimi')")
        .unwrap();
    drop(other);
    let bytes = fs::read(&path).unwrap();
    let error = Index::open(&path, NEVER).unwrap_err();
    assert_eq!(error, Error::Foreign { path: path.clone() });
    assert!(fs::read(&path).unwrap() == bytes);

    let nowhere = folder.path().join("no/such/folder/recordings.db");
    let below_a_file = path.join("recordings.db");
    for path in [nowhere, below_a_file] {
        let error = Index::open(&path, NEVER).unwrap_err();
        assert!(matches!(error, Error::NotOpened { .. }), "{error}");
        assert!(error.to_string().contains("its folder must be there"), "{error}");
    }
}

/// Nobody may write there, not even who may write everywhere.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_said() {
    let error = Index::open(Path::new("/proc/recordings.db"), NEVER).unwrap_err();
    assert!(matches!(error, Error::NotOpened { .. }), "{error}");
}

/// What people told is in no recording: it is taken over, wherever the damage is but there.
#[test]
fn what_people_told_is_taken_over() {
    let (_folder, path) = folder();
    let bytes = sound(&path);
    let root = |table: &str| -> usize {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        connection.query_row(root, [table], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    let page = |table| (root(table) - 1) * 4_096..root(table) * 4_096;
    let (segments, ranges, meta) = (page("segment"), page("protected"), page("meta"));
    let open_with = |damaged: &[Range<usize>]| {
        let (folder, path) = folder();
        let mut bytes = bytes.clone();
        damaged.iter().for_each(|page| bytes[page.clone()].fill(0xA5));
        fs::write(&path, &bytes).unwrap();
        // Somebody met damage and put it aside; the next start takes over.
        let aside = put_aside(&path).unwrap();
        let opened = Index::open(&path, NEVER).unwrap();
        assert!(fs::read(&aside).unwrap() == bytes);
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.retain(|name| name.to_string_lossy().contains("unreadable"));
        assert_eq!(names, ["recordings.db.unreadable-1"], "nothing else is left beside it");
        (folder, path, opened)
    };
    let taken = |protected, events, is_all| TakenOver {
        protected,
        events,
        is_all,
    };
    let (_first, path, opened) = open_with(&[segments, meta]);
    assert_eq!(
        (opened.taken_over, opened.has_all_told),
        (Some(taken(1, 300, true)), true)
    );
    let reader = opened.index.reader().unwrap();
    let protected = reader.protected(None, None).unwrap().items;
    assert_eq!((protected[0].0, protected[0].1.why.as_str()), (ProtectedId(1), "kept"));
    let events = reader.events(&name(0), 0..MAX_TIME_90K, None, None).unwrap().items;
    assert_eq!((events.len(), &events[6]), (300, &event(7)));
    assert_eq!(opened.index.next_event(), EventId(301), "no number is given twice");
    drop((reader, opened));
    let again = Index::open(&path, NEVER).unwrap();
    assert_eq!((again.taken_over, again.has_all_told), (None, true), "once is enough");

    let (_second, path, opened) = open_with(&[ranges]);
    assert_eq!(
        (opened.taken_over, opened.has_all_told),
        (Some(taken(0, 300, false)), false)
    );
    drop(opened);
    let again = Index::open(&path, NEVER).unwrap();
    assert!(!again.has_all_told, "until a person looked");
    again.index.confirm_protection().unwrap();
    drop(again);
    assert!(Index::open(&path, NEVER).unwrap().has_all_told);

    // In the middle of what is taken over: what is in front of it and behind.
    let has_events = |at: &usize| bytes[*at..at + 4_096].windows(6).any(|window| window == b"motion");
    let leaves: Vec<usize> = (0..bytes.len()).step_by(4_096).filter(has_events).collect();
    // In the root lies what stood there while there was no other page.
    let leaves: Vec<usize> = leaves.into_iter().filter(|at| *at != page("event").start).collect();
    let at = leaves[leaves.len() / 2];
    let leaf = at..at + 4_096;
    let (_third, _, opened) = open_with(std::slice::from_ref(&leaf));
    let some = opened.taken_over.unwrap();
    assert!(
        some.protected == 1 && some.events > 100 && some.events < 300 && !some.is_all,
        "{some:?}"
    );
}

/// Whatever SQLite left beside it belongs to it, and would be taken for that of the next.
#[test]
fn all_that_belongs_to_a_file_is_put_aside_with_it() {
    let (folder, path) = folder();
    for part in ["", "-wal", "-shm", "-journal"] {
        fs::write(schema::beside(&path, part), part).unwrap();
    }
    let aside = put_aside(&path).unwrap();
    for part in ["", "-wal", "-shm", "-journal"] {
        assert_eq!(fs::read_to_string(schema::beside(&aside, part)).unwrap(), part);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    // Of another only the log is left: its number is taken.
    fs::remove_file(&aside).unwrap();
    fs::write(&path, "again").unwrap();
    assert!(put_aside(&path).unwrap().ends_with("recordings.db.unreadable-2"));
}

/// It rots while it is in use: whoever asks is told, it is put aside, and another begins.
#[test]
fn damage_under_way_is_told_and_mended() {
    let (_folder, path) = folder();
    sound(&path);
    let index = open(&path);
    let mut bytes = fs::read(&path).unwrap();
    // Its head and the list of its tables stay.
    bytes[8_192..].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let reader = index.reader().unwrap();
    let error = reader
        .usage()
        .and_then(|_| reader.at(&name(0), BEGIN_90K + 9 * MINUTE_90K))
        .unwrap_err();
    assert!(error.is_damage(), "{error}");
    drop((reader, index));
    let aside = put_aside(&path).unwrap();
    assert!(aside.exists() && !path.exists());
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(opened.is_new && opened.aside.is_none());
    use_it(&opened.index).unwrap();
}

/// Whoever meets damage ends the program, and the next start sees nothing of it where it opens the file: it is put aside all the same, once.
#[test]
fn damage_under_way_is_put_aside_at_the_next_start() {
    let (_folder, path) = folder();
    sound(&path);
    let index = open(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_192..].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let reader = index.reader().unwrap();
    let asked = reader
        .usage()
        .and_then(|_| reader.at(&name(0), BEGIN_90K + 9 * MINUTE_90K));
    assert!(asked.unwrap_err().is_damage());
    drop((reader, index));
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(opened.is_new && opened.aside.is_some_and(|aside| aside.exists()));
    use_it(&opened.index).unwrap();
    opened.index.close().unwrap();
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(!opened.is_new && opened.aside.is_none());
    drop(opened);
    // One that was moved away already.
    fs::write(schema::beside(&path, schema::DAMAGED), "").unwrap();
    put_aside(&path).unwrap();
    assert!(!schema::beside(&path, schema::DAMAGED).exists());
    fs::write(schema::beside(&path, schema::DAMAGED), "").unwrap();
    let opened = Index::open(&path, NEVER).unwrap();
    assert!(opened.is_new && opened.aside.is_none());
    assert!(!schema::beside(&path, schema::DAMAGED).exists());
}
