//! From pictures to H.264.
//!
//! Belongs here: the [`Encoder`] trait, what goes in and comes out, and one module per encoder, each the only place that
//! knows its third-party code: `openh264` (linked), `ffmpeg` (child process).
//!
//! Does not belong here: the capture time as SEI, media time, frames for the hub ([`crate::camera`] makes them), deciding
//! what to do when an encoder fails.

mod choose;
mod ffmpeg;
mod level;
mod openh264;
mod rate;

use crate::picture::{FrameRate, Picture};
use crate::source::Taken;

pub use self::choose::{Chosen, Preference, choose, has_choice};
pub use self::ffmpeg::{Codec, Ffmpeg, UnknownCodec};
pub use self::openh264::OpenH264;

/// How to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pixels per row, as [`Picture::black`] allows.
    pub width: u32,
    /// Rows, likewise.
    pub height: u32,
    /// Pictures per second: what the bitrate is spread over. Pictures may come at any time.
    pub fps: FrameRate,
    /// Target in kb/s (1,000 bits), [`MIN_KBPS`] to [`MAX_KBPS`]; values beyond are clamped.
    pub bitrate_kbps: u32,
    /// Frames from keyframe to keyframe, 1 to 600.
    pub gop_frames: u32,
}

/// Lowest bitrate that is accepted, in kb/s. Below about 100 kb/s the firmware of some hardware encoders hangs, openh264 does not.
pub const MIN_KBPS: u32 = 32;
/// Highest bitrate that is accepted, in kb/s.
pub const MAX_KBPS: u32 = 100_000;

impl Default for Settings {
    /// 640×480@30, 800 kb/s, a keyframe every ten frames.
    fn default() -> Self {
        Self {
            width: 640,
            height: 480,
            fps: FrameRate::whole(30),
            bitrate_kbps: 800,
            gop_frames: 10,
        }
    }
}

/// Turns pictures into H.264: Constrained Baseline or better, no B-frames, no look-ahead, parameter sets before each IDR.
pub trait Encoder: Send {
    /// What it is called where people read it: `openh264`, `h264_vaapi (FFmpeg)`.
    fn name(&self) -> &str;

    /// Encodes one picture of the size in the settings. The access unit goes to the [`Output`] the encoder was made with:
    /// before this returns (openh264), or from another thread as soon as it is there (children).
    fn encode(&mut self, picture: &Picture, taken: Taken) -> Result<(), Error>;

    /// Makes the next picture an IDR. An encoder that cannot be told (children) has one soon anyway: it keeps its keyframes
    /// at most a second apart.
    fn request_keyframe(&mut self);

    /// Changes the bitrate: of the linked encoder from the next picture on; of a child from the next keyframe on, where
    /// [`Encoder::encode`] then waits up to 300 ms for the old process to end.
    fn set_bitrate_kbps(&mut self, kbps: u32) -> Result<(), Error>;

    /// Changes the frame rate, as soon and at the same cost as the bitrate.
    fn set_fps(&mut self, fps: FrameRate) -> Result<(), Error>;
}

/// Where access units go, in order.
pub type Output = Box<dyn FnMut(AccessUnit<'_>) + Send>;

/// One encoded picture, lent for the time of the call.
#[derive(Clone, Copy, Debug)]
pub struct AccessUnit<'a> {
    /// NAL units in order, without start codes or lengths; parameter sets included before an IDR.
    pub nals: &'a [&'a [u8]],
    /// It is an IDR.
    pub keyframe: bool,
    /// When the picture it shows was taken.
    pub taken: Taken,
}

/// Why nothing comes out of an encoder. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not take these settings.
    #[error("{encoder} refuses {settings}: {why}")]
    Refused {
        /// Which encoder.
        encoder: String,
        /// Size, rate, bitrate.
        settings: String,
        /// What it said.
        why: String,
    },
    /// A picture could not be encoded; the encoder must be made anew.
    #[error("{encoder} failed: {why}")]
    Failed {
        /// Which encoder.
        encoder: String,
        /// What it said.
        why: String,
    },
    /// A picture of another size than the settings'.
    #[error("the encoder was made for {expected_width}×{expected_height} and got a picture of {width}×{height}")]
    Size {
        /// Pixels per row in the settings.
        expected_width: u32,
        /// Rows in the settings.
        expected_height: u32,
        /// Pixels per row of the picture.
        width: u32,
        /// Rows of the picture.
        height: u32,
    },
}

impl Settings {
    /// With bitrate and GOP brought into their ranges.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self {
            bitrate_kbps: self.bitrate_kbps.clamp(MIN_KBPS, MAX_KBPS),
            gop_frames: self.gop_frames.clamp(1, 600),
            ..self
        }
    }

    fn check(&self, picture: &Picture) -> Result<(), Error> {
        if (picture.width(), picture.height()) == (self.width, self.height) {
            return Ok(());
        }
        Err(Error::Size {
            expected_width: self.width,
            expected_height: self.height,
            width: picture.width(),
            height: picture.height(),
        })
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            width,
            height,
            fps,
            bitrate_kbps,
            ..
        } = self;
        write!(f, "{width}×{height}@{fps}, {bitrate_kbps} kb/s")
    }
}
