//! `sightline frames`: pictures of a live stream for programs that look at them.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use device::jpeg::Shape;
use media::StreamName;

use super::flags::{FlagSet, SettingFlags};
use super::{COMMON_FLAGS, ConfigFile, Failure, Ready, connect, flags, start_log};
use crate::config::settings::{self, Transport};
use crate::config::stream_source::{SourceList, StreamSource};
use crate::config::units::Span;
use crate::config::{Environment, Wanted};
use crate::frames::command::Template;
use crate::frames::form::{Form, Format};
use crate::frames::pace::Rate;
use crate::frames::{self, IsHeaded, Program, To};
use crate::machine;
use crate::relay::plan::source_with;
use crate::trust::Fingerprint;

/// Hand pictures of a live stream to a program: the newest, as JPEG or raw, no client of RTSP needed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Frames {
    /// The stream: rtsp://, rtsps://, http(s)://….m3u8, whep(s)://, onvif(s)://, or the name of one of the server on this machine
    /// [default: zerolatency of the server at PI_VPN_IP, else of this machine]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Pictures a second at the most; `all`; or `keyframes`. Where keyframes come as often as it says, they alone are decoded
    #[arg(long, value_name = "RATE", default_value = "1")]
    fps: Rate,
    #[command(flatten)]
    looks: Looks,
    /// End after so many pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so long; without any picture by then it is a failure
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// `stdout`, or a folder, which gets a file for each picture: frame_YYYYMMDD_HHMMSS_mmm.jpg, local time of the capture
    #[arg(
        long,
        value_name = "stdout|DIR",
        default_value = "stdout",
        conflicts_with = "command"
    )]
    to: PathBuf,
    /// Of the files that it wrote into the folder, keep the newest so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Put a line in front of each picture of a pipe: JSON with bytes, width, height, format, captured, captured_us, clock, index, dropped
    #[arg(long)]
    header: bool,
    /// How long the command may take: for a picture, where it is run for each; else to end behind the last one
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: Span,
    /// How RTSP is carried: auto, tcp or udp
    #[arg(long, value_name = "WORD", default_value = "auto")]
    transport: Way,
    /// The SHA-256 of the certificate that is believed, where the server made it itself
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    flags: SettingFlags<Flags>,
    /// A command in place of --to. With {}, {time} or {index} among its arguments it is run for each picture ({} is a file that holds it; without {} the
    /// picture is on its standard input); else once, and reads all of them there
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "Examples:
  sightline frames door --fps 5 --format bgr24 --header | python3 look.py
  sightline frames door --fps 0.1 --to /srv/pictures --keep 1000
  sightline frames door --count 1 > now.jpg
  sightline frames rtsp://cam.local/stream1 --width 640 -- python3 look.py
  sightline frames door -- curl -s --data-binary @{} http://10.0.0.9/look

Whoever is slow gets the newest picture; those between are left out and counted, and never wait. The command knows of each run FRAME_FILE,
FRAME_TIME, FRAME_TIME_US, FRAME_CLOCK, FRAME_INDEX, FRAME_WIDTH, FRAME_HEIGHT and FRAME_FORMAT from its environment.
Exit code: 0 done, told to end, or nobody reads any more; 1 no picture came, or the command failed; 2 wrong use.";

/// How pictures look, of live streams and of recordings.
#[derive(Debug, Args)]
pub(super) struct Looks {
    /// How each picture is written
    #[arg(long, value_name = "FORMAT", default_value = "jpeg")]
    format: Format,
    /// Pixels of a row at the most; the shape is kept
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(16..=8192))]
    width: Option<u16>,
    /// Of a JPEG, from 1 (smallest) to 100
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
}

impl Looks {
    pub(super) fn form(&self) -> Form {
        Form {
            format: self.format,
            shape: Shape {
                max_width: self.width,
                quality: self.quality,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Way {
    Auto,
    Tcp,
    Udp,
}

#[derive(Debug)]
pub(super) struct Flags;

impl FlagSet for Flags {
    const FLAGS: &'static [&'static [flags::Flag]] = &[&[connect::TOKEN_FLAG], COMMON_FLAGS];
}

impl Frames {
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let to = self.to()?;
        let ready = start_log(Wanted {
            file: self.config.config.take(),
            environment: Environment::of_process(),
            flags: self.flags.given().to_vec(),
            ..Wanted::default()
        })?;
        let program = Program {
            stream: settings::Stream {
                source: Some(SourceList(vec![self.source(&ready)?])),
                source_transport: match self.transport {
                    Way::Auto => Transport::Auto,
                    Way::Tcp => Transport::Tcp,
                    Way::Udp => Transport::Udp,
                },
                source_fingerprint: self.fingerprint,
                ..settings::Stream::default()
            },
            rate: self.fps,
            form: self.looks.form(),
            to,
            count: self.count,
            duration: self.duration.map(|duration| duration.0),
            limits: ready.loaded.settings.limits.for_hub(machine::memory_share()),
            clock: Arc::clone(&ready.clock),
            console: Arc::clone(&ready.log.console),
        };
        let runtime = connect::runtime()?;
        let done = frames::run(&program, &runtime).map_err(|error| match error.is_by_use() {
            true => Failure::Usage(error.to_string()),
            false => Failure::running(error),
        });
        runtime.shutdown_background();
        done
    }

    fn to(&mut self) -> Result<To, Failure> {
        let headed = IsHeaded(self.header);
        let is_pipe = self.to.as_os_str() == "stdout";
        if self.keep.is_some() && (is_pipe || !self.command.is_empty()) {
            return Err(Failure::Usage(
                "--keep is for files in a folder; name one with --to DIR".to_owned(),
            ));
        }
        if let Some(template) = Template::new(std::mem::take(&mut self.command)) {
            if self.header && template.is_for_each() {
                let message = "--header is for a command that reads all pictures; one that is run for each is told by its environment";
                return Err(Failure::Usage(message.to_owned()));
            }
            return Ok(To::Command(template, headed, positive(self.timeout, "--timeout")?));
        }
        if !is_pipe {
            if self.header {
                let message = "--header is for a pipe; the names of files tell the time";
                return Err(Failure::Usage(message.to_owned()));
            }
            if self.to.as_os_str().is_empty() {
                return Err(Failure::Usage("--to is empty; name a folder".to_owned()));
            }
            let keep = self.keep.and_then(|keep| usize::try_from(keep).ok());
            return Ok(To::Folder(self.to.clone(), keep));
        }
        if io::stdout().is_terminal() {
            let message = "pictures are no text for a terminal; send them to a program (| or -- COMMAND) or into a folder (--to DIR)";
            return Err(Failure::Usage(message.to_owned()));
        }
        Ok(To::Stdout(headed))
    }

    fn source(&self, ready: &Ready) -> Result<StreamSource, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("URL: {error}"));
        let name = match self.url.as_deref() {
            None => None,
            Some(text) if text.contains(':') => {
                let source: StreamSource = text.parse().map_err(|error| wrong(&error))?;
                source.filled(None).map_err(|error| wrong(&error))?;
                return Ok(shown(source, ready));
            }
            Some(text) => Some(text.parse::<StreamName>().map_err(|error| wrong(&error))?),
        };
        let url = connect::url(None, name.as_ref(), &ready.environment)?;
        let source = url.with_login().parse().map_err(|error| wrong(&error))?;
        Ok(shown(source, ready))
    }
}

fn shown(source: StreamSource, ready: &Ready) -> StreamSource {
    match &ready.loaded.settings.auth.token {
        Some(token) => source_with(source, token),
        None => source,
    }
}

/// A time that is none is meant for nothing.
pub(super) fn positive(span: Span, flag: &str) -> Result<Duration, Failure> {
    match span.0.is_zero() {
        true => Err(Failure::Usage(format!(
            "{flag} is no time; write a number and a unit, such as 10s"
        ))),
        false => Ok(span.0),
    }
}
