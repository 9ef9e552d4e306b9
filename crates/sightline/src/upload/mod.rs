//! Snapshots of streams, uploaded: what `sightline upload` does, and a server for its tables `[upload.NAME]`.
//!
//! Belongs here: what is uploaded where ([`plan`], [`words`]), when a snapshot is taken and of what ([`taking`]), where it waits ([`spool`]), how it is sent and
//! what goes at the other end ([`sending`], [`store`], [`lifecycle`]). Does not belong here: how S3 is spoken ([`crate::s3`]), fetching streams
//! ([`crate::source`]), decoding and JPEG (`device`), the archive of recordings ([`crate::record::archive`]).
//!
//! Each upload is two tasks with a folder between them: one takes, whether anything can be sent or not; one sends in order, however long it takes.

mod lifecycle;
mod mark;
mod name;
pub mod plan;
mod sending;
mod spool;
mod store;
mod taking;
pub mod words;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use media::hub::{self, Hub};
use media::{Clock, StreamName};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::config::settings::{Settings, Stream};
use crate::config::stream_key::StreamKey;
use crate::events::Events;
use crate::random;
use crate::s3::{Bucket, Pace};
use crate::shutdown::{self, End, Shutdown, Trigger};
use crate::source::{self, Supervisor};
use plan::{Common, Plan, To};
pub use sending::Report;
use sending::{Sending, Shared};
use spool::Spool;
pub use spool::Unusable;
use store::Store;
use taking::Taking;

/// What uploads need.
pub struct World {
    /// Where streams come from.
    pub streams: Arc<Supervisor>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where schedules hold.
    pub zone: fn() -> TimeZone,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

/// All uploads of the program.
pub struct Uploads {
    world: Arc<World>,
    shutdown: Shutdown,
    running: Mutex<BTreeMap<StreamName, Running>>,
}

/// One that runs, until this is dropped.
struct Running {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
    stop: Trigger,
}

/// Why an upload does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Its spool cannot be used.
    #[error("{name}: {error}")]
    Spool {
        /// Which upload.
        name: StreamName,
        /// Why not.
        error: Unusable,
    },
    /// S3 cannot be asked so.
    #[error("{name}: {error}")]
    S3 {
        /// Which upload.
        name: StreamName,
        /// Why not.
        error: crate::s3::Failed,
    },
}

impl Uploads {
    /// Without any. Those of [`Uploads::set`] run until `shutdown`.
    pub fn new(world: World, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::new(world),
            shutdown,
            running: Mutex::default(),
        })
    }

    /// Changes what is set, for a server: uploads for which the same is set are not touched. Which of them do not run, and why, for people.
    pub async fn set(&self, settings: &Settings, common: &Common<'_>) -> Vec<String> {
        let (mut plans, mut wrong) = (Vec::new(), Vec::new());
        for (name, plan) in plan::of_server(settings, common) {
            match plan {
                Ok(plan) => plans.push(plan),
                Err(lines) => wrong.push(format!("{name}: {}", lines.join("; "))),
            }
        }
        let failed = self.follow(plans).await;
        wrong.extend(failed.iter().map(ToString::to_string));
        wrong
    }

    /// Runs these and no others. Which of them do not start, and why.
    pub async fn follow(&self, plans: Vec<Plan>) -> Vec<NotStarted> {
        let ending: Vec<Running> = {
            let mut running = self.running();
            let stays =
                |name: &StreamName, one: &Running| plans.iter().any(|plan| plan.name == *name && *plan == *one.plan);
            let names: Vec<StreamName> = running.keys().cloned().collect();
            let ends = names.into_iter().filter_map(|name| {
                let is_over = !stays(&name, running.get(&name)?);
                is_over.then(|| running.remove(&name))?
            });
            ends.collect()
        };
        // Their spools are to be free.
        for one in ending {
            one.end().await;
        }
        let mut failed = Vec::new();
        for plan in plans {
            if !self.running().contains_key(&plan.name) {
                let name = plan.name.clone();
                match self.start(plan).await {
                    Ok(one) => drop(self.running().insert(name, one)),
                    Err(error) => failed.push(error),
                }
            }
        }
        failed
    }

    /// How they are.
    pub fn reports(&self) -> Vec<Report> {
        self.running().values().map(|one| one.shared.report()).collect()
    }

    /// Until the end of the program, and that of all uploads.
    pub async fn run(self: Arc<Self>) {
        self.shutdown.requested().await;
        let all = std::mem::take(&mut *self.running());
        for one in all.into_values() {
            one.end().await;
        }
    }

    async fn start(&self, plan: Plan) -> Result<Running, NotStarted> {
        let name = plan.name.clone();
        let folder = name::folder(&name);
        let store = match &plan.to {
            To::S3(place, access) => {
                let bucket = Bucket::new(access, &place.bucket, None);
                let bucket = bucket.map_err(|error| NotStarted::S3 {
                    name: name.clone(),
                    error,
                })?;
                Store::bucket(bucket, place, &folder)
            }
            To::Folder(root) => Store::folder(root.clone(), folder, &plan.spool, self.world.random),
        };
        // A hundred thousand snapshots may wait there, and the disk may be slow.
        let (of, limit_bytes) = (plan.spool.clone(), plan.spool_bytes);
        let opened = tokio::task::spawn_blocking(move || Spool::open(&of, limit_bytes));
        let opened = opened.await.unwrap_or_else(|error| {
            Err(Unusable::Io {
                folder: plan.spool.clone(),
                error: io::Error::other(error),
            })
        });
        let spool = opened.map_err(|error| NotStarted::Spool { name, error })?;
        let (plan, shared) = (Arc::new(plan), Shared::new(spool));
        let waiting = shared.report().waiting;
        tracing::info!(upload = %plan.name, stream = %plan.stream, to = %plan.to, every_s = plan.every.as_secs(), waiting, "snapshots are uploaded");
        let (stop, stopping) = shutdown::channel();
        let taking = Taking {
            plan: Arc::clone(&plan),
            world: Arc::clone(&self.world),
            shared: Arc::clone(&shared),
            last: None,
            trouble: None,
        };
        let sending = Sending {
            plan: Arc::clone(&plan),
            world: Arc::clone(&self.world),
            shared: Arc::clone(&shared),
            store,
            pace: Pace::default(),
            present: None,
            told: None,
        };
        let tasks = [
            tokio::spawn(taking.run(stopping.clone())),
            tokio::spawn(sending.run(stopping)),
        ];
        Ok(Running {
            plan,
            shared,
            tasks,
            stop,
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<StreamName, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    async fn end(self) {
        self.stop.request();
        for task in self.tasks {
            // A panic in it was reported already.
            let _ = task.await;
        }
        let Report {
            sent, waiting, dropped, ..
        } = self.shared.report();
        tracing::info!(upload = %self.plan.name, sent, waiting, dropped, "no more snapshots are uploaded");
    }
}

/// What `sightline upload` runs.
pub struct Program {
    /// At least one.
    pub plans: Vec<Plan>,
    /// Where their streams come from.
    pub streams: BTreeMap<StreamKey, Stream>,
    /// Of the hub.
    pub limits: hub::Limits,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why it could not start, or ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An upload does not start.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused("handle signals", .0))]
    System(io::Error),
}

/// The hub wants to be asked at least once a second.
const POLL: Duration = Duration::from_secs(1);

/// Runs until a signal comes.
///
/// # Errors
/// [`Error`].
pub fn run(program: &Program, runtime: &Runtime) -> Result<(), Error> {
    match runtime.block_on(shutdown::run(|shutdown| upload(program, shutdown))) {
        Ok(End::Done(done)) => done,
        Ok(End::Abandoned) => {
            tracing::warn!("not everything ended in time");
            Ok(())
        }
        Err(error) => Err(Error::System(error)),
    }
}

async fn upload(program: &Program, shutdown: Shutdown) -> Result<(), Error> {
    let clock = &program.clock;
    let hub = Hub::new(program.limits);
    let world = source::World {
        hub: hub.clone(),
        events: Events::new(&hub, Arc::clone(clock)),
        clock: Arc::clone(clock),
        random: random::bits,
        soon: Vec::new(),
        lowers: Arc::default(),
    };
    let streams = Supervisor::new(world, shutdown.clone());
    let world = World {
        streams: Arc::clone(&streams),
        clock: Arc::clone(clock),
        zone: crate::clock::zone,
        random: random::bits,
    };
    let uploads = Uploads::new(world, shutdown.clone());
    streams.set(&program.streams);
    if let Some(error) = uploads.follow(program.plans.clone()).await.into_iter().next() {
        return Err(error.into());
    }
    let leaving = tokio::spawn(Arc::clone(&streams).run());
    tokio::select! {
        () = Arc::clone(&uploads).run() => {}
        () = keep_time(&hub, &**clock) => {}
    }
    tracing::info!("stopping");
    // Leave is taken of cameras.
    let _ = leaving.await;
    Ok(())
}

/// So that streams end whose cameras do not come back.
async fn keep_time(hub: &Hub, clock: &dyn Clock) {
    loop {
        let now = clock.now();
        let next = hub.poll(now).map_or(POLL, |next| next.saturating_duration_since(now));
        tokio::time::sleep(next.min(POLL)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::clock::SystemClock;

    /// A spool on a disk that is slow is opened on a thread that may wait: here the only one is busy.
    #[test]
    fn a_spool_is_not_opened_on_a_thread_of_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let plan = Plan {
            name: "door".parse().unwrap(),
            stream: "door".parse().unwrap(),
            to: To::Folder(folder.path().join("to")),
            every: Duration::from_secs(60),
            schedule: None,
            keep: lifecycle::Keep::default(),
            spool: spool.clone(),
            spool_bytes: 1_000,
            max_width: None,
            quality: 80,
        };
        let program = Program {
            plans: vec![plan],
            streams: BTreeMap::new(),
            limits: hub::Limits::default(),
            clock: Arc::new(SystemClock),
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
        let (release, released) = channel::<()>();
        runtime.spawn_blocking(move || released.recv());
        let (stop, stopping) = shutdown::channel();
        runtime.block_on(async {
            let uploading = tokio::spawn(async move { upload(&program, stopping).await });
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!spool.exists());
            release.send(()).unwrap();
            while !spool.exists() {
                assert!(!uploading.is_finished());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.request();
            uploading.await.unwrap().unwrap();
        });
    }
}
