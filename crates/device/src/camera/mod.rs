//! A camera: a source that never ends, from the lens to access units.
//!
//! Belongs here: the threads of a camera and what passes between them, retrying a source that failed, the slate meanwhile,
//! overlay and encoding in their order, frames with their times. Does not belong here: what a source or an encoder does
//! ([`crate::source`], [`crate::encode`]), who gets the frames.
//!
//! ```text
//! capture thread ── newest picture ──▶ encode thread: overlay → stamp → encoder ──▶ Sink
//!               └── coded access units, in order ──────────────────────────────────▶
//!                                                      ├ the picture as it was ▶ low thread: scaling → overlay → stamp → encoder ──▶ another Sink
//!                                                      └ five a second, grey ▶ motion ([`Handle::watch`])
//! ```
//!
//! One thread waits for the camera while the other encodes, so that a slow encoder costs pictures and never delay: between them
//! waits one picture at the most, and the newest wins.

mod backoff;
pub mod bench;
mod cadence;
mod capture;
mod choice;
mod encoding;
mod low;
mod mailbox;
mod packaging;
mod pen;
mod stats;
mod watch;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use media::{Clock, Frame, Track, WallTime};

pub use self::low::{Low, Lower};
use self::mailbox::{Mailbox, Order};
use self::packaging::Packager;
pub use self::stats::Snapshot;
use self::stats::Stats;
pub use self::watch::{Tell, Watching};
use crate::encode;
use crate::overlay::Corner;
use crate::picture::{FrameRate, Pool};
use crate::source::{self, Open};

/// How a camera is to be run.
pub struct Settings {
    /// What people call it; on the slate and in errors.
    pub name: String,
    /// What to open.
    pub source: Box<dyn Open>,
    /// Size, rate, bitrate and GOP wanted. The size of the stream is that of the pictures the source delivers.
    pub encode: encode::Settings,
    /// Which encoder. What has to be tried out first is tried beside openh264, which begins at once.
    pub encoder: encode::Preference,
    /// What is drawn into the pictures.
    pub drawing: Drawing,
    /// The zone in which the overlay shows the time: seconds east of Greenwich at a time. Asked once a picture.
    pub zone: Zone,
    /// First and longest wait before a failed source is tried again; [`RETRY`] unless there is a reason.
    pub retry: RangeInclusive<Duration>,
    /// Spreads the retries of many cameras. Any number.
    pub seed: u64,
    /// [`Handle::start_low`] may be called: the source is asked for raw pictures, as for drawing.
    pub low: bool,
}

/// The usual waits before a failed source is tried again: from half a second, doubling, to ten.
pub const RETRY: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(10);

/// Seconds east of Greenwich at a time.
pub type Zone = Arc<dyn Fn(WallTime) -> i32 + Send + Sync>;

/// What is drawn into the pictures. With neither, a camera's own H.264 passes untouched; with one, the source is asked for raw
/// pictures, and if it has none, nothing is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Drawing {
    /// The lines `PUB`, `FPS` and `LAT`, and where.
    pub lines: Option<Corner>,
    /// The stamp, and where.
    pub stamp: Option<Corner>,
}

/// What is asked of a camera ([`Handle::asked`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Something is captured ([`Handle::set_capture`]).
    pub captures: bool,
    /// Of what is encoded here, in kb/s.
    pub bitrate_kbps: u32,
    /// The lines `PUB`, `FPS` and `LAT` are drawn.
    pub lines: bool,
}

/// Where a camera's output goes. Called from the camera's threads, one call at a time; must not block.
pub type Sink = Box<dyn FnMut(Output) + Send>;

/// What comes out of a camera.
#[derive(Debug)]
pub enum Output {
    /// Once, before the first frame.
    Track(Track),
    /// An access unit.
    Frame(Frame),
    /// What it is doing, whenever that changes.
    Status(Status),
}

/// What a camera is doing. The texts are for the log and the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Opening its source; no picture yet.
    Starting {
        /// What is opened.
        source: String,
    },
    /// Pictures come.
    Running {
        /// The source and what it delivers.
        source: String,
        /// The encoder and why it; or that the source's own H.264 passes.
        encoder: String,
        /// The source's own H.264 passes: keyframes come when the source makes them, and not when asked for.
        passing: bool,
    },
    /// No pictures: viewers see a slate.
    Slate {
        /// What is wrong.
        error: source::Error,
        /// When the source is tried again.
        retry_in: Duration,
    },
    /// Nothing is captured, and the source is closed: viewers see a slate ([`Handle::set_capture`]).
    Off,
    /// A part of the camera panicked and it has ended. A bug of ours.
    Ended {
        /// The panic's message.
        why: String,
    },
}

/// A running camera. Stopped by [`Camera::stop`] or drop.
pub struct Camera {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// Steers a camera and reads its counters, from anywhere. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    mailbox: Arc<Mailbox>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

/// What the streams of a camera have in common.
struct Shared {
    pool: Pool,
    zone: Zone,
    /// Where media time is zero.
    zero: Arc<OnceLock<Instant>>,
}

/// How long [`Camera::stop`] waits for the threads. One that is still in the middle of opening a device is left to end by itself.
const STOP_WITHIN: Duration = Duration::from_millis(700);

impl Camera {
    /// Starts the threads. Output begins at once: with pictures, or with a slate that says why there are none.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>, sink: Sink) -> std::io::Result<Self> {
        let Settings {
            name,
            source,
            encode,
            encoder,
            drawing,
            zone,
            retry,
            seed,
            low,
        } = settings;
        let encode = encode.clamped();
        let mailbox = Arc::new(Mailbox::new(source.name(), encode, drawing, low, clock.now()));
        let stats = Arc::new(Stats::default());
        let (pool, zero) = (Pool::default(), Arc::default());
        let packager = Arc::new(Mutex::new(Packager::new(
            Arc::clone(&clock),
            sink,
            Arc::clone(&stats),
            encode.fps,
            Arc::clone(&zero),
        )));
        let handle = Handle {
            mailbox: Arc::clone(&mailbox),
            stats: Arc::clone(&stats),
            clock: Arc::clone(&clock),
            shared: Arc::new(Shared {
                pool: pool.clone(),
                zone: Arc::clone(&zone),
                zero,
            }),
        };
        // From here on drop stops what was started.
        let mut camera = Self {
            handle,
            threads: Vec::new(),
        };
        let capturing = capture::Capturing {
            source,
            clock: Arc::clone(&clock),
            mailbox: Arc::clone(&mailbox),
            stats: Arc::clone(&stats),
            pool: pool.clone(),
            backoff: backoff::Backoff::new(retry, seed),
        };
        camera.spawn("camera-capture", move || capturing.run())?;
        let encoding = encoding::Encoding::new(
            encoding::Parts {
                name,
                clock,
                mailbox,
                packager,
                stats,
                pool,
                zone,
            },
            encode,
            encoder,
            drawing,
        );
        camera.spawn("camera-encode", move || encoding.run())?;
        Ok(camera)
    }

    /// Steers it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends it, within a second.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        // Dropped when the thread ends, also by a panic, and when there will be no thread.
        let entered = self.handle.mailbox.enter();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            run();
            drop(entered);
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.handle.stop();
        let all_left = self.handle.mailbox.wait_until_left(STOP_WITHIN);
        for thread in self.threads.drain(..) {
            // What it had to report it has reported as a status.
            if all_left || thread.is_finished() {
                let _ = thread.join();
            } else {
                tracing::warn!(
                    thread = thread.thread().name(),
                    "still busy with its device, ends later"
                );
            }
        }
    }
}

impl Handle {
    /// The next frame shall be a keyframe. Heard by the built-in encoder alone: FFmpeg's have one within a second, and the source's own
    /// H.264, where that passes, has its keyframes where the source puts them.
    pub fn request_keyframe(&self) {
        self.mailbox.order(Order::Keyframe);
    }

    /// Changes the bitrate, in kb/s, of what is encoded here; the source's own H.264, where that passes, is as the source makes it. An
    /// encoder of FFmpeg is replaced by another process at the next keyframe, which may hold up the picture by 300 ms.
    pub fn set_bitrate_kbps(&self, kbps: u32) {
        self.mailbox.order(Order::BitrateKbps(kbps));
    }

    /// What is encoded here takes no more than this, in kb/s, whatever bitrate is set; `None`: as much as is set. As with
    /// [`Handle::set_bitrate_kbps`], for whom the way to the only viewer is too narrow.
    pub fn set_ceiling_kbps(&self, kbps: Option<u32>) {
        self.mailbox.order(Order::CeilingKbps(kbps));
    }

    /// Changes the frame rate. The source is opened anew for it.
    pub fn set_fps(&self, fps: FrameRate) {
        self.mailbox.order(Order::Fps(fps));
    }

    /// Shows or hides the lines `PUB`, `FPS` and `LAT`, at the corner where they were last.
    pub fn set_overlay(&self, on: bool) {
        self.mailbox.order(Order::Overlay(on));
    }

    /// Changes all that is drawn.
    pub fn set_drawing(&self, drawing: Drawing) {
        self.mailbox.order(Order::Drawing(drawing));
    }

    /// Changes the camera's brightness, in its own unit. Nothing happens where it has none.
    pub fn set_brightness(&self, value: i32) {
        self.mailbox.order(Order::Brightness(value));
    }

    /// Whether anything is captured. While it is not, the source is closed (its light is off, other programs may have it), and viewers see a slate that says
    /// so. Nothing that was captured is shown once this returned with `false`, but for the picture that is being encoded.
    pub fn set_capture(&self, on: bool) {
        self.mailbox.order(Order::Capture(on));
    }

    /// What was asked for last, by settings or by whoever steers it.
    pub fn asked(&self) -> Asked {
        self.mailbox.asked()
    }

    /// Counters and measurements.
    pub fn stats(&self) -> Snapshot {
        self.stats.snapshot(self.clock.now())
    }

    /// Asks the camera to end, without waiting for it.
    pub fn stop(&self) {
        self.mailbox.stop();
    }
}

#[cfg(test)]
mod tests;
