//! Which processes have a device open.
//!
//! Belongs here: reading `/proc`. Does not belong here: words around the answer.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that has the device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: u32,
    /// What the kernel calls it, at most 15 bytes: `guvcview`.
    pub command: String,
}

/// Who has a device open, as far as we may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    pub seen: Vec<Holder>,
    /// Processes of other users whose open files we may not look at.
    pub hidden: usize,
}

impl Holders {
    /// Looks through every process. A few milliseconds with hundreds of them: for messages, not for every frame.
    pub(super) fn of(device: &Path) -> Self {
        fs::metadata(device).map_or_else(
            |_| Self::default(),
            |metadata| Self::of_number(metadata.rdev(), Path::new("/proc")),
        )
    }

    fn of_number(number: u64, proc: &Path) -> Self {
        let mut holders = Self::default();
        let Ok(processes) = fs::read_dir(proc) else {
            return holders;
        };
        for process in processes.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            match fs::read_dir(process.path().join("fd")) {
                Ok(files) => {
                    let holds =
                        |file: fs::DirEntry| fs::metadata(file.path()).is_ok_and(|open| is_device(&open, number));
                    if files.flatten().any(holds) {
                        let command = fs::read(process.path().join("comm")).unwrap_or_default();
                        holders.seen.push(Holder {
                            pid,
                            command: String::from_utf8_lossy(&command).trim().to_owned(),
                        });
                    }
                }
                // Gone meanwhile is not hidden.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => holders.hidden += 1,
                Err(_) => {}
            }
        }
        holders.seen.sort_by_key(|holder| holder.pid);
        holders
    }
}

fn is_device(open: &fs::Metadata, number: u64) -> bool {
    use std::os::unix::fs::FileTypeExt;
    open.file_type().is_char_device() && open.rdev() == number
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, holder) in self.seen.iter().enumerate() {
            let command = if holder.command.is_empty() {
                "a program"
            } else {
                &holder.command
            };
            write!(
                f,
                "{}{command} (process {})",
                if n == 0 { "used by " } else { ", " },
                holder.pid
            )?;
        }
        match (self.seen.len(), self.hidden) {
            (0, 0) => f.write_str("used by something that is not a process here, such as another container"),
            (0, _) => f.write_str("used by another user's process, which only root can see"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn finds_ourselves() {
        // A character device that is there on every Linux, opened for as long as the test looks.
        let open = fs::File::open("/dev/zero").unwrap();
        let holders = Holders::of(Path::new("/dev/zero"));
        let me = holders.seen.iter().find(|holder| holder.pid == process::id()).unwrap();
        assert!(!me.command.is_empty());
        assert!(holders.to_string().contains(&format!("(process {})", process::id())));
        drop(open);
    }

    #[test]
    fn a_file_is_not_a_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Holders::of(file.path()).seen, []);
        assert_eq!(Holders::of(Path::new("/dev/no-such-camera")), Holders::default());
    }

    #[test]
    fn says_who() {
        let holder = |pid, command: &str| Holder {
            pid,
            command: command.to_owned(),
        };
        let holders = |seen, hidden| Holders { seen, hidden }.to_string();
        assert_eq!(
            holders(vec![holder(7, "guvcview"), holder(9, "")], 3),
            "used by guvcview (process 7), a program (process 9)"
        );
        assert!(holders(vec![], 0).contains("container"));
        assert!(holders(vec![], 5).contains("only root"));
    }
}
