//! The feed: what the page knows, told as it changes.
//!
//! Belongs here: looking at the program once for all who look ([`world`], [`sampler`]), what is known and its texts ([`board`], [`facts`], [`sample`]), what is
//! wrong ([`health`]), what one page has been told ([`seat`]) and may be told ([`class`]), what it says ([`words`]). Does not belong here: which request becomes a
//! socket ([`crate::http`]), what happens ([`crate::events`]), what is kept of it.
//!
//! Nothing runs while nobody looks and nothing is kept. While something is kept it is looked once a second without a page, too: since when a stream is as it is
//! would else be when somebody first looked.

pub(crate) mod board;
pub(crate) mod class;
pub(crate) mod facts;
pub(crate) mod health;
pub mod sample;
mod sampler;
pub(crate) mod seat;
mod talk;
#[cfg(test)]
mod tests;
pub mod words;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::auth::people::People;
use crate::auth::{Auth, Principal};
use crate::events::{Heard, OF_CONNECTIONS, What};
use crate::http::forms::Place;
use crate::record::export::Export;
use crate::shutdown::Shutdown;
use board::{Board, Key};
use class::Class;
use facts::{Places, Value};
use sample::{OF_STREAM, OF_SYSTEM, Sample};
use sampler::Sampler;
use seat::Hello;
pub(crate) use talk::{Again, Answer, Page, SIZES};
use world::Seen;
pub use world::World;

/// How often it is looked what changed: what people wait for is told within 250 ms.
const LOOK: Duration = Duration::from_millis(200);
/// Looks of a second.
const SECOND: u32 = 5;
/// Events that a page without a past is told of, those of connections aside.
const NEWEST: usize = 100;
/// Details of one kind that are made in a second, however many are wanted.
const MOST_DETAILS: usize = 1_000;

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Of pages.
    #[error("{0} pages are open already, which is the limit")]
    Pages(usize),
    /// Of those in the room where people chat, dashboards and publishers elsewhere among them.
    #[error("{0} clients of chat and status are connected already, which is the limit")]
    Room(usize),
}

impl Full {
    /// The setting that is the limit.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Pages(_) => "limits.live_clients",
            Self::Room(_) => "limits.status_clients",
        }
    }
}

/// See the module.
pub struct Feed {
    world: World,
    auth: Arc<Auth>,
    began: Instant,
    hello: Hello,
    board: Mutex<Board>,
    samples: watch::Sender<Arc<Sample>>,
    /// Pages there are.
    seats: AtomicUsize,
    numbers: AtomicU64,
    /// Somebody wants samples, pages or not.
    kept: AtomicUsize,
    classes: Mutex<Vec<Weak<Class>>>,
    /// What pages want to be told of single streams.
    details: Mutex<BTreeMap<Key, Wanting>>,
    /// Pages that have been told all, by number.
    waiting: Mutex<BTreeMap<u64, Waker>>,
    /// Grows when rights may have changed.
    rules: AtomicU64,
    sooner: Notify,
}

/// A detail that is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanting {
    /// By so many pages that may have it.
    pages: usize,
    /// There was nothing to tell when it was looked.
    is_absent: bool,
}

impl Default for Wanting {
    fn default() -> Self {
        Self {
            pages: 1,
            is_absent: false,
        }
    }
}

/// Counts somebody who wants samples.
pub struct Wanted(Arc<Feed>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Relaxed);
    }
}

impl Feed {
    /// Of this program. Nothing is looked at before [`Feed::run`].
    pub(crate) fn new(world: World, auth: Arc<Auth>, places: Places) -> Arc<Self> {
        let wall = world.clock.wall();
        let sample = Arc::new(Sample::empty(wall));
        let of = facts::json(&serde_json::json!({ "stream": OF_STREAM, "system": OF_SYSTEM }));
        let hello = format!(
            r#""version":{},"started":{},"of":{of}"#,
            facts::json(&env!("CARGO_PKG_VERSION")),
            facts::json(&wall.to_rfc3339()),
        );
        Arc::new(Self {
            began: world.clock.now(),
            world,
            auth,
            hello: Hello(hello.into()),
            board: Mutex::new(Board::new(places, Arc::clone(&sample))),
            samples: watch::Sender::new(sample),
            seats: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            kept: AtomicUsize::new(0),
            classes: Mutex::default(),
            details: Mutex::default(),
            waiting: Mutex::default(),
            rules: AtomicU64::new(0),
            sooner: Notify::new(),
        })
    }

    /// The newest second; a new one each second while somebody looks, or wants it ([`Feed::want_samples`]).
    pub fn samples(&self) -> watch::Receiver<Arc<Sample>> {
        self.samples.subscribe()
    }

    /// Samples are made as long as this is held.
    pub fn want_samples(self: &Arc<Self>) -> Wanted {
        self.kept.fetch_add(1, Relaxed);
        self.sooner.notify_one();
        Wanted(Arc::clone(self))
    }

    /// Pages that look.
    pub fn pages(&self) -> usize {
        self.seats.load(Relaxed)
    }

    /// Somebody whose rights and place these are, together with others of the same. `me`: what it is told of itself, as JSON.
    pub(crate) fn class(&self, who: Principal, place: &Place, me: impl FnOnce(&Principal) -> String) -> Arc<Class> {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        classes.retain(|class| class.strong_count() > 0);
        let mut there = classes.iter().filter_map(Weak::upgrade);
        if let Some(class) = there.find(|class| class.is(&who, place)) {
            return class;
        }
        let me = me(&who);
        let class = Arc::new(Class::new(who, place.clone(), me.into()));
        classes.push(Arc::downgrade(&class));
        class
    }

    /// Looks while somebody does, until the program ends.
    pub async fn run(self: Arc<Self>, stop: Shutdown) {
        tokio::select! {
            () = self.look_while_wanted() => {}
            () = stop.requested() => {}
        }
    }

    async fn look_while_wanted(&self) {
        let mut sampler = Sampler::new();
        loop {
            while self.pages() == 0 && self.kept.load(Relaxed) == 0 {
                self.sooner.notified().await;
            }
            self.look(&mut sampler).await;
        }
    }

    /// Until nobody looks any more.
    async fn look(&self, sampler: &mut Sampler) {
        let (tell, mut exports) = mpsc::channel(1);
        let mut looking = Looking {
            seen: Seen::default(),
            rules: self.auth.rules(),
            people: self.auth.changes(),
            looks: 0,
            exports_asked: false,
            exports_known: false,
            exports_failed: false,
            tell,
        };
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut events = self.world.streams.events().listen(None);
        while self.pages() > 0 || self.kept.load(Relaxed) > 0 {
            tokio::select! {
                _ = ticks.tick() => self.tick(sampler, &mut looking).await,
                heard = events.next() => match heard {
                    Heard::Ended => return std::future::pending().await,
                    Heard::Event(event) => {
                        looking.exports_known &= !matches!(event.what, What::Export(_));
                        // Somebody who tries passwords or ports wakes no pages: they hear of it with the next look.
                        if !OF_CONNECTIONS.contains(&event.what.kind()) {
                            self.wake();
                        }
                    }
                    Heard::Missed(_) | Heard::MissedConnections(_) => looking.exports_known = false,
                },
                Some(found) = exports.recv() => {
                    looking.exports_asked = false;
                    looking.exports_failed = found.is_none();
                    match found {
                        Some(found) => self.exports(found),
                        // What was told of them holds until they can be read again.
                        None => looking.exports_known = false,
                    }
                }
            }
        }
        // What holds now is no news of whenever somebody looks next.
        let mut board = self.board();
        for key in board.keys(|_| true) {
            board.remove(&key);
        }
    }

    async fn tick(&self, sampler: &mut Sampler, looking: &mut Looking) {
        let is_second = looking.looks.is_multiple_of(SECOND);
        looking.looks = looking.looks.wrapping_add(1);
        if self.pages() == 0 && !is_second {
            return;
        }
        let before = self.board().changes();
        self.look_at_streams(&mut looking.seen);
        if is_second {
            let up = self.world.clock.now().saturating_duration_since(self.began);
            let second = sampler.second(&self.world, &looking.seen, up).await;
            let sample = Arc::new(second.sample);
            let mut board = self.board();
            board.sampled(Arc::clone(&sample));
            board.set(Key::System, Value::System(Box::new(second.system)));
            board.set(Key::Health, Value::Health(Arc::clone(&sampler.reasons)));
            drop(board);
            self.samples.send_replace(sample);
        }
        if self.pages() == 0 {
            return;
        }
        let rights_changed = looking.rights_changed(&self.auth);
        if rights_changed {
            self.rules.fetch_add(1, Relaxed);
        }
        self.look_at_details(is_second);
        let is_time = is_second || !looking.exports_failed;
        let is_wanted = !looking.exports_known && !looking.exports_asked && is_time;
        if is_wanted && self.world.recordings.recorder().is_some() {
            (looking.exports_known, looking.exports_asked) = (true, true);
            self.ask_for_exports(looking.tell.clone());
        }
        let has_changed = self.board().changes() != before;
        // Once a second all the same: events of connections, and rights that end by themselves.
        if has_changed || is_second || rights_changed {
            self.wake();
        }
    }

    fn look_at_streams(&self, seen: &mut Seen) {
        let found = self.world.streams(seen);
        let mut board = self.board();
        for key in board.keys(|key| matches!(key, Key::Stream(name) if !found.contains_key(name))) {
            board.remove(&key);
        }
        for (name, stream) in found {
            board.set(Key::Stream(name), Value::Stream(Box::new(stream)));
        }
    }

    fn look_at_details(&self, is_second: bool) {
        let wanted: Vec<(Key, bool)> = (self.wanted().iter().take(MOST_DETAILS))
            .map(|(key, wanted)| (key.clone(), wanted.is_absent))
            .collect();
        for (key, was_absent) in &wanted {
            // What is new is told at once, and all once a second.
            if is_second || (!was_absent && self.board().change_of(key).is_none()) {
                let value = self.world.detail(key);
                if let Some(wanted) = self.wanted().get_mut(key) {
                    wanted.is_absent = value.is_none();
                }
                let mut board = self.board();
                match value {
                    Some(value) => board.set(key.clone(), value),
                    None => board.remove(key),
                };
            }
        }
        let mut board = self.board();
        let is_wanted = |key: &Key| wanted.binary_search_by(|(wanted, _)| wanted.cmp(key)).is_ok();
        for key in board.keys(|key| key.is_detail() && !is_wanted(key)) {
            board.remove(&key);
        }
    }

    /// They are read where it may wait for the disk.
    fn ask_for_exports(&self, tell: mpsc::Sender<Option<Vec<Export>>>) {
        let exports = Arc::clone(&self.world.exports);
        tokio::spawn(async move {
            let found = match exports.turn().await {
                Ok(turn) => {
                    // The thread has the turn: this task may be gone.
                    let asked = tokio::task::spawn_blocking(move || (exports.list(), turn).0);
                    asked.await.ok().and_then(Result::ok)
                }
                Err(_) => None,
            };
            // Whoever asked may be gone.
            let _ = tell.send(found).await;
        });
    }

    fn exports(&self, found: Vec<Export>) {
        let mut board = self.board();
        let told: BTreeMap<String, Export> = found.into_iter().map(|export| (export.id(), export)).collect();
        for key in board.keys(|key| matches!(key, Key::Export(id) if !told.contains_key(id))) {
            board.remove(&key);
        }
        for (id, export) in told {
            let text = crate::http::forms::export(&export);
            board.set(Key::Export(id), Value::Export(export.camera, text.into()));
        }
        drop(board);
        self.wake();
    }

    /// Pages that have been told all look again.
    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for waker in waiting.into_values() {
            waker.wake();
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // A panic while it was held is a bug of ours; each change leaves it whole.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Key, Wanting>> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered from look to look.
struct Looking {
    seen: Seen,
    rules: Arc<crate::auth::Rules>,
    /// Of the page. Whether they changed is asked of this: without people, what they are is another nobody at each call.
    people: Option<watch::Receiver<Arc<People>>>,
    looks: u32,
    /// They are being read.
    exports_asked: bool,
    /// Nothing has become of any since.
    exports_known: bool,
    /// They could not be read: they are asked for once a second.
    exports_failed: bool,
    tell: mpsc::Sender<Option<Vec<Export>>>,
}

impl Looking {
    /// Whether somebody's rights may be others than at the look before.
    fn rights_changed(&mut self, auth: &Auth) -> bool {
        let people = self.people.as_mut().is_some_and(|people| {
            // Without the sender nobody changes any more.
            let changed = people.has_changed().unwrap_or(false);
            people.mark_unchanged();
            changed
        });
        let rules = auth.rules();
        let others = !Arc::ptr_eq(&rules, &self.rules);
        self.rules = rules;
        people || others
    }
}
