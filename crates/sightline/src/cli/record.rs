//! `sightline record`: one camera into recordings, as `sightline relay` with `STREAM_MODE=record` does it.

use clap::Args;

use super::flags::{FlagSet, SettingFlags, flag};
use super::{COMMON_FLAGS, ConfigFile, Failure, connect, flags, relay, start_log};
use crate::config::units::Name;
use crate::config::{self, Environment, Wanted, load, settings};
use crate::relay::plan;
use crate::relay::words::with_login;

/// Record a camera: segment_YYYYMMDD_HHMMSS.mp4, one file after the other
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Record {
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    #[command(flatten)]
    config: ConfigFile,
}

const EXAMPLES: &str = "Examples:
  sightline record --rtsp-url rtsp://admin:password@10.0.0.4/h264 --output-dir .
  sightline record --rtsp-url rtsp://localhost:8554/zerolatency \\
    --output-dir /mnt/storage/camera1 --segment-time 60 --retention 7d";

const SOURCE: &str = "relay.*.source";
const FOLDER: &str = "relay.*.record_dir";
/// The table that the flags mean.
const NAME: &str = "camera";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[
            flag("--rtsp-url", SOURCE, "URL"),
            flag("--output-dir", FOLDER, "DIR"),
            flag("--segment-time", "relay.*.segment", "SECONDS"),
            flag("--retention", "relay.*.retention", "TIME"),
            flag("--transport", "relay.*.source_transport", "WORD"),
            connect::fingerprint_flag("relay.*.source_fingerprint"),
            connect::TOKEN_FLAG,
        ],
        COMMON_FLAGS,
    ];
}

impl Record {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut wanted = Wanted {
            file: self.config.config,
            environment: Environment::of_process(),
            flags: self.flags.given().to_vec(),
            camera: NAME.parse().ok(),
            ..Wanted::default()
        };
        show_token(&mut wanted)?;
        let ready = start_log(wanted)?;
        let name = Name(ready.loaded.camera_name());
        let all = ready.loaded.settings.relay.get(&name).cloned().unwrap_or_default();
        for (flag, is_set) in [
            ("--rtsp-url", all.source.is_some()),
            ("--output-dir", all.record_dir.is_some()),
        ] {
            if !is_set {
                return Err(Failure::Usage(format!(
                    "{flag} is missing; `sightline record --help` shows examples"
                )));
            }
        }
        let only = settings::Relay {
            republish: Vec::new(),
            hls_dir: None,
            ..all
        };
        let mut settings = config::Settings::default();
        settings.relay.insert(name, only);
        let cameras = plan::cameras(&settings).map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
        relay::run(cameras, &ready)
    }
}

/// A token is shown to a server whose URL names no user.
fn show_token(wanted: &mut Wanted) -> Result<(), Failure> {
    let Some(token) = load(wanted)?.settings.auth.token else {
        return Ok(());
    };
    for flag in wanted.flags.iter_mut().filter(|flag| flag.key == SOURCE) {
        flag.value = with_login(&flag.value, "viewer", token.expose());
    }
    Ok(())
}
