//! A password that stands in no list of processes: from a variable, else typed without being shown, else the first line of standard input.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use super::Failure;
use crate::config::Environment;
use crate::secret::Secret;

/// Longest password, in bytes.
const MAX_BYTES: u64 = 1_024;

/// The password of `user`.
pub(super) fn ask(user: &str, variable: &str, environment: &Environment) -> Result<Secret, Failure> {
    if let Some(password) = environment.get(variable) {
        return Ok(Secret::new(password));
    }
    let typed = io::stdin().is_terminal();
    if typed {
        // A terminal that is gone types nothing either.
        let _ = write!(io::stderr(), "Password of {user}: ");
        let _ = io::stderr().flush();
    }
    let line = match typed {
        true => unseen(line),
        false => line(),
    };
    if typed {
        let _ = writeln!(io::stderr());
    }
    let line = line.map_err(|error| Failure::Running(format!("the password cannot be read: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage(format!(
            "no password for {user}: type it, write it to standard input, or set {variable}"
        )));
    }
    Ok(Secret::new(password))
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(MAX_BYTES).read_line(&mut line)?;
    Ok(line)
}

/// Without the terminal repeating what is typed.
#[cfg(unix)]
fn unseen(read: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let line = read();
    tcsetattr(io::stdin(), OptionalActions::Now, &before)?;
    line
}

#[cfg(not(unix))]
fn unseen(read: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    read()
}
