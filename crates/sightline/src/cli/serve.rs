//! `sightline serve`: the server alone, with the cameras of its settings file.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::flags::{FlagSet, SettingFlags};
use super::old::{Old, OldSocket};
use super::{COMMON_FLAGS, ConfigFile, Failure, LOW_FLAG, SERVER_FLAGS, flags, ready};
use crate::serve;

/// Serve streams that others publish, and the cameras of the settings file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// Settings file, the same as --config; or MediaMTX's own, mediamtx.yml
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
  sightline serve mediamtx.yml
  sightline serve --rtsp-port 9554 --token secret
  ffmpeg -re -i film.mp4 -c copy -f rtsp rtsp://localhost:8554/film";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[flags::flag("--source", "camera.*.source", "WORD"), LOW_FLAG],
        SERVER_FLAGS,
        COMMON_FLAGS,
    ];
}

impl Serve {
    pub(super) fn run(self, began: Instant) -> Result<(), Failure> {
        let file = self.file.or(self.config.config);
        serve::restart::in_turn(
            |predecessor| {
                let ready = ready(file, self.flags.given())?;
                self.old.notice();
                self.old_socket.notice();
                serve::run(&ready.into_program(began, false)?, predecessor).map_err(Failure::running)
            },
            Failure::Running,
        )
    }
}
