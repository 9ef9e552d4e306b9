//! Servers that are told what happens, by HTTP.
//!
//! Belongs here: who is told ([`Webhooks`]), one of them with what it is yet to be told ([`entry`], [`queue`]), how a message is signed ([`sign`]). Does not
//! belong here: what happens ([`crate::events`]), HTTP and which addresses may be connected to ([`crate::fetch`]), commands ([`crate::hooks`]).
//!
//! Each has a queue and a task of its own, so that none waits for another: events come to it in their order, one at a time. One that does not answer is
//! asked again and again; what is too old by then, or too much, is lost, the oldest first, and it is told how many that were. Nothing is kept over a restart.

mod entry;
mod queue;
mod sign;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::Clock;

use crate::config::settings::Webhook;
use crate::config::units::Name;
use crate::events::Events;
use crate::shutdown::{self, Shutdown};
use entry::Entry;
pub use entry::{Report, State};

/// How long deliveries may take when the program ends.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What webhooks need.
pub struct World {
    /// What happens.
    pub events: Arc<Events>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
    /// How long things may take.
    pub pace: Pace,
}

/// How long things may take, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For an answer.
    pub answer: Duration,
    /// Between the first two attempts; doubles with each.
    pub first_wait: Duration,
    /// Between two attempts, also where an answer asks for more.
    pub longest_wait: Duration,
    /// An event that could not be told for so long is given up.
    pub give_up: Duration,
    /// Events that wait for one of them.
    pub most_waiting: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            give_up: Duration::from_secs(3_600),
            most_waiting: 1_000,
        }
    }
}

/// Tells servers what happens.
pub struct Webhooks {
    world: World,
    shutdown: Shutdown,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    entries: BTreeMap<Name, Arc<Entry>>,
    /// What those counted that are gone.
    gone: Totals,
}

/// What all of them counted since the start of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that servers were told.
    pub told: u64,
    /// Events that they will never be told.
    pub lost: u64,
    /// Attempts that failed.
    pub failures: u64,
}

impl Totals {
    fn with(self, report: &Report) -> Self {
        Self {
            told: self.told.saturating_add(report.told),
            lost: self.lost.saturating_add(report.lost),
            failures: self.failures.saturating_add(report.failures),
        }
    }
}

impl Webhooks {
    /// Without any. Those of [`Webhooks::set`] are told until `shutdown`, and then of what is left.
    pub fn new(world: World, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world,
            shutdown,
            tables: Mutex::default(),
        })
    }

    /// Changes what is set: those whose settings stay are not touched, and one whose settings are others goes on where it was. To be called within the
    /// runtime.
    pub fn set(self: &Arc<Self>, settings: &BTreeMap<Name, Webhook>) {
        let mut tables = self.lock();
        let mut before = std::mem::take(&mut tables.entries);
        for (name, webhook) in settings {
            let known = before.remove(name);
            let entry = match known {
                Some(entry) if *entry.settings() == *webhook => entry,
                known => {
                    // What was told stays told. One that wanted to hear no more begins anew.
                    let after = known.as_ref().and_then(|entry| entry.position());
                    known.iter().for_each(|known| tables.retire(known));
                    self.begin(name, webhook, after)
                }
            };
            tables.entries.insert(name.clone(), entry);
        }
        before.values().for_each(|entry| tables.retire(entry));
    }

    /// How all of them are, by their names.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().entries.values().map(|entry| entry.report()).collect()
    }

    /// What all that there ever were have counted.
    pub fn totals(&self) -> Totals {
        let tables = self.lock();
        let reports = tables.entries.values().map(|entry| entry.report());
        reports.fold(tables.gone, |totals, report| totals.with(&report))
    }

    /// Waits for the end of the program, and then until all have been told, but not for long.
    pub async fn run(self: Arc<Self>) {
        self.shutdown.requested().await;
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().cloned().collect();
        let done = async {
            for entry in &entries {
                entry.done().await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, done).await;
        entries.iter().for_each(|entry| entry.retire());
    }

    fn begin(self: &Arc<Self>, name: &Name, webhook: &Webhook, after: Option<u64>) -> Arc<Entry> {
        let listener = self.world.events.listen(after);
        let (trigger, stop) = shutdown::channel();
        let position = listener.position();
        let entry = Entry::new(name.clone(), webhook.clone(), &self.world, position, trigger);
        tokio::spawn(Arc::clone(&entry).run(listener, stop));
        entry
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn retire(&mut self, entry: &Entry) {
        self.gone = self.gone.with(&entry.report());
        entry.retire();
    }
}
