//! The source of one stream: its state for those who ask, and the task that does what [`super::machine`] decides.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use media::hub::{self, Hub, Stream};
use media::{Clock, StreamName, WallTime};
use tokio::sync::{Notify, watch};

use super::machine::{Machine, Rules, Seen, State, Step};
use super::plan::Plan;
use super::{Ended, Sink, Supervisor, Trouble, Why, World, open};
use crate::camera::SLATE;
use crate::clock;
use crate::events::{self, Events};
use crate::secret::public_query;
use crate::shutdown::{self, Shutdown};

/// The source of one stream.
pub(super) struct Entry {
    name: StreamName,
    plan: Plan,
    /// Known only since somebody asked for it: forgotten when nobody does any more.
    by_expression: bool,
    /// To see what it gives: the log is not told of it.
    is_tried_out: bool,
    /// How often it broke off and was fetched again, since the program began.
    reconnects: AtomicU64,
    machine: Mutex<Machine>,
    /// Of the URL of who was the first to want it since it was idle, without credentials.
    query: Mutex<Option<Arc<str>>>,
    /// Counts changes of its state.
    changes: watch::Sender<u64>,
    /// There is something to look at.
    poked: Notify,
    retired: AtomicBool,
    /// Its source has said that there is a lower rendition, which it is asked for too.
    has_lower: AtomicBool,
    /// True when its task has ended.
    gone: watch::Sender<bool>,
    began: Instant,
    news: News,
}

/// What is told of its state.
struct News {
    events: Arc<Events>,
    last: Mutex<Option<events::Source>>,
}

/// How a source is, for people and programs.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of which stream.
    pub stream: StreamName,
    /// Its places without credentials, in the order they are tried.
    pub places: Vec<String>,
    /// Which of them is asked, or is next.
    pub place: usize,
    /// Only while somebody watches.
    pub on_demand: bool,
    /// How it is.
    pub state: State,
    /// How often it broke off since the program began.
    pub reconnects: u64,
    /// When that began, or when it is over where it waits.
    pub at: Option<WallTime>,
}

impl Entry {
    pub(super) fn new(name: StreamName, plan: Plan, by_expression: bool, world: &World) -> Arc<Self> {
        Arc::new(Self::made(name, plan, by_expression, world))
    }

    /// Of a camera that is tried out, and that nobody supervises.
    pub(super) fn tried_out(name: StreamName, plan: Plan, world: &World) -> Arc<Self> {
        Arc::new(Self {
            is_tried_out: true,
            ..Self::made(name, plan, false, world)
        })
    }

    fn made(name: StreamName, plan: Plan, by_expression: bool, world: &World) -> Self {
        let rules = Rules {
            places: plan.places.len(),
            hosts: plan.hosts(),
            on_demand: plan.on_demand,
        };
        Self {
            name,
            plan,
            by_expression,
            is_tried_out: false,
            reconnects: AtomicU64::new(0),
            machine: Mutex::new(Machine::new(rules)),
            query: Mutex::default(),
            changes: watch::Sender::new(0),
            poked: Notify::new(),
            retired: AtomicBool::new(false),
            has_lower: AtomicBool::new(false),
            gone: watch::Sender::new(false),
            began: world.clock.now(),
            news: News {
                events: Arc::clone(&world.events),
                last: Mutex::default(),
            },
        }
    }

    pub(super) fn name(&self) -> &StreamName {
        &self.name
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Somebody looks for the stream.
    pub(super) fn wanted(&self, query: Option<&str>, now: Instant) {
        if self.is_idle() {
            let query = query.and_then(public_query).map(Arc::from);
            *self.query.lock().unwrap_or_else(PoisonError::into_inner) = query;
        }
        self.machine().wanted(now);
        self.poked.notify_one();
    }

    pub(super) fn query(&self) -> Option<Arc<str>> {
        self.query.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its first frame is in the hub.
    pub(super) fn runs(&self, now: Instant) {
        self.machine().runs(now);
        if !self.is_tried_out {
            tracing::info!(stream = %self.name, source = self.shown_place(), "source runs");
        }
        self.told();
    }

    /// What its source says of a lower rendition.
    pub(super) fn says_of_lower(&self, has_lower: bool) {
        self.has_lower.store(has_lower, Relaxed);
    }

    pub(super) fn has_lower(&self) -> bool {
        self.has_lower.load(Relaxed)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.machine().state(), State::Running { .. })
    }

    /// Its settings are gone or have changed.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.poked.notify_one();
    }

    /// Waits until its task has ended.
    pub(super) async fn gone(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Tells of each change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        changes
    }

    /// What is wrong with it, if it will not be asked again before then.
    pub(super) fn trouble_until(&self, deadline: Instant) -> Option<Trouble> {
        match self.machine().state() {
            State::Waiting { until, why } if *until > deadline => Some(why.trouble),
            State::Failed(why) => Some(why.trouble),
            _ => None,
        }
    }

    /// Nobody needs it, nor a task that looks after it.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.machine().state(), State::Idle | State::Failed(_))
    }

    /// Where it comes from, without credentials.
    pub(super) fn shown_place(&self) -> String {
        let place = self.machine().place();
        self.plan.places.get(place).map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn report(&self, clock: &dyn Clock) -> Report {
        let machine = self.machine();
        let state = machine.state().clone();
        let at = match &state {
            State::Idle | State::Failed(_) => None,
            State::Connecting { since, .. } | State::Running { since } => Some(*since),
            State::Waiting { until, .. } => Some(*until),
        };
        Report {
            stream: self.name.clone(),
            places: self.plan.places.iter().map(ToString::to_string).collect(),
            place: machine.place(),
            on_demand: self.plan.on_demand,
            state,
            reconnects: self.reconnects.load(Relaxed),
            at: at.map(|at| clock::wall_at(clock, at)),
        }
    }

    fn told(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        let state = self.machine().state().clone();
        self.news.tell(events::Source {
            stream: self.name.clone(),
            state: state.word(),
            url: self.shown_place(),
            why: state.why().cloned(),
            query: self.query(),
        });
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    /// Once for a source that is off for days: neither that it is asked again nor that it fails for the same reason.
    fn tell(&self, source: events::Source) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let again = last.as_ref().is_some_and(|last| {
            let same = last.state == source.state && last.why == source.why;
            same || (last.state == "waiting" && source.state == "connecting")
        });
        if !again {
            *last = Some(source.clone());
            self.events.tell(events::What::Source(Box::new(source)));
        }
    }
}

/// Looks after a source until its settings are gone, nobody needs it, or the program ends. `before`: what had the name until now.
pub(super) async fn supervise(entry: Arc<Entry>, supervisor: Arc<Supervisor>, before: Option<Arc<Entry>>) {
    if let Some(before) = before {
        before.retire();
        before.gone().await;
    }
    let mut told = Vec::new();
    while !supervisor.shutdown.is_requested() && !entry.retired.load(Relaxed) {
        let now = supervisor.world.clock.now();
        let step = entry.look(&supervisor.world.hub, now);
        match step {
            Step::Start { place } => {
                let ended = attempt(&entry, place, &supervisor).await;
                entry.ended(ended, &supervisor, &mut told);
            }
            // There is nothing to stop between attempts.
            Step::Stay { .. } | Step::Stop if entry.is_unneeded(now) && supervisor.forget(&entry) => break,
            Step::Stay { until } => {
                let forgotten = entry.forgotten_at();
                entry.wait(until.or(forgotten), &supervisor.shutdown).await;
            }
            Step::Stop => {}
        }
    }
    entry.gone.send_replace(true);
}

impl Entry {
    fn look(&self, hub: &Hub, now: Instant) -> Step {
        let stream = hub.stream(&self.name, now).ok();
        let seen = Seen {
            viewers: stream.as_ref().map_or(0, |stream| stream.viewers()),
            occupied: stream.and_then(|stream| occupied(&stream)),
        };
        let mut machine = self.machine();
        let before = machine.state().clone();
        let step = machine.look(&seen, now);
        let changed = *machine.state() != before;
        drop(machine);
        if changed {
            self.told();
        }
        step
    }

    /// It was asked for by a name that settings do not have, and is not any more.
    fn is_unneeded(&self, now: Instant) -> bool {
        self.forgotten_at().is_some_and(|at| now >= at)
    }

    /// When it is to be forgotten, where nobody needs it any more.
    fn forgotten_at(&self) -> Option<Instant> {
        let machine = self.machine();
        let is_idle = matches!(machine.state(), State::Idle | State::Failed(_));
        // A moment for who asked to say so. And a login that was refused is not to be shown too early by being forgotten and wanted anew.
        let at = machine.remembered_until().max(Some(self.began + super::CAMERA_START));
        at.filter(|_| self.by_expression && is_idle)
    }

    async fn wait(&self, until: Option<Instant>, shutdown: &Shutdown) {
        let sleep = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = self.poked.notified() => {}
            () = shutdown.requested() => {}
        }
    }

    /// Notes how an attempt ended, and tells the log where that is news.
    fn ended(&self, ended: Ended, supervisor: &Supervisor, told: &mut Vec<Why>) {
        let why = match ended {
            Ended::Stopped => None,
            Ended::Failed(why) => Some(why),
        };
        let now = supervisor.world.clock.now();
        let source = self.shown_place();
        let (ran, wait) = {
            let mut machine = self.machine();
            let ran = matches!(machine.state(), State::Running { .. });
            machine.ended(why.clone(), now, (supervisor.world.random)());
            match machine.state() {
                State::Waiting { until, .. } => (ran, until.saturating_duration_since(now)),
                _ => (ran, std::time::Duration::ZERO),
            }
        };
        if ran && why.is_some() {
            self.reconnects.fetch_add(1, Relaxed);
        }
        let stream = &self.name;
        let retry_ms = wait.as_millis() as u64;
        match &why {
            None => tracing::info!(%stream, source, "source stopped"),
            Some(why) if ran || !told.contains(why) => {
                // One for each of its places, and for what went wrong with it before.
                if ran || told.len() >= 2 * self.plan.places.len() {
                    told.clear();
                }
                told.push(why.clone());
                tracing::warn!(%stream, source, reason = %why.detail, retry_ms, "source failed");
            }
            // Once is enough for one that is off for days.
            Some(why) => tracing::debug!(%stream, source, reason = %why.detail, retry_ms, "source failed again"),
        }
        self.told();
    }
}

/// Who has the stream, when it is not a slate.
fn occupied(stream: &Stream) -> Option<Why> {
    let publisher = stream.publisher()?;
    if publisher.info.protocol == SLATE || stream.state() != hub::State::Live {
        return None;
    }
    let by = match publisher.info.remote {
        Some(remote) => format!("{remote} ({})", publisher.info.protocol),
        None => format!("this machine ({})", publisher.info.protocol),
    };
    let detail = format!("{by} publishes the stream; the source goes on when that has ended");
    Some(Why::new(Trouble::Occupied, detail))
}

/// One attempt, in a task of its own so that a panic ends it alone.
async fn attempt(entry: &Arc<Entry>, place: usize, supervisor: &Arc<Supervisor>) -> Ended {
    if let Some(why) = entry.plan.withheld.get(&place) {
        return Ended::Failed(why.clone());
    }
    let Some(place) = entry.plan.places.get(place) else {
        return Ended::Failed(Why::new(Trouble::Bug, "there is no such place"));
    };
    tracing::debug!(stream = %entry.name, source = %place, "asking the source");
    entry.told();
    let world = &supervisor.world;
    let mut source = open(place, &entry.plan, &entry.name, supervisor);
    let mut sink = Sink::new(Arc::clone(entry), world.hub.clone(), Arc::clone(&world.clock));
    let (trigger, stop) = shutdown::channel();
    let (is_for_good, on_demand) = (stop.clone(), entry.plan.on_demand);
    let run = async move {
        let ended = source.run(&mut sink, stop).await;
        sink.say_farewell(&ended);
        sink.close(on_demand && is_for_good.is_requested());
        ended
    };
    let mut running = tokio::spawn(run);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = told_to_stop(entry, supervisor) => {
            trigger.request();
            running.await
        }
    };
    let bug = |_| {
        Why::new(
            Trouble::Bug,
            "a bug of ours ended it; please report what the log says above",
        )
    };
    ended.map_err(bug).unwrap_or_else(Ended::Failed)
}

/// Waits until an attempt is to be ended.
async fn told_to_stop(entry: &Entry, supervisor: &Supervisor) {
    let (clock, shutdown) = (&supervisor.world.clock, &supervisor.shutdown);
    loop {
        if shutdown.is_requested() || entry.retired.load(Relaxed) {
            return;
        }
        match entry.look(&supervisor.world.hub, clock.now()) {
            Step::Stop => return,
            Step::Stay { until } => entry.wait(until, shutdown).await,
            // An attempt is made already.
            Step::Start { .. } => return,
        }
    }
}
