//! Folders that are written into: there, and nobody else's.

use std::fs::{self, File, TryLockError};
use std::io;

use super::plan::Output;

/// Why a folder cannot be used. The text begins with the setting that names it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not there and cannot be made, or nothing can be written into it.
    #[error("{}: cannot write into {}: {error}; name a folder that this user may write into", output.setting, output.folder.display())]
    Io {
        /// Which.
        output: Output,
        /// What the system says.
        error: io::Error,
    },
    /// Another process writes there, and each would take the other's files away.
    #[error("{}: another relay writes into {}; end it, or name another folder", .0.setting, .0.folder.display())]
    Taken(Output),
}

impl Unusable {
    /// Whether another setting is needed: with this one it will be the same each time. Else it may be gone by the next start, as a full disk, one that is not
    /// there yet, and another relay that is just ending are.
    pub fn is_by_settings(&self) -> bool {
        use io::ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, PermissionDenied};
        match self {
            Self::Io { error, .. } => {
                let lasting = [AlreadyExists, InvalidInput, NotADirectory, PermissionDenied];
                lasting.contains(&error.kind())
            }
            Self::Taken(_) => false,
        }
    }
}

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    _lock: Option<File>,
}

/// Makes the folder, and keeps other relays out.
pub(super) fn hold(output: &Output) -> Result<Held, Unusable> {
    let unusable = |error| Unusable::Io {
        output: output.clone(),
        error,
    };
    fs::create_dir_all(&output.folder).map_err(unusable)?;
    probe(output).map_err(unusable)?;
    // Folders cannot be opened everywhere, nor locked; then nobody is kept out.
    let Ok(folder) = File::open(&output.folder) else {
        return Ok(Held { _lock: None });
    };
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Unusable::Taken(output.clone())),
        locked => Ok(Held {
            _lock: locked.is_ok().then_some(folder),
        }),
    }
}

/// Whether a file can be made there.
fn probe(output: &Output) -> io::Result<()> {
    let file = output.folder.join(format!(".sightline.{}", std::process::id()));
    File::create(&file)?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn output(folder: &std::path::Path) -> Output {
        Output {
            folder: folder.to_owned(),
            setting: "OUTPUT_DIR".to_owned(),
            segment: Duration::from_secs(4),
            retention: None,
        }
    }

    #[test]
    fn a_folder_is_made_and_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(&folder.path().join("a/b"));
        let held = hold(&output).unwrap();
        let taken = hold(&output).unwrap_err();
        assert!(
            matches!(taken, Unusable::Taken(_)) && taken.to_string().starts_with("OUTPUT_DIR: another relay"),
            "{taken}"
        );
        assert!(!taken.is_by_settings(), "the other one may end");
        drop(held);
        hold(&output).unwrap();
        assert_eq!(
            fs::read_dir(&output.folder).unwrap().count(),
            0,
            "nothing is left there"
        );
    }

    #[test]
    fn what_is_no_folder_is_told_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let unusable = hold(&output(&file.join("x"))).unwrap_err();
        let text = unusable.to_string();
        assert!(text.starts_with("OUTPUT_DIR: cannot write into"), "{text}");
        assert!(unusable.is_by_settings());
        for (kind, is_by_settings) in [
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::StorageFull, false),
            (io::ErrorKind::Other, false),
        ] {
            let unusable = Unusable::Io {
                output: output(&file),
                error: kind.into(),
            };
            assert_eq!(unusable.is_by_settings(), is_by_settings, "{kind}");
        }
    }
}
