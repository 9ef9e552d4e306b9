//! Motion in streams: who looks for it, and what comes of it.
//!
//! Belongs here: which streams are looked at ([`plan`]), by whom (the camera on its own thread, its publisher, or this server, which decodes: [`look`], [`pool`]), the task of each of them
//! ([`task`]), what is told ([`tell`]). Does not belong here: what motion is ([`device::motion`]), where it is kept ([`crate::record::index`]).
//!
//! ```text
//! hub ─▶ task (a reader like others) ─▶ pool: look ─▶ task ─▶ tell ─▶ events, index, recordings
//! camera of this machine ─────────── Seen ──────────▶ task
//! publisher ─▶ status socket, fields 16 and 17 ─────▶ task
//! ```
//!
//! Whoever looks holds up nobody: a stream has one job at a time, and what it does not come to is left out by the hub or by [`look`], and counted.

pub mod look;
mod plan;
mod pool;
mod task;
mod tell;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use device::motion::Now;
use media::hub::Hub;
use media::{Clock, StreamName};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::camera::Camera;
use crate::config::motion::Mode;
use crate::config::settings;
use crate::config::stream_key::StreamKey;
use crate::events::Events;
use crate::record::service::Recordings;
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
pub use look::Counts;
use plan::{Plan, Tables};
use pool::Pool;
use task::{Fed, Task};

/// How often it is looked which streams are there.
const LOOK: Duration = Duration::from_millis(500);
/// Streams that are decoded here at a time. A decoder has 3 MB a reference picture of 1080p, up to sixteen of them.
pub const MAX_DECODED: usize = 64;
/// Of those, streams of H.265: each has an FFmpeg of its own.
pub const MAX_FFMPEG: usize = 16;
/// How long tasks may take to tell that motion has ended.
const END_WITHIN: Duration = Duration::from_millis(200);
/// What waits for one task: looks of a camera, words of a publisher.
const FED: usize = 32;
/// Who said something about its motion so short a while ago looks for it itself.
const SAYS_WITHIN: Duration = Duration::from_secs(5);

/// What it needs.
pub struct World {
    /// Where streams are.
    pub hub: Hub,
    /// Those that the server fetches: nobody publishes them who could say how they are.
    pub streams: Arc<Supervisor>,
    /// What is recorded when something moves, and where it is kept.
    pub recordings: Arc<Recordings>,
    /// Where it is told.
    pub events: Arc<Events>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where FFmpeg is: asked each time, since it may be installed while the program runs.
    pub ffmpeg: fn() -> Option<PathBuf>,
}

/// All that look for motion.
pub struct Detector {
    world: World,
    shutdown: Shutdown,
    tables: Mutex<Tables>,
    entries: Mutex<Entries>,
    /// Those of this machine, once they are started.
    cameras: OnceLock<BTreeMap<StreamName, Weak<Camera>>>,
    pool: OnceLock<Pool>,
    /// One for each stream that is decoded here.
    decoders: Arc<Semaphore>,
    /// And one for each of them that needs an FFmpeg.
    ffmpegs: Arc<Semaphore>,
}

#[derive(Default)]
struct Entries {
    by_stream: BTreeMap<StreamName, Arc<Entry>>,
    /// What those counted that are gone.
    gone: Counts,
    has_ended: bool,
}

/// A stream that is looked at.
struct Entry {
    stream: StreamName,
    wish: watch::Sender<Wish>,
    fed: mpsc::Sender<Fed>,
    report: Mutex<Report>,
    said: Mutex<Option<Instant>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a task is to do from now on.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    plan: Plan,
    ends: bool,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This server, which decodes.
    Server,
    /// A camera of this machine.
    Camera,
    /// Whoever publishes the stream, as it says itself.
    Publisher,
}

impl By {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Camera => "camera",
            Self::Publisher => "publisher",
        }
    }
}

/// What a publisher is to look for in front of the camera of that stream; `None`: nothing.
pub fn of_settings(settings: &settings::Settings, stream: &StreamName) -> Option<device::motion::Settings> {
    let plan = plan::plan(&settings.motion, &settings.stream, stream);
    plan.is_watched.then_some(plan.settings)
}

/// How it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which stream.
    pub stream: StreamName,
    /// In a word.
    pub state: State,
    /// Who looks.
    pub by: Option<By>,
    /// What is decoded, where this server does.
    pub mode: Mode,
    /// At the newest look.
    pub now: Now,
    /// What was decoded here.
    pub counts: Counts,
    /// Why nobody looks, or not as often as was wanted.
    pub why: Option<Cow<'static, str>>,
}

/// How somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing to look at yet.
    Waiting,
    /// As often as is wanted.
    Looking,
    /// Not as often: the machine is too slow.
    Behind,
    /// It cannot be.
    Unable,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Looking, Self::Behind, Self::Unable];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Looking => "looking",
            Self::Behind => "behind",
            Self::Unable => "unable",
        }
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            looks: self.looks.saturating_add(other.looks),
            decoded: self.decoded.saturating_add(other.decoded),
            failures: self.failures.saturating_add(other.failures),
            late: self.late.saturating_add(other.late),
        }
    }
}

impl Detector {
    /// Looks at nothing yet.
    pub fn new(world: World, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world,
            shutdown,
            tables: Mutex::default(),
            entries: Mutex::default(),
            cameras: OnceLock::new(),
            pool: OnceLock::new(),
            decoders: Arc::new(Semaphore::new(MAX_DECODED)),
            ffmpegs: Arc::new(Semaphore::new(MAX_FFMPEG)),
        })
    }

    /// Changes what is set: streams for which the same is set are not touched.
    pub fn set(&self, motion: &settings::Motion, streams: &BTreeMap<StreamKey, settings::Stream>) {
        let mut tables = lock(&self.tables);
        tables.set(motion, streams);
        for entry in lock(&self.entries).by_stream.values() {
            entry.follow(tables.plan(&entry.stream));
        }
    }

    /// Says which cameras run on this machine: those look at their own pictures.
    pub fn cameras(&self, cameras: &[Arc<Camera>]) {
        let named = cameras
            .iter()
            .map(|camera| (camera.name.clone(), Arc::downgrade(camera)));
        // It is said once.
        let _ = self.cameras.set(named.collect());
    }

    /// Looks for streams until the end of the program.
    pub async fn run(self: Arc<Self>) {
        while !self.shutdown.is_requested() {
            self.find();
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.shutdown.requested() => {}
            }
        }
    }

    /// Tells of all motion that it has ended. Nobody looks afterwards.
    pub async fn end(&self) {
        let ending: Vec<Arc<Entry>> = {
            let mut entries = lock(&self.entries);
            entries.has_ended = true;
            std::mem::take(&mut entries.by_stream).into_values().collect()
        };
        let ended = async {
            ending.iter().for_each(|entry| entry.end());
            for entry in &ending {
                let task = lock(&entry.task).take();
                if let Some(task) = task {
                    // A panic in it was reported already.
                    let _ = task.await;
                }
            }
        };
        // What is not told to the index in time is as it was a few seconds ago.
        let _ = tokio::time::timeout(END_WITHIN, ended).await;
    }

    /// The publisher of a stream says whether something moves in front of it, and how much, 0 to 1.
    pub(crate) fn told(self: &Arc<Self>, stream: &StreamName, is_moving: bool, intensity: f32) {
        if self.world.hub.stream(stream, self.world.clock.now()).is_err() || lock(&self.tables).plan(stream).is_refused
        {
            return;
        }
        // A camera of this machine speaks for itself, and nobody for one that is fetched: who may publish other streams could else keep it from being looked at.
        let is_camera = |cameras: &BTreeMap<StreamName, Weak<Camera>>| cameras.contains_key(stream);
        if self.cameras.get().is_some_and(is_camera) || self.world.streams.source_of(stream).is_some() {
            return;
        }
        let Some(entry) = self.entry(stream) else { return };
        *lock(&entry.said) = Some(self.world.clock.now());
        let permille = (intensity.clamp(0.0, 1.0) * 1_000.0).round() as u16;
        let intensity_permille = if is_moving { permille.max(1) } else { 0 };
        // One that is not taken is followed by others.
        let _ = entry.fed.try_send(Fed::Said(Now {
            is_moving,
            intensity_permille,
        }));
    }

    /// How it is at a stream; `None`: nobody looks.
    pub fn report(&self, stream: &StreamName) -> Option<Report> {
        let entry = lock(&self.entries).by_stream.get(stream).cloned()?;
        Some(entry.report())
    }

    /// How it is everywhere, by name.
    pub fn reports(&self) -> Vec<Report> {
        let entries = lock(&self.entries);
        entries.by_stream.values().map(|entry| entry.report()).collect()
    }

    /// What was decoded since the start.
    pub fn totals(&self) -> Counts {
        let entries = lock(&self.entries);
        let all = entries.by_stream.values().map(|entry| entry.report().counts);
        all.fold(entries.gone, Counts::plus)
    }

    /// Makes tasks for streams that are to be looked at, and lets go of those that are gone.
    fn find(self: &Arc<Self>) {
        let there: Vec<StreamName> = (self.world.hub.list().iter())
            .map(|stream| stream.name().clone())
            .collect();
        let wanted: Vec<&StreamName> = {
            let tables = lock(&self.tables);
            there.iter().filter(|name| tables.plan(name).is_watched).collect()
        };
        for stream in &wanted {
            self.entry(stream);
        }
        let now = self.world.clock.now();
        let is_needed =
            |entry: &Entry| wanted.contains(&&entry.stream) || (entry.says(now) && there.contains(&entry.stream));
        let mut entries = lock(&self.entries);
        let unneeded = entries.by_stream.values().filter(|entry| !is_needed(entry));
        let unneeded: Vec<StreamName> = unneeded.map(|entry| entry.stream.clone()).collect();
        for stream in unneeded {
            if let Some(entry) = entries.by_stream.remove(&stream) {
                entries.gone = entries.gone.plus(entry.report().counts);
                entry.end();
            }
        }
    }

    /// The task of a stream that is there.
    fn entry(self: &Arc<Self>, stream: &StreamName) -> Option<Arc<Entry>> {
        // Held until the entry is there: whoever changes what is set finds it.
        let tables = lock(&self.tables);
        let mut entries = lock(&self.entries);
        if let Some(there) = entries.by_stream.get(stream) {
            return Some(Arc::clone(there));
        }
        if entries.has_ended || entries.by_stream.len() >= self.world.hub.limits().streams {
            return None;
        }
        let plan = tables.plan(stream);
        let (fed, received) = mpsc::channel(FED);
        let (wish, wished) = watch::channel(Wish {
            plan: plan.clone(),
            ends: false,
        });
        let entry = Arc::new(Entry {
            stream: stream.clone(),
            wish,
            fed,
            report: Mutex::new(Report {
                stream: stream.clone(),
                state: State::Waiting,
                by: None,
                mode: plan.mode,
                now: Now::default(),
                counts: Counts::default(),
                why: None,
            }),
            said: Mutex::default(),
            task: Mutex::default(),
        });
        let task = Task::new(Arc::clone(&entry), Arc::clone(self), wished, received);
        *lock(&entry.task) = Some(tokio::spawn(task.run()));
        entries.by_stream.insert(stream.clone(), Arc::clone(&entry));
        Some(entry)
    }

    fn pool(&self) -> &Pool {
        self.pool.get_or_init(Pool::start)
    }
}

impl Entry {
    /// Other settings may hold.
    fn follow(&self, plan: Plan) {
        self.wish.send_if_modified(|wish| {
            let is_other = wish.plan != plan;
            wish.plan = plan;
            is_other
        });
    }

    fn end(&self) {
        self.wish.send_modify(|wish| wish.ends = true);
    }

    fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Its publisher looks for motion itself.
    fn says(&self, now: Instant) -> bool {
        lock(&self.said).is_some_and(|at| now.saturating_duration_since(at) < SAYS_WITHIN)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
