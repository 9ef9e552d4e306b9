//! Programs of other people whose standard output is a stream.
//!
//! Belongs here: starting one in a process group of its own, reading it without ever blocking for longer than asked, keeping the last
//! it said, ending it with everything it started. Does not belong here: what is in its output ([`super::annexb`]), which program it is.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use media::Clock;

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod unsupported;

#[cfg(unix)]
pub(super) use unix::Child;
#[cfg(not(unix))]
pub(super) use unsupported::Child;

/// What came of waiting for output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes were appended.
    Bytes,
    /// Nothing came in time.
    Nothing,
    /// There will be no more: it closed its output.
    Ended,
}

/// What a line of a program's messages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Meant for people: kept for when it ends.
    Words,
    /// Not worth keeping.
    Noise,
    /// A number that whoever reads its output waits for, see [`Child::note`].
    Note(i64),
}

/// How long output is waited for before looking whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs a program that ends by itself and returns what it wrote, messages included, as far as it came in `patience` and before `give_up` said
/// yes. At most 256 KiB.
pub(super) fn run(
    name: &str,
    program: &Path,
    arguments: &[&str],
    clock: &dyn Clock,
    patience: Duration,
    give_up: &dyn Fn() -> bool,
) -> io::Result<String> {
    const MOST: usize = 256 << 10;
    let mut shell = Command::new("/bin/sh");
    // Both into one pipe: which of them a program uses for what differs by version.
    shell
        .args(["-c", "exec \"$@\" 2>&1", "sh"])
        .arg(program)
        .args(arguments);
    let mut child = Child::spawn(name, shell)?;
    let mut now = clock.now();
    let until = now.checked_add(patience).unwrap_or(now);
    let mut text = Vec::new();
    while text.len() < MOST && now < until && !give_up() {
        let look = now.checked_add(LOOK_EVERY).unwrap_or(until);
        if child.read(clock, look.min(until), |bytes| text.extend_from_slice(bytes))? == Read::Ended {
            break;
        }
        now = clock.now();
    }
    text.truncate(MOST);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(all(test, unix))]
mod tests;
