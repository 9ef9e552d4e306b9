//! A value that settings replace while others read it.

use std::sync::{Arc, PoisonError, RwLock};

/// One value in the hands of many; whoever replaces it does so for all.
#[derive(Clone, Debug, Default)]
pub struct Adjustable<T>(Arc<RwLock<T>>);

impl<T: Clone> Adjustable<T> {
    /// With this value until another is set.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }

    /// As it is now.
    pub fn get(&self) -> T {
        // Replaced whole or not at all, also where somebody panicked.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another from now on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
