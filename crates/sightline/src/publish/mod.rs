//! `sightline publish`: a stream of this machine to another server, for as long as the program runs.
//!
//! Belongs here: the camera and its way out in one process, connecting again and again, when to give up, the preview of what is sent
//! ([`preview`]). Does not belong here: RTSP ([`crate::rtsp::client`]), what a camera does ([`crate::camera`]), the window
//! ([`crate::window`]).

mod backoff;
mod preview;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use device::motion;
use media::hub::{Hub, Reader, Stream, Viewing};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, StreamName};
use protocol::rtsp::client::{Error as Refused, Step};
use protocol::rtsp::message::Status;
use tokio::runtime::{Handle, Runtime};

use crate::camera::Cameras;
use crate::config::settings;
use crate::log::Console;
use crate::rtsp::client::{Error, Sender, Settings, Url};
use crate::serve::status;
use crate::shutdown::{self, End, Shutdown};
use crate::status::client;
use crate::status::report::Reporter;
use crate::window::{self, Screen, Window};
pub(crate) use backoff::{Backoff, shortened};
use preview::Preview;

/// A camera and where its stream goes.
pub struct Program {
    /// The camera.
    pub camera: settings::Camera,
    /// Its stream and where it goes.
    pub plan: Plan,
    /// Show what is sent in a window.
    pub preview: bool,
    /// Where the camera's status goes.
    pub report: client::Target,
    /// What is looked for in front of the camera, and told with its status; `None`: nobody looks.
    pub motion: Option<motion::Settings>,
    /// Where people look.
    pub console: Arc<Console>,
}

/// Why publishing ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server will not have it.
    #[error(transparent)]
    Client(#[from] Error),
    /// There is no window for the preview.
    #[error("{0}; start it within a desktop (over ssh: ssh -X), or leave out --preview")]
    Window(window::Error),
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

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::System { what, error }
}

/// Runs camera and sender until a signal comes or the preview is closed. To be called on the main thread, where windows must live.
///
/// # Errors
/// [`Failure`].
pub fn run(program: Program, runtime: &Runtime) -> Result<(), Failure> {
    let console = Arc::clone(&program.console);
    let done = if program.preview {
        with_window(program, runtime)
    } else {
        let work = |shutdown| publish(program, shutdown, None);
        match runtime.block_on(shutdown::run(work)) {
            Ok(End::Done(done)) => done,
            Ok(End::Abandoned) => {
                tracing::warn!("not everything ended in time");
                Ok(())
            }
            Err(error) => Err(system("handle signals")(error)),
        }
    };
    console.status("");
    done
}

fn with_window(program: Program, runtime: &Runtime) -> Result<(), Failure> {
    let window = Window::new().map_err(Failure::Window)?;
    let console = Arc::clone(&program.console);
    let signalled = shutdown::on_signal(runtime, move || console.status(""));
    let signalled = signalled.map_err(system("handle signals"))?;
    let (trigger, shutdown) = shutdown::channel();
    let trigger = Arc::new(trigger);
    let end = Arc::clone(&trigger);
    runtime.spawn(async move {
        signalled.requested().await;
        end.request();
    });
    let title = format!("Sightline: {:?}", program.plan.url);
    let work = publish(program, shutdown, Some(window.screen()));
    let (shown, published) = window.run_beside(title, runtime, work, || trigger.request());
    shown
        .map_err(Failure::Window)
        .and(published.unwrap_or(Err(Failure::Bug)))
}

async fn publish(program: Program, shutdown: Shutdown, screen: Option<Screen>) -> Result<(), Failure> {
    let Program {
        camera,
        plan,
        console,
        report,
        motion,
        ..
    } = program;
    let clock = Arc::clone(&plan.settings.clock);
    let hub = Hub::new(media::hub::Limits::default());
    // Nobody could ask for a second stream.
    let camera = settings::Camera { low: false, ..camera };
    let wanted = vec![(plan.stream.clone(), camera)];
    let mut cameras = Cameras::start(wanted, Arc::default(), hub.clone(), Arc::clone(&plan.settings.clock));
    let preview = screen.map(|screen| Preview::start(&plan, &hub, screen, Handle::current()));
    let preview = match preview.transpose() {
        Ok(preview) => preview,
        Err(error) => {
            cameras.end().await;
            return Err(system("start a thread")(error));
        }
    };
    let stop = cameras.stopper();
    let stopped = async {
        shutdown.requested().await;
        // While leave is taken of the server.
        stop();
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = keep_sending(&plan, &hub, &shutdown) => done.map_err(Failure::from),
        done = watch_camera(&console, &hub, &report, motion, clock, &mut cameras) => done,
        () = stopped => Ok(()),
    };
    cameras.end().await;
    // Its thread is waited for.
    let ended = tokio::task::spawn_blocking(move || drop(preview));
    ended.await.map_err(|_| Failure::Bug)?;
    done
}

/// Waits for the camera, shows what it does, and reports it.
async fn watch_camera(
    console: &Console,
    hub: &Hub,
    report: &client::Target,
    motion: Option<motion::Settings>,
    clock: Arc<dyn Clock>,
    cameras: &mut Cameras,
) -> Result<(), Failure> {
    let running = cameras.started().await.map_err(system("start a camera's threads"))?;
    let queue = client::Queue::default();
    // What it sees is told with its status.
    let _watched = motion.and_then(|motion| Some(running.first()?.watch(motion, |_| {})));
    let reporter = Reporter::new(&running, hub.clone(), clock, report.per_second);
    tokio::join!(
        status::show(console, hub, &running),
        reporter.run(|_, status| queue.push(status)),
        client::run(report, &queue, running.first()),
    );
    Ok(())
}

/// What to send where.
#[derive(Clone)]
pub struct Plan {
    /// The stream in our hub.
    pub stream: StreamName,
    /// Where it goes.
    pub url: Url,
    /// How to connect.
    pub settings: Settings,
    /// Through which servers the stream came, for `Via`.
    pub via: Option<String>,
}

/// How long to wait before looking again whether our own stream is there: a camera takes some 100 ms to give its first picture.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Sends until `shutdown`, through whatever happens to the server.
///
/// # Errors
/// When the very first attempt shows that no other will do better: a wrong password, no right to the stream, a name the server does not take.
pub async fn keep_sending(plan: &Plan, hub: &Hub, shutdown: &Shutdown) -> Result<(), Error> {
    let clock = &plan.settings.clock;
    let mut backoff = Backoff::default();
    let mut was_there = false;
    loop {
        let stream = tokio::select! {
            stream = our_stream(plan, hub) => stream,
            () = shutdown.requested() => return Ok(()),
        };
        let began = clock.now();
        let Err(error) = send(plan, &stream, &mut was_there, shutdown).await else {
            return Ok(());
        };
        let lasted = clock.now().saturating_duration_since(began);
        match error {
            // Its format changed or the camera came back: announce it anew.
            Error::SourceEnded => backoff = Backoff::default(),
            error if !was_there && is_final(&error) => return Err(error),
            error => {
                let wait = backoff.next(lasted);
                tracing::warn!(server = %plan.url.authority(), %error, retry_ms = wait.as_millis() as u64, "not publishing");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.requested() => return Ok(()),
                }
            }
        }
    }
}

/// Waits for our own stream.
async fn our_stream(plan: &Plan, hub: &Hub) -> Arc<Stream> {
    loop {
        if let Ok(stream) = hub.stream(&plan.stream, plan.settings.clock.now()) {
            return stream;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One connection, from its beginning to its end. `Ok` after `shutdown`.
async fn send(plan: &Plan, stream: &Arc<Stream>, was_there: &mut bool, shutdown: &Shutdown) -> Result<(), Error> {
    let stats = Arc::new(counters(stream, &*plan.settings.clock, "RTSP to another server"));
    let there = || {
        *was_there = true;
        tracing::info!(server = %plan.url.authority(), stream = %plan.stream, "publishing");
        stream.add_viewer(Arc::clone(&stats))
    };
    session(plan, stream, &stats, there, shutdown).await
}

/// One connection, from its beginning to its end. `Ok` after `shutdown`. What `there` gives when the server takes media is kept until the end.
///
/// # Errors
/// [`Error::SourceEnded`] when the stream ended or is made of something else, else what broke.
pub(crate) async fn session<T>(
    plan: &Plan,
    stream: &Arc<Stream>,
    stats: &SessionStats,
    there: impl FnOnce() -> T,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let tracks = stream.tracks();
    let mut sender = tokio::select! {
        sender = Sender::connect(plan.url.clone(), plan.stream.as_str(), &tracks, plan.via.clone(), plan.settings.clone()) => sender?,
        () = shutdown.requested() => return Ok(()),
    };
    let _there = there();
    let Ok(mut reader) = stream.join(plan.settings.clock.now()) else {
        sender.close().await;
        return Err(Error::SourceEnded);
    };
    let ended = tokio::select! {
        ended = sender.run(&mut reader, stats) => ended.and(Err(Error::Ended)),
        () = shutdown.requested() => Ok(()),
    };
    // The server is there still, and need not find out by itself that nothing comes any more.
    if matches!(ended, Ok(()) | Err(Error::SourceEnded)) {
        sender.close().await;
    }
    ended
}

/// A viewer of our own stream: the preview.
struct Joined {
    reader: Reader,
    _viewing: Viewing,
}

/// `None` when the stream ended.
fn join(stream: &Arc<Stream>, clock: &Arc<dyn Clock>, protocol: &'static str) -> Option<Joined> {
    let stats = Arc::new(counters(stream, &**clock, protocol));
    // Of viewers there are not more than these two.
    let viewing = stream.add_viewer(stats).ok()?;
    let reader = stream.join(clock.now()).ok()?;
    Some(Joined {
        reader,
        _viewing: viewing,
    })
}

fn counters(stream: &Stream, clock: &dyn Clock, protocol: &'static str) -> SessionStats {
    SessionStats::new(SessionInfo {
        stream: stream.name().clone(),
        role: Role::Viewer,
        protocol,
        remote: None,
        agent: None,
        since: clock.wall(),
    })
}

/// Whether trying again cannot help before a person changed something.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Tls { .. }
            | Error::Certificate { .. }
            | Error::NoTracks(_)
            | Error::Session(
                Refused::WrongLogin { .. }
                    | Refused::LoginNeeded { .. }
                    | Refused::UnknownLogin { .. }
                    | Refused::Forbidden { .. }
                    | Refused::Protocol { .. }
            )
    ) || matches!(error, Error::Session(Refused::Refused { step: Step::Announce, status, .. }) if is_about_us(*status))
}

/// Whether a refusal is about what we ask for, and not about the server's present state.
fn is_about_us(status: Status) -> bool {
    matches!(
        status.0,
        400 | 404 | 405 | 406 | 413 | 414 | 415 | 501 | 505 | 508 | 551
    )
}

#[cfg(test)]
mod tests;
