//! `sightline frames`: pictures of a live stream for programs that look at them, the newest first.
//!
//! Belongs here: one stream ([`crate::source`] fetches it, as for the server), decoded as far as it must be ([`pace`], `decoding`), handed over in the form that
//! was asked for ([`form`]) to a pipe, a folder or a command (`output`, [`command`]). Does not belong here: pictures of recordings ([`crate::process`], which shares
//! form and commands), showing pictures to people ([`crate::receive`]).
//!
//! ```text
//! source ─▶ hub ─▶ feed (task) ─▶ queue ─▶ decode (thread) ─▶ slot ─▶ output (thread) ─▶ pipe, folder, command
//! ```
//!
//! Nothing that is slow makes anything wait in front of it: what waits for the decoder goes when a keyframe comes, and the slot holds one picture.

pub mod command;
mod decoding;
pub mod form;
mod output;
pub mod pace;
mod pipe;
mod queue;
mod slot;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use device::jpeg;
use device::program::{Ask, Program as Child};
use media::hub::{self, Event, Hub, Stream};
use media::{Clock, Kind, StreamName, Track, TrackIndex};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use self::command::{Handed, Places, Template};
pub(crate) use self::decoding::FFMPEG;
use self::decoding::Shared;
use self::form::{Form, Format};
pub use self::output::IsHeaded;
use self::output::{Each, Folder, Given, Output, Target};
use self::pace::Rate;
use self::pipe::Pipe;
use crate::clock::zone;
use crate::config::settings;
use crate::config::stream_key::StreamKey;
use crate::events::Events;
use crate::log::Console;
use crate::random;
use crate::relay::keep_time;
use crate::shutdown::{self, End, Shutdown};
use crate::source::{self, State, Supervisor, Trouble};

/// What to run.
pub struct Program {
    /// Where the stream is, as the server's table of one.
    pub stream: settings::Stream,
    /// Which pictures.
    pub rate: Rate,
    /// What becomes of each.
    pub form: Form,
    /// Where they go.
    pub to: To,
    /// How many, at the most.
    pub count: Option<u64>,
    /// How long, at the most.
    pub duration: Option<Duration>,
    /// Of the hub.
    pub limits: hub::Limits,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where people look.
    pub console: Arc<Console>,
}

/// Where pictures go.
#[derive(Clone, Debug)]
pub enum To {
    /// Our standard output.
    Stdout(IsHeaded),
    /// Files in a folder; of those that it wrote so many stay.
    Folder(PathBuf, Option<usize>),
    /// A command: one that reads them all, and may take so long to end behind the last, or one for each, which may take so long.
    Command(Template, IsHeaded, Duration),
}

/// Why it could not start, or ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source will not give it until a person changes something.
    #[error("{0}")]
    Refused(String),
    /// The time is over and there was no picture.
    #[error("there was no picture: {0}")]
    NoPicture(String),
    /// The stream has no pictures.
    #[error("the stream has no pictures")]
    NoVideo,
    /// They cannot be written.
    #[error("cannot write the pictures: {0}")]
    Output(io::Error),
    /// The folder cannot be written into.
    #[error("cannot write into {}: {error}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no place for the file that commands are handed.
    #[error("cannot write the file that the command is handed: {0}; TMPDIR says where it goes")]
    Temporary(io::Error),
    /// The command cannot be run, or failed.
    #[error("{0}: {1}")]
    Command(String, String),
    /// A picture cannot be written as JPEG.
    #[error(transparent)]
    Jpeg(#[from] jpeg::Error),
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: io::Error,
    },
    /// A panic, which is a bug of ours.
    #[error("it ended by a bug of ours; please report what it said before this line")]
    Bug,
}

impl Error {
    /// Whether the words of the command line are at fault: it will be the same each time. A disk that is full may not be, the next time.
    pub fn is_by_use(&self) -> bool {
        use io::ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied};
        let lasting = [AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied];
        matches!(self, Self::Folder { error, .. } if lasting.contains(&error.kind()))
    }
}

/// How often it is looked for a stream that is not there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often people are told how it goes.
const TELL: Duration = Duration::from_secs(1);
/// How often it is looked how the source and the command are.
const LOOK: Duration = Duration::from_millis(50);
/// When we are told to end: how long the output and the command may take for it, which is less than we have ourselves.
const LEAVE_WITHIN: Duration = Duration::from_millis(250);
/// And for the command to take leave when it is told to end.
const TAKE_LEAVE_WITHIN: Duration = Duration::from_millis(100);

/// Runs until a signal comes, or what was asked for is done.
///
/// # Errors
/// [`Error`].
pub fn run(program: &Program, runtime: &Runtime) -> Result<(), Error> {
    let ended = runtime.block_on(shutdown::run(|shutdown| frames(program, shutdown)));
    program.console.status("");
    match ended {
        Ok(End::Done(done)) => done,
        Ok(End::Abandoned) => {
            tracing::warn!("not everything ended in time");
            Ok(())
        }
        Err(error) => Err(Error::System {
            what: "handle signals",
            error,
        }),
    }
}

/// The stream's name here, which nobody else sees.
fn name() -> StreamName {
    StreamName::default_stream()
}

async fn frames(program: &Program, shutdown: Shutdown) -> Result<(), Error> {
    let clock = &program.clock;
    let refused = |error| Error::System {
        what: "start a thread",
        error,
    };
    let (target, mut child) = target(program)?;
    let shared = Arc::new(Shared::new());
    let given = Arc::<Given>::default();
    decoding::start(program.rate, Arc::clone(&shared), Arc::clone(clock)).map_err(refused)?;
    let output = Output {
        form: program.form,
        target,
        count: program.count,
        shared: Arc::clone(&shared),
        given: Arc::clone(&given),
        shutdown: shutdown.clone(),
        clock: Arc::clone(clock),
    };
    let (done, mut outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("output".to_owned());
    // Nobody waits for what it says any more where we ended first.
    thread.spawn(move || drop(done.send(output.run()))).map_err(refused)?;
    let hub = Hub::new(program.limits);
    let sources = fetch(program, &hub, &shutdown);
    let feed = Feed {
        hub: hub.clone(),
        shared: Arc::clone(&shared),
        clock: Arc::clone(clock),
    };
    let watched = Watched {
        program,
        sources: &sources,
        shared: &shared,
        given: &given,
    };
    let leaving = tokio::spawn(Arc::clone(&sources).run());
    let mut is_written = false;
    let ended = tokio::select! {
        () = shutdown.requested() => Ok(()),
        () = over(program.duration) => Ok(()),
        outcome = &mut outcome => {
            is_written = true;
            outcome.unwrap_or(Err(Error::Bug))
        }
        error = watched.watch(&mut child) => error,
        () = feed.read() => Ok(()),
        () = keep_time(&hub, &**clock) => Ok(()),
    };
    shared.queue.close();
    let outcome = (!is_written).then_some(outcome);
    let left = leave(child, outcome, program, &shutdown).await;
    leaving.abort();
    let _ = leaving.await;
    ended?;
    left?;
    watched.account()
}

/// The time is over.
async fn over(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// The output ends, and with it what the command reads; how that ended. It has its time to end, but no more than we have where we are told to.
async fn leave(
    child: Option<(Child, String)>,
    outcome: Option<oneshot::Receiver<Result<(), Error>>>,
    program: &Program,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let limit = match &program.to {
        To::Command(_, _, limit) => *limit,
        To::Stdout(_) | To::Folder(..) => 2 * LEAVE_WITHIN,
    };
    let told = async {
        shutdown.requested().await;
        tokio::time::sleep(LEAVE_WITHIN).await;
    };
    let end = async {
        if let Some(outcome) = outcome {
            // Somebody told us to end, or the command did: what cannot be written now is no failure.
            let _ = outcome.await;
        }
        let Some((child, name)) = &child else { return };
        program
            .console
            .status(&format!("{name} has all pictures, and is waited for"));
        while !child.has_exited() {
            tokio::time::sleep(LOOK / 10).await;
        }
    };
    let took_too_long = tokio::select! {
        () = end => false,
        () = told => false,
        () = tokio::time::sleep(limit) => true,
    };
    let Some((mut child, name)) = child else { return Ok(()) };
    if !child.has_exited() {
        child.ask(Ask::Terminate);
        let patience = program.clock.now() + TAKE_LEAVE_WITHIN;
        while !child.has_exited() && program.clock.now() < patience {
            tokio::time::sleep(LOOK / 10).await;
        }
        if !took_too_long {
            return Ok(());
        }
        let why = format!("it took longer than {} s to end, and was ended", limit.as_secs_f64());
        return Err(Error::Command(name, why));
    }
    match child.kill() {
        Some(status) if !status.success() => Err(Error::Command(name, format!("it ended with {status}"))),
        _ => Ok(()),
    }
}

/// Where pictures go, opened; and the command that reads them all.
fn target(program: &Program) -> Result<(Target, Option<(Child, String)>), Error> {
    let form = program.form;
    let small = |pipe: Pipe| {
        if form.format == Format::Jpeg {
            pipe.shrink();
        }
        pipe
    };
    match program.to.clone() {
        To::Stdout(headed) => {
            let pipe = Pipe::stdout().map_err(Error::Output)?;
            Ok((Target::Pipe(small(pipe), headed), None))
        }
        To::Folder(path, keep) => {
            let folder = Folder::open(path.clone(), form.format, zone(), keep);
            let folder = folder.map_err(|error| Error::Folder { folder: path, error })?;
            Ok((Target::Folder(folder), None))
        }
        To::Command(template, _, timeout) if template.is_for_each() => {
            let handed = Handed::new(form.format.ending()).map_err(Error::Temporary)?;
            let each = Each {
                template,
                handed,
                timeout,
                told: None,
            };
            Ok((Target::Each(each), None))
        }
        To::Command(template, headed, _) => {
            let name = template.name();
            let places = Places {
                file: std::path::Path::new(""),
                time: "",
                index: 0,
                segment: None,
            };
            let mut command: Command = template.filled(&places);
            command.stdin(Stdio::piped());
            let cannot = |error: io::Error| Error::Command(name.clone(), format!("cannot be started: {error}"));
            let mut child = Child::start_as_told(command).map_err(cannot)?;
            let input = child.take_input().ok_or(Error::Bug)?;
            Ok((Target::Pipe(small(Pipe::of(input)), headed), Some((child, name))))
        }
    }
}

/// Starts what fetches the stream.
fn fetch(program: &Program, hub: &Hub, shutdown: &Shutdown) -> Arc<Supervisor> {
    let clock = &program.clock;
    let world = source::World {
        hub: hub.clone(),
        events: Events::new(hub, Arc::clone(clock)),
        clock: Arc::clone(clock),
        random: random::bits,
        soon: Vec::new(),
        lowers: Arc::default(),
    };
    let sources = Supervisor::new(world, shutdown.clone());
    sources.set(&BTreeMap::from([(StreamKey::Name(name()), program.stream.clone())]));
    sources
}

/// From the hub to the decoder.
struct Feed {
    hub: Hub,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl Feed {
    async fn read(&self) {
        loop {
            match self.hub.stream(&name(), self.clock.now()) {
                Ok(stream) => self.read_stream(&stream).await,
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Until it ends.
    async fn read_stream(&self, stream: &Arc<Stream>) {
        let Ok(mut reader) = stream.join(self.clock.now()) else {
            return tokio::time::sleep(LOOK_AGAIN).await;
        };
        let mut track = self.pictures(&stream.tracks());
        let mut frames = Vec::new();
        loop {
            match reader.next(&mut frames).await {
                Event::Frames(_) => {
                    for entry in frames.drain(..) {
                        if Some(entry.frame.track) == track {
                            self.shared.queue.offer(entry);
                        }
                    }
                }
                Event::Jumped { .. } => self.shared.queue.interrupt(),
                Event::Tracks(tracks) => {
                    self.shared.queue.interrupt();
                    track = self.pictures(&tracks);
                }
                Event::Ended(_) => return self.shared.queue.interrupt(),
            }
        }
    }

    /// The track that is looked at.
    fn pictures(&self, tracks: &[Track]) -> Option<TrackIndex> {
        let is_video = |track: &Track| track.format.codec().kind() == Kind::Video;
        let found = tracks.iter().position(is_video);
        let found = found.and_then(|at| u8::try_from(at).ok()).map(TrackIndex);
        if found.is_none() {
            self.shared.trouble(Error::NoVideo.to_string());
        }
        found
    }
}

/// What is looked at while it runs.
struct Watched<'a> {
    program: &'a Program,
    sources: &'a Supervisor,
    shared: &'a Shared,
    given: &'a Given,
}

impl Watched<'_> {
    /// Ends where it cannot go on.
    async fn watch(&self, child: &mut Option<(Child, String)>) -> Result<(), Error> {
        let mut last = (self.program.clock.now(), 0, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some((child, _)) = child
                && child.has_exited()
            {
                return Ok(());
            }
            if self.given.pictures.get() == 0
                && let Some(why) = self.refusal()
            {
                return Err(Error::Refused(why));
            }
            let now = self.program.clock.now();
            if now.saturating_duration_since(last.0) >= TELL {
                self.tell(&mut last, now);
            }
        }
    }

    /// Why there will be no picture before a person changes something.
    fn refusal(&self) -> Option<String> {
        if let Some(why) = self.shared.refusal() {
            return Some(why);
        }
        let report = self.sources.reports().into_iter().next()?;
        let State::Waiting { why, .. } = report.state else {
            return None;
        };
        let is_lasting = matches!(
            why.trouble,
            Trouble::Login | Trouble::LoginNeeded | Trouble::Certificate | Trouble::Program
        );
        is_lasting.then(|| why.detail.to_string())
    }

    fn tell(&self, (at, decoded, given): &mut (Instant, u64, u64), now: Instant) {
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        let (decoded_now, given_now) = (self.shared.decoded.get(), self.given.pictures.get());
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds.max(f64::MIN_POSITIVE);
        let text = format!(
            "{} pictures, {:.1}/s of {:.1}/s decoded{}, {} left out, {:.0} ms old",
            given_now,
            rate(given_now, *given),
            rate(decoded_now, *decoded),
            match self.shared.is_thrifty.load(Relaxed) {
                true => " (keyframes alone)",
                false => "",
            },
            self.shared.dropped(),
            self.given.age_us.load(Relaxed) as f64 / 1e3
        );
        self.program.console.status(&text);
        if let Some(reason) = self.shared.take_trouble() {
            tracing::warn!(reason, "a frame gave no picture");
        }
        (*at, *decoded, *given) = (now, decoded_now, given_now);
    }

    /// What came of it.
    fn account(&self) -> Result<(), Error> {
        let pictures = self.given.pictures.get();
        let (dropped, failed) = (self.shared.dropped(), self.given.failed.get());
        tracing::info!(pictures, dropped, failed, "ended");
        // Who ends it by a signal knows what there was.
        if pictures > 0 || self.program.duration.is_none() {
            return Ok(());
        }
        let reports = self.sources.reports();
        let waiting = reports.into_iter().find_map(|report| match report.state {
            State::Waiting { why, .. } | State::Failed(why) => Some(why.detail.to_string()),
            _ => None,
        });
        let why = waiting.or_else(|| self.shared.last_trouble());
        Err(Error::NoPicture(why.unwrap_or_else(|| {
            "the time was over before the first one; give it more with --duration".to_owned()
        })))
    }
}
