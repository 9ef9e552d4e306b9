//! `sightline relay`: cameras sent on, written as HLS, recorded.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::flags::{FlagSet, SettingFlags};
use super::{COMMON_FLAGS, ConfigFile, EnvFile, Failure, Ready, connect, flags, start_log};
use crate::config::Wanted;
use crate::machine;
use crate::relay::{self, Camera, Program, plan, words};

/// Relay cameras: to another server, as HLS for any web server, into recordings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Relay {
    #[command(flatten)]
    env_file: EnvFile,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
}

const EXAMPLES: &str = "Examples:
  sightline relay                       what .env says
  sightline relay --env-file door.env
  sightline relay --config relay.toml   the cameras of its tables [relay.NAME]
  STREAM_MODE=hls OUTPUT_DIR=/srv/www/door sightline relay

Words of .env:
  CAMERA_IP=192.168.1.141
  CAMERA_USERNAME=admin  CAMERA_PASSWORD=…   any characters; none: asked without
  CAMERA_PATH=h264Preview_01_main            left out: it is looked for
  CAMERA_RTSP_URL=rtsp://…                   in place of CAMERA_IP and CAMERA_PATH
  STREAM_MODE=republish                      with OUTPUT_RTSP_URL=rtsp://… (whip://…)
  STREAM_MODE=hls                            with OUTPUT_DIR, SEGMENT_TIME=4
  STREAM_MODE=record                         with OUTPUT_DIR, SEGMENT_TIME=60
  RETENTION=6h                               files older than this are removed

A relay of several cameras, or of several modes, has tables in a settings file:
  [relay.door]
  source = \"rtsp://admin:password@192.168.1.141/h264Preview_01_main\"
  republish = [\"rtsp://server:8554/door\"]
  hls_dir = \"/srv/www/door\"
  record_dir = \"/mnt/storage/door\"";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[&[connect::TOKEN_FLAG], COMMON_FLAGS];
}

impl Relay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = self.env_file.environment()?;
        let is_named = self.config.config.is_some();
        let ready = start_log(Wanted {
            file: self.config.config,
            environment,
            flags: self.flags.given().to_vec(),
            ..Wanted::default()
        })?;
        let cameras = cameras(&ready, is_named)?;
        run(cameras, &ready)
    }
}

/// Those of the settings file where one is named, else the one of `.env`, else those of the settings file that was found.
fn cameras(ready: &Ready, is_named: bool) -> Result<Vec<Camera>, Failure> {
    let settings = &ready.loaded.settings;
    let by_words = match is_named {
        true => None,
        false => words::camera(&ready.environment, settings.auth.token.as_ref()),
    };
    let is_by_words = by_words.is_some();
    let cameras = match by_words {
        Some(camera) => camera.map(|camera| vec![camera]),
        None => plan::cameras(settings).map(|cameras| match &settings.auth.token {
            Some(token) => plan::shown_to_servers(cameras, token),
            None => cameras,
        }),
    };
    let cameras = cameras.map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
    if is_by_words && !settings.relay.is_empty() {
        let file = ready.loaded.file.as_deref().unwrap_or(Path::new("")).display();
        tracing::warn!(%file, "tables [relay.NAME] are left out, since .env or the environment names a camera; name the file with --config to relay those");
    }
    if cameras.is_empty() {
        let message = "there is nothing to relay: set CAMERA_IP, STREAM_MODE and where it goes in .env, or write [relay.NAME] into a settings file; `sightline relay --help` shows both";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(cameras)
}

/// Relays until a signal comes.
pub(super) fn run(cameras: Vec<Camera>, ready: &Ready) -> Result<(), Failure> {
    let program = Program {
        cameras,
        limits: ready.loaded.settings.limits.for_hub(machine::memory_share()),
        clock: Arc::clone(&ready.clock),
        console: Arc::clone(&ready.log.console),
    };
    let runtime = connect::runtime()?;
    let done = relay::run(&program, &runtime).map_err(|error| match error {
        relay::Error::Folder(error) if error.is_by_settings() => Failure::Usage(error.to_string()),
        error => Failure::running(error),
    });
    runtime.shutdown_background();
    done
}
