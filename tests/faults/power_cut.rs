//! The power goes: what was answered is there.
//!
//! The file system lies in a file by way of a loop device. What it has not written is in memory alone; so a copy of that file is what a power cut leaves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sightline::record::index::{Index, MAX_TIME_90K, Opened, Protected, ProtectedId};

use super::system;

/// A mounted image, unmounted with its value.
struct Disk {
    image: PathBuf,
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(image: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The journal is not written by itself while the test looks.
        system(
            "mount",
            &format!("-o loop,commit=300 {} {}", image.display(), folder.path().display()),
        );
        Self { image, folder }
    }

    /// An empty one.
    fn make(image: PathBuf) -> Self {
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        system("mkfs.ext4", &format!("-q -F {}", image.display()));
        Self::mount(image)
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("recordings.db")
    }

    /// What is left when the power goes now.
    fn cut(&self) -> Self {
        let left = self.image.with_extension("cut");
        std::fs::copy(&self.image, &left).unwrap();
        Self::mount(left)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn open(path: &Path) -> Opened {
    Index::open(path, Duration::from_secs(3_600)).unwrap()
}

fn protected(disk: &Disk) -> Vec<ProtectedId> {
    let opened = open(&disk.index());
    assert!(opened.aside.is_none());
    let told = opened.index.reader().unwrap().protected(None, None).unwrap().items;
    told.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_protection_that_was_answered_holds() {
    let images = tempfile::tempdir().unwrap();
    let disk = Disk::make(images.path().join("disk"));
    let index = open(&disk.index()).index;
    let protect = |from_90k| {
        let protected = Protected {
            camera: "door".parse().unwrap(),
            range_90k: from_90k..MAX_TIME_90K,
            why: "a visitor".to_owned(),
        };
        index.protect(protected).unwrap()
    };
    let first = protect(1);
    assert_eq!(protected(&disk.cut()), [first]);
    let second = protect(2);
    assert_eq!(protected(&disk.cut()), [first, second]);
    assert!(index.release(first).unwrap());
    assert_eq!(protected(&disk.cut()), [second]);
}

/// The last end was in order; then it was in use. Nobody may believe that end any more, even where nothing else was written.
#[test]
fn what_was_in_use_was_not_closed_in_order() {
    let images = tempfile::tempdir().unwrap();
    let disk = Disk::make(images.path().join("disk"));
    open(&disk.index()).index.close().unwrap();
    let in_use = open(&disk.index());
    assert!(in_use.was_clean);
    assert!(!open(&disk.cut().index()).was_clean);
    in_use.index.close().unwrap();
    assert!(open(&disk.cut().index()).was_clean);
}
