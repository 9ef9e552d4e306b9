//! The newest lines of the log, kept in memory for those who read them by the page.
//!
//! Does not belong here: how a line looks (`super::line`), who may read it ([`crate::http`]). They are what is written, secrets taken out as there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Most lines that are kept …
const MOST_LINES: usize = 1_000;
/// … and most bytes of them.
const MOST_BYTES: usize = 512 << 10;

/// The newest lines. A line is an object of JSON, as in the log for programs.
#[derive(Debug)]
pub struct Ring {
    kept: Mutex<Kept>,
    /// The number that the next line will have.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest last; their numbers follow each other.
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    next: u64,
}

/// Some lines, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The oldest first.
    pub lines: Vec<Arc<str>>,
    /// What to ask with for those behind them.
    pub next: u64,
    /// How many were not kept that should have been in front of them.
    pub missed: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            next: watch::Sender::new(0),
        }
    }
}

impl Ring {
    pub(super) fn push(&self, line: String) {
        let next = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes = kept.bytes.saturating_add(line.len());
            kept.lines.push_back(line.into());
            while kept.lines.len() > MOST_LINES || kept.bytes > MOST_BYTES {
                let Some(oldest) = kept.lines.pop_front() else { break };
                kept.bytes = kept.bytes.saturating_sub(oldest.len());
            }
            kept.next += 1;
            kept.next
        };
        // Two threads may meet here in another order: it only grows.
        self.next.send_if_modified(|known| {
            let newer = next > *known;
            *known = next.max(*known);
            newer
        });
    }

    /// At most so many lines from a number on. Without one: the newest.
    pub fn read(&self, from: Option<u64>, most: usize) -> Part {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let length = kept.lines.len() as u64;
        let oldest = kept.next - length;
        let newest = kept.next.saturating_sub(most as u64).max(oldest);
        // A number of the program before, which had written more, is as good as none.
        let from = from.filter(|from| *from <= kept.next).unwrap_or(newest);
        let first = from.max(oldest);
        let skipped = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        let lines: Vec<_> = kept.lines.iter().skip(skipped).take(most).cloned().collect();
        Part {
            next: first + lines.len() as u64,
            missed: first - from,
            lines,
        }
    }

    /// Says when there are more.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(part: &Part) -> Vec<&str> {
        part.lines.iter().map(|line| &**line).collect()
    }

    #[test]
    fn lines_are_read_from_where_one_was() {
        let ring = Ring::default();
        assert_eq!(
            ring.read(None, 10),
            Part {
                lines: Vec::new(),
                next: 0,
                missed: 0
            }
        );
        let mut changes = ring.changes();
        for line in ["a", "b", "c"] {
            ring.push(line.to_owned());
        }
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 3);
        let newest = ring.read(None, 2);
        assert_eq!((texts(&newest), newest.next, newest.missed), (vec!["b", "c"], 3, 0));
        let first = ring.read(Some(0), 2);
        assert_eq!((texts(&first), first.next), (vec!["a", "b"], 2));
        assert_eq!(texts(&ring.read(Some(first.next), 2)), ["c"]);
        assert!(ring.read(Some(3), 2).lines.is_empty());
        // Of a program that ran before this one.
        assert_eq!(texts(&ring.read(Some(900), 1)), ["c"]);
    }

    #[test]
    fn lines_and_their_bytes_are_limited_and_what_is_missed_is_counted() {
        let ring = Ring::default();
        for number in 0..MOST_LINES + 5 {
            ring.push(number.to_string());
        }
        let all = ring.read(Some(0), usize::MAX);
        assert_eq!((all.lines.len(), all.missed), (MOST_LINES, 5));
        assert_eq!(texts(&all)[0], "5");
        let long = "x".repeat(MOST_BYTES / 4);
        for _ in 0..6 {
            ring.push(long.clone());
        }
        assert_eq!(ring.read(Some(0), usize::MAX).lines.len(), 4);
        ring.push("y".repeat(MOST_BYTES + 1));
        assert_eq!(
            ring.read(None, 10).lines.len(),
            0,
            "what is longer than all is not kept"
        );
        ring.push("short".to_owned());
        assert_eq!(texts(&ring.read(None, 10)), ["short"]);
    }
}
