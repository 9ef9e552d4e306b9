//! Commands of connections: the one kind of command that strangers can have started, and so with limits of its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use super::run::Length;
use crate::events::{Connection, Event, What};
use crate::shutdown::Trigger;

/// Of all commands that run at a time, those of connections: who only connects shall not keep the commands of streams from being run.
/// As many that are run once, at their end, besides those that last: one is run just when another has yet to end.
pub(super) const MOST: usize = 64;

/// Connections for which a command runs.
pub(super) struct Connections {
    lasting: Arc<Semaphore>,
    once: Arc<Semaphore>,
    running: HashMap<u64, (Trigger, Weak<()>)>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            lasting: Arc::new(Semaphore::new(MOST)),
            once: Arc::new(Semaphore::new(MOST)),
            running: HashMap::new(),
        }
    }

    /// The slots of commands that run so long.
    pub(super) fn slots(&self, length: &Length) -> &Arc<Semaphore> {
        match length {
            Length::Lasting { .. } => &self.lasting,
            Length::Once => &self.once,
        }
    }

    pub(super) fn begun(&mut self, connection: &Connection, trigger: Trigger) {
        // It stays until the connection ends, also when the command has ended before: there are as many as connections at most.
        self.running.insert(connection.id, (trigger, connection.alive.clone()));
    }

    /// Ends the command of a connection that is over.
    pub(super) fn ended(&mut self, event: &Event) {
        if let What::Closed(closed) = &event.what {
            self.running.remove(&closed.connection.id);
        }
    }

    /// Ends those of connections whose end was not heard.
    pub(super) fn missed(&mut self) {
        self.running.retain(|_, (_, alive)| alive.strong_count() > 0);
    }

    pub(super) fn clear(&mut self) {
        self.running.clear();
    }
}
