//! What commands are told of publishers: of those that are there, and of those whose stream has just gone.

use std::collections::HashMap;
use std::sync::Arc;

use media::hub::Hub;
use media::{Clock, StreamName};

use crate::events::{Event, What};
use crate::http;

/// Publishers of streams.
pub(super) struct Sources {
    hub: Hub,
    clock: Arc<dyn Clock>,
    /// Those of streams that were there when they were last looked at: when a stream is gone, nobody else knows who gave it.
    known: HashMap<StreamName, Source>,
}

/// A publisher, as commands are told of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) query: Option<Box<str>>,
}

impl Sources {
    pub(super) fn new(hub: Hub, clock: Arc<dyn Clock>) -> Self {
        let known = HashMap::new();
        Self { hub, clock, known }
    }

    /// Who gives a stream, or gave it until now.
    pub(super) fn of(&self, stream: &StreamName) -> Option<Source> {
        self.now(stream).or_else(|| self.known.get(stream).cloned())
    }

    /// To be called before an event is looked at.
    pub(super) fn before(&mut self, event: &Event) {
        if let (Some(stream), false) = (event.what.stream(), is_end(event))
            && let Some(source) = self.now(stream)
        {
            self.known.insert(stream.clone(), source);
        }
    }

    /// To be called afterwards.
    pub(super) fn after(&mut self, event: &Event) {
        if let (Some(stream), true) = (event.what.stream(), is_end(event)) {
            self.known.remove(stream);
        }
    }

    /// Ends may have been missed.
    pub(super) fn missed(&mut self) {
        let (hub, now) = (&self.hub, self.clock.now());
        self.known.retain(|stream, _| hub.stream(stream, now).is_ok());
    }

    fn now(&self, stream: &StreamName) -> Option<Source> {
        let stats = self.hub.stream(stream, self.clock.now()).ok()?.publisher()?;
        let (kind, id) = http::source_of(&stats);
        let query = stats.query.get().cloned();
        Some(Source { kind, id, query })
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event.what, What::StreamUnavailable(..))
}
