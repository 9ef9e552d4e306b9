//! Simulated instants for the unit tests of the hub. Does not belong here: anything the drivers' view needs; that is tested from
//! outside (tests/hub).

use std::time::{Duration, Instant};

/// A line of time. `testkit`'s clock would do, but it knows another build of this crate than its unit tests do.
pub(super) struct Sim(Instant);

impl Sim {
    #[allow(clippy::disallowed_methods, reason = "an arbitrary zero; nothing depends on which")]
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn ms(&self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}
