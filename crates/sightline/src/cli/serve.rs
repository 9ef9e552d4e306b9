//! `sightline serve`: the server alone, with the cameras of its settings file.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::flags::{FlagSet, SettingFlags};
use super::old::{Old, OldSocket};
use super::{COMMON_FLAGS, ConfigFile, Failure, SERVER_FLAGS, flags, ready};
use crate::serve;

/// Serve streams that others publish, and the cameras of the settings file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// Settings file, the same as --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    #[command(flatten)]
    old: Old,
    #[command(flatten)]
    old_socket: OldSocket,
}

const EXAMPLES: &str = "Examples:
  sightline serve
  sightline serve /etc/sightline/sightline.toml
  sightline serve --rtsp-port 9554 --token secret
  ffmpeg -re -i film.mp4 -c copy -f rtsp rtsp://localhost:8554/film";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[flags::flag("--source", "camera.*.source", "WORD")],
        SERVER_FLAGS,
        COMMON_FLAGS,
    ];
}

impl Serve {
    pub(super) fn run(self, began: Instant) -> Result<(), Failure> {
        let file = self.file.or(self.config.config);
        if let Some(file) = file.as_ref().filter(|file| is_yaml(file)) {
            let name = file.display();
            return Err(Failure::Usage(format!(
                "{name} is YAML, which this version does not read; `sightline config init sightline.toml` writes a file it reads"
            )));
        }
        let ready = ready(file, self.flags.given())?;
        self.old.notice();
        self.old_socket.notice();
        serve::run(&ready.into_program(began, false)?).map_err(Failure::running)
    }
}

fn is_yaml(file: &std::path::Path) -> bool {
    let extension = file
        .extension()
        .and_then(std::ffi::OsStr::to_str)
        .map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("yml" | "yaml"))
}
