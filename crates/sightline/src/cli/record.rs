//! `sightline record`: one camera into recordings, as `sightline relay` with `STREAM_MODE=record` does it; and what is asked of recordings that a server made.

mod check;

use clap::{Args, Subcommand};

use super::flags::{FlagSet, SettingFlags, flag};
use super::{COMMON_FLAGS, ConfigFile, Failure, connect, flags, relay, start_log};
use crate::config::units::Name;
use crate::config::{self, Environment, Loaded, Origin, Wanted, settings};
use crate::relay::plan;

/// Record a camera: segment_YYYYMMDD_HHMMSS.mp4, one file after the other
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Record {
    #[command(subcommand)]
    command: Option<RecordCommand>,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    #[command(flatten)]
    config: ConfigFile,
}

const EXAMPLES: &str = "Examples:
  sightline record --rtsp-url rtsp://admin:password@10.0.0.4/h264 --output-dir .
  sightline record --rtsp-url rtsp://localhost:8554/zerolatency \\
    --output-dir /mnt/storage/camera1 --segment-time 60 --retention 7d
  sightline record check              compare a server's recordings and index";

#[derive(Debug, Subcommand)]
enum RecordCommand {
    Check(check::Check),
}

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
        if let Some(RecordCommand::Check(check)) = self.command {
            return check.run();
        }
        let ready = start_log(Wanted {
            file: self.config.config,
            environment: Environment::of_process(),
            flags: self.flags.given().to_vec(),
            camera: NAME.parse().ok(),
            ..Wanted::default()
        })?;
        let name = Name(ready.loaded.camera_name());
        let all = given(&ready.loaded, &name);
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
        let mut settings = config::Settings::default();
        settings.relay.insert(name, all);
        let cameras = plan::cameras(&settings).map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
        relay::run(cameras, &ready)
    }
}

/// What flags and variables say. A table of a settings file that happens to have this name is another camera's: its `retention` would remove files.
fn given(loaded: &Loaded, name: &Name) -> settings::Relay {
    let table = loaded.settings.relay.get(name).cloned().unwrap_or_default();
    let is_given = |key: &str| {
        let origin = loaded.origin(&format!("relay.{}.{key}", name.0));
        origin.is_some_and(|origin| !matches!(origin, Origin::File { .. }))
    };
    let token = loaded.settings.auth.token.as_ref();
    let mut source = table.source.filter(|_| is_given("source"));
    if let (Some(list), Some(token)) = (&mut source, token) {
        let shown = list.0.drain(..).map(|source| plan::source_with(source, token));
        list.0 = shown.collect();
    }
    settings::Relay {
        source,
        source_transport: if is_given("source_transport") {
            table.source_transport
        } else {
            settings::Transport::default()
        },
        source_fingerprint: table.source_fingerprint.filter(|_| is_given("source_fingerprint")),
        record_dir: table.record_dir.filter(|_| is_given("record_dir")),
        segment: table.segment.filter(|_| is_given("segment")),
        retention: table.retention.filter(|_| is_given("retention")),
        ..settings::Relay::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flag, load};

    #[test]
    fn a_table_that_happens_to_be_there_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sightline.toml");
        let text = "[relay.camera]\nsource = \"rtsp://10.0.0.4/1\"\nrecord_dir = \"/there\"\nretention = \"1h\"\nsource_transport = \"udp\"\n";
        std::fs::write(&file, text).unwrap();
        let flag = |flag, key, value: &str| Flag {
            flag,
            key,
            value: value.to_owned(),
        };
        let mut wanted = Wanted {
            file: Some(file),
            environment: Environment::of([
                ("SIGHTLINE_RELAY_CAMERA_SEGMENT", "5"),
                ("SIGHTLINE_TOKEN", "t0ken of the camera"),
            ]),
            flags: vec![flag("--output-dir", FOLDER, "/here")],
            camera: NAME.parse().ok(),
            ..Wanted::default()
        };
        let name = Name(NAME.parse().unwrap());
        let relay = given(&load(&wanted).unwrap(), &name);
        assert_eq!((relay.source, relay.retention), (None, None));
        assert_eq!(relay.source_transport, settings::Transport::default());
        assert_eq!(
            relay.record_dir.as_deref().and_then(|folder| folder.to_str()),
            Some("/here")
        );
        assert_eq!(relay.segment.map(|time| time.0.as_secs()), Some(5));
        wanted.flags.push(flag("--rtsp-url", SOURCE, "rtsp://10.0.0.5/2"));
        let source = given(&load(&wanted).unwrap(), &name).source.unwrap();
        let Ok(crate::config::stream_source::Place::Rtsp(url)) = source.0[0].filled(None) else {
            panic!("{source:?}")
        };
        assert_eq!(
            (url.host.as_str(), url.password.as_deref()),
            ("10.0.0.5", Some("t0ken of the camera"))
        );
    }
}
