//! Which streams are recorded, and the tasks that do it.
//!
//! Belongs here: what the settings say of each stream ([`plan`]), the recorder that is started for them ([`place`]), the task of each that is recorded ([`task`]), starting and stopping by hand, how it is told
//! ([`report`]). Does not belong here: which frames ([`super::camera`]), where they go ([`super::recorder`]).
//!
//! Nothing of it runs, and no file is made, before something is recorded.

mod place;
mod plan;
mod report;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use media::hub::Hub;
use media::{Clock, StreamName, WallTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::camera::{ClipIsOpen, Pause};
use super::filmstrip;
use super::name::{Clip, InvalidClip};
use super::recorder::{AskError, Keep, Recorder};
use crate::config::settings;
use crate::config::stream_key::StreamKey;
use crate::events::Events;
use crate::shutdown::Shutdown;
use crate::source::{Missing, Supervisor};
use place::Place;
pub use place::{Standing, Start};
use plan::{Plan, Tables};
pub use report::{Report, State, Totals};

/// How often it is looked which streams are there.
const LOOK: Duration = Duration::from_millis(200);
/// How often sources on demand are told that they are needed; they go on for ten seconds.
const NEED_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked which streams there are recordings of: what is kept of one may be what an expression says.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How long tasks may take to complete their files: they wait for nobody.
const END_WITHIN: Duration = Duration::from_millis(200);
/// What waits for one task.
const ORDERS: usize = 16;

/// What recordings need.
pub struct World {
    /// Where streams are.
    pub hub: Hub,
    /// Where they come from.
    pub streams: Arc<Supervisor>,
    /// Where it is told what becomes of recordings.
    pub events: Arc<Events>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where the schedule holds.
    pub zone: fn() -> TimeZone,
}

/// All recordings of the program.
pub struct Recordings {
    world: World,
    shutdown: Shutdown,
    place: Place,
    tables: Mutex<Tables>,
    entries: Mutex<Entries>,
    keeping: Mutex<()>,
}

#[derive(Default)]
struct Entries {
    by_stream: BTreeMap<StreamName, Arc<Entry>>,
    /// What those counted that are gone.
    gone: Totals,
    has_ended: bool,
}

/// A stream that is recorded, or held ready for it.
struct Entry {
    stream: StreamName,
    wish: watch::Sender<Wish>,
    orders: mpsc::Sender<Order>,
    report: Mutex<Report>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a task is to do from now on. The newest holds, however many orders wait.
#[derive(Clone, Debug)]
struct Wish {
    plan: Plan,
    /// Its stream is not recorded any more.
    ends: bool,
}

/// What a task is told.
enum Order {
    /// Its stream may be there.
    Look,
    /// Somebody wants a recording.
    Start(Option<Clip>, oneshot::Sender<Result<(), ClipIsOpen>>),
    /// Something happens in front of it, or did.
    Happens(Range<Instant>),
    /// It is enough. Says whether somebody had started one.
    Stop(oneshot::Sender<bool>),
}

/// Why a recording is not started or stopped. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The file cannot be called that.
    #[error(transparent)]
    Name(#[from] InvalidClip),
    /// Another clip is not finished.
    #[error(transparent)]
    ClipIsOpen(#[from] ClipIsOpen),
    /// Nobody started one.
    #[error("nobody started a recording of \"{stream}\"{}", if *.by_settings { "; what its settings record ends by changing them" } else { "" })]
    NotStarted {
        /// The stream.
        stream: StreamName,
        /// It is recorded by its settings.
        by_settings: bool,
    },
    /// There is nowhere to record to.
    #[error("there is no place for recordings; the log of this server says why")]
    NoPlace,
    /// As many streams are recorded as there may be.
    #[error("{0} streams are recorded already, which is the limit")]
    TooMany(usize),
    /// The program ends.
    #[error("the program is about to end")]
    Ending,
}

impl Recordings {
    /// Without any. Those of [`Recordings::set`] run until `shutdown`. `start`: the recorder, when the first of them begins.
    pub fn new(world: World, start: Arc<Start>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world,
            shutdown,
            place: Place::new(start),
            tables: Mutex::default(),
            entries: Mutex::default(),
            keeping: Mutex::default(),
        })
    }

    /// Changes what is set: recordings of streams for which the same is set are not touched.
    pub fn set(self: &Arc<Self>, record: &settings::Record, streams: &BTreeMap<StreamKey, settings::Stream>) {
        let mut tables = self.tables();
        tables.set(record, streams);
        let entries: Vec<Arc<Entry>> = self.entries().by_stream.values().cloned().collect();
        for entry in entries {
            entry.follow(tables.plan(&entry.stream));
        }
        drop(tables);
        self.set_keep();
    }

    /// The recorder, once there is one: something is recorded, or was.
    pub fn recorder(&self) -> Option<Recorder> {
        self.place.recorder().cloned()
    }

    /// How far the recorder is.
    pub fn standing(&self) -> Standing {
        self.place.standing()
    }

    /// Whether any stream is to be recorded, by the settings.
    pub fn are_wanted(&self) -> bool {
        self.tables().records()
    }

    /// The recorder, which is started where there is none.
    pub async fn open(self: &Arc<Self>) -> Option<Recorder> {
        let (recorder, is_new) = self.place.open(self.world.clock.now()).await?;
        if is_new {
            tokio::spawn(place::tell(recorder.clone(), Arc::clone(&self.world.events)));
            let service = Arc::downgrade(self);
            let wants = move |camera: &StreamName| {
                let service = service.upgrade();
                service.is_some_and(|service| service.tables().plan(camera).record.filmstrip)
            };
            if let Err(error) = filmstrip::start(&recorder, Arc::clone(&self.world.clock), wants) {
                tracing::warn!(reason = %error, "no filmstrips are made: there is no thread for it");
            }
            self.set_keep();
        }
        Some(recorder)
    }

    /// Looks for streams until the end of the program.
    pub async fn run(self: Arc<Self>) {
        let (mut since_need, mut since_keep) = (NEED_EVERY, Duration::ZERO);
        while !self.shutdown.is_requested() {
            self.look().await;
            (since_need, since_keep) = (since_need + LOOK, since_keep + LOOK);
            if since_need >= NEED_EVERY {
                since_need = Duration::ZERO;
                self.need_sources();
            }
            if since_keep >= KEEP_EVERY {
                since_keep = Duration::ZERO;
                self.set_keep();
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.shutdown.requested() => {}
            }
        }
    }

    /// Completes all files. Nothing is recorded afterwards.
    pub async fn end_files(&self) {
        let ending: Vec<Arc<Entry>> = {
            let mut entries = self.entries();
            entries.has_ended = true;
            entries.by_stream.values().cloned().collect()
        };
        let ended = async {
            for entry in &ending {
                entry.end();
            }
            for entry in &ending {
                let task = entry.task().take();
                if let Some(task) = task {
                    // A panic in it was reported already.
                    let _ = task.await;
                }
            }
        };
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            tracing::warn!("not all recordings were completed in time");
        }
    }

    /// Waits so long for all files to be on the disk.
    pub async fn close(&self, within: Duration) {
        let Some(recorder) = self.recorder() else { return };
        let stopped = tokio::task::spawn_blocking(move || recorder.stop(within));
        if !stopped.await.unwrap_or(false) {
            tracing::warn!("recordings were not on the disk in time: the next start looks how far they are whole");
        }
    }

    /// Starts a recording by hand, beside what the settings say: a clip of its own where a name is given. A stream that is fetched on demand is fetched.
    ///
    /// # Errors
    /// [`Refused`]; of a stream that is not there after ten seconds at the latest.
    pub async fn start(self: &Arc<Self>, stream: &StreamName, file: Option<&str>) -> Result<Report, Refused> {
        let clip = file.map(str::parse::<Clip>).transpose()?;
        self.world.streams.find(stream).await?;
        self.open().await.ok_or(Refused::NoPlace)?;
        let entry = self.entry(stream)?;
        let (answer, answered) = oneshot::channel();
        let sent = entry.orders.send(Order::Start(clip, answer)).await;
        sent.map_err(|_| Refused::Ending)?;
        answered.await.map_err(|_| Refused::Ending)??;
        Ok(self.explained(entry.report()))
    }

    /// Ends what was started by hand.
    ///
    /// # Errors
    /// [`Refused::NotStarted`].
    pub async fn stop(&self, stream: &StreamName) -> Result<Report, Refused> {
        let not_started = |by_settings| Refused::NotStarted {
            stream: stream.clone(),
            by_settings,
        };
        let entry = self.entries().by_stream.get(stream).cloned();
        let entry = entry.ok_or_else(|| not_started(false))?;
        let (answer, answered) = oneshot::channel();
        let sent = entry.orders.send(Order::Stop(answer)).await;
        sent.map_err(|_| Refused::Ending)?;
        match answered.await {
            Ok(true) => Ok(self.explained(entry.report())),
            Ok(false) => Err(not_started(self.tables().plan(stream).is_recorded)),
            Err(_) => Err(Refused::Ending),
        }
    }

    /// Something happens in front of a stream, or did, by the clock on the wall: it is recorded where its mode is [`trigger::Mode::Events`], as far as memory goes back.
    pub async fn happens(&self, stream: &StreamName, range: Range<WallTime>) {
        let Some(entry) = self.entries().by_stream.get(stream).cloned() else {
            return;
        };
        let clock = &self.world.clock;
        let (now, wall) = (clock.now(), clock.wall());
        let at = |time: WallTime| {
            let ahead_us = time.micros_since(wall);
            let apart = Duration::from_micros(ahead_us.unsigned_abs());
            let at = if ahead_us < 0 {
                now.checked_sub(apart)
            } else {
                now.checked_add(apart)
            };
            at.unwrap_or(now)
        };
        // One that ends has no use of it.
        let _ = entry.orders.send(Order::Happens(at(range.start)..at(range.end))).await;
    }

    /// Whether a stream is not here.
    pub fn is_away(&self, stream: &StreamName) -> bool {
        self.world.hub.stream(stream, self.world.clock.now()).is_err()
    }

    /// How a stream is recorded; `None`: it is not.
    pub fn report(&self, stream: &StreamName) -> Option<Report> {
        let entry = self.entries().by_stream.get(stream).cloned()?;
        let report = self.explained(entry.report());
        (report.state != State::Off).then_some(report)
    }

    /// Where there is no room, how the disk is says why.
    fn explained(&self, mut report: Report) -> Report {
        if report.paused == Some(Pause::NoRoom)
            && let Some(recorder) = self.recorder()
            && let Some(storage) = recorder.report().storages.first()
            && let Some(reason) = place::words(&storage.state)
        {
            report.reason = Some(reason);
        }
        report
    }

    /// Figures of all recordings since the start.
    pub fn totals(&self) -> Totals {
        let entries = self.entries();
        let all = entries.by_stream.values().map(|entry| entry.report());
        all.fold(entries.gone, |sum, report| sum.with(&report))
    }

    /// Makes tasks for streams that are to be recorded, tells them of streams that came, and lets go of those that nobody needs.
    async fn look(self: &Arc<Self>) {
        let wanted: Vec<StreamName> = {
            let tables = self.tables();
            let there = self.world.hub.list();
            let there = there.iter().map(|stream| stream.name().clone());
            there.filter(|name| tables.plan(name).is_recorded).collect()
        };
        // What could not be opened may hold recordings that somebody asks for.
        if !wanted.is_empty() || matches!(self.standing(), Standing::Failed) {
            self.open().await;
        }
        for stream in &wanted {
            if let Ok(entry) = self.entry(stream) {
                let _ = entry.orders.try_send(Order::Look);
            }
        }
        let unneeded = |entry: &&Arc<Entry>| {
            let report = entry.report();
            // Held by the table and its task: nobody is about to tell it something.
            let is_held = Arc::strong_count(entry) > 2;
            !wanted.contains(&entry.stream) && !report.is_by_hand && !is_held
        };
        let mut entries = self.entries();
        let unneeded: Vec<StreamName> = (entries.by_stream.values())
            .filter(unneeded)
            .map(|entry| entry.stream.clone())
            .collect();
        for stream in unneeded {
            if let Some(entry) = entries.by_stream.remove(&stream) {
                entries.gone = entries.gone.with_counts(&entry.report());
                entry.end();
            }
        }
    }

    /// Says how much is kept: of streams that have tables, that are recorded, and that were.
    fn set_keep(self: &Arc<Self>) {
        let Some(recorder) = self.recorder() else { return };
        let service = Arc::clone(self);
        // The index is on a disk.
        tokio::task::spawn_blocking(move || service.set_keep_of(&recorder));
    }

    fn set_keep_of(&self, recorder: &Recorder) {
        // What is read last is said last.
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        match self.keep_of(recorder) {
            Ok(keep) => recorder.keep(keep),
            // Nothing is deleted any more.
            Err(AskError::Stopped) => {}
            // Without knowing what there is, a stream that is away would be kept as those without a table are.
            Err(AskError::Index(error)) => tracing::warn!(
                reason = %error,
                "the index of recordings does not say which streams were recorded: how much is kept stays as it was, and it is asked again in a minute"
            ),
        }
    }

    /// How much is kept, by the settings.
    fn keep_of(&self, recorder: &Recorder) -> Result<Keep, AskError> {
        let were = recorder.reader()?.cameras()?;
        let were = were.into_iter().map(|times| times.camera);
        let are: Vec<StreamName> = self.entries().by_stream.keys().cloned().collect();
        let tables = self.tables();
        let named = tables.named().cloned();
        Ok(place::keep(&tables, named.chain(are).chain(were)))
    }

    /// Sources on demand whose streams are to be recorded run for that.
    fn need_sources(self: &Arc<Self>) {
        let by_hand = self
            .entries()
            .by_stream
            .values()
            .filter_map(|entry| {
                let report = entry.report();
                report.is_by_hand.then(|| entry.stream.clone())
            })
            .collect::<Vec<_>>();
        let by_settings = self.tables().fetched();
        for stream in by_hand.iter().chain(&by_settings) {
            self.world.streams.need(stream);
        }
    }

    /// The task of a stream.
    fn entry(self: &Arc<Self>, stream: &StreamName) -> Result<Arc<Entry>, Refused> {
        // Held until the entry is there: whoever changes what is set finds it.
        let tables = self.tables();
        let mut entries = self.entries();
        if entries.has_ended {
            return Err(Refused::Ending);
        }
        let limit = self.world.hub.limits().streams;
        let count = entries.by_stream.len();
        match entries.by_stream.entry(stream.clone()) {
            Slot::Occupied(there) => Ok(Arc::clone(there.get())),
            Slot::Vacant(_) if count >= limit => Err(Refused::TooMany(limit)),
            Slot::Vacant(place) => {
                let recorder = self.recorder().ok_or(Refused::NoPlace)?;
                let (orders, received) = mpsc::channel(ORDERS);
                let (wish, wished) = watch::channel(Wish {
                    plan: tables.plan(stream),
                    ends: false,
                });
                let entry = Arc::new(Entry {
                    stream: stream.clone(),
                    wish,
                    orders,
                    report: Mutex::new(Report::new(stream.clone())),
                    task: Mutex::default(),
                });
                let task = task::Task::new(Arc::clone(&entry), Arc::clone(self), recorder, wished, received);
                *entry.task() = Some(tokio::spawn(task.run()));
                place.insert(Arc::clone(&entry));
                Ok(entry)
            }
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Its stream is not recorded any more.
    fn end(&self) {
        self.wish.send_modify(|wish| wish.ends = true);
    }

    fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
