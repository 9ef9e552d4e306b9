//! How often a stream's publishers replaced each other lately.
//!
//! Belongs here: the rule that stops two publishers from fighting over a name. Does not belong here: who may take over at
//! all ([`super::publisher`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Takeovers within [`WINDOW`] after which newcomers are refused.
const MOST: usize = 3;
/// How long a takeover counts.
const WINDOW: Duration = Duration::from_secs(10);

/// The last takeovers, oldest first.
#[derive(Debug, Default)]
pub(super) struct Takeovers(VecDeque<Instant>);

impl Takeovers {
    /// Three lie within the last ten seconds.
    pub(super) fn too_many(&self, now: Instant) -> bool {
        let recent = self.0.iter().filter(|&&at| now.saturating_duration_since(at) < WINDOW);
        recent.count() >= MOST
    }

    pub(super) fn note(&mut self, now: Instant) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}
