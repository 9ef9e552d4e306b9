//! Who is at a stream: the counters of its viewers, kept as long as their guards live.
//!
//! Belongs here: the table that every report reads. Does not belong here: counting, which the sessions do themselves.

use std::sync::Arc;

use slab::Slab;

use super::Full;
use super::stream::Stream;
use super::sync::{Mutex, lock};
use crate::stats::SessionStats;

/// The viewers of a stream.
#[derive(Debug)]
pub(super) struct Sessions(Mutex<Slab<Arc<SessionStats>>>);

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Slab::new()))
    }

    pub(super) fn add(&self, stream: Arc<Stream>, stats: Arc<SessionStats>, limit: usize) -> Result<Viewing, Full> {
        let mut sessions = lock(&self.0);
        if sessions.len() >= limit {
            return Err(Full { what: "viewers", limit });
        }
        let key = sessions.insert(stats);
        drop(sessions);
        Ok(Viewing { stream, key })
    }

    pub(super) fn append_to(&self, list: &mut Vec<Arc<SessionStats>>) {
        list.extend(lock(&self.0).iter().map(|(_, stats)| Arc::clone(stats)));
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    fn remove(&self, key: usize) {
        let removed = lock(&self.0).try_remove(key);
        drop(removed);
    }
}

/// A viewer is counted and listed as long as this lives.
#[derive(Debug)]
pub struct Viewing {
    stream: Arc<Stream>,
    key: usize,
}

impl Viewing {
    /// The stream that is viewed.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.stream.sessions.remove(self.key);
    }
}
