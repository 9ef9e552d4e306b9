//! The process that takes our place.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::message::{self, Said};
use crate::net::{Gate, Keeper, Named};
use crate::serve::systemd;

/// How long it may take to be prepared.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long whoever was let in last has to ask for something and be answered, before everything ends. Who comes meanwhile waits for the new one.
const LULL: Duration = Duration::from_millis(200);
/// One that has closed its end of the channel is about to exit.
const EXIT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// Why no other process takes our place. What to do is for who says it.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{path} cannot be started: {error}", path = path.display())]
    Start { path: PathBuf, error: io::Error },
    #[error("the sockets cannot be handed over: {0}")]
    Hand(io::Error),
    #[error("{0}")]
    Told(String),
    #[error("the new process ended ({0}) before it was prepared; what it said is above")]
    Ended(ExitStatus),
    #[error("the new process lives and does not speak; is it this program?")]
    Mute,
    #[error("the new process was not prepared within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Restarts, when SIGUSR2 asks for it.
pub(in crate::serve) struct Restart {
    program: Invocation,
    sockets: Mutex<Vec<Named>>,
    keeper: Keeper,
    asked: tokio::sync::Mutex<Signal>,
    serving: watch::Sender<bool>,
    prepared: Mutex<Option<Successor>>,
}

/// How this process was started.
#[derive(Debug)]
pub(in crate::serve) struct Invocation {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// Another process that is prepared.
#[derive(Debug)]
struct Successor {
    // Killed before the channel is closed, which would be the sign to begin.
    process: Killed,
    channel: UnixDatagram,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
struct Killed(Child);

impl Restart {
    /// Without one going on. `sockets` is what is handed over. SIGUSR2 has no other meaning from now on.
    ///
    /// # Errors
    /// When the signal cannot be handled, or there is no telling where the program is.
    pub(in crate::serve) fn new(sockets: Vec<Named>) -> io::Result<Self> {
        Ok(Self {
            program: Invocation::of_process()?,
            sockets: Mutex::new(sockets),
            keeper: Keeper::default(),
            asked: tokio::sync::Mutex::new(signal(SignalKind::user_defined2())?),
            serving: watch::Sender::new(false),
            prepared: Mutex::default(),
        })
    }

    /// What newcomers come through.
    pub(in crate::serve) fn gate(&self) -> Gate {
        self.keeper.gate()
    }

    /// From now on there is something to hand over.
    pub(in crate::serve) fn serves(&self) {
        self.serving.send_replace(true);
    }

    /// Whether another process is prepared, and this one ends for it.
    pub(in crate::serve) fn is_under_way(&self) -> bool {
        self.prepared().is_some()
    }

    /// There will be none: nothing is kept open.
    pub(in crate::serve) fn give_up(&self) {
        self.sockets().clear();
    }

    /// Waits until somebody asks for it and another process is prepared. Then nobody is let in any more, and it is time to end.
    pub(in crate::serve) async fn prepare(&self) {
        let mut asked = self.asked.lock().await;
        loop {
            if asked.recv().await.is_none() {
                return std::future::pending().await;
            }
            // Sent while we start: it is for when we serve.
            let _ = self.serving.subscribe().wait_for(|&serving| serving).await;
            if std::process::id() == 1 {
                tracing::warn!(
                    "not restarted: this is process 1 of a container, which ends with it; start the container anew instead"
                );
                continue;
            }
            tracing::info!(program = %self.program.path.display(), "restarting");
            match self.attempt(&mut asked).await {
                Ok(successor) => {
                    self.keeper.close();
                    tokio::time::sleep(LULL).await;
                    *self.prepared() = Some(successor);
                    return;
                }
                Err(reason) => tracing::error!(
                    %reason,
                    "not restarted: this process goes on serving; mend the reason and send SIGUSR2 again"
                ),
            }
        }
    }

    /// Everything has ended: the other process begins. `false`: it is gone.
    pub(in crate::serve) fn finish(&self) -> bool {
        self.prepared().take().is_none_or(Successor::go)
    }

    async fn attempt(&self, asked: &mut Signal) -> Result<Successor, Failed> {
        let attempt = self.begin();
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                done = &mut attempt => return done,
                _ = asked.recv() => tracing::warn!("a restart is under way; this SIGUSR2 is not another one"),
            }
        }
    }

    async fn begin(&self) -> Result<Successor, Failed> {
        let (ours, theirs) = message::channel().map_err(Failed::Hand)?;
        message::send_sockets(&ours, &self.sockets()).map_err(Failed::Hand)?;
        let channel = message::listening(ours).map_err(Failed::Hand)?;
        let mut process = self.program.start(theirs)?;
        match tokio::time::timeout(PATIENCE, message::hear(&channel)).await {
            Ok(Said::Prepared) => {
                tracing::info!(pid = process.0.id(), "the new process is prepared");
                let channel = channel.into_std().map_err(Failed::Hand)?;
                Ok(Successor { process, channel })
            }
            Ok(Said::Failed(reason)) => {
                // It tells people the same.
                process.exits().await;
                Err(Failed::Told(reason))
            }
            Ok(Said::Nothing) => Err(process.exits().await.map_or(Failed::Mute, Failed::Ended)),
            Ok(Said::Go | Said::Other) => Err(Failed::Mute),
            Err(_) => Err(Failed::Silent),
        }
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Vec<Named>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, Option<Successor>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Invocation {
    fn of_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = arguments.next();
        Ok(Self {
            path: path(
                called.as_deref(),
                std::env::var_os("PATH").as_deref(),
                std::env::current_exe()?,
            ),
            arguments: arguments.collect(),
        })
    }

    /// With the sockets in its standard input; its log goes where ours does.
    fn start(&self, channel: OwnedFd) -> Result<Killed, Failed> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(channel);
        // It is another process, and would take it that nobody waits for its signs of life.
        command.env_remove("WATCHDOG_PID");
        // With it our descriptor of the other end goes, so that we notice when the process closes its own.
        command.spawn().map(Killed).map_err(|error| Failed::Start {
            path: self.path.clone(),
            error,
        })
    }
}

/// Where the program stands, by the name it was called by: a link there may lead to another version by the time of the restart. Where that
/// name does not lead to `running`, that.
fn path(called: Option<&OsStr>, folders: Option<&OsStr>, running: PathBuf) -> PathBuf {
    let Some(called) = called.map(Path::new) else {
        return running;
    };
    let candidates: Vec<PathBuf> = if called.components().count() > 1 {
        vec![called.to_owned()]
    } else {
        let folders = folders.map(std::env::split_paths);
        folders
            .into_iter()
            .flatten()
            .map(|folder| folder.join(called))
            .collect()
    };
    let same = |path: &PathBuf| is_same_file(path, &running);
    let found = candidates
        .iter()
        .filter_map(|path| std::path::absolute(path).ok())
        .find(same);
    found.unwrap_or(running)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    file(one).is_some_and(|one| file(other) == Some(one))
}

impl Killed {
    /// Waits a little for its exit.
    async fn exits(&mut self) -> Option<ExitStatus> {
        let exits = async {
            loop {
                match self.0.try_wait() {
                    Ok(None) => tokio::time::sleep(LOOK).await,
                    Ok(Some(status)) => return Some(status),
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(EXIT, exits).await.ok().flatten()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // What has ended already cannot be killed, and need not.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Successor {
    /// Lets it begin. `false`: it is gone.
    fn go(self) -> bool {
        let Self { mut process, channel } = self;
        if !matches!(process.0.try_wait(), Ok(None)) {
            return false;
        }
        systemd::tell_successor(process.0.id());
        let went = message::say(&channel, &Said::Go).is_ok();
        if went {
            // It outlives us.
            std::mem::forget(process);
        }
        went
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_program_is_started_by_the_name_it_was_called_by() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("bin")).unwrap();
        fs::write(place("sightline-1"), "").unwrap();
        fs::write(place("other"), "").unwrap();
        std::os::unix::fs::symlink(place("sightline-1"), place("bin/sightline")).unwrap();
        let running = place("sightline-1");
        let found = |called: Option<&str>, folders: Option<&str>| {
            let folders = folders.map(|folder| place(folder).into_os_string());
            path(called.map(OsStr::new), folders.as_deref(), running.clone())
        };
        let link = place("bin/sightline");
        assert_eq!(found(link.to_str(), None), link);
        assert_eq!(found(Some("sightline"), Some("bin")), link);
        // By a name that leads nowhere, or to another program.
        assert_eq!(found(Some("sightline"), Some("")), running);
        assert_eq!(found(place("other").to_str(), Some("bin")), running);
        assert_eq!(found(Some("-sh"), None), running);
        assert_eq!(found(None, Some("bin")), running);
    }
}
