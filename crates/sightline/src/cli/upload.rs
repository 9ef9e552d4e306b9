//! `sightline upload`: snapshots of a camera, to S3 or into a folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use media::StreamName;

use super::flags::{FlagSet, SettingFlags, flag};
use super::{COMMON_FLAGS, ConfigFile, EnvFile, Failure, Ready, connect, flags, start_log};
use crate::config::units::Name;
use crate::config::{Loaded, Origin, Wanted, settings};
use crate::machine;
use crate::relay::plan::source_with;
use crate::state;
use crate::upload::plan::{Common, Tables, with_sources};
use crate::upload::{self, NotStarted, Program, words};

/// Upload snapshots of a camera: to S3, or into a folder
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Upload {
    #[command(flatten)]
    env_file: EnvFile,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
}

const EXAMPLES: &str = "Examples:
  sightline upload                        what .env says
  sightline upload --rtsp-url rtsp://admin:password@10.0.0.4/h264 \\
    --to s3://bucket/door --every 10s     its keys stand in AWS_… variables
  sightline upload --stream door --to /srv/snapshots --every 1min --keep 30d
  sightline upload --config upload.toml   cameras of its tables [upload.NAME]

Words of .env:
  CAMERA_IP, CAMERA_USERNAME, …           the camera, as of `sightline relay`
  STORAGE_BACKEND=s3                      with S3_BUCKET, S3_PREFIX=cameras
  STORAGE_BACKEND=local                   with OUTPUT_DIR
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
  AWS_ENDPOINT_URL=http://10.0.0.5:9000   MinIO and others
  INTERVAL=10                             seconds from snapshot to snapshot
  RETENTION=30d                           older snapshots are deleted

Snapshots are NAME/YYYY-MM-DD/snapshot_YYYYMMDDTHHMMSSZ.jpg. What cannot be sent
waits on this disk (--spool), and goes in order. By day stream, by night snapshots:
  [upload.door]
  source = \"rtsp://admin:password@10.0.0.4/h264\"
  to = \"s3://bucket/cameras\"
  every = \"10s\"
  schedule = [\"mon-fri 18:00-08:00\", \"sat,sun\"]";

/// The table that flags and words mean.
const NAME: &str = "camera";

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[
        &[
            flag("--rtsp-url", "upload.*.source", "URL"),
            flag("--from", "upload.*.source", "URL").documented("Another spelling of --rtsp-url."),
            flag("--stream", "upload.*.stream", "NAME")
                .documented("A stream of the server on this machine, in place of --rtsp-url."),
            flag("--to", "upload.*.to", "PLACE"),
            flag("--every", "upload.*.every", "TIME"),
            flag("--interval", "upload.*.every", "SECONDS").documented("Another spelling of --every."),
            flag("--schedule", "upload.*.schedule", "TIMES"),
            flag("--keep", "upload.*.keep", "TIME"),
            flag("--keep-count", "upload.*.keep_count", "N"),
            flag("--spool", "upload.*.spool", "BYTES"),
            flag("--spool-dir", "upload.*.spool_dir", "DIR"),
            flag("--max-width", "upload.*.max_width", "PIXELS"),
            flag("--quality", "upload.*.quality", "N"),
            flag("--transport", "upload.*.source_transport", "WORD"),
            connect::fingerprint_flag("upload.*.source_fingerprint"),
            flag("--state-dir", "server.state_dir", "DIR"),
            connect::TOKEN_FLAG,
        ],
        COMMON_FLAGS,
    ];
}

impl Upload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = self.env_file.environment()?;
        let is_named = self.config.config.is_some();
        let has_flags = self.flags.given().iter().any(|flag| flag.key.starts_with("upload."));
        let ready = start_log(Wanted {
            file: self.config.config,
            environment,
            flags: self.flags.given().to_vec(),
            camera: NAME.parse().ok(),
            ..Wanted::default()
        })?;
        let by_words = has_flags || (!is_named && words::are_meant(&ready.environment));
        let program = match by_words {
            true => one(&ready),
            false => tables(&ready),
        };
        let program = program.map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
        let runtime = connect::runtime()?;
        let done = upload::run(&program, &runtime).map_err(|error| match error {
            upload::Error::NotStarted(NotStarted::S3 { .. }) => Failure::Usage(error.to_string()),
            error => Failure::running(error),
        });
        runtime.shutdown_background();
        done
    }
}

/// The one of flags and words.
fn one(ready: &Ready) -> Result<Program, Vec<String>> {
    let name: StreamName = NAME.parse().unwrap_or_else(|_| StreamName::default_stream());
    let upload = given(&ready.loaded, &Name(name.clone()), words::upload(&ready.environment)?);
    let called = |key: &str| {
        let flag = match key {
            "source" => "--rtsp-url",
            key => return format!("--{} ({})", key.replace('_', "-"), words::word_of(key)),
        };
        format!("{flag} ({})", words::word_of(key))
    };
    let mut uploads = BTreeMap::new();
    uploads.insert(name, (upload, &called as &dyn Fn(&str) -> String));
    program(ready, &uploads)
}

/// Those of the settings file that have a camera.
fn tables(ready: &Ready) -> Result<Program, Vec<String>> {
    let settings = &ready.loaded.settings;
    let tables = settings.upload.iter().filter(|(_, upload)| upload.stream.is_none());
    let called: Vec<_> = tables
        .map(|(name, upload)| {
            let path = format!("upload.{name}");
            (name.0.clone(), upload.clone(), move |key: &str| format!("{path}.{key}"))
        })
        .collect();
    if called.is_empty() {
        let message = "there is nothing to upload: set CAMERA_IP, STORAGE_BACKEND and S3_BUCKET in .env, give --rtsp-url and --to, or write [upload.NAME] with a source into a settings file; `sightline upload --help` shows all of them";
        return Err(vec![message.to_owned()]);
    }
    let uploads = called
        .iter()
        .map(|(name, upload, called)| (name.clone(), (upload.clone(), called as &dyn Fn(&str) -> String)));
    program(ready, &uploads.collect())
}

fn program(ready: &Ready, uploads: &Tables<'_>) -> Result<Program, Vec<String>> {
    let settings = &ready.loaded.settings;
    let place = state::Place::of_process(settings.server.state_dir.clone());
    let state = state::default_place(&place, &ready.environment).map_err(|error| vec![error.to_string()])?;
    let common = Common {
        s3: &settings.s3,
        environment: &ready.environment,
        state: &state,
    };
    let (plans, streams) = with_sources(uploads, &common)?;
    Ok(Program {
        plans,
        streams,
        limits: settings.limits.for_hub(machine::memory_share()),
        clock: Arc::clone(&ready.clock),
    })
}

/// What flags and variables say over what words do. A table of a settings file that happens to have this name is another camera's: its `keep` would delete files.
fn given(loaded: &Loaded, name: &Name, words: settings::Upload) -> settings::Upload {
    let table = loaded.settings.upload.get(name).cloned().unwrap_or_default();
    let is_given = |key: &str| {
        let origin = loaded.origin(&format!("upload.{}.{key}", name.0));
        origin.is_some_and(|origin| !matches!(origin, Origin::File { .. }))
    };
    let mut upload = words;
    macro_rules! take {
        ($($key:ident)*) => {$(
            if is_given(stringify!($key)) {
                upload.$key = table.$key;
            }
        )*};
    }
    take!(source source_transport source_fingerprint to every schedule keep keep_count spool spool_dir max_width quality);
    if is_given("stream")
        && let Some(stream) = &table.stream
    {
        upload.source = format!("rtsp://localhost:8554/{stream}")
            .parse()
            .ok()
            .map(|source| crate::config::stream_source::SourceList(vec![source]));
    }
    if let (Some(list), Some(token)) = (&mut upload.source, &loaded.settings.auth.token) {
        let shown = list.0.drain(..).map(|source| source_with(source, token));
        list.0 = shown.collect();
    }
    upload
}
