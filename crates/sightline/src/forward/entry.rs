//! One target of one stream: its state for those who ask, and the task that keeps sending to it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::hub::{self, Stream};
use media::stats::{Role, SessionInfo, SessionStats, Totals};
use media::{Clock, StreamName, WallTime};
use tokio::sync::{Notify, watch};

use super::plan::Plan;
use super::{Ended, Feed, Forwarder, Why, open};
use crate::clock;
use crate::publish::{Backoff, shortened};
use crate::shutdown;

/// A server that restarts is back within some seconds.
const FIRST: Duration = Duration::from_secs(1);
/// One that is off is looked for twice a minute.
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// A stream whose make-up changes again and again is not announced more often than this.
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(200);

/// One target of one stream.
pub(super) struct Entry {
    name: StreamName,
    plan: Plan,
    /// Of all its attempts together.
    stats: Arc<SessionStats>,
    state: Mutex<State>,
    /// There is something to look at.
    poked: Notify,
    retired: AtomicBool,
    /// True when its task has ended.
    gone: watch::Sender<bool>,
}

/// How a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The stream is not there.
    Idle,
    /// It is asked to take the stream, for the how manieth time since it last did.
    Connecting {
        /// From 1.
        attempt: u32,
        /// Since when.
        since: Instant,
    },
    /// It takes the stream.
    Running {
        /// Since when.
        since: Instant,
    },
    /// It is asked again later.
    Waiting {
        /// When.
        until: Instant,
        /// What was wrong.
        why: Why,
    },
}

impl State {
    /// All that [`State::word`] can be.
    pub const WORDS: [&'static str; 4] = ["idle", "connecting", "running", "waiting"];

    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting { .. } => "connecting",
            Self::Running { .. } => "running",
            Self::Waiting { .. } => "waiting",
        }
    }
}

/// How a target is, for people and programs.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of which stream.
    pub stream: StreamName,
    /// Where it goes, without credentials.
    pub to: String,
    /// How it is.
    pub state: State,
    /// When that began, or when it is over where it waits.
    pub at: Option<WallTime>,
    /// What was sent since the target was set.
    pub totals: Totals,
}

impl Entry {
    pub(super) fn new(name: StreamName, plan: Plan, clock: &dyn Clock) -> Arc<Self> {
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: name.clone(),
            role: Role::Viewer,
            protocol: "forward",
            remote: None,
            agent: None,
            since: clock.wall(),
        }));
        Arc::new(Self {
            name,
            plan,
            stats,
            state: Mutex::new(State::Idle),
            poked: Notify::new(),
            retired: AtomicBool::new(false),
            gone: watch::Sender::new(false),
        })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn stats(&self) -> &Arc<SessionStats> {
        &self.stats
    }

    /// The stream may be there.
    pub(super) fn poke(&self) {
        if self.is_idle() {
            self.poked.notify_one();
        }
    }

    /// The target takes media.
    pub(super) fn runs(&self, now: Instant) {
        *self.lock() = State::Running { since: now };
        tracing::info!(stream = %self.name, to = %self.plan.to, "stream is sent on");
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

    pub(super) fn is_idle(&self) -> bool {
        *self.lock() == State::Idle
    }

    pub(super) fn report(&self, clock: &dyn Clock) -> Report {
        let state = self.lock().clone();
        let at = match &state {
            State::Idle => None,
            State::Connecting { since, .. } | State::Running { since } => Some(*since),
            State::Waiting { until, .. } => Some(*until),
        };
        Report {
            stream: self.name.clone(),
            to: self.plan.to.to_string(),
            state,
            at: at.map(|at| clock::wall_at(clock, at)),
            totals: Totals::of(&self.stats),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the stream to the target whenever it is there, until the target's settings are gone or the program ends.
pub(super) async fn keep_sending(entry: Arc<Entry>, forwarder: Arc<Forwarder>) {
    let world = &forwarder.world;
    let mut backoff = Backoff::new(FIRST, LONGEST, GOOD);
    let mut attempts = 0_u32;
    let mut last: Option<Why> = None;
    while let Some(stream) = next_stream(&entry, &forwarder).await {
        let since = world.clock.now();
        attempts = attempts.saturating_add(1);
        let attempt = attempts;
        *entry.lock() = State::Connecting { attempt, since };
        let ended = self::attempt(&entry, stream, &forwarder).await;
        let now = world.clock.now();
        let ran = match *entry.lock() {
            State::Running { since } => Some(now.saturating_duration_since(since)),
            _ => None,
        };
        if ran.is_some() {
            attempts = 0;
        }
        let wait = match ended {
            Ended::Stopped => continue,
            Ended::StreamEnded => {
                *entry.lock() = State::Idle;
                tracing::debug!(stream = %entry.name, to = %entry.plan.to, "the stream ended, or is made of something else");
                ANNOUNCE_AGAIN
            }
            Ended::Failed(why) => {
                let wait = backoff.next(ran.unwrap_or_default());
                let wait = if why.lasting { LONGEST } else { wait };
                let wait = shortened(wait, (world.random)());
                tell(&entry, &why, ran.is_some() || last.as_ref() != Some(&why), wait);
                last = Some(why.clone());
                *entry.lock() = State::Waiting { until: now + wait, why };
                wait
            }
        };
        entry.sleep(wait, &forwarder).await;
    }
    *entry.lock() = State::Idle;
    entry.gone.send_replace(true);
}

/// To the log, where it is news.
fn tell(entry: &Entry, why: &Why, news: bool, wait: Duration) {
    let (stream, to, retry_ms) = (&entry.name, &entry.plan.to, wait.as_millis() as u64);
    if news {
        tracing::warn!(%stream, %to, reason = %why.detail, retry_ms, "stream is not sent on");
    } else {
        // Once is enough for one that is off for days.
        tracing::debug!(%stream, %to, reason = %why.detail, retry_ms, "stream is not sent on again");
    }
}

/// Waits until the stream is there. `None`: it is time to end.
async fn next_stream(entry: &Entry, forwarder: &Forwarder) -> Option<Arc<Stream>> {
    loop {
        if entry.is_over(forwarder) {
            return None;
        }
        let stream = forwarder.world.hub.stream(&entry.name, forwarder.world.clock.now());
        // Of one that is held there is nothing to send.
        if let Some(stream) = stream.ok().filter(|stream| stream.state() == hub::State::Live) {
            return Some(stream);
        }
        *entry.lock() = State::Idle;
        tokio::select! {
            () = entry.poked.notified() => {}
            () = forwarder.shutdown.requested() => {}
        }
    }
}

impl Entry {
    fn is_over(&self, forwarder: &Forwarder) -> bool {
        forwarder.shutdown.is_requested() || self.retired.load(Relaxed)
    }

    /// Waits for so long, or until it is time to end.
    async fn sleep(&self, wait: Duration, forwarder: &Forwarder) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.told_to_stop(forwarder) => {}
        }
    }

    async fn told_to_stop(&self, forwarder: &Forwarder) {
        while !self.is_over(forwarder) {
            tokio::select! {
                () = self.poked.notified() => {}
                () = forwarder.shutdown.requested() => {}
            }
        }
    }
}

/// One attempt, in a task of its own so that a panic ends it alone.
async fn attempt(entry: &Arc<Entry>, stream: Arc<Stream>, forwarder: &Arc<Forwarder>) -> Ended {
    let world = &forwarder.world;
    let mut target = open(&entry.plan, world);
    let feed = Feed {
        stream,
        entry: Arc::clone(entry),
        clock: Arc::clone(&world.clock),
    };
    let (trigger, stop) = shutdown::channel();
    let mut running = tokio::spawn(async move { target.run(&feed, stop).await });
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = entry.told_to_stop(forwarder) => {
            trigger.request();
            running.await
        }
    };
    ended.unwrap_or_else(|_| {
        Ended::Failed(Why {
            detail: "a bug of ours ended it; please report what the log says above".into(),
            lasting: false,
        })
    })
}
