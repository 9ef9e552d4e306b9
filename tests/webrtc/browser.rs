//! Chromium, steered through `tests/clients/webrtc.mjs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::support::tool;

/// One test with a browser at a time: what is measured in one would suffer from the next.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A browser with one page. Ends with its value.
pub(crate) struct Browser {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        Self::start_by(tool("node"))
    }

    /// By a command that runs `node` somewhere else.
    pub(crate) fn start_by(mut node: Command) -> Self {
        tool("chromium");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        let playwright = tests.join("browser");
        assert!(
            playwright.join("node_modules/playwright-core").exists(),
            "playwright-core is missing; `scripts/setup test` installs it"
        );
        let command = node.arg(tests.join("clients/webrtc.mjs")).arg(playwright);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self {
            asks: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Calls a function of the page.
    pub(crate) fn call(&mut self, function: &str, arguments: &[Value]) -> Value {
        let mut ask = vec![json!(function)];
        ask.extend_from_slice(arguments);
        writeln!(self.asks.as_mut().unwrap(), "{}", json!(ask)).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{function}: {error}: {answer:?}"));
        assert!(answer.get("error").is_none(), "{function}: {answer}");
        answer
    }

    /// Plays a stream, until its first picture.
    pub(crate) fn watch(&mut self, url: &str) -> Value {
        let answer = self.call("watch", &[json!(url)]);
        assert_eq!(answer["status"], 201, "{answer}");
        answer
    }

    /// The statistics, once `wanted` is true of them.
    pub(crate) fn look_until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let seen = self.call("look", &[]);
            if wanted(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < super::support::PATIENCE, "never {what}: {seen}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input ends the script, and with it the browser.
        drop(self.asks.take());
        let begun = std::time::Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > std::time::Duration::from_secs(10) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
