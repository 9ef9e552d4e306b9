use super::*;

const NUMBER: StorageId = [0xab; 16];

fn look(path: &Path, new: Option<StorageId>) -> Result<(System, StorageId), Absent> {
    Root(path.to_owned()).look(new)
}

#[test]
fn a_storage_is_made_of_nothing_but_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("disk/recordings");
    assert!(matches!(look(&missing, None), Err(Absent::Missing(_))));
    assert!(!missing.exists());
    let (system, uuid) = look(&missing, Some(NUMBER)).unwrap();
    assert_eq!(uuid, NUMBER);
    assert!(system.is_there().unwrap());
    assert_eq!(
        std::fs::read_to_string(missing.join(MARK)).unwrap(),
        "ab".repeat(16) + "\n"
    );
    // The next time it is known, whatever number is offered.
    assert_eq!(look(&missing, Some([1; 16])).unwrap().1, NUMBER);
    assert_eq!(look(&missing, None).unwrap().1, NUMBER);

    let empty = folder.path().join("empty");
    std::fs::create_dir_all(empty.join("lost+found")).unwrap();
    assert!(matches!(look(&empty, None), Err(Absent::Empty(_))));
    assert!(look(&empty, Some(NUMBER)).is_ok());

    // A start was killed while it made one.
    let torn = folder.path().join("torn");
    std::fs::create_dir(&torn).unwrap();
    std::fs::write(torn.join(NEW_MARK), "ab").unwrap();
    assert!(matches!(look(&torn, None), Err(Absent::Empty(_))));
    assert_eq!(look(&torn, Some(NUMBER)).unwrap().1, NUMBER);
    assert_eq!(look(&torn, None).unwrap().1, NUMBER);
    assert!(!torn.join(NEW_MARK).exists());

    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("holiday.jpg"), b"").unwrap();
    for new in [None, Some(NUMBER)] {
        assert!(matches!(look(&foreign, new), Err(Absent::Foreign(_))));
    }
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
    for text in ["", "0", &"g".repeat(32), &"0".repeat(33), &"+1".repeat(16)] {
        std::fs::write(foreign.join(MARK), text).unwrap();
        assert!(
            matches!(look(&foreign, Some(NUMBER)), Err(Absent::Unreadable(_))),
            "{text}"
        );
    }
}

/// Whatever lies under the path later, what was opened is what is written.
#[cfg(unix)]
#[test]
fn another_disk_under_the_path_is_noticed_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (root, aside) = (folder.path().join("root"), folder.path().join("aside"));
    let (system, _) = look(&root, Some(NUMBER)).unwrap();
    std::fs::rename(&root, &aside).unwrap();
    assert!(!system.is_there().unwrap(), "none");
    std::fs::create_dir(&root).unwrap();
    assert!(!system.is_there().unwrap(), "a mount point");
    std::fs::write(root.join(MARK), mark_of(&[1; 16])).unwrap();
    assert!(!system.is_there().unwrap(), "another");
    system.create_folder(Path::new("camera")).unwrap();
    system.create(Path::new("camera/file")).unwrap();
    assert!(aside.join("camera/file").exists());
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::rename(&aside, &root).unwrap();
    assert!(system.is_there().unwrap());
}

#[test]
fn files_and_folders_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let (system, _) = look(folder.path(), Some(NUMBER)).unwrap();
    let (camera, one, two) = (Path::new("camera"), Path::new("camera/one"), Path::new("camera/two"));
    assert!(!system.exists(one).unwrap());
    system.create_folder(camera).unwrap();
    system.create_folder(camera).unwrap();
    system.sync_folder(camera).unwrap();
    system.sync_folder(Path::new("")).unwrap();
    let mut file = system.create(one).unwrap();
    assert_eq!(system.create(one).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    file.append([b"0123", b"456789"]).unwrap();
    file.write_at(3, b"abc").unwrap();
    file.append([b"!", b""]).unwrap();
    file.sync().unwrap();
    drop(file);
    system.create(two).unwrap();
    assert_eq!(
        system.rename(one, two).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        system.create_folder(one).unwrap_err().kind(),
        io::ErrorKind::NotADirectory
    );
    system.remove(two).unwrap();
    system.rename(one, two).unwrap();
    let mut read = [0; 20];
    let file = system.open(two).unwrap();
    let bytes = file.read_at(0, &mut read).unwrap();
    assert_eq!((&read[..bytes], File::bytes(&file).unwrap()), (&b"012abc6789!"[..], 11));
    assert_eq!(system.folders(Path::new("")).unwrap(), [camera]);
    assert_eq!(system.list(camera).unwrap(), [two]);
    assert!(system.remove_folder(camera).is_err(), "it is not empty");
    system.remove(two).unwrap();
    system.remove_folder(camera).unwrap();
    assert_eq!(system.open(two).unwrap_err().kind(), io::ErrorKind::NotFound);
    let room = system.room().unwrap();
    assert!(room.free_bytes <= room.total_bytes && room.total_bytes > 0);
}

/// Who records locks it, and the next does when that one has ended; it can be read and looked at all the same.
#[test]
fn one_records_into_a_storage() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = look(folder.path(), Some(NUMBER)).unwrap();
    let (second, _) = look(folder.path(), None).unwrap();
    assert!(!second.is_in_use());
    let claim = first.claim(Duration::ZERO).unwrap();
    assert!(second.is_in_use());
    let refused = second.claim(Duration::from_millis(30)).unwrap_err();
    let Absent::InUse { path, by } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(path, folder.path());
    // Windows lets nobody read what is locked.
    assert!(*by == Some(std::process::id()) || cfg!(windows), "{by:?}");
    let text = refused.to_string();
    assert!(text.contains("already") && text.contains("record.path"), "{text}");
    assert!(second.is_there().unwrap() && look(folder.path(), None).is_ok());
    drop(first);
    let waiting = std::thread::spawn(move || second.claim(Duration::from_secs(30)).map(drop));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    drop(claim);
    waiting.join().unwrap().unwrap();
    // What is left of it makes a folder no less empty.
    std::fs::remove_file(folder.path().join(MARK)).unwrap();
    assert!(matches!(look(folder.path(), None), Err(Absent::Empty(_))));
}
