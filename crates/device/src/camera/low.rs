//! The same pictures, smaller: a second stream of a camera, for viewers whose way does not carry the first.
//!
//! Belongs here: its size and bitrate, its thread, when a picture is left out. Does not belong here: who needs it, and when ([`super::Handle::start_low`]'s
//! caller).
//!
//! It must never hold up the first: that is encoded and published when this one is given the picture, which is then scaled and drawn into again on a thread of its
//! own. One picture waits for it at the most, and the newest wins. Its keyframes are those of the first, so that who changes from one to the other finds one.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use media::WallTime;

use super::mailbox::{Mailbox, Order};
use super::packaging::Packager;
use super::pen::Pen;
use super::stats::Stats;
use super::{Drawing, Handle, Sink, Status};
use crate::encode::{self, Encoder, OpenH264};
use crate::last_words;
use crate::overlay::Measured;
use crate::picture::scale::Scaler;
use crate::picture::{FrameRate, Picture, Pool};
use crate::source::Taken;

/// What is wanted of a lower stream; `None`: what suits the camera's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Low {
    /// Width and height. Without: half of each, and no more pixels than 640×360 has.
    pub size: Option<(u32, u32)>,
    /// In kb/s. Without: a quarter.
    pub bitrate_kbps: Option<u32>,
    /// Pictures per second, at the most. Without: all.
    pub fps: Option<FrameRate>,
}

/// Pixels of a lower stream whose size is not set.
const MOST_PIXELS: f64 = 640.0 * 360.0;
/// Pictures with less bitrate are not worth looking at.
const LEAST_KBPS: u32 = 100;
/// Keyframes are those of the first stream; this is for one that has none.
const GOP_FRAMES: u32 = 600;
/// How long it sleeps when no pictures come.
const IDLE: Duration = Duration::from_secs(1);
/// Failures of its encoder in a row after which it ends.
const MOST_FAILURES: u32 = 3;
/// A picture is not too early by this: sources are not on time to the millisecond.
const EARLY: Duration = Duration::from_millis(4);

impl Low {
    /// How it is encoded, of a first stream that is encoded like this.
    fn of(self, first: &encode::Settings) -> encode::Settings {
        let (width, height) = self.size.unwrap_or_else(|| {
            let pixels = f64::from(first.width) * f64::from(first.height);
            let part = (MOST_PIXELS / pixels.max(1.0)).sqrt().min(0.5);
            // A third of 1920 is not to become 638.
            let smaller = |length: u32| ((f64::from(length) * part + 0.01) as u32 & !1).max(16);
            (smaller(first.width), smaller(first.height))
        });
        let fps = self.fps.filter(|fps| fps.as_f64() < first.fps.as_f64());
        encode::Settings {
            width,
            height,
            fps: fps.unwrap_or(first.fps),
            bitrate_kbps: self.bitrate_kbps.unwrap_or((first.bitrate_kbps / 4).max(LEAST_KBPS)),
            gop_frames: GOP_FRAMES,
        }
        .clamped()
    }
}

/// A lower stream that runs. Ends when dropped.
pub struct Lower {
    slot: Arc<Slot>,
    mailbox: Arc<Mailbox>,
}

impl Lower {
    /// Asks for a keyframe: the next picture.
    pub fn keyframe_requests(&self) -> Arc<dyn Fn() + Send + Sync> {
        let slot = Arc::clone(&self.slot);
        Arc::new(move || slot.lock().keyframe = true)
    }
}

impl Drop for Lower {
    fn drop(&mut self) {
        self.slot.stop();
        self.mailbox.order(Order::EndLow(Arc::clone(&self.slot)));
    }
}

/// Where a picture waits for the thread.
pub(super) struct Slot {
    state: Mutex<State>,
    delivered: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    next: Option<Offered>,
    keyframe: bool,
}

/// A picture of the first stream, as it was before anything was drawn into it.
pub(super) struct Offered {
    pub(super) picture: Picture,
    pub(super) taken: Taken,
    pub(super) at: WallTime,
    pub(super) drawing: Drawing,
    /// How the first stream is encoded.
    pub(super) first: encode::Settings,
    /// When the picture of its newest keyframe was taken.
    pub(super) first_keyframe: Option<Instant>,
    /// What the first stream's lines say.
    pub(super) fps: Option<f64>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.delivered.notify_all();
    }

    /// Gives it a picture; `Some`: the one that has not been taken until now, or this one if it has ended.
    pub(super) fn offer(&self, offered: Offered) -> Option<Picture> {
        let mut state = self.lock();
        if state.stopping {
            return Some(offered.picture);
        }
        let before = state.next.replace(offered);
        drop(state);
        self.delivered.notify_all();
        before.map(|before| before.picture)
    }

    /// The next picture, and whether it is to be a keyframe. `Err`: it is to end.
    fn next(&self) -> Result<Option<(Offered, bool)>, ()> {
        let nothing = |state: &mut State| !state.stopping && state.next.is_none();
        let waited = self.delivered.wait_timeout_while(self.lock(), IDLE, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopping {
            return Err(());
        }
        let Some(next) = state.next.take() else { return Ok(None) };
        Ok(Some((next, std::mem::take(&mut state.keyframe))))
    }
}

/// The thread.
struct Lowering {
    low: Low,
    slot: Arc<Slot>,
    /// Where pictures go back to.
    pool: Pool,
    packager: Arc<Mutex<Packager>>,
    stats: Arc<Stats>,
    pen: Pen,
    scaler: Scaler,
    /// Of the size that was made last.
    small: Option<Picture>,
    encoder: Option<(encode::Settings, OpenH264)>,
    failures: u32,
    /// The first stream's keyframe that was followed last.
    keyframe: Option<Instant>,
    /// When the next picture is due, where not all are wanted.
    due: Option<Instant>,
}

impl Handle {
    /// Makes the camera's pictures smaller and encodes them once more, for as long as what this returns lives. What was made before ends. Output begins with the
    /// next picture, a keyframe; there is none while the source's own H.264 passes.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start_low(&self, low: Low, sink: Sink) -> io::Result<Lower> {
        let (slot, stats) = (
            Arc::new(Slot {
                state: Mutex::default(),
                delivered: Condvar::new(),
            }),
            Arc::new(Stats::default()),
        );
        let packager = Packager::new(
            Arc::clone(&self.clock),
            sink,
            Arc::clone(&stats),
            FrameRate::whole(30),
            Arc::clone(&self.shared.zero),
        );
        let lowering = Lowering {
            low,
            slot: Arc::clone(&slot),
            pool: self.shared.pool.clone(),
            packager: Arc::new(Mutex::new(packager)),
            stats,
            pen: Pen::new(Drawing::default(), Arc::clone(&self.shared.zone)),
            scaler: Scaler::default(),
            small: None,
            encoder: None,
            failures: 0,
            keyframe: None,
            due: None,
        };
        let entered = self.mailbox.enter();
        thread::Builder::new().name("camera-low".to_owned()).spawn(move || {
            lowering.run();
            drop(entered);
        })?;
        self.mailbox.order(Order::Low(Arc::clone(&slot)));
        let mailbox = Arc::clone(&self.mailbox);
        Ok(Lower { slot, mailbox })
    }
}

impl Lowering {
    fn run(mut self) {
        let (packager, slot) = (Arc::clone(&self.packager), Arc::clone(&self.slot));
        let ran = catch_unwind(AssertUnwindSafe(|| self.turns()));
        let why = match ran {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => last_words::of_panic(&*panic),
        };
        slot.stop();
        lock(&packager).status(Status::Ended { why });
    }

    /// Until it is to end, or its encoder fails for good.
    fn turns(&mut self) -> Result<(), encode::Error> {
        loop {
            let (offered, keyframe) = match self.slot.next() {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(()) => return Ok(()),
            };
            let made = self.make(&offered, keyframe);
            self.pool.give(offered.picture);
            match made {
                Ok(()) => self.failures = 0,
                Err(error) => {
                    self.encoder = None;
                    self.failures += 1;
                    if self.failures >= MOST_FAILURES || matches!(error, encode::Error::Refused { .. }) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn make(&mut self, offered: &Offered, keyframe: bool) -> Result<(), encode::Error> {
        let follows = offered.first_keyframe > self.keyframe;
        let keyframe = keyframe || follows;
        let settings = self.low.of(&offered.first);
        if !self.is_due(offered.taken.at, settings.fps, keyframe) {
            return Ok(());
        }
        self.keyframe = self.keyframe.max(offered.first_keyframe);
        let size = (settings.width, settings.height);
        let mut small = (self.small.take())
            .filter(|small| (small.width(), small.height()) == size)
            .or_else(|| Picture::black(settings.width, settings.height))
            .ok_or_else(|| encode::Error::Refused {
                encoder: "the lower stream".to_owned(),
                settings: settings.to_string(),
                why: "sizes are even and at least 16".to_owned(),
            })?;
        self.scaler.scale(&offered.picture, &mut small);
        self.pen.set(offered.drawing);
        let measured = Measured {
            fps: offered.fps,
            latency_ms: self.stats.latency_ms(),
        };
        self.pen.draw(&mut small, offered.at, measured);
        let encoded = self.encode(&small, settings, keyframe, offered);
        self.small = Some(small);
        encoded
    }

    fn encode(
        &mut self,
        small: &Picture,
        settings: encode::Settings,
        keyframe: bool,
        offered: &Offered,
    ) -> Result<(), encode::Error> {
        let size = |settings: &encode::Settings| (settings.width, settings.height);
        if (self.encoder.as_ref()).is_some_and(|(before, _)| size(before) != size(&settings)) {
            self.encoder = None;
        }
        let (before, encoder) = match &mut self.encoder {
            Some(there) => there,
            none => {
                let packager = Arc::clone(&self.packager);
                let output = Box::new(move |unit: encode::AccessUnit<'_>| lock(&packager).encoded(unit));
                none.insert((settings, OpenH264::new(settings, output)?))
            }
        };
        if before.fps != settings.fps {
            encoder.set_fps(settings.fps)?;
        }
        if before.bitrate_kbps != settings.bitrate_kbps {
            encoder.set_bitrate_kbps(settings.bitrate_kbps)?;
        }
        *before = settings;
        if keyframe {
            encoder.request_keyframe();
        }
        lock(&self.packager).submitted(offered.taken.at, offered.at, settings.fps);
        encoder.encode(small, offered.taken)
    }

    /// Whether a picture is wanted that was taken then.
    fn is_due(&mut self, taken: Instant, fps: FrameRate, keyframe: bool) -> bool {
        if self.low.fps.is_none() {
            return true;
        }
        let due = self.due.unwrap_or(taken);
        if !keyframe && taken + EARLY < due {
            return false;
        }
        self.due = Some((due + fps.interval()).max(taken));
        true
    }
}

fn lock(packager: &Mutex<Packager>) -> MutexGuard<'_, Packager> {
    packager.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
