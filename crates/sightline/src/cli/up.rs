//! `sightline up`: everything in one, with a camera.

use std::time::Instant;

use clap::Args;

use super::flags::{FlagSet, SettingFlags};
use super::old::{Old, OldSocket};
use super::{CAMERA_FLAGS, COMMON_FLAGS, ConfigFile, Failure, LOW_FLAG, SERVER_FLAGS, flags, ready};
use crate::serve;

/// Find a camera, serve its picture, and print the URLs to watch it with
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Up {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    pub(super) flags: SettingFlags<Flags>,
    #[command(flatten)]
    old: Old,
    #[command(flatten)]
    old_socket: OldSocket,
}

const EXAMPLES: &str = "Examples:
  sightline up
  sightline up --source test --size 1280x720 --fps 60 --bitrate 4M
  sightline up --source v4l2:/dev/video0 --no-overlay
  sightline up --record                a week of it on the disk, found by time
  sightline up --open                  no credentials, for a network of friends
  sightline up --token secret --log json";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[CAMERA_FLAGS, &[LOW_FLAG], SERVER_FLAGS, COMMON_FLAGS];
}

impl Up {
    pub(super) fn run(self, began: Instant) -> Result<(), Failure> {
        serve::restart::in_turn(
            |predecessor| {
                let ready = ready(self.config.config, self.flags.given())?;
                self.old.notice();
                self.old_socket.notice();
                serve::run(&ready.into_program(began, true)?, predecessor).map_err(Failure::running)
            },
            Failure::Running,
        )
    }
}
