//! Log lines and one status line on the same terminal.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Where lines go. On a terminal, a status line stays below them and is renewed in place.
pub struct Console {
    terminal: bool,
    shared: Mutex<Shared>,
}

struct Shared {
    out: Box<dyn Write + Send>,
    status: String,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

/// Back to the first column and clear to the end of the line (ECMA-48 EL).
const CLEAR: &str = "\r\x1b[K";
/// Do not wrap at the right edge (DECAWM off), so that a long status line stays one line; and on again.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

impl Console {
    /// `terminal`: `out` understands control sequences and a person looks at it.
    pub fn new(out: Box<dyn Write + Send>, terminal: bool) -> Self {
        let shared = Mutex::new(Shared {
            out,
            status: String::new(),
        });
        Self { terminal, shared }
    }

    /// Whether there is a terminal, which alone shows a status line.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes one line, given without its end.
    pub fn line(&self, text: &str) {
        self.write(|shared| {
            if shared.status.is_empty() {
                return format!("{text}\n");
            }
            format!("{CLEAR}{text}\n{NO_WRAP}{}{WRAP}", shared.status)
        });
    }

    /// Replaces the status line; an empty one takes it away. Does nothing without a terminal.
    pub fn status(&self, text: &str) {
        if !self.terminal {
            return;
        }
        self.write(|shared| {
            if shared.status.is_empty() && text.is_empty() {
                return String::new();
            }
            text.clone_into(&mut shared.status);
            format!("{CLEAR}{NO_WRAP}{text}{WRAP}")
        });
    }

    /// One write for one line, so that lines of several processes on one terminal do not mix.
    fn write(&self, text: impl FnOnce(&mut Shared) -> String) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text(&mut shared);
        // A terminal or pipe that is gone is no reason to stop.
        let _ = shared.out.write_all(text.as_bytes());
        let _ = shared.out.flush();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.status("");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    /// What was written, kept.
    #[derive(Clone, Default)]
    pub(in crate::log) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::log) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_status_line_stays_below_the_log() {
        let written = Written::default();
        let console = Console::new(Box::new(written.clone()), true);
        console.line("one");
        assert_eq!(written.take(), "one\n");
        console.status("30 fps");
        assert_eq!(written.take(), "\r\x1b[K\x1b[?7l30 fps\x1b[?7h");
        console.line("two");
        assert_eq!(written.take(), "\r\x1b[Ktwo\n\x1b[?7l30 fps\x1b[?7h");
        console.status("");
        assert_eq!(written.take(), "\r\x1b[K\x1b[?7l\x1b[?7h");
        console.line("three");
        assert_eq!(written.take(), "three\n");
    }

    #[test]
    fn without_a_terminal_there_is_no_status_line() {
        let written = Written::default();
        let console = Console::new(Box::new(written.clone()), false);
        console.status("30 fps");
        console.line("one");
        assert_eq!(written.take(), "one\n");
    }
}
