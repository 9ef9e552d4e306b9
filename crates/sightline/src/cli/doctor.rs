//! `sightline doctor`: what is wrong on this machine, and how to mend it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{ConfigFile, Failure};
use crate::clock::SystemClock;
use crate::config::{Environment, Wanted};
use crate::doctor::{Finding, Level, Patient, examine};

/// Say what is wrong on this machine, and how to mend it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// Settings file, the same as --config; or MediaMTX's own, mediamtx.yml
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print a JSON object a line: `level` (fine, note, wrong), `about`, `what`, `next`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  sightline doctor
  sightline doctor /etc/sightline/sightline.toml
  sightline doctor --json | jq -r 'select(.level == \"wrong\") | .what'

It looks at settings, folders, ports, a server that runs here, cameras and the machine, and changes nothing.
Exit code: 0 when nothing is wrong, 1 when something is.";

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        let patient = Patient {
            wanted: Wanted {
                file: self.file.or(self.config.config),
                environment: Environment::of_process(),
                ..Wanted::default()
            },
            root: PathBuf::from("/"),
            clock: &SystemClock,
        };
        let colours = io::stdout().is_terminal() && patient.wanted.environment.get("NO_COLOR").is_none();
        let (mut wrong, mut notes) = (0_usize, 0_usize);
        examine(&patient, &mut |finding| {
            match finding.level {
                Level::Wrong => wrong += 1,
                Level::Note => notes += 1,
                Level::Fine => {}
            }
            let line = match self.json {
                true => serde_json::to_string(&finding).unwrap_or_default(),
                false => line(&finding, colours),
            };
            // Nobody reads it: the exit code tells.
            let _ = writeln!(io::stdout(), "{line}");
        });
        if !self.json {
            let notes = match notes {
                0 => String::new(),
                1 => ", 1 could be better".to_owned(),
                notes => format!(", {notes} could be better"),
            };
            let _ = match wrong {
                0 => writeln!(io::stdout(), "\nNothing is wrong{notes}."),
                wrong => writeln!(io::stdout(), "\n{wrong} wrong{notes}."),
            };
        }
        match wrong {
            0 => Ok(()),
            _ => Err(Failure::Told),
        }
    }
}

fn line(finding: &Finding, colours: bool) -> String {
    let (sign, colour) = match finding.level {
        Level::Fine => ("ok   ", "32"),
        Level::Note => ("note ", "33"),
        Level::Wrong => ("WRONG", "31"),
    };
    let sign = match colours {
        true => format!("\x1b[{colour}m{sign}\x1b[0m"),
        false => sign.to_owned(),
    };
    let mut line = format!("{sign}  {:<13} {}", finding.about, finding.what);
    if let Some(next) = &finding.next {
        line.push_str(&format!("\n       {:<13} → {next}", ""));
    }
    line
}
