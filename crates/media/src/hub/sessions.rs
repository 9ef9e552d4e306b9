//! Who is at a stream: the counters of its viewers, kept as long as their guards live.
//!
//! Belongs here: the table that every report reads. Does not belong here: counting, which the sessions do themselves.

use std::sync::Arc;

use slab::Slab;

use super::Full;
use super::books::Books;
use super::news::News;
use super::stream::Stream;
use super::sync::{Mutex, lock};
use crate::stats::{SessionStats, Totals};

/// The viewers of a stream.
#[derive(Debug)]
pub(super) struct Sessions(Mutex<Viewers>);

#[derive(Debug, Default)]
struct Viewers {
    here: Slab<Arc<SessionStats>>,
    /// What those counted who are gone.
    gone: Books,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Viewers::default()))
    }

    pub(super) fn add(&self, stream: Arc<Stream>, stats: Arc<SessionStats>, limit: usize) -> Result<Viewing, Full> {
        let mut sessions = lock(&self.0);
        if sessions.here.len() >= limit {
            return Err(Full { what: "viewers", limit });
        }
        let key = sessions.here.insert(stats);
        drop(sessions);
        Ok(Viewing { stream, key })
    }

    pub(super) fn append_to(&self, list: &mut Vec<Arc<SessionStats>>) {
        list.extend(lock(&self.0).here.iter().map(|(_, stats)| Arc::clone(stats)));
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).here.len()
    }

    /// What all counted, those who are gone and those who are here. Added up outside the lock.
    pub(super) fn books(&self) -> Books {
        let (here, mut books): (Vec<_>, _) = {
            let sessions = lock(&self.0);
            let here = sessions.here.iter().map(|(_, stats)| Arc::clone(stats)).collect();
            (here, sessions.gone.clone())
        };
        for stats in here {
            books.add_here(&stats, &Totals::default());
        }
        books
    }

    fn remove(&self, key: usize) -> Option<Arc<SessionStats>> {
        let mut sessions = lock(&self.0);
        let removed = sessions.here.try_remove(key);
        if let Some(stats) = &removed {
            sessions.gone.add_gone(stats, &Totals::default());
        }
        removed
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
        if let Some(stats) = self.stream.sessions.remove(self.key) {
            self.stream.tell(News::ViewerLeft(&stats));
        }
    }
}
