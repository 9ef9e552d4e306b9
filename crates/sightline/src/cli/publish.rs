//! `sightline publish`: a camera of this machine to another server.

use std::sync::Arc;

use clap::Args;
use media::StreamName;
use media::name::InvalidName;
use protocol::rtsp::url::Target;

use super::flags::{FlagSet, SettingFlags, flag, switch};
use super::old::Old;
use super::{CAMERA_FLAGS, COMMON_FLAGS, ConfigFile, Failure, connect, flags, start_log};
use crate::config::{Environment, Loaded, Wanted, load};
use crate::motion;
use crate::publish::{self, Plan, Program};
use crate::rtsp::client::Url;
use crate::secret::Secret;

/// Send a camera of this machine to another RTSP server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    old: Old,
}

const EXAMPLES: &str = "Examples:
  sightline publish rtsp://192.168.1.5:8554/zerolatency
  sightline publish rtsp://publisher:TOKEN@host:8554/door --source libcamera
  sightline publish --preview          with a window; q in it ends the publisher
  sightline publish --name garden --size 1280x720 --fps 25 --token TOKEN";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[
            flag("URL", "publish.url", "URL"),
            flag("--rtsp-url", "publish.url", "URL"),
            flag("--name", "publish.name", "NAME"),
            flag("--transport", "publish.transport", "WORD"),
            connect::fingerprint_flag("publish.fingerprint"),
            flag("--ws-url", "publish.ws_url", "URL"),
            switch("--preview", "publish.preview", "true"),
            connect::TOKEN_FLAG,
        ],
        CAMERA_FLAGS,
        COMMON_FLAGS,
    ];
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut wanted = Wanted {
            file: self.config.config,
            environment: Environment::of_process(),
            flags: self.flags.given().to_vec(),
            ..Wanted::default()
        };
        // Which camera the flags mean is itself a setting.
        wanted.camera = Some(stream(&load(&wanted)?));
        let ready = start_log(wanted)?;
        self.old.notice();
        let settings = &ready.loaded.settings;
        let stream = ready.loaded.camera_name();
        let url = connect::url(settings.publish.url.as_ref(), Some(&stream), &ready.environment)?;
        let url = connect::named(url, &stream);
        check_path(&url)?;
        let token = settings.auth.token.as_ref().map(Secret::expose);
        let transport = settings.publish.transport.for_client();
        let certificate = connect::Named {
            fingerprint: settings.publish.fingerprint,
            setting: "publish.fingerprint",
        };
        let report = {
            let of_this_machine = || connect::local_token(settings, &ready.environment);
            connect::status_target(settings, &url, &ready.environment, of_this_machine)?
        };
        let program = Program {
            camera: ready.loaded.camera(),
            motion: motion::of_settings(settings, &stream),
            plan: Plan {
                stream,
                settings: connect::settings(
                    &url,
                    token,
                    "publisher",
                    transport,
                    &certificate,
                    Arc::clone(&ready.clock),
                ),
                url,
                via: None,
            },
            preview: settings.publish.preview,
            report,
            console: ready.log.console,
        };
        let runtime = connect::runtime()?;
        let done = publish::run(program, &runtime).map_err(Failure::running);
        runtime.shutdown_background();
        done
    }
}

/// The stream's name: as set, else as the URL has it, else the default.
fn stream(loaded: &Loaded) -> StreamName {
    let publish = &loaded.settings.publish;
    let by_name = publish.name.as_ref().map(|name| name.0.clone());
    let by_url = || {
        let path = &publish.url.as_ref()?.0.path;
        let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
        path.trim_matches('/').parse().ok()
    };
    by_name.or_else(by_url).unwrap_or_else(StreamName::default_stream)
}

/// Refuses a path that no server takes. Whether it may begin with `live` is for that server to say, which need not be ours.
fn check_path(url: &Url) -> Result<(), Failure> {
    let path = Target::parse(&url.to_string())
        .map(|target| target.path)
        .unwrap_or_default();
    match path.parse::<StreamName>() {
        Err(why @ InvalidName::Character(bad)) if !":@!$&'()*+,;=%".contains(bad) => {
            Err(Failure::Usage(format!("cannot publish to {url:?}: {why}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], "zerolatency")]
    #[case(&["rtsp://host/"], "zerolatency")]
    #[case(&["rtsp://host/house/door?token=x"], "house/door")]
    #[case(&["rtsp://host/ch0_main.264/", "garden"], "garden")]
    fn the_stream_is_named(#[case] given: &[&str], #[case] expected: &str) {
        let keys = ["publish.url", "publish.name"];
        let flags = given.iter().zip(keys).map(|(value, key)| crate::config::Flag {
            flag: "--flag",
            key,
            value: (*value).to_owned(),
        });
        let wanted = Wanted {
            flags: flags.collect(),
            search_path: Some(Vec::new()),
            ..Wanted::default()
        };
        assert_eq!(stream(&load(&wanted).unwrap()).as_str(), expected);
    }

    #[rstest]
    #[case("rtsp://host/live/door?a=b", true)]
    #[case("rtsp://host/app:1/mp4:x", true)]
    #[case("rtsp://host/a%20b", false)]
    #[case("rtsp://host/tür", false)]
    #[case("rtsp://host/a\\b", false)]
    fn paths_that_no_server_takes_are_refused(#[case] url: &str, #[case] fine: bool) {
        assert_eq!(check_path(&url.parse().unwrap()).is_ok(), fine);
    }
}
