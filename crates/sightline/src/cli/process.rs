//! `sightline process`: pictures of finished recordings, for a command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::flags::{FlagSet, SettingFlags};
use super::frames::{Looks, positive};
use super::{COMMON_FLAGS, ConfigFile, Failure, connect, flags, start_log};
use crate::config::units::Span;
use crate::config::{Environment, Wanted};
use crate::frames::IsHeaded;
use crate::frames::command::Template;
use crate::frames::pace::Rate;
use crate::process;

/// Hand pictures of finished recordings to a command, and move each file to processed/ when it has succeeded
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Process {
    /// A folder of recordings: those of `sightline record` and `relay`, MP4 and MPEG-TS of FFmpeg and others
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Time from one picture to the next; 0s: all of them
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Span,
    #[command(flatten)]
    looks: Looks,
    /// Go on, and take files as they are finished, instead of ending when all that are there are done
    #[arg(long)]
    watch: bool,
    /// Put a line in front of each picture, where one run reads them all: JSON, as `sightline frames` has it
    #[arg(long)]
    header: bool,
    /// How long a run of the command may take: for one picture where it is run for each, else for a file
    #[arg(long, value_name = "TIME", default_value = "10min")]
    timeout: Span,
    /// How often a file is tried, before it is moved to failed/
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// A file that does not say by itself that it is finished is taken for it when it has not changed for so long
    #[arg(long, value_name = "TIME", default_value = "10s")]
    settled: Span,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    /// The command. With {}, {time} or {index} among its arguments it is run for each picture ({} is a file that holds it; without {} the picture is on
    /// its standard input); else once for each file, and reads all pictures on its standard input. {segment} is the recording
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "Examples:
  sightline process /mnt/camera1 -- python3 detect.py {} {time}
  sightline process /mnt/camera1 --watch --every 10s --header -- python3 look.py
  sightline process . --width 640 -- sh -c 'cp \"$1\" /srv/\"$2\".jpg' sh {} {time}

A run that ends with 0 has succeeded. A file that fails is tried again after 1 s, then longer, each time from its first picture. The command knows
SEGMENT_FILE from its environment, and where it is run for each picture FRAME_FILE, FRAME_TIME, FRAME_TIME_US, FRAME_CLOCK, FRAME_INDEX, FRAME_WIDTH,
FRAME_HEIGHT and FRAME_FORMAT.
Exit code: 0 done or told to end; 1 a file failed, or needs an FFmpeg that is not there, or the command cannot be started; 2 wrong use.";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[COMMON_FLAGS];
}

impl Process {
    pub(super) fn run(self) -> Result<(), Failure> {
        let template = Template::new(self.command)
            .ok_or_else(|| Failure::Usage("there is no command behind --; say what the pictures are for".to_owned()))?;
        if self.header && template.is_for_each() {
            let message = "--header is for a command that reads all pictures; one that is run for each is told by its environment";
            return Err(Failure::Usage(message.to_owned()));
        }
        let every = self.every.0.as_secs_f64();
        let ready = start_log(Wanted {
            file: self.config.config,
            environment: Environment::of_process(),
            flags: self.flags.given().to_vec(),
            ..Wanted::default()
        })?;
        let program = process::Program {
            folder: self.folder,
            rate: if every > 0.0 {
                Rate::PerSecond(1.0 / every)
            } else {
                Rate::All
            },
            form: self.looks.form(),
            header: IsHeaded(self.header),
            template,
            watches: self.watch,
            settled: self.settled.0,
            timeout: positive(self.timeout, "--timeout")?,
            attempts: self.attempts,
            clock: Arc::clone(&ready.clock),
            console: Arc::clone(&ready.log.console),
        };
        let runtime = connect::runtime()?;
        let done = process::run(&program, &runtime).map_err(|error| match error.is_by_use() {
            true => Failure::Usage(error.to_string()),
            false => Failure::running(error),
        });
        runtime.shutdown_background();
        done
    }
}
