//! Encoders of FFmpeg, as a child process: hardware, and x264.
//!
//! Belongs here: FFmpeg's command line, its pipes, its end. Does not belong here: which encoder is the best ([`super::choose`]).
//!
//! Pictures go in as raw I420; H.264 comes out in FLV, whose tags say how long they are, so that an access unit is known to be
//! whole without waiting for the next. A running FFmpeg takes no orders: another bitrate or rate is another process, which
//! takes over at the beginning of a GOP (whoever gives that picture waits for the end of the old one, 300 ms at the most), and a
//! keyframe on demand is the next regular one, at most a second away.

mod child;
mod codec;
mod flv;

use std::io;
use std::process::{self, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::child::Child;
pub use self::codec::{Codec, UnknownCodec};
use super::{Encoder, Error, Output, Settings};
use crate::picture::{FrameRate, Picture};
use crate::source::Taken;

/// The program, found by `PATH`.
const PROGRAM: &str = "ffmpeg";
/// An FFmpeg that reads no picture for so long is dead. Starting up on a slow board takes a second or two.
const PATIENCE: Duration = Duration::from_secs(3);
/// FLV counts milliseconds in 32 bits, and FFmpeg is not to be trusted near their end: a new process after 12 days.
const LONGEST_RUN_MS: u64 = 1 << 30;

/// An encoder of FFmpeg.
pub struct Ffmpeg {
    codec: Codec,
    name: String,
    program: String,
    settings: Settings,
    output: Arc<Mutex<Output>>,
    running: Child,
    /// Takes over at the next beginning of a GOP.
    successor: Option<Child>,
}

impl Ffmpeg {
    /// Starts FFmpeg. That it cannot encode shows with the first pictures, see [`super::choose`].
    pub fn new(codec: Codec, settings: Settings, output: Output) -> Result<Self, Error> {
        Self::with_program(PROGRAM, codec, settings, output)
    }

    fn with_program(program: &str, codec: Codec, settings: Settings, output: Output) -> Result<Self, Error> {
        let settings = settings.clamped();
        let output = Arc::new(Mutex::new(output));
        let name = format!("{codec} (FFmpeg)");
        let arguments = codec.arguments(&settings);
        let running =
            Child::start(program, &arguments, settings, Arc::clone(&output)).map_err(|why| Error::Refused {
                encoder: name.clone(),
                settings: settings.to_string(),
                why,
            })?;
        Ok(Self {
            codec,
            name,
            program: program.to_owned(),
            settings,
            output,
            running,
            successor: None,
        })
    }

    /// Starts the process that will take over with these settings.
    fn succeed(&mut self, settings: Settings) -> Result<(), Error> {
        self.settings = settings.clamped();
        let arguments = self.codec.arguments(&self.settings);
        let successor = Child::start(&self.program, &arguments, self.settings, Arc::clone(&self.output));
        self.successor = Some(successor.map_err(|why| self.failed(why))?);
        Ok(())
    }

    fn failed(&self, why: String) -> Error {
        Error::Failed {
            encoder: self.name.clone(),
            why,
        }
    }
}

/// Starts the program for nothing, so that its files are at hand when pictures wait for it.
pub(super) fn wake() -> io::Result<process::Child> {
    let mut command = Command::new(PROGRAM);
    let command = command.arg("-version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

impl Encoder for Ffmpeg {
    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&mut self, picture: &Picture, taken: Taken) -> Result<(), Error> {
        self.settings.check(picture)?;
        let run_ms = self.settings.fps.due(self.running.pictures).as_millis();
        if run_ms > u128::from(LONGEST_RUN_MS) && self.successor.is_none() {
            self.succeed(self.settings)?;
        }
        let gop = u64::from(gop_frames(&self.settings));
        if self.running.pictures.is_multiple_of(gop)
            && let Some(successor) = self.successor.take()
        {
            // In order: all of the old one is out before the new one is given anything.
            std::mem::replace(&mut self.running, successor).finish();
        }
        let given = self.running.give(picture.as_bytes(), taken, PATIENCE);
        given.map_err(|why| self.failed(why))
    }

    fn request_keyframe(&mut self) {}

    fn set_bitrate_kbps(&mut self, kbps: u32) -> Result<(), Error> {
        let settings = Settings {
            bitrate_kbps: kbps,
            ..self.settings
        };
        if settings.clamped() == self.settings {
            return Ok(());
        }
        self.succeed(settings)
    }

    fn set_fps(&mut self, fps: FrameRate) -> Result<(), Error> {
        if fps == self.settings.fps {
            return Ok(());
        }
        self.succeed(Settings { fps, ..self.settings })
    }
}

/// Frames from keyframe to keyframe: as set, but never more than a second, since none comes on demand.
fn gop_frames(settings: &Settings) -> u32 {
    let second = settings.fps.as_f64().ceil().max(1.0) as u32;
    settings.gop_frames.min(second)
}

#[cfg(test)]
mod tests;
