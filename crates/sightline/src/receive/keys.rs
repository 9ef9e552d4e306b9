//! `q` on the terminal quits.
//!
//! Unix only; elsewhere Ctrl-C does.

use std::sync::Arc;

use tokio::sync::watch;

/// Puts the terminal back as it was.
pub(super) struct Keys {
    #[cfg(unix)]
    _restore: Option<unix::Restore>,
}

/// Waits for `q` in a thread of its own, if there is a terminal to type on.
#[cfg(unix)]
pub(super) fn watch(quit: Arc<watch::Sender<bool>>) -> Keys {
    Keys {
        _restore: unix::watch(quit),
    }
}

/// Waits for nothing: not on this system.
#[cfg(not(unix))]
pub(super) fn watch(quit: Arc<watch::Sender<bool>>) -> Keys {
    drop(quit);
    Keys {}
}

#[cfg(unix)]
mod unix {
    use std::io::{IsTerminal as _, Read as _};
    use std::sync::Arc;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
    use tokio::sync::watch;

    pub(super) struct Restore(Termios);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }

    pub(super) fn watch(quit: Arc<watch::Sender<bool>>) -> Option<Restore> {
        let stdin = std::io::stdin();
        // In the background, touching the terminal would stop the program.
        let ours = tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
        if !stdin.is_terminal() || !ours {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut keys = before.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &keys).ok()?;
        // Blocks in read for as long as the program runs; nothing waits for it.
        let reader = std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            for byte in std::io::stdin().lock().bytes() {
                if matches!(byte, Ok(b'q' | b'Q') | Err(_)) {
                    quit.send_replace(true);
                    return;
                }
            }
        });
        drop(reader);
        Some(Restore(before))
    }
}
