//! A stream that a program gives: on its standard output, or by publishing it at our own RTSP port.
//!
//! Belongs here: one run of a program, what is made of how it goes. Does not belong here: words and places of commands ([`crate::config::command`]),
//! process groups and signals ([`device::program`]), what is in its output ([`annexb`]).
//!
//! No shell sees the command, and no request ever changes it: it stands in the settings, which HTTP may not give programs ([`crate::config::live`]).

mod annexb;
mod run;
#[cfg(all(test, unix))]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::Clock;
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStdout;

use super::{Ended, Sink, Source, Supervisor, Trouble, Why};
use crate::auth::Pass;
use crate::config::command::{Command, PORT};
use crate::hooks::escaped;
use crate::shutdown::Shutdown;
use annexb::Cutter;
use run::Run;

/// A program that has given nothing for so long hangs, and is started anew. Its start counts too.
const SILENCE: Duration = Duration::from_secs(20);
/// How often it is looked how it does.
const LOOK: Duration = Duration::from_millis(50);
/// How long a program may take to end when it is not needed any more, …
const END_WITHIN: Duration = Duration::from_secs(2);
/// … and when we end ourselves.
const END_SOON: Duration = Duration::from_millis(300);
/// A keyframe of a 4K camera in one call.
const READ_BYTES: usize = 256 << 10;

/// Runs one program.
pub(super) struct Exec {
    command: Command,
    /// Where it publishes, with a credential for this run.
    front: Option<(std::net::SocketAddr, Pass)>,
    /// Of who wants the stream first, for the program's environment.
    query: Option<Arc<str>>,
    ending: Shutdown,
    clock: Arc<dyn Clock>,
}

impl Exec {
    pub(super) fn new(command: Command, stream: &media::StreamName, supervisor: &Supervisor) -> Self {
        let world = &supervisor.world;
        let front = supervisor.front.get().filter(|_| command.publishes());
        Self {
            command,
            query: supervisor.query_of(stream),
            front: front.map(|front| (front.address, front.auth.pass(stream, world.random))),
            ending: supervisor.shutdown.clone(),
            clock: Arc::clone(&world.clock),
        }
    }

    async fn attempt(&self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let url = self.front.as_ref().map(|(address, pass)| {
            let (user, password) = pass.credential();
            format!("rtsp://{user}:{}@{address}/{}", password.expose(), sink.name())
        });
        let url = url.unwrap_or_default();
        let mut command = std::process::Command::new(self.command.program());
        let port = self.front.as_ref().map(|(address, _)| address.port().to_string());
        let port = port.unwrap_or_default();
        let arguments = self.command.arguments(&url);
        command.env("MTX_PATH", sink.name().as_str());
        command.env("MTX_QUERY", escaped(self.query.as_deref().unwrap_or_default()));
        if self.command.publishes() {
            command.args(arguments.map(|argument| argument.replace(PORT, &port)));
            // With the credential, for a script that would have to know one.
            command.envs([("RTSP_PORT", &port), ("RTSP_OUTPUT", &url)]);
        } else {
            command.args(arguments);
        }
        // Settings are ours, tokens among them, and would be another Sightline's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIGHTLINE_")) {
            command.env_remove(name);
        }
        command.stdout(match self.command.publishes() {
            true => Stdio::null(),
            false => Stdio::piped(),
        });
        let mut run = Run::start(command, sink.name()).map_err(|error| self.cannot_start(&error))?;
        let ended = match run.take_output() {
            Some(output) => self.read(output, &run, sink, stop).await,
            None => self.watch(&run, sink, stop).await,
        };
        let patience = if self.ending.is_requested() {
            END_SOON
        } else {
            END_WITHIN
        };
        let how = run.end(patience, matches!(ended, Some(Stalled::Over))).await;
        let name = self.command.name();
        let quote = run.last_words().map(|words| format!(": {words}")).unwrap_or_default();
        match ended {
            None => {
                self.wait_until_left(sink).await;
                Ok(Ended::Stopped)
            }
            Some(Stalled::Over) => Err(Why::new(Trouble::Ended, format!("{name} ended, {how}{quote}"))),
            Some(Stalled::Silent(what)) => {
                let seconds = SILENCE.as_secs();
                Err(Why::new(
                    Trouble::Ended,
                    format!("{name} {what} for {seconds} s and was ended{quote}"),
                ))
            }
            Some(Stalled::Unusable(what)) => Err(Why::new(Trouble::Unusable, format!("{name}: {what}{quote}"))),
            Some(Stalled::Sink(why)) => Err(why),
        }
    }

    fn cannot_start(&self, error: &io::Error) -> Why {
        let program = self.command.program();
        let detail = match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no program {program}; install it, or write its whole path")
            }
            io::ErrorKind::PermissionDenied => format!("{program} may not be run; make it executable (chmod +x)"),
            _ => format!("{program} cannot be started: {error}"),
        };
        Why::new(Trouble::Program, detail)
    }

    /// Looks whether the program publishes. `None`: it is time to end.
    async fn watch(&self, run: &Run, sink: &Sink, stop: &Shutdown) -> Option<Stalled> {
        let Some((address, _)) = &self.front else {
            let what = "this server has no RTSP port at which it could publish".to_owned();
            return Some(Stalled::Unusable(what));
        };
        let mut heard = self.clock.now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.requested() => return None,
            }
            let now = self.clock.now();
            if sink.is_published(address.ip()) {
                heard = now;
            }
            if run.has_exited() {
                return Some(Stalled::Over);
            }
            if now.saturating_duration_since(heard) >= SILENCE {
                return Some(Stalled::Silent("has published nothing"));
            }
        }
    }

    /// Takes what the program writes. `None`: it is time to end.
    async fn read(&self, mut output: ChildStdout, run: &Run, sink: &mut Sink, stop: &Shutdown) -> Option<Stalled> {
        let mut cutter = Cutter::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut heard = self.clock.now();
        let mut feed = Feed::default();
        loop {
            let patience = cutter.patience().unwrap_or(heard + SILENCE);
            let read = tokio::select! {
                read = output.read(&mut buffer) => Some(read),
                () = tokio::time::sleep_until(patience.into()) => None,
                () = stop.requested() => return None,
            };
            let now = self.clock.now();
            let cut = match read {
                Some(Ok(length @ 1..)) => {
                    heard = now;
                    cutter.push(buffer.get(..length).unwrap_or_default(), now)
                }
                // It closed its output.
                Some(_) => {
                    cutter.pause(now);
                    let _ = feed.give(&mut cutter, sink, &*self.clock);
                    return Some(self.closed(run).await);
                }
                None if cutter.patience().is_some_and(|at| at <= now) => {
                    cutter.pause(now);
                    Ok(())
                }
                None if now.saturating_duration_since(heard) >= SILENCE => {
                    return Some(Stalled::Silent("has written nothing"));
                }
                None => Ok(()),
            };
            let given = cut.map_err(Stalled::Unusable);
            let given = given.and_then(|()| feed.give(&mut cutter, sink, &*self.clock).map_err(Stalled::Sink));
            if let Err(stalled) = given {
                return Some(stalled);
            }
        }
    }

    /// A program that closed its output mostly ends at once.
    async fn closed(&self, run: &Run) -> Stalled {
        let until = self.clock.now() + END_SOON;
        while !run.has_exited() && self.clock.now() < until {
            tokio::time::sleep(LOOK).await;
        }
        Stalled::Over
    }

    /// Waits a moment until the program's own connection is noticed to be gone.
    async fn wait_until_left(&self, sink: &Sink) {
        let Some((address, _)) = &self.front else { return };
        let until = self.clock.now() + END_SOON;
        while sink.is_still_published(address.ip()) && self.clock.now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Why a run cannot go on.
enum Stalled {
    /// The program has ended.
    Over,
    /// It gives nothing.
    Silent(&'static str),
    /// It gives something else.
    Unusable(String),
    /// The stream is not the source's any more.
    Sink(Why),
}

/// From access units to the stream.
#[derive(Default)]
struct Feed {
    began: Option<(Instant, Arc<media::stats::SessionStats>)>,
}

impl Feed {
    fn give(&mut self, cutter: &mut Cutter, sink: &mut Sink, clock: &dyn Clock) -> Result<(), Why> {
        while let Some((unit, arrived)) = cutter.pop() {
            let (began, stats) = self.began.get_or_insert_with(|| {
                let track = annexb::track(&unit);
                (arrived, sink.begin(vec![track], "exec", None))
            });
            stats.bytes.add(unit.data.len() as u64);
            let frame = annexb::frame(unit, arrived, *began, clock);
            sink.take(frame, clock.now())?;
        }
        Ok(())
    }
}

impl Source for Exec {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.attempt(sink, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}
