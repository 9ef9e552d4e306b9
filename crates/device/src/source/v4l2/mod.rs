//! Cameras of the Linux kernel (Video4Linux 2): USB webcams, capture cards, virtual cameras.
//!
//! Belongs here: finding cameras, choosing what to ask of one, its controls, capture with the driver's own timestamps, messages for what can
//! go wrong with it. Does not belong here: pixel formats ([`super::pixels`]) and Motion JPEG ([`super::jpeg`]) themselves, hardware
//! codecs that happen to have a video node.
//!
//! Elsewhere than on Linux there are no such cameras, and opening one says so.

use std::path::PathBuf;

#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only the kernel's cameras have modes")
)]
mod modes;

#[cfg(target_os = "linux")]
mod buffers;
#[cfg(target_os = "linux")]
mod busy;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod ioctl;
#[cfg(target_os = "linux")]
mod stream;

pub use modes::Mode;

#[cfg(target_os = "linux")]
use devices::Identity;
#[cfg(not(target_os = "linux"))]
type Identity = ();

/// How a camera is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The driver's four characters of the only format to use, such as `MJPG`; `None` chooses by size, rate and bus.
    pub format: Option<[u8; 4]>,
    /// How long it exposes.
    pub exposure: Exposure,
    /// Lets the camera lower its frame rate in the dark. Off by default: cameras halve the rate in a normally lit room, and each
    /// picture then also takes twice as long.
    pub dynamic_frame_rate: bool,
    /// Brightness as the camera counts it, clamped to its range; `None` leaves it as it is.
    pub brightness: Option<i32>,
    /// Buffers of the driver, 2 to 8: one is being read while the others are filled. They do not add delay, since stale pictures are
    /// passed over.
    pub buffers: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: None,
            exposure: Exposure::Auto,
            dynamic_frame_rate: false,
            brightness: None,
            buffers: 3,
        }
    }
}

/// How a camera chooses its exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// As it was set before, by another program or by the camera itself.
    Unchanged,
    /// The camera chooses.
    Auto,
    /// Fixed, in units of 100 µs as V4L2 counts it. Short exposure also shortens the latency.
    Fixed {
        /// 1 is a ten-thousandth of a second; at 30 fps at most some 330 make sense.
        hundred_micros: u32,
    },
}

/// What is behind a device node.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// `/dev/video0`.
    pub path: PathBuf,
    /// The name that stays the same, below `/dev/v4l/by-id`.
    pub by_id: Option<PathBuf>,
    /// What the camera calls itself; empty when it could not be asked.
    pub name: String,
    /// The kernel's driver, such as `uvcvideo`.
    pub driver: String,
    /// Where it is connected.
    pub bus: String,
    /// What it delivers; of drivers that take any size, common ones.
    pub modes: Vec<Mode>,
    /// Why it is no camera we can use now; `None` when it is one.
    pub unfit: Option<Unfit>,
}

/// Why a device node is not used as a camera.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is something else.
    #[error("{0}")]
    NoCapture(&'static str),
    /// None of its formats is one we read. Holds their names.
    #[error("it delivers only {0}, which is not supported")]
    Formats(String),
    /// Another program has it. Holds who.
    #[error("{0}")]
    Busy(String),
    /// We may not open it.
    #[error("permission denied")]
    Permission,
    /// What the kernel said.
    #[error("{0}")]
    Other(String),
}

/// A camera of the kernel, to be opened and reopened.
#[derive(Debug)]
pub struct Camera {
    path: PathBuf,
    settings: Settings,
    /// Which camera it was when it was first opened: it may come back under another number.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    identity: Option<Identity>,
}

impl Camera {
    /// The camera at a device node such as `/dev/video0` or a link to one.
    pub fn new(path: impl Into<PathBuf>, settings: Settings) -> Self {
        Self {
            path: path.into(),
            settings,
            identity: None,
        }
    }
}

/// Every video device node with what is behind it, cameras or not. Opens each for a moment. Empty where there is no V4L2.
pub fn list() -> Vec<Info> {
    #[cfg(target_os = "linux")]
    {
        devices::nodes().iter().map(|path| devices::info(path)).collect()
    }
    #[cfg(not(target_os = "linux"))]
    {
        Vec::new()
    }
}

#[cfg(not(target_os = "linux"))]
impl super::Open for Camera {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, _: &super::Opening) -> Result<Box<dyn super::Source>, super::Error> {
        Err(super::Error::lasting(
            format!("no camera at {}", self.path.display()),
            "V4L2 exists on Linux only",
            "use exec:COMMAND with a program that reads this system's cameras, such as FFmpeg",
        ))
    }
}
