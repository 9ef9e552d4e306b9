//! A program while it runs: its messages, and its end.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use device::last_words::LastWords;
use device::program::{Ask, Program};
use media::StreamName;
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::task::JoinHandle;

use crate::secret::redacted_url;

/// Messages read at once, …
const READ_BYTES: usize = 16 << 10;
/// … and how long is rested after that much: who floods us with messages waits.
const REST: Duration = Duration::from_millis(10);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long what is in the pipe of messages may take to be read.
const HEAR_WITHIN: Duration = Duration::from_millis(150);
/// How long the end of a killed program is waited for.
const REAP_WITHIN: Duration = Duration::from_millis(200);

/// A running program.
pub(super) struct Run {
    program: Program,
    output: Option<ChildStdout>,
    words: Arc<Mutex<LastWords>>,
    hearing: JoinHandle<()>,
}

impl Run {
    pub(super) fn start(command: Command, stream: &StreamName) -> io::Result<Self> {
        let mut program = Program::start(command)?;
        let output = program.take_output().map(ChildStdout::from_std).transpose()?;
        let errors = program.take_errors().map(ChildStderr::from_std).transpose()?;
        let words = Arc::new(Mutex::new(LastWords::default()));
        let hearing = tokio::spawn(hear(errors, Arc::clone(&words), stream.clone()));
        Ok(Self {
            program,
            output,
            words,
            hearing,
        })
    }

    /// Its standard output, where that is read.
    pub(super) fn take_output(&mut self) -> Option<ChildStdout> {
        self.output.take()
    }

    pub(super) fn has_exited(&self) -> bool {
        self.program.has_exited()
    }

    /// Asks it to end, by SIGINT and halfway by SIGTERM, then makes it, with all that it started. Says how it ended. One that is `over` is asked nothing.
    pub(super) async fn end(&mut self, patience: Duration, over: bool) -> String {
        let exited = over && self.program.has_exited();
        if !exited {
            for ask in [Ask::Interrupt, Ask::Terminate] {
                self.program.ask(ask);
                if self.exits_within(patience / 2).await {
                    break;
                }
            }
        }
        let mut status = self.program.kill();
        // Nobody is left who could say more, so what it said last is in the pipe.
        let _ = tokio::time::timeout(HEAR_WITHIN, &mut self.hearing).await;
        if status.is_none() && self.exits_within(REAP_WITHIN).await {
            status = self.program.kill();
        }
        match status {
            Some(status) if exited => said(status),
            _ => "its output closed".to_owned(),
        }
    }

    async fn exits_within(&self, patience: Duration) -> bool {
        let exits = async {
            while !self.program.has_exited() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(patience, exits).await.is_ok()
    }

    /// What it said last, without credentials in URLs.
    pub(super) fn last_words(&self) -> Option<String> {
        let quote = self.words.lock().unwrap_or_else(PoisonError::into_inner).quote()?;
        Some(without_credentials(&quote))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

async fn hear(errors: Option<ChildStderr>, words: Arc<Mutex<LastWords>>, stream: StreamName) {
    let Some(mut errors) = errors else { return };
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = errors.read(&mut buffer).await {
        let said = buffer.get(..length).unwrap_or_default();
        words.lock().unwrap_or_else(PoisonError::into_inner).push(said, |line| {
            tracing::debug!(%stream, "{}", without_credentials(line));
            true
        });
        if length == READ_BYTES {
            tokio::time::sleep(REST).await;
        }
    }
}

/// A text whose URLs are shown as URLs are.
fn without_credentials(text: &str) -> String {
    let word = |word: &str| match word.contains("//") {
        true => redacted_url(word),
        false => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// How a process ended.
#[cfg(unix)]
fn said(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "nobody knows how".to_owned(),
    }
}

#[cfg(not(unix))]
fn said(status: ExitStatus) -> String {
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_messages_are_shown_without_credentials() {
        let said = "[rtsp @ 0x5] rtsp://program:canary@127.0.0.1:8554/door: 401 / see https://h/x?token=canary now";
        assert_eq!(
            without_credentials(said),
            "[rtsp @ 0x5] rtsp://***@127.0.0.1:8554/door: 401 / see https://h/x?token=*** now"
        );
    }
}
