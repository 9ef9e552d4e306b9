//! Where snapshots go: a bucket or a folder. Names are those below the folder of the upload.
//!
//! In a folder each file gets its name when all of it is there, so that whoever watches the folder never reads half of one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::mark::Mark;
use super::{lifecycle, name};
use crate::config::upload::S3Place;
use crate::s3::{About, Bucket, Failed, Kind};

const JPEG: &str = "image/jpeg";

/// A place for the snapshots of one upload.
#[derive(Clone)]
pub(super) enum Store {
    Bucket { bucket: Arc<Bucket>, folder: String },
    Folder(Arc<Folder>),
}

/// A folder, and by what it is known.
pub(super) struct Folder {
    root: PathBuf,
    name: String,
    mark: Mark,
}

impl Store {
    pub(super) fn bucket(bucket: Bucket, place: &S3Place, name: &str) -> Self {
        Self::Bucket {
            bucket: Arc::new(bucket),
            folder: place.key(name),
        }
    }

    /// `spool`: where what waits lies, and which folder it is.
    pub(super) fn folder(root: PathBuf, name: String, spool: &Path, random: fn() -> u64) -> Self {
        Self::Folder(Arc::new(Folder {
            mark: Mark::new(&root, spool, random),
            root,
            name,
        }))
    }

    /// Puts the snapshot of a second, in place of one that is there.
    pub(super) async fn put(&self, second: i64, jpeg: Vec<u8>) -> Result<(), Failed> {
        match self {
            Self::Bucket { bucket, folder } => {
                let key = format!("{folder}/{}", name::path(second));
                let put = bucket.put(&key, Bytes::from(jpeg), About::kind(JPEG)).await;
                put.map_err(|failed| match failed.kind {
                    // What was to be put cannot be missing: it is the bucket.
                    Kind::Missing => Failed {
                        kind: Kind::Lasting,
                        ..failed
                    },
                    _ => failed,
                })
            }
            Self::Folder(folder) => folder.work(move |folder| folder.put(second, &jpeg)).await,
        }
    }

    /// The seconds of those that are there, one more than [`lifecycle::MOST`] at the most.
    pub(super) async fn list(&self) -> Result<Vec<i64>, Failed> {
        match self {
            Self::Bucket { bucket, folder } => {
                let mut seconds = Vec::new();
                let within = format!("{folder}/");
                bucket
                    .list(folder, |object| {
                        let second = object.key.strip_prefix(&within).and_then(name::read_path);
                        if seconds.len() <= lifecycle::MOST {
                            seconds.extend(second);
                        }
                    })
                    .await?;
                Ok(seconds)
            }
            Self::Folder(folder) => folder.work(Folder::list).await,
        }
    }

    /// Deletes the snapshot of a second.
    pub(super) async fn delete(&self, second: i64) -> Result<(), Failed> {
        match self {
            Self::Bucket { bucket, folder } => bucket.delete(&format!("{folder}/{}", name::path(second))).await,
            Self::Folder(folder) => folder.work(move |folder| folder.delete(second)).await,
        }
    }
}

impl Folder {
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let folder = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            folder.mark.look()?;
            work(&folder)
        });
        let done = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| Failed {
            kind: Kind::Passing,
            detail: format!("cannot write into {}: {error}", self.root.display()),
        })
    }

    fn put(&self, second: i64, jpeg: &[u8]) -> io::Result<()> {
        let (day, file) = name::of(second);
        let folder = self.root.join(&self.name).join(day);
        fs::create_dir_all(&folder)?;
        let unfinished = folder.join(format!(".{file}.new"));
        let mut opened = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&unfinished)?;
        let written = opened
            .write_all(jpeg)
            .and_then(|()| opened.sync_all())
            .and_then(|()| fs::rename(&unfinished, folder.join(file)));
        if written.is_err() {
            // A full disk is not to be left fuller.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn list(&self) -> io::Result<Vec<i64>> {
        let mut seconds = Vec::new();
        let days = match fs::read_dir(self.root.join(&self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(seconds),
            days => days?,
        };
        for day in days {
            let day = day?;
            let Some(name_of_day) = day.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            // No link is followed to somebody else's files.
            if !day.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(day.path())? {
                let file = file?;
                let path = file.file_name().to_str().map(|file| format!("{name_of_day}/{file}"));
                let second = path.and_then(|path| name::read_path(&path));
                if file.file_type()?.is_file() && seconds.len() <= lifecycle::MOST {
                    seconds.extend(second);
                }
            }
        }
        Ok(seconds)
    }

    fn delete(&self, second: i64) -> io::Result<()> {
        let (day, file) = name::of(second);
        let folder = self.root.join(&self.name).join(day);
        match fs::remove_file(folder.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // As long as something is in it, it stays.
        let _ = fs::remove_dir(&folder);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_has_whole_files_and_only_ours_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let spool = tempfile::tempdir().unwrap();
        let store = Store::folder(root.path().join("made"), "house+door".to_owned(), spool.path(), || 1);
        assert_eq!(store.list().await, Ok(vec![]));
        for second in [1_795_403_100, 1_795_403_110, 1_795_500_000] {
            store.put(second, vec![1, 2, 3]).await.unwrap();
        }
        let folder = root.path().join("made/house+door");
        let file = folder.join("2026-11-23/snapshot_20261123T030500Z.jpg");
        assert_eq!(fs::read(&file).unwrap(), [1, 2, 3]);
        for foreign in [
            "2026-11-23/holiday.jpg",
            "2026-11-23/snapshot_20261124T030500Z.jpg",
            "snapshot_20261123T030500Z.jpg",
        ] {
            fs::write(folder.join(foreign), "mine").unwrap();
        }
        let mut listed = store.list().await.unwrap();
        listed.sort_unstable();
        assert_eq!(listed, [1_795_403_100, 1_795_403_110, 1_795_500_000]);
        for second in listed {
            store.delete(second).await.unwrap();
            store.delete(second).await.unwrap();
        }
        assert!(!folder.join("2026-11-24").exists(), "a day without snapshots goes");
        assert_eq!(fs::read_dir(folder.join("2026-11-23")).unwrap().count(), 2);
        assert!(folder.join("snapshot_20261123T030500Z.jpg").exists());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_told() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let spool = tempfile::tempdir().unwrap();
        let store = Store::folder(root.path().join("file/x"), "door".to_owned(), spool.path(), || 1);
        let failed = store.put(0, vec![]).await.unwrap_err();
        assert!(
            failed.kind == Kind::Passing && failed.detail.starts_with("cannot write into"),
            "{failed}"
        );
    }
}
