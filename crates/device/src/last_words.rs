//! What is quoted of something that ended: the last lines of a program's standard error, the message of a panic.
//!
//! Belongs here: keeping them within limits and choosing what tells the most. Does not belong here: programs and threads themselves.

use std::any::Any;
use std::collections::VecDeque;

/// Lines kept.
const LINES: usize = 12;
/// Bytes kept of a line.
const LINE_BYTES: usize = 300;
/// Lines quoted in a message.
const QUOTED: usize = 3;

/// Keeps the last lines of a text that arrives in pieces. Never more than 12 lines of 300 bytes.
#[derive(Debug, Default)]
pub struct LastWords {
    lines: VecDeque<String>,
    /// The line being written.
    unfinished: Vec<u8>,
}

impl LastWords {
    /// Takes the next piece and calls `keep` for each line it finishes, which says whether it is worth keeping.
    pub fn push(&mut self, bytes: &[u8], mut keep: impl FnMut(&str) -> bool) {
        for &byte in bytes {
            match byte {
                // Progress displays go back to the start of the line.
                b'\n' | b'\r' => self.finish(&mut keep),
                _ if self.unfinished.len() < LINE_BYTES => self.unfinished.push(byte),
                _ => {}
            }
        }
    }

    fn finish(&mut self, keep: &mut impl FnMut(&str) -> bool) {
        let text = readable(&self.unfinished);
        self.unfinished.clear();
        if text.is_empty() || !keep(&text) {
            return;
        }
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }

    /// What to quote: the last lines that speak of a failure, else the last lines. `None` when nothing was said.
    pub fn quote(&mut self) -> Option<String> {
        self.finish(&mut |_| true);
        let speaks = |line: &&String| {
            let line = line.to_ascii_lowercase();
            [
                "error",
                "fail",
                "cannot",
                "can't",
                "not found",
                "no cameras",
                "no such",
                "denied",
                "invalid",
                "busy",
                "unrecogni",
            ]
            .iter()
            .any(|word| line.contains(word))
        };
        let telling: Vec<&String> = self.lines.iter().filter(speaks).collect();
        let chosen = if telling.is_empty() {
            self.lines.iter().collect()
        } else {
            telling
        };
        let last = chosen.get(chosen.len().saturating_sub(QUOTED)..).unwrap_or_default();
        let quote = last.iter().map(|line| line.as_str()).collect::<Vec<_>>().join(" / ");
        (!quote.is_empty()).then_some(quote)
    }
}

/// The message of a panic.
pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

/// Without colours, other control characters and what is not text.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ECMA-48 control sequence: up to a letter.
            let _ = chars.find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(text: &str) -> Option<String> {
        let mut words = LastWords::default();
        words.push(text.as_bytes(), |_| true);
        words.quote()
    }

    #[test]
    fn quotes_what_speaks_of_failure() {
        assert_eq!(
            after("Preview window unavailable\n[0:12:01] ERROR V4L2 v4l2.cpp: nope\nERROR: *** no cameras available ***\nbye\n").as_deref(),
            Some("[0:12:01] ERROR V4L2 v4l2.cpp: nope / ERROR: *** no cameras available ***")
        );
        assert_eq!(after("one\ntwo\nthree\nfour").as_deref(), Some("two / three / four"));
        assert_eq!(after("\n \r\n"), None);
    }

    #[test]
    fn colours_and_progress_are_left_out() {
        assert_eq!(
            after("\u{1b}[1;31mred\u{1b}[0m\rframe=1\rframe=2\u{7}\n").as_deref(),
            Some("red / frame=1 / frame=2")
        );
    }

    #[test]
    fn limits_are_exact() {
        let mut words = LastWords::default();
        for n in 0..=LINES {
            words.push(format!("{n}{}\n", "x".repeat(2 * LINE_BYTES)).as_bytes(), |_| true);
        }
        assert_eq!(words.lines.len(), LINES);
        assert!(words.lines[0].starts_with("1x"));
        assert!(words.lines.iter().all(|line| line.len() == LINE_BYTES));
    }

    proptest! {
        #[test]
        fn stays_bounded_and_plain(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), 0..20)) {
            let mut words = LastWords::default();
            for piece in &pieces {
                words.push(piece, |line| {
                    assert!(!line.is_empty());
                    line.len() % 2 == 0
                });
            }
            prop_assert!(words.unfinished.len() <= LINE_BYTES && words.lines.len() <= LINES);
            let quote = words.quote().unwrap_or_default();
            prop_assert!(!quote.chars().any(char::is_control));
        }
    }
}
