//! One command while it runs.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use device::program::{Ask, Program};
use media::StreamName;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStderr, ChildStdout};

use super::variables::{OURS, Variables};
use crate::config::command::Command;
use crate::secret::redacted_url;
use crate::shutdown::Shutdown;

/// How long a command may take that is run once.
const ONCE_WITHIN: Duration = Duration::from_secs(60);
/// Between two runs of one that is run again and again.
const REST: Duration = Duration::from_secs(5);
/// How long it may take to end when it is told to, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// Lines of each run that the log shows of each of its outputs, and how much of a line.
const MOST_LINES: usize = 20;
const MOST_OF_LINE: usize = 300;

/// A command to run.
pub(super) struct Job {
    /// Of which stream, where it is for one.
    pub(super) stream: Option<StreamName>,
    pub(super) command: Command,
    pub(super) variables: Variables,
    pub(super) length: Length,
}

/// How long it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Until it ends, but not for long.
    Once,
    /// As long as something lasts; whether it is started again when it ends before.
    Lasting { restart: bool },
}

impl Job {
    /// Until it has ended, or was told to.
    pub(super) async fn run(self, stop: Shutdown) {
        loop {
            let ended = self.attempt(&stop).await;
            let program = self.command.name();
            let stream = self.stream.as_ref().map(tracing::field::display);
            match ended {
                Ok(how) => tracing::info!(stream, program, %how, "command ended"),
                Err(error) => tracing::warn!(stream, program, reason = %error, "command cannot be run"),
            }
            if stop.is_requested() || self.length != (Length::Lasting { restart: true }) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stop.requested() => return,
            }
        }
    }

    async fn attempt(&self, stop: &Shutdown) -> io::Result<String> {
        let mut command = std::process::Command::new(self.command.program());
        for argument in self.command.arguments("") {
            command.arg(self.variables.expanded(&argument).map_err(io::Error::other)?);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OURS)) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter()).stdout(Stdio::piped());
        let mut program = Program::start(command)?;
        tracing::info!(
            stream = self.stream.as_ref().map(display),
            program = self.command.name(),
            "command started"
        );
        let output = program.take_output().map(ChildStdout::from_std).transpose()?;
        let errors = program.take_errors().map(ChildStderr::from_std).transpose()?;
        let hearing = async { tokio::join!(self.hear(output), self.hear(errors)) };
        let exits = async {
            while !program.has_exited() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let told = {
            tokio::pin!(hearing, exits);
            tokio::select! {
                () = &mut exits => false,
                () = self.told(stop) => true,
                // It may close its outputs and go on.
                _ = &mut hearing => tokio::select! {
                    () = &mut exits => false,
                    () = self.told(stop) => true,
                },
            }
        };
        if told {
            program.ask(Ask::Terminate);
            let exits = async {
                while !program.has_exited() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let _ = tokio::time::timeout(END_WITHIN, exits).await;
        }
        let status = program.kill();
        Ok(match (told, status) {
            (true, _) => "told to".to_owned(),
            (false, Some(status)) => status.to_string(),
            (false, None) => "nobody knows how".to_owned(),
        })
    }

    /// Waits until it is to end, or has had its time.
    async fn told(&self, stop: &Shutdown) {
        match self.length {
            Length::Once => drop(tokio::time::timeout(ONCE_WITHIN, stop.requested()).await),
            Length::Lasting { .. } => stop.requested().await,
        }
    }

    /// Takes what it says, and shows the beginning.
    async fn hear(&self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let (mut buffer, mut line, mut shown) = ([0; 4_096], Vec::new(), 0);
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            for &byte in buffer.get(..length).unwrap_or_default() {
                if byte == b'\n' {
                    self.show(&line, &mut shown);
                    line.clear();
                } else if line.len() < MOST_OF_LINE {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            self.show(&line, &mut shown);
        }
    }

    fn show(&self, line: &[u8], shown: &mut usize) {
        *shown = shown.saturating_add(1);
        let program = self.command.name();
        if *shown <= MOST_LINES {
            let text = String::from_utf8_lossy(line);
            let words = text.split(' ').map(|word| match word.contains("//") {
                true => redacted_url(word),
                false => word.to_owned(),
            });
            let text = words.collect::<Vec<_>>().join(" ");
            tracing::info!(
                stream = self.stream.as_ref().map(display),
                program,
                "{}",
                text.trim_end()
            );
        } else if *shown == MOST_LINES + 1 {
            tracing::info!(
                stream = self.stream.as_ref().map(display),
                program,
                "what it says besides is not shown"
            );
        }
    }
}
