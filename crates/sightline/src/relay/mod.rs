//! `sightline relay`: cameras whose streams are sent on, written as HLS, recorded, or all of it.
//!
//! Belongs here: what is done with which camera ([`plan`], [`words`]), from the hub to the threads that write ([`queue`], [`writer`]), what they write
//! ([`hls`], [`record`]), what people are told ([`status`]). Does not belong here: fetching streams ([`crate::source`]), sending them on ([`crate::forward`]),
//! recordings with an index ([`crate::record`]).
//!
//! Nothing is decoded. Frames wait by reference: what the hub holds of a stream, and what waits for a disk, is all the memory that a camera takes.

mod age;
mod brake;
mod folder;
mod hls;
pub mod plan;
mod queue;
mod record;
mod status;
#[cfg(test)]
pub(crate) mod tests;
pub mod words;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use media::hub::{self, Event, Hub, Stream};
use media::stats::Counter;
use media::{Clock, StreamName};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::events::Events;
use crate::forward::{self, Forwarder};
use crate::log::Console;
use crate::random;
use crate::shutdown::{self, End, Shutdown};
use crate::source::{self, Supervisor};
use folder::Held;
pub use folder::Unusable;
pub use plan::Camera;
use queue::{Item, Limits, Queue};
use writer::{Figures, Working};

/// What to run.
pub struct Program {
    /// At least one.
    pub cameras: Vec<Camera>,
    /// Of the hub.
    pub limits: hub::Limits,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where people look.
    pub console: Arc<Console>,
}

/// Why it could not start, or ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder cannot be used.
    #[error(transparent)]
    Folder(#[from] Unusable),
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

/// How often it is looked for a stream that is not there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The hub wants to be asked at least once a second.
const POLL: Duration = Duration::from_secs(1);

/// A camera that is relayed.
struct Relayed {
    camera: Camera,
    working: Vec<Working>,
    /// Frames that the camera gave.
    frames: Arc<Counter>,
}

impl Relayed {
    /// Hands its frames to the threads that write.
    fn feed(&self, hub: &Hub, clock: &Arc<dyn Clock>, shutdown: &Shutdown) -> JoinHandle<()> {
        let queues = self.working.iter().map(|working| Arc::clone(&working.queue));
        let feed = Feed {
            name: self.camera.name.clone(),
            queues: queues.collect(),
            frames: Arc::clone(&self.frames),
            hub: hub.clone(),
            clock: Arc::clone(clock),
        };
        tokio::spawn(feed.run(shutdown.clone()))
    }
}

/// Runs until a signal comes.
///
/// # Errors
/// [`Error`].
pub fn run(program: &Program, runtime: &Runtime) -> Result<(), Error> {
    let console = Arc::clone(&program.console);
    let outputs = program.cameras.iter().flat_map(Camera::outputs);
    let held: Vec<Held> = outputs.map(folder::hold).collect::<Result<_, _>>()?;
    let ended = runtime.block_on(shutdown::run(|shutdown| relay(program, shutdown)));
    console.status("");
    drop(held);
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

async fn relay(program: &Program, shutdown: Shutdown) -> Result<(), Error> {
    let clock = &program.clock;
    let hub = Hub::new(program.limits);
    let events = Events::new(&hub, Arc::clone(clock));
    let sources = Supervisor::new(
        source::World {
            hub: hub.clone(),
            events,
            clock: Arc::clone(clock),
            random: random::bits,
            soon: Vec::new(),
            lowers: Arc::default(),
        },
        shutdown.clone(),
    );
    let targets = Forwarder::new(
        forward::World {
            hub: hub.clone(),
            clock: Arc::clone(clock),
            random: random::bits,
        },
        shutdown.clone(),
    );
    let mut relayed = Vec::new();
    for camera in &program.cameras {
        relayed.push(start(camera, clock)?);
    }
    let feeds: Vec<_> = relayed
        .iter()
        .map(|relayed| relayed.feed(&hub, clock, &shutdown))
        .collect();
    let streams = plan::streams(&program.cameras);
    sources.set(&streams);
    targets.set(&streams);
    let leaving = [
        tokio::spawn(Arc::clone(&sources).run()),
        tokio::spawn(Arc::clone(&targets).run()),
    ];
    let watched = status::Watched {
        hub: &hub,
        clock: &**clock,
        console: &program.console,
        relayed: &relayed,
        sources: &sources,
        targets: &targets,
    };
    let done = tokio::select! {
        () = shutdown.requested() => Ok(()),
        done = status::watch(&watched) => done,
        () = keep_time(&hub, &**clock) => Ok(()),
    };
    tracing::info!("stopping");
    for feed in feeds {
        if !shutdown.is_requested() {
            feed.abort();
        }
        // A panic in it was reported already.
        let _ = feed.await;
    }
    // While leave is taken of cameras and servers.
    let working: Vec<Working> = relayed.into_iter().flat_map(|relayed| relayed.working).collect();
    let written = tokio::task::spawn_blocking(|| finish(working));
    for task in leaving {
        if !shutdown.is_requested() {
            task.abort();
        }
        let _ = task.await;
    }
    written.await.map_err(|_| Error::Bug)?;
    done
}

/// All at once: each has to make durable what it wrote.
fn finish(working: Vec<Working>) {
    working.iter().for_each(|working| working.queue.close());
    working.into_iter().for_each(Working::finish);
}

/// Starts what writes the stream of one camera.
fn start(camera: &Camera, clock: &Arc<dyn Clock>) -> Result<Relayed, Error> {
    let mut working = Vec::new();
    let refused = |error| Error::System {
        what: "start a thread",
        error,
    };
    let name = &camera.name;
    if let Some(output) = &camera.hls {
        let (figures, queue) = (Arc::<Figures>::default(), Queue::new(Limits::default()));
        let hls = hls::Hls::new(name.clone(), output.clone(), Arc::clone(clock), Arc::clone(&figures));
        let thread = Working::start("hls", hls, figures, queue, Arc::clone(clock));
        working.push(thread.map_err(refused)?);
    }
    if let Some(output) = &camera.record {
        let (figures, queue) = (Arc::<Figures>::default(), Queue::new(Limits::default()));
        let recorder = record::Recorder::new(name.clone(), output.clone(), Arc::clone(clock), Arc::clone(&figures));
        let thread = Working::start("record", recorder, figures, queue, Arc::clone(clock));
        working.push(thread.map_err(refused)?);
    }
    Ok(Relayed {
        camera: camera.clone(),
        working,
        frames: Arc::default(),
    })
}

/// From the hub to the queues of one camera.
struct Feed {
    name: StreamName,
    queues: Vec<Arc<Queue>>,
    frames: Arc<Counter>,
    hub: Hub,
    clock: Arc<dyn Clock>,
}

impl Feed {
    async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = self.read() => {}
            () = shutdown.requested() => {}
        }
    }

    async fn read(&self) {
        loop {
            match self.hub.stream(&self.name, self.clock.now()) {
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
        self.offer(|| Item::Tracks(stream.tracks()));
        let mut frames = Vec::new();
        loop {
            match reader.next(&mut frames).await {
                Event::Frames(_) => {
                    for entry in frames.drain(..) {
                        self.frames.add(1);
                        self.offer(|| Item::Frame(Arc::clone(&entry)));
                    }
                }
                Event::Jumped { frames_skipped } => {
                    tracing::warn!(camera = %self.name, frames_skipped, "this machine is too slow: frames are left out");
                    self.offer(|| Item::Gap);
                }
                Event::Tracks(tracks) => self.offer(|| Item::Tracks(Arc::clone(&tracks))),
                Event::Ended(_) => return self.offer(|| Item::Gap),
            }
        }
    }

    fn offer(&self, item: impl Fn() -> Item) {
        for queue in &self.queues {
            queue.offer(item());
        }
    }
}

/// So that streams end whose cameras do not come back.
pub(crate) async fn keep_time(hub: &Hub, clock: &dyn Clock) {
    loop {
        let now = clock.now();
        let next = hub.poll(now).map_or(POLL, |next| next.saturating_duration_since(now));
        tokio::time::sleep(next.min(POLL)).await;
    }
}
