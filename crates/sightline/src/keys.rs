//! `q` on the terminal quits.
//!
//! Unix only; elsewhere Ctrl-C does.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Puts the terminal back as it was when dropped.
pub(crate) struct Keys {
    #[cfg(unix)]
    terminal: Option<unix::Terminal>,
}

impl Keys {
    /// The same for an end that drops nothing.
    pub(crate) fn restore(&self) -> impl FnOnce() + Send + 'static {
        #[cfg(unix)]
        let terminal = self.terminal.clone();
        move || {
            #[cfg(unix)]
            drop(terminal);
        }
    }
}

/// Waits for `q` in a thread of its own, if there is a terminal to type on.
#[cfg(unix)]
pub(crate) fn watch(runtime: &Runtime, quit: Arc<watch::Sender<bool>>) -> Keys {
    Keys {
        terminal: unix::watch(runtime, quit),
    }
}

/// Waits for nothing: not on this system.
#[cfg(not(unix))]
pub(crate) fn watch(_: &Runtime, quit: Arc<watch::Sender<bool>>) -> Keys {
    drop(quit);
    Keys {}
}

#[cfg(unix)]
mod unix {
    use std::io::{IsTerminal as _, Read as _, stdin};
    use std::sync::Arc;

    use rustix::process::{Signal, getpgrp, getpid, kill_process};
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
    use tokio::runtime::Runtime;
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::sync::watch;

    /// The terminal as it was before; so again when dropped.
    #[derive(Clone)]
    pub(super) struct Terminal(Termios);

    impl Drop for Terminal {
        fn drop(&mut self) {
            set(&self.0);
        }
    }

    /// In the background, touching the terminal would stop the program.
    fn is_ours() -> bool {
        tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
    }

    fn set(modes: &Termios) {
        if is_ours() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
        }
    }

    pub(super) fn watch(runtime: &Runtime, quit: Arc<watch::Sender<bool>>) -> Option<Terminal> {
        if !stdin().is_terminal() || !is_ours() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut keys = before.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        set(&keys);
        runtime.spawn(give_back_while_stopped(before.clone(), keys));
        // Blocks in read for as long as the program runs; nothing waits for it.
        let reader = std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            for byte in stdin().lock().bytes() {
                if matches!(byte, Ok(b'q' | b'Q') | Err(_)) {
                    quit.send_replace(true);
                    return;
                }
            }
        });
        drop(reader);
        Some(Terminal(before))
    }

    /// Ctrl-Z: the shell gets its terminal as it was, and `fg` brings the keys back.
    async fn give_back_while_stopped(before: Termios, keys: Termios) {
        let Ok(mut stop) = signal(SignalKind::from_raw(Signal::TSTP.as_raw())) else {
            return;
        };
        while stop.recv().await.is_some() {
            set(&before);
            // What the signal would have done without a handler. Goes on from here.
            let _ = kill_process(getpid(), Signal::STOP);
            set(&keys);
        }
    }
}
