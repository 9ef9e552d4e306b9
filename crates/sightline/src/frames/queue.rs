//! Frames on their way to the decoder: all that one needs for the newest picture, and nothing beyond.
//!
//! Offering never waits. Where a keyframe comes while much is waiting, what waits is left out: pictures that are older than it are of no use to who wants the newest.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::hub::Entry;

/// Frames that may wait at the most: twenty seconds of a burst, which has to be decoded to come to the newest picture.
const MOST_FRAMES: usize = 600;
/// Bytes of them.
const MOST_BYTES: usize = 32 << 20;
/// So many do not wait where the machine keeps up: with a keyframe behind them they are left out.
const BEHIND: usize = 15;

/// What the decoder is given.
#[derive(Debug)]
pub(super) enum Item {
    /// A frame, and how many wait behind it.
    Frame(Arc<Entry>, usize),
    /// Frames are missing here.
    Gap,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Taken {
    /// This.
    Item(Item),
    /// Nothing came.
    Nothing,
    /// Nothing comes any more.
    Closed,
}

/// See the module.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    frames: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Before what waits, or comes next.
    gap: bool,
    /// There was no room: what comes is of no use before a keyframe.
    broken: bool,
    left_out: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// Hands over a frame of the track that is looked at.
    pub(super) fn offer(&self, entry: Arc<Entry>) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        if entry.frame.keyframe && (inner.broken || inner.frames.len() > BEHIND) {
            inner.clear();
        }
        let has_room = inner.frames.len() < MOST_FRAMES && inner.bytes < MOST_BYTES;
        if inner.broken || !has_room {
            inner.broken = true;
            inner.left_out += 1;
            return;
        }
        inner.bytes += entry.frame.data.len();
        inner.frames.push_back(entry);
        drop(inner);
        self.news.notify_one();
    }

    /// What waits is of another stream than what follows.
    pub(super) fn interrupt(&self) {
        let mut inner = self.lock();
        inner.clear();
        drop(inner);
        self.news.notify_one();
    }

    /// What is next; waits for it for so long.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let nothing = |inner: &mut Inner| inner.frames.is_empty() && !inner.gap && !inner.closed;
        let waited = self.news.wait_timeout_while(self.lock(), patience, nothing);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut inner.gap) {
            return Taken::Item(Item::Gap);
        }
        match inner.frames.pop_front() {
            Some(entry) => {
                inner.bytes = inner.bytes.saturating_sub(entry.frame.data.len());
                Taken::Item(Item::Frame(entry, inner.frames.len()))
            }
            None if inner.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Nothing comes any more, and what waits is not wanted.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.frames.clear();
        inner.closed = true;
        drop(inner);
        self.news.notify_one();
    }

    /// Frames that were never decoded.
    pub(super) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn clear(&mut self) {
        self.left_out += self.frames.len() as u64;
        self.frames.clear();
        (self.bytes, self.broken, self.gap) = (0, false, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::tests::entries;

    fn drained(queue: &Queue) -> (usize, usize) {
        let (mut frames, mut gaps) = (0, 0);
        while let Taken::Item(item) = queue.take(Duration::ZERO) {
            match item {
                Item::Frame(..) => frames += 1,
                Item::Gap => gaps += 1,
            }
        }
        (frames, gaps)
    }

    #[test]
    fn a_keyframe_takes_the_place_of_all_that_waits_before_it() {
        // Keyframes are ten frames apart.
        let entries = entries(61);
        let queue = Queue::new();
        entries.iter().for_each(|entry| queue.offer(Arc::clone(entry)));
        assert_eq!(queue.left_out(), 60);
        let Taken::Item(Item::Gap) = queue.take(Duration::ZERO) else {
            panic!("it does not say that something is missing")
        };
        let Taken::Item(Item::Frame(entry, 0)) = queue.take(Duration::ZERO) else {
            panic!("there is not one frame")
        };
        assert!(entry.frame.keyframe && Arc::ptr_eq(&entry, &entries[60]));
    }

    #[test]
    fn one_that_keeps_up_gets_all() {
        let queue = Queue::new();
        for entry in entries(90) {
            queue.offer(entry);
            assert_eq!(drained(&queue), (1, 0));
        }
        assert_eq!(queue.left_out(), 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let queue = Queue::new();
        let entries = entries(30);
        let delta = entries.iter().find(|entry| !entry.frame.keyframe).unwrap();
        for _ in 0..MOST_FRAMES + 5 {
            queue.offer(Arc::clone(delta));
        }
        assert_eq!(queue.left_out(), 5);
        assert_eq!(drained(&queue), (MOST_FRAMES, 0));
        // Nothing is decoded from wrong references.
        queue.offer(Arc::clone(delta));
        assert_eq!(drained(&queue), (0, 0));
        queue.offer(Arc::clone(&entries[0]));
        assert_eq!(drained(&queue), (1, 1));
    }

    #[test]
    fn one_that_is_closed_wakes_who_waits() {
        let queue = Arc::new(Queue::new());
        let other = Arc::clone(&queue);
        let waiting = std::thread::spawn(move || other.take(Duration::from_secs(60)));
        queue.close();
        assert!(matches!(waiting.join().unwrap(), Taken::Closed));
    }
}
