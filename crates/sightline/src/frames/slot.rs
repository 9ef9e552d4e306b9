//! One place between who makes pictures and who takes them: the newest is there, never a queue.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module.
pub(super) struct Slot<T> {
    inner: Mutex<Inner<T>>,
    news: Condvar,
}

struct Inner<T> {
    newest: Option<T>,
    replaced: u64,
    closed: bool,
}

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// The newest, which is not given to anybody else.
    Newest(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing comes any more.
    Closed,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        let inner = Inner {
            newest: None,
            replaced: 0,
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            news: Condvar::new(),
        }
    }

    /// Puts something in the place of what nobody took. Never waits.
    pub(super) fn put(&self, newest: T) {
        let mut inner = self.lock();
        let before = inner.newest.replace(newest);
        inner.replaced += u64::from(before.is_some());
        drop(inner);
        self.news.notify_one();
    }

    /// Takes the newest; waits for it for so long.
    pub(super) fn take(&self, patience: Duration) -> Taken<T> {
        let nothing = |inner: &mut Inner<T>| inner.newest.is_none() && !inner.closed;
        let waited = self.news.wait_timeout_while(self.lock(), patience, nothing);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match inner.newest.take() {
            Some(newest) => Taken::Newest(newest),
            None if inner.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Nothing comes any more. What is there is taken still.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// How many nobody took.
    pub(super) fn replaced(&self) -> u64 {
        self.lock().replaced
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_newest_is_taken_and_the_others_are_counted() {
        let slot = Slot::new();
        assert_eq!(slot.take(Duration::ZERO), Taken::Nothing);
        (0..5).for_each(|n| slot.put(n));
        assert_eq!((slot.take(Duration::ZERO), slot.replaced()), (Taken::Newest(4), 4));
        slot.put(5);
        slot.close();
        assert_eq!(slot.take(Duration::ZERO), Taken::Newest(5));
        assert_eq!(slot.take(Duration::from_secs(60)), Taken::Closed);
    }

    #[test]
    fn who_waits_is_woken() {
        let slot = Arc::new(Slot::new());
        let other = Arc::clone(&slot);
        let waiting = std::thread::spawn(move || other.take(Duration::from_secs(60)));
        slot.put(7);
        assert_eq!(waiting.join().unwrap(), Taken::Newest(7));
    }
}
