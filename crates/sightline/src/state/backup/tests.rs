//! Backups of real folders, and files that are none.

use std::collections::BTreeMap;

use super::restore::lay_out;
use super::*;
use crate::record::index::{Change, Index};
use crate::state::Folder;

const NOW: WallTime = WallTime::from_unix_micros(1_795_374_900_000_000);

struct Rig {
    base: tempfile::TempDir,
}

impl Rig {
    /// A state with what a server leaves in it.
    fn new() -> Self {
        let rig = Self {
            base: tempfile::tempdir().unwrap(),
        };
        let folder = Folder::open(rig.state()).unwrap();
        folder.write("tokens.json", b"{\"viewer\":\"secret\"}").unwrap();
        folder.write("own.pem", b"key").unwrap();
        fs::create_dir_all(rig.state().join("acme/old")).unwrap();
        folder.write("acme/old/account.json", b"account").unwrap();
        drop(folder.lock().unwrap());
        // What is no state.
        fs::create_dir_all(rig.state().join("recordings/door")).unwrap();
        fs::create_dir(rig.state().join("disk")).unwrap();
        for file in [
            "recordings/door/a.mp4",
            "recordings/.sightline-storage",
            "disk/.sightline-storage",
            "disk/a.mp4",
        ] {
            fs::write(rig.state().join(file), "recorded").unwrap();
        }
        fs::write(rig.state().join(".tokens.json.4711"), "half").unwrap();
        let index = Index::open(&rig.state().join(INDEX), std::time::Duration::from_secs(9))
            .unwrap()
            .index;
        let path = "/there".to_owned();
        index.write(Change::Storage { uuid: [7; 16], path }).unwrap();
        index.close().unwrap();
        rig
    }

    fn state(&self) -> PathBuf {
        self.base.path().join("state")
    }

    fn other(&self) -> PathBuf {
        self.base.path().join("other")
    }

    fn tar(&self) -> PathBuf {
        self.base.path().join("backup.tar")
    }

    fn backup(&self) -> Written {
        write(&self.state(), &self.tar(), "1.2.3", NOW).unwrap()
    }
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(below).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_was_kept_comes_back() {
    let rig = Rig::new();
    let written = rig.backup();
    let names: Vec<&str> = written.manifest.files.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(names, ["acme/old/account.json", "own.pem", "tokens.json", INDEX]);
    assert_eq!(fs::metadata(rig.tar()).unwrap().len(), written.bytes);
    let left: Vec<_> = fs::read_dir(rig.base.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "nothing is left beside it: {left:?}");
    let refused = write(&rig.state(), &rig.tar(), "1.2.3", NOW).unwrap_err();
    assert!(matches!(refused, Error::Exists(_)), "{refused}");

    let restored = restore(&rig.other(), &rig.tar(), false).unwrap();
    assert_eq!((restored.manifest, restored.aside), (written.manifest, None));
    let (before, after) = (files(&rig.state()), files(&rig.other()));
    for name in ["acme/old/account.json", "own.pem", "tokens.json"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(after.len(), 5, "with its lock: {:?}", after.keys());
    // What was recorded after the backup has to be looked for.
    let opened = Index::open(&rig.other().join(INDEX), std::time::Duration::from_secs(9)).unwrap();
    assert!(!opened.was_clean && !opened.is_new);
    assert_eq!(opened.index.reader().unwrap().storages().unwrap().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let rights = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights(rig.tar()), 0o600);
        assert_eq!((rights(rig.other()), rights(rig.other().join("acme"))), (0o700, 0o700));
        assert_eq!(
            (rights(rig.other().join("tokens.json")), rights(rig.other().join(INDEX))),
            (0o600, 0o600)
        );
    }
}

/// Others can look into it with what they have.
#[cfg(unix)]
#[test]
fn it_is_an_archive_for_everybody() {
    let rig = Rig::new();
    rig.backup();
    let output = std::process::Command::new("tar")
        .arg("-tf")
        .arg(rig.tar())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(
        listed.lines().any(|line| line == "state/acme/old/account.json"),
        "{listed}"
    );
    assert_eq!(listed.lines().last(), Some(MANIFEST));
}

#[test]
fn a_state_that_is_there_is_put_aside_and_recordings_stay() {
    let rig = Rig::new();
    rig.backup();
    let folder = Folder::open(rig.state()).unwrap();
    folder.write("tokens.json", b"newer").unwrap();
    let refused = restore(&rig.state(), &rig.tar(), false).unwrap_err();
    assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
    assert_eq!(folder.read("tokens.json").unwrap().unwrap(), b"newer");
    let restored = restore(&rig.state(), &rig.tar(), true).unwrap();
    assert_eq!(folder.read("tokens.json").unwrap().unwrap(), b"{\"viewer\":\"secret\"}");
    let aside = files(&restored.aside.unwrap());
    assert_eq!(aside["tokens.json"], b"newer");
    assert!(
        aside.contains_key("acme/old/account.json") && aside.contains_key(INDEX),
        "{:?}",
        aside.keys()
    );
    let now = files(&rig.state());
    assert!(now.contains_key("recordings/door/a.mp4") && now.contains_key("disk/a.mp4"));
    // Once more, and both lie there.
    let again = restore(&rig.state(), &rig.tar(), true).unwrap().aside.unwrap();
    assert!(again.ends_with("before-restore-2"), "{}", again.display());
    // And none of that is in the next backup.
    fs::remove_file(rig.tar()).unwrap();
    assert_eq!(rig.backup().manifest.files.len(), 4);
}

/// However deep recordings lie in what is no folder of theirs by its name: they are not moved away, nor is anything else.
#[test]
fn recordings_in_the_midst_of_a_state_are_not_moved() {
    let rig = Rig::new();
    rig.backup();
    let place = rig.state().join("media/disk-1/recordings");
    fs::create_dir_all(place.join("door")).unwrap();
    fs::write(place.join("door/a.mp4"), "recorded").unwrap();
    fs::write(place.join(MARK), "x").unwrap();
    let before = files(&rig.state());
    let refused = restore(&rig.state(), &rig.tar(), true).unwrap_err();
    let Error::Holds { path, folder, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!((path, folder), (&place, &rig.state().join("media")));
    assert!(refused.to_string().contains("--state-dir"), "{refused}");
    let mut after = files(&rig.state());
    after.remove(IN_USE);
    assert!(after == before, "{:?}", after.keys());
    // Somebody did as told.
    fs::rename(rig.state().join("media"), rig.base.path().join("media")).unwrap();
    restore(&rig.state(), &rig.tar(), true).unwrap();
}

/// What stays where it is has the name of something that is brought back.
#[test]
fn what_stays_is_not_written_over() {
    let rig = Rig::new();
    for (folder, replace) in [(rig.state(), true), (rig.other(), false)] {
        fs::create_dir_all(folder.join("disk")).unwrap();
        fs::write(folder.join("disk").join(MARK), "recorded").unwrap();
        forged(&rig.tar(), &["fine", "disk/x"], |_| {});
        let before = files(&folder);
        let refused = restore(&folder, &rig.tar(), replace).unwrap_err();
        assert!(
            matches!(&refused, Error::InTheWay(path) if *path == folder.join("disk")),
            "{refused}"
        );
        let mut after = files(&folder);
        after.remove(IN_USE);
        assert!(after == before, "{:?}", after.keys());
    }
}

/// Each would hold all before it.
#[test]
fn a_backup_is_not_written_into_what_it_holds() {
    let rig = Rig::new();
    let before = files(&rig.state());
    let mut places = vec![
        rig.state().join("backup.tar"),
        rig.state().join("acme/old/backup.tar"),
        rig.state().join("recordings/backup.tar"),
        rig.state().join("acme/../backup.tar"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(rig.state().join("acme"), rig.base.path().join("link")).unwrap();
        places.push(rig.base.path().join("link/backup.tar"));
    }
    for place in places {
        let refused = write(&rig.state(), &place, "1.2.3", NOW).unwrap_err();
        assert!(
            matches!(refused, Error::Within { .. }),
            "{}: {refused}",
            place.display()
        );
    }
    assert!(files(&rig.state()) == before);
    // Beside it is elsewhere, though it begins alike.
    fs::create_dir(rig.base.path().join("state-backups")).unwrap();
    write(&rig.state(), &rig.base.path().join("state-backups/1.tar"), "1.2.3", NOW).unwrap();
}

/// Recordings alone are no state: a new machine has its disk first.
#[test]
fn a_folder_with_recordings_alone_is_empty() {
    let rig = Rig::new();
    rig.backup();
    fs::create_dir_all(rig.other().join("recordings")).unwrap();
    fs::write(rig.other().join("recordings/.sightline-storage"), "x").unwrap();
    assert_eq!(restore(&rig.other(), &rig.tar(), false).unwrap().aside, None);
    assert!(rig.other().join("recordings/.sightline-storage").exists());
}

#[test]
fn while_a_server_runs_nothing_is_restored() {
    let rig = Rig::new();
    rig.backup();
    let folder = Folder::open(rig.state()).unwrap();
    let (first, second) = (folder.use_it().unwrap(), folder.use_it().unwrap());
    let before = files(&rig.state());
    let refused = restore(&rig.state(), &rig.tar(), true).unwrap_err();
    assert!(matches!(refused, Error::InUse(_)), "{refused}");
    drop(first);
    assert!(matches!(restore(&rig.state(), &rig.tar(), true), Err(Error::InUse(_))));
    drop(second);
    // Who records alone, as an older version does.
    let index = crate::record::lock::Lock::take(&rig.state().join(INDEX), std::time::Duration::ZERO).unwrap();
    assert!(matches!(restore(&rig.state(), &rig.tar(), true), Err(Error::InUse(_))));
    drop(index);
    let mut after = files(&rig.state());
    after.remove("recordings.sqlite.lock");
    assert!(after == before, "{:?}", after.keys());
    restore(&rig.state(), &rig.tar(), true).unwrap();
}

/// Wherever it is cut, and whatever bit turned: it is refused, and the state is as it was.
#[test]
fn a_file_that_is_not_whole_changes_nothing() {
    let rig = Rig::new();
    rig.backup();
    fs::remove_file(rig.state().join("acme/old/account.json")).unwrap();
    let sound = fs::read(rig.tar()).unwrap();
    let before = files(&rig.state());
    let refuse = |bytes: &[u8], what: &dyn std::fmt::Display| {
        fs::write(rig.tar(), bytes).unwrap();
        match restore(&rig.other(), &rig.tar(), false) {
            Err(Error::NotWhole { .. } | Error::Newer { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert!(!rig.other().exists(), "{what}");
    };
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..60 {
        let length = random.usize(0..sound.len() - 1_024);
        refuse(&sound[..length], &length);
    }
    // Of what is summed up, or says what is.
    let contents = {
        let mut file = File::open(rig.base.path().join("backup.tar")).unwrap();
        fs::write(rig.tar(), &sound).unwrap();
        tar::list(&mut file, 100).unwrap()
    };
    for entry in contents.iter().filter(|entry| entry.name != MANIFEST) {
        for at in [entry.at, entry.at + entry.bytes / 2, entry.at + entry.bytes - 1] {
            let mut bytes = sound.clone();
            bytes[at as usize] ^= 1 << random.u8(0..8);
            refuse(&bytes, &format!("{} at {at}", entry.name));
        }
    }
    assert!(files(&rig.state()) == before);
    fs::write(rig.tar(), &sound).unwrap();
    restore(&rig.other(), &rig.tar(), false).unwrap();
}

/// An archive with these files, and a manifest that says so.
fn forged(path: &Path, names: &[&str], change: impl FnOnce(&mut Manifest)) {
    let mut out = tar::Writer::new(File::create(path).unwrap(), NOW);
    let mut manifest = Manifest {
        format: FORMAT,
        version: "9.9.9".to_owned(),
        made: String::new(),
        files: Vec::new(),
    };
    for name in names {
        let mut hashed = Hashed::new(&b"evil"[..]);
        out.entry(&format!("{BELOW}{name}"), 4, &mut hashed).unwrap();
        let sha256 = hashed.digits();
        let path = (*name).to_owned();
        manifest.files.push(Entry { path, bytes: 4, sha256 });
    }
    change(&mut manifest);
    let text = serde_json::to_vec(&manifest).unwrap();
    out.entry(MANIFEST, text.len() as u64, &mut text.as_slice()).unwrap();
    out.finish().unwrap();
}

/// Sums can be made by anybody: no name leads out of the folder, or to what is no state.
#[test]
fn no_name_leads_out() {
    let rig = Rig::new();
    for name in [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "",
        "a//b",
        "./a",
        "a/.",
        "a\\..\\b",
        "c:evil",
        "a\nb",
        "lock",
        "in-use",
        "recordings/a.mp4",
        "recordings.sqlite-wal",
        "recordings.sqlite/x",
        ".restoring/state/x",
        "before-restore-1/x",
        "a/b/c/d/e/f",
        "..",
    ] {
        forged(&rig.tar(), &["fine", name], |_| {});
        let refused = restore(&rig.other(), &rig.tar(), false).unwrap_err();
        assert!(matches!(refused, Error::NotWhole { .. }), "{name:?}: {refused}");
        assert!(
            !rig.other().exists() && !rig.base.path().join("evil").exists(),
            "{name:?}"
        );
    }
    for twice in [["a", "a"], ["a", "A"]] {
        forged(&rig.tar(), &twice, |_| {});
        assert!(restore(&rig.other(), &rig.tar(), false).is_err());
    }
    // A file that is to be a folder too.
    forged(&rig.tar(), &["a", "a/b"], |_| {});
    assert!(restore(&rig.other(), &rig.tar(), false).is_err());
    assert!(!rig.other().join("a").exists() && !rig.other().join(STAGING).exists());
    fs::remove_dir_all(rig.other()).unwrap_or_default();
    // What it says is not what it holds.
    forged(&rig.tar(), &["a", "b"], |manifest| drop(manifest.files.pop()));
    assert!(restore(&rig.other(), &rig.tar(), false).is_err());
    // An index that is none.
    forged(&rig.tar(), &[INDEX], |_| {});
    assert!(matches!(restore(&rig.other(), &rig.tar(), false), Err(Error::Index(_))));
    assert!(!rig.other().exists());
    forged(&rig.tar(), &["fine"], |_| {});
    restore(&rig.other(), &rig.tar(), false).unwrap();
}

#[test]
fn a_newer_format_is_refused_by_its_name() {
    let rig = Rig::new();
    forged(&rig.tar(), &["a"], |manifest| manifest.format = FORMAT + 1);
    let refused = restore(&rig.other(), &rig.tar(), false).unwrap_err().to_string();
    assert!(
        refused.contains("version 9.9.9") && refused.contains("Nothing was changed"),
        "{refused}"
    );
}

/// Laid out and killed then, or before, or while it was put in place: the next start finds the old or the new one, whole.
#[test]
fn a_restore_that_was_interrupted_is_ended_by_the_next_start() {
    let rig = Rig::new();
    rig.backup();
    let folder = Folder::open(rig.state()).unwrap();
    for moved in 0..8 {
        folder.write("tokens.json", b"newer").unwrap();
        let mut backup = Backup::open(&rig.tar()).unwrap();
        let (staging, staged) = (rig.state().join(STAGING), rig.state().join(STAGED));
        lay_out(&staging, &mut backup).unwrap();
        assert!(!finish(&rig.state()).unwrap(), "it counts for nothing yet");
        assert_eq!(folder.read("tokens.json").unwrap().unwrap(), b"newer");
        fs::rename(&staging, &staged).unwrap();
        let aside = rig.state().join(format!("{ASIDE}{}", 50 + moved));
        fs::create_dir(&aside).unwrap();
        let old = ["acme", "own.pem", "tokens.json", INDEX];
        for name in old.iter().take(moved) {
            fs::rename(rig.state().join(name), aside.join(name)).unwrap();
        }
        if moved > old.len() {
            fs::write(staged.join("is-aside"), "").unwrap();
            for name in old.iter().take(moved - old.len()) {
                fs::rename(staged.join("state").join(name), rig.state().join(name)).unwrap();
            }
        }
        assert!(finish(&rig.state()).unwrap(), "{moved}");
        assert_eq!(
            folder.read("tokens.json").unwrap().unwrap(),
            b"{\"viewer\":\"secret\"}",
            "{moved}"
        );
        let now = files(&rig.state());
        for name in ["acme/old/account.json", "own.pem", INDEX, "recordings/door/a.mp4"] {
            assert!(now.contains_key(name), "{moved}: {name}");
        }
        assert!(!staged.exists() && !finish(&rig.state()).unwrap());
    }
    // Each of the states before lies somewhere.
    let kept = files(&rig.state())
        .into_iter()
        .filter(|(name, bytes)| name.ends_with("/tokens.json") && bytes == b"newer");
    assert_eq!(kept.count(), 8);
}

#[test]
fn what_is_no_state_folder_is_said() {
    let base = tempfile::tempdir().unwrap();
    for folder in [base.path().join("nowhere"), base.path().to_owned()] {
        let refused = write(&folder, &base.path().join("x.tar"), "1", NOW).unwrap_err();
        assert!(matches!(refused, Error::Nothing(_)), "{refused}");
    }
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

/// Whatever else lies there is told and left out, and is not followed.
#[cfg(unix)]
#[test]
fn a_link_is_left_out() {
    let rig = Rig::new();
    std::os::unix::fs::symlink("/etc/passwd", rig.state().join("link")).unwrap();
    let written = rig.backup();
    assert_eq!(written.left_out, [PathBuf::from("link")]);
    assert_eq!(written.manifest.files.len(), 4);
}

#[test]
fn a_folder_with_too_much_in_it_is_refused() {
    let rig = Rig::new();
    fs::create_dir_all(rig.state().join("a/b/c/d/e")).unwrap();
    fs::write(rig.state().join("a/b/c/d/e/f"), "").unwrap();
    let refused = write(&rig.state(), &rig.tar(), "1", NOW).unwrap_err();
    assert!(matches!(refused, Error::TooMuch { .. }), "{refused}");
    assert!(!rig.tar().exists());
    fs::remove_dir_all(rig.state().join("a")).unwrap();
    for number in 0..MAX_FILES {
        fs::write(rig.state().join(format!("{number}")), "").unwrap();
    }
    let refused = write(&rig.state(), &rig.tar(), "1", NOW).unwrap_err();
    assert!(matches!(refused, Error::TooMuch { .. }), "{refused}");
}
