//! Child processes on Unix.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use media::Clock;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use rustix::time::Timespec;

use super::{Heard, Read};
use crate::last_words::LastWords;
use crate::source::Error;

/// What a pipe should hold: a keyframe written at once arrives at once, and the writer does not wait for us.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Numbers kept that nobody has asked for yet: a program may write more of them than pictures.
const MAX_NOTES: usize = 64;
/// How long a child may take to end by itself when asked to, in steps of [`PATIENCE_STEP`].
const PATIENCE_STEPS: u32 = 40;
const PATIENCE_STEP: Duration = Duration::from_millis(5);

/// A running program and the ends of its pipes. Dropping it ends it and all that is in its process group, within 400 ms.
#[derive(Debug)]
pub(in crate::source) struct Child {
    /// What to call it in messages.
    name: String,
    process: process::Child,
    /// Set when it was reaped: from then on its number may mean another process.
    status: Option<ExitStatus>,
    output: ChildStdout,
    /// `None` once it was closed.
    errors: Option<ChildStderr>,
    words: LastWords,
    listen: fn(&str) -> Heard,
    notes: VecDeque<i64>,
    scratch: Box<[u8]>,
}

impl Child {
    /// Starts a program: no input, its output and its messages for us.
    pub(in crate::source) fn spawn(name: &str, mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Of its own, so that a shell's whole pipeline can be ended, and Ctrl-C in our terminal reaches us alone.
        command.process_group(0);
        let mut process = command.spawn()?;
        let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(io::Error::other("the pipes are missing"));
        };
        let child = Self {
            name: name.to_owned(),
            process,
            status: None,
            output,
            errors: Some(errors),
            words: LastWords::default(),
            listen: |_| Heard::Words,
            notes: VecDeque::new(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        };
        rustix::io::ioctl_fionbio(&child.output, true)?;
        if let Some(errors) = &child.errors {
            rustix::io::ioctl_fionbio(errors, true)?;
        }
        // A limit of the system for unprivileged users may forbid it; then it stays at 64 KiB.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&child.output, PIPE_BYTES);
        Ok(child)
    }

    /// Has each line of its messages judged by `listen`.
    pub(in crate::source) fn listen(&mut self, listen: fn(&str) -> Heard) {
        self.listen = listen;
    }

    /// The oldest number that was noted in its messages. Waits until `until` for one.
    pub(in crate::source) fn note(&mut self, clock: &dyn Clock, until: Instant) -> Option<i64> {
        loop {
            self.hear();
            let left = until.saturating_duration_since(clock.now());
            if !self.notes.is_empty() || left.is_zero() {
                return self.notes.pop_front();
            }
            let errors = self.errors.as_ref()?;
            let timeout = timespec(left);
            // Interrupted or not: looked at again above.
            let _ = rustix::event::poll(&mut [PollFd::new(errors, PollFlags::IN)], Some(&timeout));
        }
    }

    /// Waits for output until `until` and hands what is there to `take`, at most 64 KiB.
    pub(in crate::source) fn read(
        &mut self,
        clock: &dyn Clock,
        until: Instant,
        take: impl FnOnce(&[u8]),
    ) -> io::Result<Read> {
        loop {
            match self.output.read(&mut self.scratch) {
                Ok(0) => return Ok(Read::Ended),
                Ok(read) => {
                    take(self.scratch.get(..read).unwrap_or_default());
                    return Ok(Read::Bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let left = until.saturating_duration_since(clock.now());
            if left.is_zero() {
                self.hear();
                return Ok(Read::Nothing);
            }
            self.wait(left)?;
            self.hear();
        }
    }

    /// Waits until one of the pipes has something, or is closed.
    fn wait(&self, left: Duration) -> io::Result<()> {
        let timeout = timespec(left);
        let output = PollFd::new(&self.output, PollFlags::IN);
        let result = match &self.errors {
            Some(errors) => rustix::event::poll(&mut [output, PollFd::new(errors, PollFlags::IN)], Some(&timeout)),
            None => rustix::event::poll(&mut [output], Some(&timeout)),
        };
        match result {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in what it said, at most 64 KiB so that one that never stops talking does not keep us.
    fn hear(&mut self) {
        let Some(errors) = &mut self.errors else {
            return;
        };
        match errors.read(&mut self.scratch) {
            Ok(0) => self.errors = None,
            Ok(read) => {
                let said = self.scratch.get(..read).unwrap_or_default();
                let notes = &mut self.notes;
                self.words.push(said, |line| match (self.listen)(line) {
                    Heard::Words => {
                        tracing::debug!(program = self.name, "{line}");
                        true
                    }
                    Heard::Noise => false,
                    Heard::Note(note) => {
                        if notes.len() >= MAX_NOTES {
                            notes.pop_front();
                        }
                        notes.push_back(note);
                        false
                    }
                });
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.errors = None,
        }
    }

    /// What to say of a child that ended: how, and its last words. Waits a moment for both, and ends what is left of it.
    pub(in crate::source) fn ended(&mut self, hint: impl Into<String>) -> Error {
        let mut exited = false;
        for _ in 0..PATIENCE_STEPS {
            self.hear();
            exited = self.has_exited();
            if exited {
                break;
            }
            thread::sleep(PATIENCE_STEP);
        }
        // What it wrote before it exited is in the pipe; what its own children write may come for ever.
        for _ in 0..16 {
            self.hear();
        }
        let status = self.end();
        let how = match status {
            Some(status) if exited => said(status),
            _ => "it closed its output".to_owned(),
        };
        let why = match self.words.quote() {
            Some(quote) => format!("{how}: {quote}"),
            None => how,
        };
        Error::retryable(format!("{} ended", self.name), why, hint)
    }

    /// What it said last, as far as it was heard.
    pub(in crate::source) fn last_words(&mut self) -> Option<String> {
        self.hear();
        self.words.quote()
    }

    /// It is a zombie, which keeps its number from being used again.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(rustix::process::waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Asks the group to end, then makes it, then reaps the child.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }
        let group = self.pid();
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
        self.wait_for_exit();
        // Not reaped yet, so the number still means this group; also for those of it that live longer than its leader.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        if self.wait_for_exit() {
            self.status = self.process.wait().ok();
        } else {
            // Within a driver that does not answer, where no signal reaches it.
            tracing::warn!(program = self.name, "process {} cannot be ended", self.process.id());
        }
        self.status
    }

    fn wait_for_exit(&self) -> bool {
        for _ in 0..PATIENCE_STEPS {
            if self.has_exited() {
                return true;
            }
            thread::sleep(PATIENCE_STEP);
        }
        self.has_exited()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// How a process ended.
fn said(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "it ended by itself".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}
