//! Streams that are sent on to other servers.
//!
//! Belongs here: which streams go where ([`plan`]), one attempt at one target ([`rtsp`], [`whip`]), when attempts are made ([`entry`]), who looks for streams
//! that are there ([`Forwarder`]), that none goes around in a circle ([`via`]). Does not belong here: how a protocol is spoken ([`crate::publish`], [`crate::rtsp::client`], [`protocol::webrtc`]); streams that come from
//! elsewhere ([`crate::source`]).
//!
//! Each target reads the stream by itself, as viewers do, and is moved to the newest keyframe when it falls behind: none waits for another. It is no
//! viewer though: what is fetched on demand is sent on while somebody watches, and not because it is sent on.

mod entry;
mod plan;
mod rtsp;
#[cfg(test)]
mod tests;
pub(crate) mod via;
mod whip;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::hub::{Hub, Stream};
use media::stats::SessionStats;
use media::{Clock, StreamName};

use crate::config::destination::Destination;
use crate::config::settings;
use crate::config::stream_key::StreamKey;
use crate::shutdown::Shutdown;
use entry::Entry;
pub use entry::{Report, State};
use plan::Plan;

/// How often it is looked which streams are there.
const LOOK: Duration = Duration::from_millis(200);
/// How long targets may be taken leave of when the program ends.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Where a stream is sent on to.
pub trait Target: Send {
    /// One attempt: connects, says so to the feed, and sends until it is told to stop or cannot go on.
    fn run<'a>(&'a mut self, feed: &'a Feed, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;
}

/// What a target sends, for one attempt.
pub struct Feed {
    stream: Arc<Stream>,
    entry: Arc<Entry>,
    clock: Arc<dyn Clock>,
}

impl Feed {
    /// To be read from once the target takes media.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The counters, which are the target's to keep.
    pub fn stats(&self) -> &Arc<SessionStats> {
        self.entry.stats()
    }

    /// The target takes media from now on.
    pub fn runs(&self) {
        self.entry.runs(self.clock.now());
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The stream ended, or is made of something else from now on, which has to be announced anew.
    StreamEnded,
    /// The target failed.
    Failed(Why),
}

/// What went wrong with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// For whoever runs the server: names hosts, but no credentials.
    pub detail: Arc<str>,
    /// It stays so until a person changes something.
    pub lasting: bool,
}

impl Why {
    /// Another attempt may do better.
    fn passing(detail: impl Into<Arc<str>>) -> Self {
        Self {
            detail: detail.into(),
            lasting: false,
        }
    }

    /// See [`Why::lasting`].
    fn lasting(detail: impl Into<Arc<str>>) -> Self {
        Self {
            detail: detail.into(),
            lasting: true,
        }
    }
}

/// What a forwarder needs.
pub struct World {
    /// Where streams are.
    pub hub: Hub,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

/// Sends streams on.
pub struct Forwarder {
    world: World,
    shutdown: Shutdown,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    settings: BTreeMap<StreamKey, settings::Stream>,
    /// Those that settings name, and those that an expression found among the streams that are there.
    entries: BTreeMap<StreamName, Vec<Arc<Entry>>>,
    /// Streams that were there when it was last looked.
    there: BTreeSet<StreamName>,
}

/// What sends to a destination. One attempt is made with it.
fn open(plan: &Plan, world: &World) -> Box<dyn Target> {
    match &plan.to {
        Destination::Rtsp(url) => Box::new(rtsp::Push::new(
            url.clone(),
            plan,
            Arc::clone(&world.clock),
            world.random,
        )),
        Destination::Whip(url) => Box::new(whip::Push::new(
            url.clone(),
            plan,
            Arc::clone(&world.clock),
            world.random,
        )),
    }
}

impl Forwarder {
    /// Without targets. Those of [`Forwarder::set`] are sent to until `shutdown`.
    pub fn new(world: World, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world,
            shutdown,
            tables: Mutex::default(),
        })
    }

    /// Changes what is set: targets whose settings stay are not touched. To be called within the runtime.
    pub fn set(self: &Arc<Self>, settings: &BTreeMap<StreamKey, settings::Stream>) {
        let mut tables = self.lock();
        tables.settings.clone_from(settings);
        let names = settings.keys().filter_map(|key| match key {
            StreamKey::Name(name) => Some(name),
            StreamKey::Expression(_) => None,
        });
        let names: BTreeSet<StreamName> = names.chain(&tables.there).cloned().collect();
        let mut before = std::mem::take(&mut tables.entries);
        for name in names {
            let there = before.remove(&name).unwrap_or_default();
            self.plan(&mut tables, name, there);
        }
        before.values().flatten().for_each(|entry| entry.retire());
    }

    /// How all targets are, by the names of their streams.
    pub fn reports(&self) -> Vec<Report> {
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().flatten().cloned().collect();
        entries.iter().map(|entry| entry.report(&*self.world.clock)).collect()
    }

    /// Looks for streams until the end of the program, and then until targets have been taken leave of, but not for long.
    pub async fn run(self: Arc<Self>) {
        while !self.shutdown.is_requested() {
            self.look();
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.shutdown.requested() => {}
            }
        }
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().flatten().cloned().collect();
        let gone = async {
            for entry in entries {
                entry.gone().await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, gone).await;
    }

    /// Tells entries of streams that have come, and finds out which streams an expression means.
    fn look(self: &Arc<Self>) {
        let mut tables = self.lock();
        if !tables.settings.values().any(|stream| !stream.forward.is_empty()) {
            tables.there.clear();
            return;
        }
        let there: BTreeSet<StreamName> = (self.world.hub.list().iter())
            .map(|stream| stream.name().clone())
            .collect();
        let before = std::mem::replace(&mut tables.there, there);
        let new: Vec<StreamName> = tables.there.difference(&before).cloned().collect();
        for name in new {
            if !tables.entries.contains_key(&name) {
                self.plan(&mut tables, name, Vec::new());
            }
        }
        let Tables {
            entries,
            there,
            settings,
        } = &mut *tables;
        entries.retain(|name, entries| {
            if there.contains(name) {
                entries.iter().for_each(|entry| entry.poke());
                return true;
            }
            // A stream that an expression found is forgotten with the stream.
            let stays =
                settings.contains_key(&StreamKey::Name(name.clone())) || !entries.iter().all(|entry| entry.is_idle());
            if !stays {
                entries.iter().for_each(|entry| entry.retire());
            }
            stays
        });
    }

    /// Makes the entries of one stream as they are set, with those of before where they are the same.
    fn plan(self: &Arc<Self>, tables: &mut Tables, name: StreamName, mut before: Vec<Arc<Entry>>) {
        let plans = plan::find(&tables.settings, &name);
        let entries: Vec<Arc<Entry>> = (plans.into_iter())
            .map(|plan| match before.iter().position(|entry| *entry.plan() == plan) {
                Some(at) => before.swap_remove(at),
                None => {
                    let entry = Entry::new(name.clone(), plan, &*self.world.clock);
                    tokio::spawn(entry::keep_sending(Arc::clone(&entry), Arc::clone(self)));
                    entry
                }
            })
            .collect();
        before.iter().for_each(|entry| entry.retire());
        if !entries.is_empty() {
            tables.entries.insert(name, entries);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
