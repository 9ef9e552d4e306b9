//! The wakers of a stream's readers: one slot per reader, freed with it.
//!
//! Belongs here: registering under the stream's lock, and handing all armed wakers over in constant time so that they
//! are called outside it. Does not belong here: what a reader is woken for.

use std::task::Waker;

use slab::Slab;

/// A slot, valid from [`Wakers::insert`] to [`Wakers::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// Armed wakers on their way out of the lock. Kept between publishes so that its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Woken(Vec<Option<Waker>>);

impl Woken {
    /// Calls every waker. Never under a lock: a waker may drop the task, and with it a reader of this very stream.
    pub(super) fn wake(&mut self) {
        for waker in self.0.iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }
}

/// Slots of all readers; those waiting have their waker in `armed` at the index of their slot.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    slots: Slab<()>,
    armed: Vec<Option<Waker>>,
    any_armed: bool,
}

impl Wakers {
    /// A slot for a new reader; `None` when `limit` are taken.
    pub(super) fn insert(&mut self, limit: usize) -> Option<Slot> {
        (self.slots.len() < limit).then(|| Slot(self.slots.insert(())))
    }

    /// Frees a slot. The waker, if it was armed, is returned to be dropped outside the lock.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Waker> {
        let _ = self.slots.try_remove(slot.0);
        self.armed.get_mut(slot.0).and_then(Option::take)
    }

    /// Arms a slot. A waker that it replaces is returned to be dropped outside the lock.
    pub(super) fn arm(&mut self, slot: Slot, waker: &Waker) -> Option<Waker> {
        if self.armed.len() <= slot.0 {
            self.armed.resize(slot.0 + 1, None);
        }
        self.any_armed = true;
        match self.armed.get_mut(slot.0) {
            Some(Some(old)) if old.will_wake(waker) => None,
            Some(place) => place.replace(waker.clone()),
            None => None,
        }
    }

    /// Moves all armed wakers into `woken`, in constant time: the two lists change places. `woken` must be spent.
    pub(super) fn take(&mut self, woken: &mut Woken) {
        if self.any_armed {
            std::mem::swap(&mut self.armed, &mut woken.0);
            self.any_armed = false;
        }
    }

    /// Readers there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
