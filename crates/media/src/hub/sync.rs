//! The locks and atomics of the hub, in one place so that `--cfg loom` can exchange them for loom's, which tries every
//! interleaving (tests/loom.rs). Does not belong here: anything but the aliases.

use std::sync::PoisonError;

#[cfg(not(loom))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

#[cfg(loom)]
pub(super) use loom::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

/// Locks, and goes on with what a panicking holder left: one stream's bug must not end every other session.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
