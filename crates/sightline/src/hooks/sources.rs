//! What commands are told of publishers: of those that are there, and of those whose stream has just gone.

use std::collections::HashMap;
use std::sync::Arc;

use media::hub::Hub;
use media::stats::Role;
use media::{Clock, StreamName};

use crate::events::{Event, What};
use crate::http;

/// Publishers of streams.
pub(super) struct Sources {
    hub: Hub,
    clock: Arc<dyn Clock>,
    /// Those of streams as events have told of them. The hub is behind nobody: who gives a stream there may have come after the event that is looked at.
    known: HashMap<StreamName, Source>,
    /// How many may be known before those of streams that are gone are looked for: of one without a keyframe no end is told.
    room: usize,
}

/// See [`Sources::room`]. At least.
const ROOM: usize = 100;

/// A publisher, as commands are told of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) query: Option<Box<str>>,
}

impl Sources {
    pub(super) fn new(hub: Hub, clock: Arc<dyn Clock>) -> Self {
        Self {
            hub,
            clock,
            known: HashMap::new(),
            room: ROOM,
        }
    }

    /// Who gives a stream, or gave it until the event that is looked at.
    pub(super) fn of(&self, stream: &StreamName) -> Option<Source> {
        self.known.get(stream).cloned().or_else(|| self.now(stream))
    }

    /// To be called before an event is looked at.
    pub(super) fn before(&mut self, event: &Event) {
        let What::Joined(peer) = &event.what else { return };
        if peer.role == Role::Publisher {
            let (kind, id) = http::source_of(peer.protocol, peer.is_steered, peer.session);
            let query = peer.query.clone();
            self.known.insert(peer.stream.clone(), Source { kind, id, query });
        }
        if self.known.len() > self.room {
            self.missed();
            self.room = ROOM.max(2 * self.known.len());
        }
    }

    /// To be called afterwards.
    pub(super) fn after(&mut self, event: &Event) {
        if let (Some(stream), true) = (event.what.stream(), is_end(event)) {
            self.known.remove(stream);
        }
    }

    /// Ends may have been missed, and who came then.
    pub(super) fn missed(&mut self) {
        let now = self.clock.now();
        let mut known = std::mem::take(&mut self.known);
        known.retain(|stream, _| self.hub.stream(stream, now).is_ok());
        for (stream, source) in &mut known {
            if let Some(now) = self.now(stream) {
                *source = now;
            }
        }
        self.known = known;
    }

    fn now(&self, stream: &StreamName) -> Option<Source> {
        let stats = self.hub.stream(stream, self.clock.now()).ok()?.publisher()?;
        let (kind, id) = http::source_of(stats.info.protocol, stats.leash.is_tied(), stats.id.get());
        let query = stats.query.get().cloned();
        Some(Source { kind, id, query })
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event.what, What::StreamUnavailable(..))
}
