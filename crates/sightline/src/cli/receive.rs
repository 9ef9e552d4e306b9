//! `sightline receive`: measure, show or save a stream.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::flags::{FlagSet, SettingFlags, flag, switch};
use super::{COMMON_FLAGS, ConfigFile, Failure, Ready, connect, flags, ready};
use crate::config::settings::DisplayMode;
use crate::receive::{self, Mode, Options};
use crate::secret::Secret;
use crate::shutdown;

/// Measure, show or save a stream, with the latency of its pictures
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Receive {
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    #[command(flatten)]
    config: ConfigFile,
}

const EXAMPLES: &str = "Examples:
  sightline receive rtsp://192.168.1.5:8554/zerolatency
  sightline receive --display-mode display
  sightline receive rtsp://host:8554/door --display-mode save --output door.mp4
  sightline receive --test-connection";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[
            flag("URL", "receive.url", "URL"),
            flag("--rtsp-url", "receive.url", "URL"),
            flag("--display-mode", "receive.display_mode", "MODE"),
            flag("--output", "receive.output", "FILE"),
            flag("--transport", "receive.transport", "WORD"),
            connect::fingerprint_flag("receive.fingerprint"),
            switch("--test-connection", "receive.test_connection", "true"),
            flag("--seconds", "receive.seconds", "SECONDS"),
            switch("--json", "receive.json", "true"),
            connect::TOKEN_FLAG,
        ],
        COMMON_FLAGS,
    ];
}

impl Receive {
    pub(super) fn run(self) -> Result<(), Failure> {
        let ready = ready(self.config.config, self.flags.given())?;
        let options = options(&ready)?;
        let runtime = connect::runtime()?;
        let done = if ready.loaded.settings.receive.test_connection {
            test_connection(&options, &runtime)
        } else {
            receive::run(&options, &runtime).map_err(|error| match error {
                receive::Error::Exists(_) => Failure::Usage(error.to_string()),
                error => Failure::running(error),
            })
        };
        runtime.shutdown_background();
        done
    }
}

fn options(ready: &Ready) -> Result<Options, Failure> {
    let settings = &ready.loaded.settings.receive;
    let url = connect::url(settings.url.as_ref(), None, &ready.environment)?;
    let token = ready.loaded.settings.auth.token.as_ref().map(Secret::expose);
    let zone = crate::clock::zone();
    match &settings.output {
        Some(path) if path.as_os_str().is_empty() => {
            return Err(Failure::Usage(
                "receive.output is empty; name a file, or leave it out".to_owned(),
            ));
        }
        Some(path) if settings.display_mode != DisplayMode::Save && !settings.test_connection => {
            let file = path.display();
            tracing::warn!("nothing is written to {file}: that takes --display-mode save");
        }
        Some(path) if settings.display_mode == DisplayMode::Save && !is_named_as_mp4(path) => {
            let (file, mp4) = (path.display(), path.with_extension("mp4"));
            let mp4 = mp4.display();
            return Err(Failure::Usage(format!(
                "{file} would be written as MP4; name it so: --output {mp4}"
            )));
        }
        _ => {}
    }
    let mode = match settings.display_mode {
        DisplayMode::Headless => Mode::Headless,
        DisplayMode::Display => Mode::Display,
        DisplayMode::Save => Mode::Save(
            settings
                .output
                .clone()
                .unwrap_or_else(|| receive::default_file_name(ready.clock.as_ref(), &zone)),
        ),
    };
    let certificate = connect::Named {
        fingerprint: settings.fingerprint,
        setting: "receive.fingerprint",
    };
    Ok(Options {
        client: connect::settings(
            &url,
            token,
            "viewer",
            settings.transport.for_client(),
            &certificate,
            Arc::clone(&ready.clock),
        ),
        url,
        mode,
        duration: settings.seconds.map(Duration::from_secs_f64),
        json: settings.json,
        utc_offset_seconds: zone
            .to_offset(jiff::Timestamp::from_microsecond(ready.clock.wall().unix_micros()).unwrap_or_default())
            .seconds(),
    })
}

/// Without an ending it may be a pipe or a device.
fn is_named_as_mp4(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_none_or(|ending| ending == "mp4" || ending == "m4v")
}

fn test_connection(options: &Options, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let found = runtime.block_on(shutdown::run(|shutdown| async move {
        tokio::select! {
            found = receive::test_connection(options) => found.map(Some),
            () = shutdown.requested() => Ok(None),
        }
    }));
    let found = match found.map_err(Failure::running)? {
        shutdown::End::Done(found) => found.map_err(Failure::running)?,
        shutdown::End::Abandoned => None,
    };
    let Some(found) = found else {
        return Ok(());
    };
    let text = if options.json {
        serde_json::to_string(&found).map_err(Failure::running)?
    } else {
        found.to_string()
    };
    // Nobody reads it: the exit code tells.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}
