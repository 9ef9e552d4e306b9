//! `sightline config`: write, check and describe the settings.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::config::{Environment, Given, Wanted, load, reference};

/// Write, check and describe the settings
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

const EXAMPLES: &str = "Examples:
  sightline config init sightline.toml
  sightline config check
  sightline config convert mediamtx.yml sightline.toml
  sightline config schema > sightline.schema.json";

const INIT_EXAMPLES: &str = "Examples:
  sightline config init                  to read
  sightline config init sightline.toml   to keep";

const CHECK_EXAMPLES: &str = "Examples:
  sightline config check
  sightline config check /etc/sightline/sightline.toml
  SIGHTLINE_RTSP_PORT=9554 sightline config check";

const CONVERT_EXAMPLES: &str = "Examples:
  sightline config convert mediamtx.yml                  to read
  sightline config convert mediamtx.yml sightline.toml   to keep";

const SCHEMA_EXAMPLES: &str = "Examples:
  sightline config schema
  sightline config schema > sightline.schema.json";

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a settings file that explains itself
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// Where to; an existing file is never overwritten [default: standard output]
        file: Option<PathBuf>,
    },
    /// Say what is wrong with the settings, and what they change and where
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Settings file [default: the one that `sightline up` would take]
        file: Option<PathBuf>,
    },
    /// Write what MediaMTX's own settings file means as a file of ours, with what cannot be honoured above it
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert {
        /// MediaMTX's file
        from: PathBuf,
        /// Where to; an existing file is never overwritten [default: standard output]
        to: Option<PathBuf>,
    },
    /// Print the JSON Schema of the settings file, for editors
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            ConfigCommand::Init { file } => init(file),
            ConfigCommand::Check { file } => check(file),
            ConfigCommand::Convert { from, to } => convert(from, to),
            ConfigCommand::Schema => print(&reference::json_schema()),
        }
    }
}

fn init(file: Option<PathBuf>) -> Result<(), Failure> {
    let text = reference::commented_file();
    let Some(path) = file else {
        print(&text)?;
        if io::stdout().is_terminal() {
            let _ = writeln!(io::stderr(), "To keep it: sightline config init sightline.toml");
        }
        return Ok(());
    };
    write_new(&path, &text)?;
    print(&format!(
        "{} is written. It changes nothing until you remove a # in it.\n",
        path.display()
    ))
}

/// What is in the environment belongs to this machine and not into the file.
fn convert(from: PathBuf, to: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = load(&Wanted {
        file: Some(from),
        ..Wanted::default()
    })?;
    let text = loaded.to_toml();
    let Some(path) = to else { return print(&text) };
    write_new(&path, &text)?;
    print(&format!(
        "{} is written. Look at the lines above its first table: they say what is different now.\n",
        path.display()
    ))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Usage(format!(
            "{} exists already and is left as it is; choose another name",
            path.display()
        )),
        _ => Failure::running(format!(
            "{} cannot be written: {error}; choose a place that is there and writable for this user",
            path.display()
        )),
    })
}

fn check(file: Option<PathBuf>) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let loaded = load(&Wanted {
        file,
        environment,
        ..Wanted::default()
    })?;
    let mut text = match &loaded.file {
        Some(path) => format!("{} is fine.\n", path.display()),
        None => "There is no settings file; defaults hold.\n".to_owned(),
    };
    for notice in &loaded.notices {
        text.push_str(&format!("Notice: {notice}\n"));
    }
    for (key, places) in loaded.given() {
        text.push_str(&told(key, places));
    }
    print(&text)
}

/// What a setting is, by whom, and whom that overrules.
fn told(key: &str, places: &[Given]) -> String {
    let mut line = format!("{key} is set");
    for (index, given) in places.iter().rev().enumerate() {
        let before = match index {
            0 => "",
            1 => ", over what was set",
            _ => " and",
        };
        let value = given.shown.as_ref().map(|value| format!(" to {value}"));
        line.push_str(&format!("{before}{} by {}", value.unwrap_or_default(), given.origin));
    }
    line.push('\n');
    line
}
