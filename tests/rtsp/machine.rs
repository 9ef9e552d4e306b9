//! What the machine keeps from the programs under test: a virtual one stands while its host serves others, a full one lets them wait.
//!
//! Belongs here: finding that out. Time that the machine kept is no fault of a program's, so tests whose limits are short take it off what they
//! measured, and hold the rest against the limit.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From one look to the next.
const TURN: Duration = Duration::from_millis(20);
/// Less than this is no pause.
const WORTH: Duration = Duration::from_millis(10);
/// The unit of /proc/stat.
const JIFFY: Duration = Duration::from_millis(10);

/// Looks on from its start until it is dropped.
pub(crate) struct Machine {
    seen: Arc<Seen>,
    looking: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    all_us: AtomicU64,
    longest_us: AtomicU64,
}

impl Machine {
    pub(crate) fn watch() -> Self {
        let seen = Arc::new(Seen::default());
        let to = Arc::clone(&seen);
        let look = move || {
            let mut before = stolen();
            while !to.over.load(Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(TURN);
                let late = begun.elapsed().saturating_sub(TURN);
                // One processor may stand while this thread runs on another.
                let now = stolen();
                let stood = now.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before));
                let kept = stood.max().unwrap_or_default().max(late);
                before = now;
                if kept >= WORTH {
                    let us = u64::try_from(kept.as_micros()).unwrap();
                    to.all_us.fetch_add(us, Relaxed);
                    to.longest_us.fetch_max(us, Relaxed);
                }
            }
        };
        Self {
            seen,
            looking: Some(std::thread::spawn(look)),
        }
    }

    /// All that it kept so far.
    pub(crate) fn kept(&self) -> Duration {
        Duration::from_micros(self.seen.all_us.load(Relaxed))
    }

    /// The longest pause so far.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.seen.longest_us.load(Relaxed))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.seen.over.store(true, Relaxed);
        if let Some(looking) = self.looking.take() {
            let _ = looking.join();
        }
    }
}

/// For how long each processor was taken away by the host of a virtual machine.
fn stolen() -> Vec<Duration> {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let processors = text
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let steal = |line: &str| line.split_whitespace().nth(8)?.parse::<u32>().ok();
    processors.map(|line| JIFFY * steal(line).unwrap_or_default()).collect()
}

/// For how long the threads of a process wanted to run and were not let, one after the other, since its beginning.
pub(crate) struct Waited {
    pid: u32,
    seen: BTreeMap<u32, Duration>,
    looked: Instant,
    all: Duration,
}

impl Waited {
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            seen: waits(pid),
            looked: Instant::now(),
            all: Duration::ZERO,
        }
    }

    /// Threads that have ended since the last look are known by that. Those that wait side by side do not keep a process for longer than passes.
    pub(crate) fn look(&mut self) {
        let now = waits(self.pid);
        let waited = |(thread, now): (&u32, &Duration)| {
            let before = self.seen.get(thread).copied().unwrap_or_default();
            now.saturating_sub(before)
        };
        let together: Duration = now.iter().map(waited).sum();
        self.all += together.min(self.looked.elapsed());
        self.looked = Instant::now();
        self.seen.extend(now);
    }

    pub(crate) fn all(&self) -> Duration {
        self.all
    }
}

/// By the kernel's own count, the second number of `schedstat`; without one nothing is known, and nothing is taken off.
fn waits(pid: u32) -> BTreeMap<u32, Duration> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return BTreeMap::new();
    };
    let waited = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let number = thread.file_name().to_str()?.parse().ok()?;
        let ns = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((number, Duration::from_nanos(ns)))
    };
    threads.map_while(Result::ok).filter_map(waited).collect()
}
