//! How far long work has come, on a terminal: one line of standard error that is written over.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// See the module. Where standard error is no terminal, nothing is shown.
#[derive(Debug)]
pub(super) struct StatusLine {
    is_shown: bool,
    is_there: bool,
    step: &'static str,
    begun: Instant,
    bytes_before: u64,
    next: Instant,
}

impl StatusLine {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            is_shown: io::stderr().is_terminal(),
            is_there: false,
            step: "",
            begun: now,
            bytes_before: 0,
            next: now + EVERY,
        }
    }

    /// Says how far a step has come, twice a second at the most.
    pub(super) fn show(&mut self, step: &'static str, done: u64, total: Option<u64>, bytes: u64) {
        let now = Instant::now();
        if self.step != step {
            (self.step, self.begun, self.bytes_before) = (step, now, bytes);
        }
        if !self.is_shown || now < self.next {
            return;
        }
        self.next = now + EVERY;
        self.is_there = true;
        let bytes = bytes.saturating_sub(self.bytes_before);
        let line = line(step, done, total, bytes, now.saturating_duration_since(self.begun));
        // A terminal that is gone is told nothing.
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
        let _ = io::stderr().flush();
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_there) {
            let _ = write!(io::stderr(), "\r\x1b[K");
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(step: &str, done: u64, total: Option<u64>, bytes: u64, passed: Duration) -> String {
    let mut line = step.to_owned();
    match total {
        Some(total) => line.push_str(&format!(": {done} of {total}")),
        None if done > 0 => line.push_str(&format!(": {done}")),
        None => {}
    }
    let seconds = passed.as_secs_f64();
    if bytes > 0 && seconds >= 1.0 {
        line.push_str(&format!(", {:.1} MB/s", bytes as f64 / 1e6 / seconds));
    }
    let left = total
        .filter(|_| done > 0 && seconds >= 1.0)
        .map(|total| total.saturating_sub(done));
    if let Some(left) = left.filter(|left| *left > 0) {
        let left = Duration::from_secs_f64(seconds / done as f64 * left as f64);
        line.push_str(&format!(", {} left", words(left)));
    }
    line
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}

const EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_fast_and_how_long() {
        let text = line("reading files", 250, Some(1_000), 500_000_000, Duration::from_secs(10));
        assert_eq!(text, "reading files: 250 of 1000, 50.0 MB/s, 30 s left");
        let text = line("reading files", 1, Some(1_000_000), 0, Duration::from_secs(2));
        assert_eq!(text, "reading files: 1 of 1000000, 555.6 h left");
        assert_eq!(line("reading", 0, None, 0, Duration::ZERO), "reading");
        assert_eq!(
            line("reading", 7, Some(7), 0, Duration::from_secs(100)),
            "reading: 7 of 7"
        );
    }
}
