//! The command line.
//!
//! Belongs here: one file per command with its flags and what it does with them, how they are read, how an error becomes an exit
//! code. Does not belong here: settings ([`crate::config`]), the work itself.
//!
//! Exit codes: 0 done, 1 failed while running, 2 wrong use or settings, or not to be found out.

mod bench;
mod cameras;
mod config;
mod connect;
mod doctor;
mod flags;
mod frames;
mod old;
mod password;
mod people;
mod process;
mod publish;
mod receive;
mod record;
mod relay;
mod serve;
mod state;
mod status_line;
mod top;
mod up;
mod upload;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use media::Clock;

use crate::clock::SystemClock;
use crate::config::{Environment, Invalid, Loaded, Wanted, load};
use crate::log;
use crate::serve::Program;
use crate::state::{Place, default_place};
use flags::{Flag, FlagSet as _, flag, switch};

/// Any camera as a live picture on any device, with its latency measured.
#[derive(Debug, Parser)]
#[command(name = "sightline", version, about, propagate_version = true, max_term_width = 110)]
#[command(arg_required_else_help = true, subcommand_required = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  sightline up                        a live picture, and URLs to watch it with
  sightline up --source test          the same without a camera
  sightline config init > sightline.toml

Every setting can be given in a file, as a variable and, most of them, as a flag: see `sightline config init`.";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Serve(serve::Serve),
    Publish(publish::Publish),
    Receive(receive::Receive),
    Relay(relay::Relay),
    Record(record::Record),
    State(state::State),
    Link(people::MakeLink),
    User(people::Users),
    Token(people::Tokens),
    Frames(frames::Frames),
    Process(process::Process),
    Upload(upload::Upload),
    Config(config::Config),
    Cameras(cameras::Cameras),
    Doctor(doctor::Doctor),
    Top(top::Top),
    Bench(bench::Bench),
}

/// Runs the command line. The whole of `main`.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let began = SystemClock.now();
    let cli = match parse(&arguments.into_iter().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(error) => {
            // A terminal that is gone cannot be told so.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let done = match cli.command {
        Command::Up(up) => up.run(began),
        Command::Serve(serve) => serve.run(began),
        Command::Publish(publish) => publish.run(),
        Command::Receive(receive) => receive.run(),
        Command::Relay(relay) => relay.run(),
        Command::Record(record) => record.run(),
        Command::State(state) => state.run(),
        Command::Link(link) => link.run(),
        Command::User(users) => users.run(),
        Command::Token(tokens) => tokens.run(),
        Command::Frames(frames) => frames.run(),
        Command::Process(process) => process.run(),
        Command::Upload(upload) => upload.run(),
        Command::Config(config) => config.run(),
        Command::Cameras(cameras) => cameras.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Top(top) => top.run(),
        Command::Bench(bench) => bench.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Help is documented only when asked for.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => documented().try_get_matches_from(arguments)?,
        Err(error) => return Err(with_tip(error, arguments.get(1))),
        Ok(matches) => matches,
    };
    Cli::from_arg_matches(&matches)
}

/// What to do next, where clap does not know.
fn with_tip(mut error: clap::Error, command: Option<&OsString>) -> clap::Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let tip = match error.kind() {
        ErrorKind::UnknownArgument
            if command.is_some_and(|command| command == "up") && !context(ContextKind::InvalidArg).starts_with('-') =>
        {
            "cameras, files and test pictures are named with --source: v4l2:/dev/video0, libcamera, test, file:PATH, exec:COMMAND"
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

fn documented() -> clap::Command {
    let sets: [(&str, &[&[Flag]]); 9] = [
        ("up", up::Flags::FLAGS),
        ("serve", serve::Flags::FLAGS),
        ("publish", publish::Flags::FLAGS),
        ("receive", receive::Flags::FLAGS),
        ("relay", relay::Flags::FLAGS),
        ("record", record::Flags::FLAGS),
        ("frames", frames::Flags::FLAGS),
        ("process", process::Flags::FLAGS),
        ("upload", upload::Flags::FLAGS),
    ];
    flags::document(Cli::command(), &sets)
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong use.
    #[error("{0}")]
    Usage(String),
    /// Wrong settings.
    #[error(transparent)]
    Settings(#[from] Invalid),
    /// It failed while running.
    #[error("{0}")]
    Running(String),
    /// What was to be found out could not be.
    #[error("{0}")]
    Unknown(String),
    /// What is wrong was said already.
    #[error("")]
    Told,
}

impl Failure {
    /// A failure while running.
    pub(crate) fn running(error: impl std::fmt::Display) -> Self {
        Self::Running(error.to_string())
    }

    fn report(self) -> ExitCode {
        for line in self.to_string().lines() {
            // Where nobody listens, the exit code tells.
            let _ = writeln!(io::stderr(), "sightline: {line}");
        }
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Unknown(_) => ExitCode::from(2),
            Self::Running(_) | Self::Told => ExitCode::from(1),
        }
    }
}

/// What every command that runs takes.
const COMMON_FLAGS: &[Flag] = &[
    flag("--log", "log.format", "FORMAT"),
    flag("--log-level", "log.level", "LEVEL"),
];

/// The camera's settings as flags.
const CAMERA_FLAGS: &[Flag] = &[
    flag("--source", "camera.*.source", "WORD"),
    flag("--size", "camera.*.size", "WxH"),
    flag("--fps", "camera.*.fps", "FPS"),
    flag("--bitrate", "camera.*.bitrate", "BITS"),
    flag("--gop", "camera.*.gop", "PICTURES"),
    switch("--no-overlay", "camera.*.overlay", "off"),
    flag("--status-rate", "status.rate", "N"),
];

/// A camera's second stream, which a server alone can offer.
const LOW_FLAG: Flag = switch("--low", "camera.*.low", "true");

/// The server's settings as flags.
const SERVER_FLAGS: &[Flag] = &[
    switch("--open", "auth.open", "true"),
    flag("--token", "auth.token", "TOKEN"),
    flag("--rtsp-port", "rtsp.port", "PORT"),
    flag("--rtsps-port", "rtsp.rtsps_port", "PORT"),
    flag("--http-port", "http.port", "PORT"),
    flag("--https-port", "http.https_port", "PORT"),
    flag("--hls-port", "hls.port", "PORT"),
    flag("--webrtc-port", "webrtc.port", "PORT"),
    flag("--ice-port", "webrtc.ice_port", "PORT"),
    flag("--state-dir", "server.state_dir", "DIR"),
    switch("--record", "record.enabled", "true"),
    flag("--record-path", "record.path", "DIR"),
];

/// Where the settings file is, for commands that read one.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Settings file [default: ./sightline.toml, ~/.config/sightline/sightline.toml, /etc/sightline/sightline.toml, then the
    /// state folder's, the first that is there; SIGHTLINE_CONFIG]
    #[arg(long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The file whose words the environment is laid over.
#[derive(Debug, clap::Args)]
struct EnvFile {
    /// File with the words below; what the environment says wins over it
    #[arg(long = "env-file", value_name = "FILE", default_value = ".env")]
    env_file: PathBuf,
}

impl EnvFile {
    /// What both say. The usual file need not be there.
    fn environment(&self) -> Result<Environment, Failure> {
        let file = &self.env_file;
        if file != Path::new(".env") && !file.is_file() {
            let file = file.display();
            return Err(Failure::Usage(format!("--env-file: there is no file {file}")));
        }
        Ok(Environment::of_process_over(file))
    }
}

/// Which state folder is meant, for commands that look at one without a server.
#[derive(Debug, clap::Args)]
struct StateFolder {
    #[command(flatten)]
    config: ConfigFile,
    /// The state folder [default: the one that the server takes for this user; SIGHTLINE_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
}

impl StateFolder {
    /// The settings, and where the folder is, whether it is there or not.
    fn find(self) -> Result<(Loaded, PathBuf), Failure> {
        let environment = Environment::of_process();
        let flag = |value| crate::config::Flag {
            flag: "--state-dir",
            key: "server.state_dir",
            value,
        };
        let loaded = load(&Wanted {
            file: self.config.config,
            environment: environment.clone(),
            flags: self.state_dir.map(flag).into_iter().collect(),
            ..Wanted::default()
        })?;
        let place = Place::of_process(loaded.settings.server.state_dir.clone());
        let folder = default_place(&place, &environment).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok((loaded, folder))
    }
}

/// To standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::running(error)),
        _ => Ok(()),
    }
}

/// A command's settings, with the log running.
struct Ready {
    loaded: Loaded,
    environment: Environment,
    clock: Arc<dyn Clock>,
    log: log::Running,
}

impl Ready {
    fn into_program(self, began: Instant, wants_camera: bool) -> Result<Program, Failure> {
        Ok(Program {
            websocket_port: connect::websocket_port(&self.environment)?,
            loaded: self.loaded,
            environment: self.environment,
            clock: self.clock,
            log: self.log,
            began,
            wants_camera,
        })
    }
}

/// Reads the settings and starts the log.
fn ready(file: Option<PathBuf>, flags: &[crate::config::Flag]) -> Result<Ready, Failure> {
    let environment = Environment::of_process();
    start_log(Wanted {
        file,
        environment,
        flags: flags.to_vec(),
        ..Wanted::default()
    })
}

fn start_log(wanted: Wanted) -> Result<Ready, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let loaded = load(&wanted)?;
    let environment = wanted.environment;
    let log = log::init(&loaded.settings.log, &environment, Arc::clone(&clock)).map_err(Failure::running)?;
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    Ok(Ready {
        loaded,
        environment,
        clock,
        log,
    })
}

#[cfg(test)]
mod tests;
