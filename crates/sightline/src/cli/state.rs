//! `sightline state`: the state folder in one file, and back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use media::Clock as _;

use super::{Failure, StateFolder, print};
use crate::clock::SystemClock;
use crate::state::backup::{self, Error};

/// Back up and restore what a server keeps: tokens, certificates, the index of recordings
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct State {
    #[command(subcommand)]
    command: StateCommand,
}

const EXAMPLES: &str = "Examples:
  sightline state backup /backup/sightline-$(date +%F).tar
  sightline state restore /backup/sightline-2026-11-23.tar";

const BACKUP_EXAMPLES: &str = "Examples:
  sightline state backup /backup/sightline-$(date +%F).tar
  sudo sightline state backup --state-dir /var/lib/sightline sightline.tar

The file holds tokens and private keys in the clear and is readable by its owner
alone. Recordings are not in it, nor are settings that lie elsewhere (/etc).";

const RESTORE_EXAMPLES: &str = "Examples:
  sightline state restore sightline.tar
  sudo sightline state restore --state-dir /var/lib/sightline sightline.tar
  sightline state restore --replace sightline.tar

No server may run. All of the file is checked before anything is changed.";

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Write all that the state folder holds, but for recordings, into one file; a server may be running
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup {
        /// Where to; an existing file is never overwritten
        file: PathBuf,
        #[command(flatten)]
        folder: StateFolder,
    },
    /// Bring a backup back
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// What `sightline state backup` wrote
        file: PathBuf,
        #[command(flatten)]
        folder: StateFolder,
        /// Put aside the state that is there, into a folder before-restore-N in it; nothing of it is deleted
        #[arg(long)]
        replace: bool,
    },
}

impl State {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            StateCommand::Backup { file, folder } => write(&file, folder),
            StateCommand::Restore { file, folder, replace } => restore(&file, folder, replace),
        }
    }
}

fn write(file: &std::path::Path, folder: StateFolder) -> Result<(), Failure> {
    let (_, folder) = folder.find()?;
    let written = backup::write(&folder, file, env!("CARGO_PKG_VERSION"), SystemClock.wall()).map_err(failure)?;
    let mut text = format!(
        "{} holds {} files of {} ({} bytes). It is readable by its owner alone: tokens and private keys stand in it in the clear.\n",
        file.display(),
        written.manifest.files.len(),
        folder.display(),
        written.bytes
    );
    for path in &written.left_out {
        text.push_str(&format!(
            "Left out, as it is neither a file nor a folder: {}\n",
            path.display()
        ));
    }
    print(&text)
}

fn restore(file: &std::path::Path, folder: StateFolder, replace: bool) -> Result<(), Failure> {
    let (_, folder) = folder.find()?;
    let restored = backup::restore(&folder, file, replace).map_err(failure)?;
    let mut text = format!(
        "{} holds the state of {} again, {} files.\n",
        folder.display(),
        restored.manifest.made,
        restored.manifest.files.len()
    );
    if let Some(aside) = &restored.aside {
        text.push_str(&format!(
            "What was there lies in {}; remove it when all is well.\n",
            aside.display()
        ));
    }
    text.push_str(
        "Start the server: it takes recordings that are newer than the backup into its index.\n\
         `sightline record check --repair`, before that, also removes rows of recordings that were deleted since.\n",
    );
    print(&text)
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Exists(_)
        | Error::NotEmpty { .. }
        | Error::Nothing(_)
        | Error::Within { .. }
        | Error::Holds { .. }
        | Error::InTheWay(_) => Failure::Usage(error.to_string()),
        error => Failure::running(error),
    }
}
