//! What becomes of streams and who is at them, told to one listener outside.
//!
//! Belongs here: what is told. Does not belong here: who hears it, what is kept of it. Nothing is told per frame.

use std::fmt;
use std::sync::OnceLock;

use super::reader::EndReason;
use super::refused::Party;
use super::stream::{Inner, Stream};
use super::wakers::Woken;
use crate::name::StreamName;
use crate::stats::SessionStats;

/// Something that became of a stream, or of somebody at it.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// Viewers can have a first picture: its first keyframe of video, or its first frame where it has only sound, is published.
    Available(&'a StreamName),
    /// It ended, its hold included.
    Unavailable(&'a StreamName, EndReason),
    /// The first frame of a publisher that has the stream now. A publisher that a picture of ours replaced begins again after it.
    Began(&'a SessionStats),
    /// A publisher that had begun has the stream no more: `by` took it over, or it left by itself.
    Left(&'a SessionStats, Option<Party>),
    /// A viewer is listed.
    ViewerJoined(&'a SessionStats),
    /// A viewer is gone.
    ViewerLeft(&'a SessionStats),
}

/// Whoever is told. Called under locks of the hub, so that what follows each other is told in that order: it takes a note, and neither waits nor
/// asks the hub for anything.
type Listener = Box<dyn Fn(News<'_>) + Send + Sync>;

/// Tells.
#[derive(Default)]
pub(super) struct Teller(OnceLock<Listener>);

impl Teller {
    /// The first stays.
    pub(super) fn set(&self, listener: Listener) {
        let _ = self.0.set(listener);
    }

    pub(super) fn tell(&self, news: News<'_>) {
        if let Some(listener) = self.0.get() {
            listener(news);
        }
    }
}

impl Stream {
    pub(super) fn tell(&self, news: News<'_>) {
        self.teller.tell(news);
    }

    /// What a frame means that is in the stream now: for nearly all of them, nothing.
    pub(super) fn tell_first(&self, inner: &mut Inner, is_start: bool) {
        if let Some(owner) = inner.owner.as_mut().filter(|owner| !owner.begun) {
            owner.begun = true;
            self.tell(News::Began(&owner.stats));
        }
        if is_start && !inner.available {
            inner.available = true;
            self.tell(News::Available(self.name()));
        }
    }

    /// Ends it, which is told if it was there for anybody.
    #[must_use]
    pub(super) fn end_now(&self, inner: &mut Inner, reason: EndReason) -> Woken {
        if std::mem::take(&mut inner.available) {
            self.tell(News::Unavailable(self.name(), reason));
        }
        inner.end(reason)
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Teller({})", self.0.get().is_some())
    }
}
