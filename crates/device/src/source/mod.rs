//! Where pictures come from.
//!
//! Belongs here: the traits [`Open`] and [`Source`] that every source implements, what they hand over, what may go wrong,
//! one module per source. A source converts what its camera delivers (YUYV, MJPEG) into [`Picture`]s by itself.
//!
//! Does not belong here: retrying, the slate's timing, overlay, encoding, threads ([`crate::camera`] has them).

mod annexb;
mod child;
mod drawn;
pub mod exec;
pub mod file;
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only the kernel's cameras send it")
)]
pub(crate) mod jpeg;
pub mod libcamera;
mod pixels;
mod probe;
pub mod slate;
pub mod test_pattern;
pub mod v4l2;
pub mod vacancy;
mod word;

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::annexb::AccessUnit;
use media::{CaptureSource, Clock};

use crate::picture::{FrameRate, Picture, Pool};

pub use annexb::what_else;
pub use probe::probe_default;
pub use word::{InvalidWord, WORDS, Word};

/// Something that can be opened, and opened again after it failed: a device, a child process, a file, a generator.
pub trait Open: Send {
    /// What would be opened, for people: `/dev/video0`, `test pattern`.
    fn name(&self) -> String;

    /// Opens it. The camera drops the failed source before it calls this again, waiting between attempts as
    /// [`Error::retryable`] allows. May block for as long as a device takes to start, at most a few seconds.
    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error>;
}

/// How sources are set up that a word alone does not say enough of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For `v4l2:`.
    pub v4l2: v4l2::Settings,
    /// For `libcamera`.
    pub libcamera: libcamera::Settings,
    /// For `file:` with bare H.264, which holds no times: pictures per second. `None` takes what the stream states.
    pub file_fps: Option<FrameRate>,
}

impl Word {
    /// What opens the source that it names. Nothing is opened or looked for yet.
    pub fn opener(&self, settings: &Settings) -> Box<dyn Open> {
        match self {
            Self::Test(pattern) => Box::new(*pattern),
            Self::V4l2(path) => Box::new(v4l2::Camera::new(path, settings.v4l2)),
            Self::Libcamera(index) => Box::new(libcamera::Camera::new(*index, settings.libcamera.clone())),
            Self::Exec(command) => Box::new(exec::Exec::new(command)),
            Self::File(path) => Box::new(file::File::new(path, settings.file_fps)),
        }
    }
}

/// An opened source. Dropping it closes the device and ends the child process, within 500 ms.
pub trait Source: Send {
    /// What it delivers. Fixed while it is open, except that pictures may change their size.
    fn description(&self) -> &Description;

    /// Waits at most `timeout` for the next picture or access unit. `Ok(None)`: none came in time, which is no error here; the
    /// camera asks again after looking whether it should stop, and calls a source that stays silent dead.
    ///
    /// What is handed over is the newest there is: a source with a queue of its own (driver buffers) empties it first. Coded
    /// access units are never skipped.
    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error>;

    /// What was lost since it was opened.
    fn lost(&self) -> Lost {
        Lost::default()
    }

    /// What a program behind it said last, for people who wonder why no picture comes.
    fn last_words(&mut self) -> Option<String> {
        None
    }

    /// What people can do when it is there and gives nothing.
    fn when_silent(&self) -> &'static str {
        "look at its cable and power"
    }

    /// Changes the brightness while running, as the camera counts it (usually −64..=64 or 0..=255). `false`: this source cannot.
    fn set_brightness(&mut self, value: i32) -> bool {
        let _ = value;
        false
    }
}

/// What a source is given to work with.
#[derive(Clone)]
pub struct Opening {
    /// What the camera would like. A source comes as near as it can and says in [`Description`] what it became.
    pub wanted: Wanted,
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// Where to take [`Picture`]s from, so that none is allocated per frame.
    pub pool: Pool,
}

/// What the camera would like of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Pictures per second.
    pub fps: FrameRate,
    /// Raw pictures are needed (overlay, stamp). A source that has nothing but H.264 delivers that all the same.
    pub raw: bool,
}

/// What an opened source delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// For people and logs: `HD Webcam at /dev/video0, MJPEG 640×480@30`.
    pub text: String,
    /// Raw pictures or access units.
    pub kind: Kind,
    /// Pixels per row; 0 when only the stream will tell.
    pub width: u32,
    /// Rows; 0 when only the stream will tell.
    pub height: u32,
    /// Nominal pictures per second.
    pub fps: FrameRate,
}

/// In which form pictures come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Captured::Picture`].
    Raw,
    /// [`Captured::AccessUnit`].
    Coded,
}

/// One picture, in the form it comes in.
pub enum Captured {
    /// Not yet encoded.
    Picture {
        /// The pixels.
        picture: Picture,
        /// When.
        taken: Taken,
    },
    /// H.264, encoded by the camera or before.
    AccessUnit {
        /// As [`media::h264::AccessUnits`] makes them of NAL units, and [`media::annexb::ByteStream`] of a pipe.
        unit: AccessUnit,
        /// When. With B-frames the access units come in decoding order and these instants are those of presentation.
        taken: Taken,
    },
}

/// When a picture left the sensor, on the monotonic clock; the camera turns it into wall time and media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The instant, never in the future.
    pub at: Instant,
    /// How it was come by.
    pub source: CaptureSource,
}

/// Pictures that a source did not hand over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Passed over because a newer one was there.
    pub skipped: u64,
    /// Came damaged.
    pub broken: u64,
    /// Taken by the camera, but the driver had nowhere to put them.
    pub missed: u64,
}

impl Lost {
    /// All of them.
    pub fn total(self) -> u64 {
        self.skipped.saturating_add(self.broken).saturating_add(self.missed)
    }
}

/// Why there is no picture. The texts are for people: the log, the dashboard and the slate show them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}; {hint}")]
pub struct Error {
    /// What is not there: `no camera at /dev/video0`, `the camera /dev/video0 is busy`.
    pub what: String,
    /// The cause, as exact as it is known: `used by guvcview (process 4711)`.
    pub why: String,
    /// What to do about it: `close that program, or choose another camera with --source`.
    pub hint: String,
    /// Trying again may help. When not (no such word, not a camera at all), the camera still tries, but at its longest interval.
    pub retryable: bool,
}

impl Error {
    /// An error for which trying again may help.
    pub fn retryable(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            hint: hint.into(),
            retryable: true,
        }
    }

    /// An error that stays until somebody changes something.
    pub fn lasting(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            retryable: false,
            ..Self::retryable(what, why, hint)
        }
    }
}
