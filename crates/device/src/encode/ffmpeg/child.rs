//! One FFmpeg process: pictures in, NAL units out, and its end.

use std::collections::VecDeque;
use std::io::{Read, Write};
#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use media::h264::{self, nal};

use super::flv::{Parser, Tag};
use crate::encode::{AccessUnit, Output, Settings};
use crate::last_words::LastWords;
use crate::source::Taken;

/// How long an FFmpeg whose input was closed may take to write what it still has, and end.
const END_WITHIN: Duration = Duration::from_millis(300);
/// Pictures that may be inside FFmpeg.
const MOST_INSIDE: usize = 64;

/// A running FFmpeg. Dropped: killed and reaped.
pub(super) struct Child {
    process: std::process::Child,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Pictures given to it.
    pub(super) pictures: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The picture that the writer is to write; kept by it while it writes.
    picture: Option<Vec<u8>>,
    writing: bool,
    /// Memory of the picture before.
    spare: Vec<u8>,
    /// No more pictures come.
    closed: bool,
    /// Why it ended, or that it did.
    ended: Option<String>,
    said: LastWords,
    /// It says no more.
    silent: bool,
    inside: VecDeque<(u64, Taken)>,
}

impl Child {
    /// Starts one. Its pictures go to `output`.
    pub(super) fn start(
        program: &str,
        arguments: &[String],
        settings: Settings,
        output: Arc<Mutex<Output>>,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Of its own, so that Ctrl-C in our terminal reaches us alone: an encoder that ends first would be replaced in the middle of the end.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let shared = Arc::new(Shared::default());
        let mut child = Self {
            process,
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            pictures: 0,
        };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("its pipes are missing".to_owned());
        };
        let to = Arc::clone(&shared);
        child.spawn("ffmpeg-in", move || to.write(stdin))?;
        let to = Arc::clone(&shared);
        child.spawn("ffmpeg-said", move || to.listen(stderr))?;
        child.spawn("ffmpeg-out", move || shared.read(stdout, settings, &output))?;
        Ok(child)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads
            .push(thread.map_err(|error| format!("no thread for it: {error}"))?);
        Ok(())
    }

    /// Gives it a picture; waits at most `patience` until it has read the one before.
    pub(super) fn give(&mut self, picture: &[u8], taken: Taken, patience: Duration) -> Result<(), String> {
        let busy = |state: &mut State| (state.picture.is_some() || state.writing) && state.ended.is_none();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), patience, busy);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        if timeout.timed_out() {
            return Err(format!("it has not read a picture for {} s", patience.as_secs()));
        }
        let mut memory = std::mem::take(&mut state.spare);
        memory.clear();
        memory.extend_from_slice(picture);
        if state.inside.len() >= MOST_INSIDE {
            return Err(format!("{MOST_INSIDE} pictures went in and none came out"));
        }
        state.inside.push_back((self.pictures, taken));
        state.picture = Some(memory);
        drop(state);
        self.shared.changed.notify_all();
        self.pictures += 1;
        Ok(())
    }

    /// Its process id.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// As if something else had ended it.
    #[cfg(test)]
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Closes its input and waits a moment for what it still has.
    pub(super) fn finish(self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, END_WITHIN, |state| state.ended.is_none());
        drop(waited);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        // Its end of the pipes closes with it, and the threads end.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut stdin: ChildStdin) {
        loop {
            let idle = |state: &mut State| state.picture.is_none() && !state.closed;
            let waited = self.changed.wait_while(self.lock(), idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(picture) = state.picture.take() else { return };
            state.writing = true;
            drop(state);
            let written = stdin.write_all(&picture);
            let mut state = self.lock();
            state.writing = false;
            state.spare = picture;
            drop(state);
            self.changed.notify_all();
            if written.is_err() {
                // It is ending; the reader finds out why.
                return;
            }
        }
    }

    fn listen(&self, mut stderr: ChildStderr) {
        let mut buffer = [0; 1_024];
        while let Ok(length @ 1..) = stderr.read(&mut buffer) {
            self.lock()
                .said
                .push(buffer.get(..length).unwrap_or_default(), |_| true);
        }
        self.lock().silent = true;
        self.changed.notify_all();
    }

    fn read(&self, mut stdout: ChildStdout, settings: Settings, output: &Mutex<Output>) {
        let mut parser = Parser::default();
        let mut sets: Vec<Vec<u8>> = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let why = loop {
            let length = match stdout.read(&mut buffer) {
                Ok(0) => break "it ended".to_owned(),
                Ok(length) => length,
                Err(error) => break format!("its output cannot be read: {error}"),
            };
            let parsed = parser.push(&buffer[..length], |tag| match tag {
                Tag::ParameterSets(new) => sets = new,
                Tag::Picture { at_ms, nals } => {
                    if let Some(taken) = self.taken(at_ms, &settings) {
                        put_out(&sets, &nals, taken, output);
                    }
                }
            });
            if let Err(malformed) = parsed {
                break malformed.to_string();
            }
        };
        // What it said last arrives by the other pipe.
        let talking = |state: &mut State| !state.silent;
        let waited = self.changed.wait_timeout_while(self.lock(), END_WITHIN, talking);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.ended = Some(state.said.quote().unwrap_or(why));
        drop(state);
        self.changed.notify_all();
    }

    /// When the picture at `at_ms` of FFmpeg's time was taken. Pictures before it were left out by the encoder.
    fn taken(&self, at_ms: u32, settings: &Settings) -> Option<Taken> {
        let number = (f64::from(at_ms) / 1_000.0 * settings.fps.as_f64()).round() as u64;
        let mut state = self.lock();
        while let Some((inside, taken)) = state.inside.pop_front() {
            if inside >= number {
                return Some(taken);
            }
        }
        None
    }
}

fn put_out(sets: &[Vec<u8>], nals: &[Vec<u8>], taken: Taken, output: &Mutex<Output>) {
    let keyframe = nals.iter().any(|unit| h264::unit_type(unit) == nal::IDR);
    let has_sets = nals.iter().any(|unit| h264::unit_type(unit) == nal::SPS);
    let in_front = sets.iter().filter(|_| keyframe && !has_sets);
    let nals: Vec<&[u8]> = in_front.chain(nals).map(Vec::as_slice).collect();
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    output(AccessUnit {
        nals: &nals,
        keyframe,
        taken,
    });
}
