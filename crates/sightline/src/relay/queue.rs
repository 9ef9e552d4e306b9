//! Frames on their way from the hub to a thread that writes them.
//!
//! Belongs here: that offering never waits, that what waits has a limit, what is left out beyond it. Does not belong here: what is made of the frames.
//!
//! Full, all frames are left out until half of it is free again: what comes then begins with a gap, behind which a keyframe is waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::Track;
use media::hub::Entry;

/// How much waits at the most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of frames: half a minute at 2 Mb/s.
    pub(super) bytes: usize,
    /// Frames.
    pub(super) items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            items: 8_192,
        }
    }
}

/// What is handed over.
#[derive(Debug)]
pub(super) enum Item {
    /// The tracks of what follows.
    Tracks(Arc<[Track]>),
    /// A frame.
    Frame(Arc<Entry>),
    /// Frames are missing here.
    Gap,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Taken {
    Item(Item),
    /// Nothing came.
    Nothing,
    /// Nothing comes any more.
    Closed,
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    news: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    /// Frames are left out; the newest tracks that came meanwhile.
    full: Option<Option<Arc<[Track]>>>,
    left_out: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            news: Condvar::new(),
            limits,
        })
    }

    /// Never waits. What has no room is left out.
    pub(super) fn offer(&self, item: Item) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let has_room = |inner: &Inner, share: usize| {
            inner.bytes < self.limits.bytes / share && inner.items.len() < self.limits.items / share
        };
        if let Some(tracks) = &mut inner.full {
            match item {
                Item::Tracks(newer) => {
                    *tracks = Some(newer);
                    return;
                }
                Item::Gap => return,
                Item::Frame(_) => {}
            }
            if !has_room(&inner, 2) {
                inner.left_out += 1;
                return;
            }
            let tracks = inner.full.take().flatten();
            inner.items.push_back(Item::Gap);
            inner.items.extend(tracks.map(Item::Tracks));
        }
        if !has_room(&inner, 1) {
            let mut waiting = None;
            match item {
                Item::Tracks(tracks) => waiting = Some(tracks),
                Item::Frame(_) => inner.left_out += 1,
                Item::Gap => {}
            }
            inner.full = Some(waiting);
            return;
        }
        inner.bytes += bytes(&item);
        inner.items.push_back(item);
        drop(inner);
        self.news.notify_one();
    }

    /// What is next; waits for it for so long.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let nothing = |inner: &mut Inner| inner.items.is_empty() && !inner.closed;
        let waited = self.news.wait_timeout_while(self.lock(), patience, nothing);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match inner.items.pop_front() {
            Some(item) => {
                inner.bytes = inner.bytes.saturating_sub(bytes(&item));
                Taken::Item(item)
            }
            None if inner.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Nothing comes any more. What waits is taken still.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Frames that had no room.
    pub(super) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an item counts for: its data, and what stands around it.
fn bytes(item: &Item) -> usize {
    match item {
        Item::Frame(entry) => entry.frame.data.len() + 256,
        Item::Tracks(_) | Item::Gap => 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::tests::{entries, tracks};

    fn drained(queue: &Queue) -> Vec<Item> {
        let mut items = Vec::new();
        while let Taken::Item(item) = queue.take(Duration::ZERO) {
            items.push(item);
        }
        items
    }

    #[test]
    fn what_has_no_room_is_left_out_and_a_gap_tells_so() {
        for limits in [
            Limits {
                bytes: 20_000,
                items: 1_000,
            },
            Limits {
                bytes: 1 << 20,
                items: 10,
            },
        ] {
            let queue = Queue::new(limits);
            let entries = entries(60);
            for entry in &entries {
                queue.offer(Item::Frame(Arc::clone(entry)));
            }
            // Other tracks while nothing has room: the newest are not lost.
            queue.offer(Item::Tracks(tracks()));
            let left_out = queue.left_out();
            let waited = queue.lock().items.len();
            assert!(left_out > 30 && waited as u64 + left_out == 60, "{waited} {left_out}");
            let longest = entries.iter().map(|entry| entry.frame.data.len()).max().unwrap();
            assert!(queue.lock().bytes <= limits.bytes + longest + 256 && waited <= limits.items);
            assert_eq!(drained(&queue).len(), waited);
            queue.offer(Item::Frame(Arc::clone(&entries[0])));
            let after = drained(&queue);
            assert!(
                matches!(after.as_slice(), [Item::Gap, Item::Tracks(_), Item::Frame(_)]),
                "{after:?}"
            );
            assert_eq!(queue.lock().bytes, 0);
        }
    }

    #[test]
    fn one_that_is_closed_gives_what_it_has() {
        let queue = Queue::new(Limits::default());
        queue.offer(Item::Gap);
        queue.close();
        queue.offer(Item::Gap);
        assert!(matches!(queue.take(Duration::ZERO), Taken::Item(Item::Gap)));
        assert!(matches!(queue.take(Duration::from_secs(60)), Taken::Closed));
    }

    #[test]
    fn who_waits_is_woken() {
        let queue = Queue::new(Limits::default());
        let other = Arc::clone(&queue);
        let waiting = std::thread::spawn(move || other.take(Duration::from_secs(60)));
        queue.offer(Item::Gap);
        assert!(matches!(waiting.join().unwrap(), Taken::Item(Item::Gap)));
    }
}
